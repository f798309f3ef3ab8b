// Package program reads what an ELF file says of itself beside its code: its
// kind, the notes that builders leave, and single sections. Offsets and lengths
// in it are its maker's claim, so all reading is bounded.
//
// Sources: the ELF chapter of the System V ABI; elf(5); the package metadata note
// of the UAPI group (systemd.io/ELF_PACKAGE_METADATA); the AppImage
// specification, "AI" and the type after the identification's first 8 bytes.
package program

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Bounds of one file.
const (
	SizeRead     = 32 << 20 // of headers, notes and sections together
	sizeNotes    = 64 << 10
	mostSections = 4096
)

// Errors that callers tell apart.
var (
	ErrBudget  = errors.New("headers and sections are too large")
	ErrSection = errors.New("damaged section")
)

// Image is what an ELF file says of itself.
type Image struct {
	Library  bool   // made to be loaded by a program: no interpreter, and shared
	Object   bool   // made to be linked: neither program nor library
	AppImage int    // type of the AppImage that it is, 0 none
	Go       string // main module or package by the Go compiler's build information
	Crates   bool   // cargo-auditable left a list of crates
	BuildID  string
	Package  Package
}

// Package is the metadata of the package that a file was built for.
type Package struct {
	Type    string `json:"type"` // deb, rpm, …
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"architecture"`
	OS      string `json:"os"`
	CPE     string `json:"osCpe"`
}

// IsELF tells an ELF file from its first bytes.
func IsELF(head []byte) bool { return bytes.HasPrefix(head, []byte(elf.ELFMAG)) }

// AppImageType gives the type of the AppImage that an ELF file is, 0 for none.
func AppImageType(head []byte) int {
	if len(head) > 10 && head[8] == 'A' && head[9] == 'I' && (head[10] == 1 || head[10] == 2) {
		return int(head[10])
	}
	return 0
}

// File is an open ELF file of which a bounded part may be read.
type File struct {
	*elf.File
	*Budget
}

// Open reads the headers of an ELF file. ok is false for what the kernel would
// not run either.
func Open(r io.ReaderAt, limit int) (f File, ok bool, err error) {
	f.Budget = &Budget{r: r, left: limit}
	f.File, err = elf.NewFile(f.Budget)
	if err != nil {
		return f, false, f.Spent(nil)
	}
	if len(f.Sections) > mostSections {
		return f, false, ErrBudget
	}
	return f, true, nil
}

// Budget reads not more than it was given.
type Budget struct {
	r    io.ReaderAt
	left int
}

// ReadAt implements [io.ReaderAt].
func (b *Budget) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > b.left {
		b.left = 0
		return 0, ErrBudget
	}
	b.left -= len(p)
	return b.r.ReadAt(p, off)
}

// Spent gives ErrBudget if that is why reading failed, else the other error.
func (b *Budget) Spent(otherwise error) error {
	if b.left == 0 {
		return ErrBudget
	}
	return otherwise
}

// Bytes gives the bytes of a section as the file has them, nil where there is
// none of the name.
func (f *File) Bytes(name string, limit uint64) ([]byte, error) {
	s := f.Section(name)
	if s == nil || s.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	if s.FileSize > limit {
		return nil, ErrBudget
	}
	data := make([]byte, s.FileSize)
	if _, err := f.ReadAt(data, int64(s.Offset)); err != nil {
		return nil, f.Spent(ErrSection)
	}
	return data, nil
}

// Read describes an ELF file.
func Read(r io.ReaderAt, limit int) (image Image, ok bool, err error) {
	var head [16]byte
	if _, err := r.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return image, false, err
	}
	if !IsELF(head[:]) {
		return image, false, nil
	}
	f, ok, err := Open(r, limit)
	if !ok {
		return image, false, err
	}
	image.AppImage = AppImageType(head[:])
	ofGo := f.Section(".go.buildinfo") != nil
	if ofGo {
		if info, err := buildinfo.Read(f.Budget); err == nil {
			image.Go = GoMain(info)
		}
	}
	image.Crates = f.Section(".dep-v0") != nil
	image.Object = f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN
	image.Library = f.Type == elf.ET_DYN && !ofGo
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			image.Library = false
		}
	}
	if image.Library { // a program that is its own loader says so by a flag
		if flags, err := f.DynValue(elf.DT_FLAGS_1); err == nil && len(flags) > 0 && flags[0]&uint64(elf.DF_1_PIE) != 0 {
			image.Library = false
		}
	}
	for _, section := range []string{".note.package", ".note.gnu.build-id"} {
		data, err := f.Bytes(section, sizeNotes)
		if err != nil {
			return image, true, err
		}
		image.note(f.ByteOrder.Uint32, data)
	}
	return image, true, nil
}

// GoMain names what a Go program was built from: its main module, else its main
// package; "" where neither has a name.
func GoMain(info *buildinfo.BuildInfo) string {
	main := strings.Trim(cmp.Or(info.Main.Path, info.Path), "/")
	if main == "command-line-arguments" {
		return ""
	}
	return main
}

// note takes the notes of a section: lengths of the name and of the
// description, a type, then both, each padded to four bytes.
func (i *Image) note(number func([]byte) uint32, data []byte) {
	const typePackage, typeBuildID = 0xcafe1a7e, 3
	padded := func(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
	for len(data) >= 12 {
		sizeName, sizeDesc, kind := number(data), number(data[4:]), number(data[8:])
		data = data[12:]
		if padded(sizeName)+uint64(sizeDesc) > uint64(len(data)) {
			return
		}
		owner := strings.TrimRight(string(data[:sizeName]), "\x00")
		desc := data[padded(sizeName) : padded(sizeName)+uint64(sizeDesc)]
		switch {
		case owner == "FDO" && kind == typePackage:
			var p Package
			if json.Unmarshal(bytes.TrimRight(desc, "\x00"), &p) == nil {
				i.Package = p
			}
		case owner == "GNU" && kind == typeBuildID && len(desc) <= 64:
			i.BuildID = hex.EncodeToString(desc)
		}
		data = data[min(padded(sizeName)+padded(sizeDesc), uint64(len(data))):]
	}
}
