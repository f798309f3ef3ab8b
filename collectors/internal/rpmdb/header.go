package rpmdb

import (
	"bytes"
	"encoding/binary"
)

// Tags of a header, by rpm's rpmtag.h, and the types of their values.
const (
	tagName        = 1000
	tagVersion     = 1001
	tagRelease     = 1002
	tagEpoch       = 1003
	tagVendor      = 1011
	tagLicense     = 1014
	tagPackager    = 1015
	tagArch        = 1022
	tagSource      = 1044
	tagDirIndexes  = 1116
	tagBaseNames   = 1117
	tagDirNames    = 1118
	typeInt32      = 4
	typeString     = 6
	typeStrings    = 8
	typeI18NString = 9
	mostTags       = 1 << 16
)

// Header is what is wanted of a package. Its texts are as they are written.
type Header struct {
	Name, Version, Release, Arch     string
	Epoch                            uint32
	Vendor, Packager, Licence, Built string // Built is the name of the source package's file

	directories, names, indexes []byte
}

// Parse reads a header: the number of index entries and the length of the data,
// then both. Entries are a tag, a type, an offset into the data and a count.
func Parse(data []byte) (*Header, error) {
	if len(data) < 8 || len(data) > sizeHeader {
		return nil, errFormat
	}
	entries, length := int64(binary.BigEndian.Uint32(data)), int64(binary.BigEndian.Uint32(data[4:]))
	start := 8 + 16*entries
	if entries > mostTags || start+length > int64(len(data)) {
		return nil, errFormat
	}
	store := data[start : start+length]
	h := &Header{}
	for i := range entries {
		e := data[8+16*i:]
		tag, kind := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:])
		offset, count := int64(binary.BigEndian.Uint32(e[8:])), int64(binary.BigEndian.Uint32(e[12:]))
		if offset < int64(len(store)) {
			h.set(tag, kind, count, store[offset:])
		}
	}
	if h.Name == "" || h.Version == "" {
		return nil, errFormat
	}
	return h, nil
}

func (h *Header) set(tag, kind uint32, count int64, value []byte) {
	text := h.text(tag)
	switch {
	case text != nil && (kind == typeString || kind == typeI18NString):
		end := bytes.IndexByte(value, 0)
		if end < 0 {
			return
		}
		if *text = string(value[:min(end, 4096)]); *text == "(none)" {
			*text = ""
		}
	case tag == tagEpoch && kind == typeInt32 && len(value) >= 4:
		h.Epoch = binary.BigEndian.Uint32(value)
	case tag == tagDirIndexes && kind == typeInt32 && 4*count <= int64(len(value)):
		h.indexes = value[:4*count]
	case tag == tagBaseNames && kind == typeStrings:
		h.names = value
	case tag == tagDirNames && kind == typeStrings:
		h.directories = value
	}
}

func (h *Header) text(tag uint32) *string {
	switch tag {
	case tagName:
		return &h.Name
	case tagVersion:
		return &h.Version
	case tagRelease:
		return &h.Release
	case tagArch:
		return &h.Arch
	case tagVendor:
		return &h.Vendor
	case tagPackager:
		return &h.Packager
	case tagLicense:
		return &h.Licence
	case tagSource:
		return &h.Built
	}
	return nil
}

// Files calls visit with the path of each file, with /usr before it. The bytes
// are valid during the call.
func (h *Header) Files(visit func(moved []byte)) {
	var dirs [][]byte
	rest := h.directories
	most := 0 // directories that are referred to
	for i := 0; i+4 <= len(h.indexes); i += 4 {
		most = max(most, int(binary.BigEndian.Uint32(h.indexes[i:])&(1<<24-1))+1)
	}
	for len(dirs) < most {
		dir, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			break
		}
		dirs, rest = append(dirs, dir), after
	}
	path := []byte("/usr")
	rest = h.names
	for i := 0; i+4 <= len(h.indexes); i += 4 {
		name, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return
		}
		rest = after
		if dir := binary.BigEndian.Uint32(h.indexes[i:]); int64(dir) < int64(len(dirs)) {
			path = append(append(path[:len("/usr")], dirs[dir]...), name...)
			visit(path)
		}
	}
}
