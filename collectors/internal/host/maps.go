package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxMaps bounds the mappings of one program that are read: the kernel allows
// 65 530 by default (vm.max_map_count), databases are told to raise it.
const maxMaps = 1 << 20

// Mapping is one mapped file of a program, a line of /proc/PID/maps.
type Mapping struct {
	Device, Inode uint64 // of the file, by its file system: not always as stat(2) has them
	Code          bool   // it may be executed
	Name          []byte // path, and " (deleted)" where it has lost it; valid during the call
}

// ParseMaps reads /proc/PID/maps, see proc(5), and gives each mapped file, once for
// neighbouring mappings of it, until visit has had enough.
func ParseMaps(lines *bufio.Reader, visit func(Mapping) bool) error {
	var last Mapping // Inode 0: none
	for range maxMaps {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			if last.Inode != 0 {
				visit(last)
			}
			return nil
		case err != nil:
			return fmt.Errorf("read maps: %w", err)
		}
		m, ok := parseMapping(line)
		switch {
		case !ok:
			continue
		case m.Device == last.Device && m.Inode == last.Inode:
			last.Code = last.Code || m.Code
			continue
		case last.Inode != 0 && !visit(last):
			return nil
		}
		m.Name = append(last.Name[:0], m.Name...) // the line is the reader's
		last = m
	}
	return errors.New("read maps: too many mappings")
}

// parseMapping reads one line: ADDRESS PERMISSIONS OFFSET DEVICE INODE PATH.
// Memory without a file has inode 0.
func parseMapping(line []byte) (m Mapping, ok bool) {
	var fields [5][]byte
	rest := line
	for i := range fields {
		fields[i], rest, _ = bytes.Cut(rest, []byte(" "))
	}
	if len(fields[4]) == 0 || fields[4][0] == '0' {
		return m, false
	}
	inode, err := strconv.ParseUint(string(fields[4]), 10, 64)
	if err != nil {
		return m, false
	}
	major, minor, _ := bytes.Cut(fields[3], []byte(":"))
	high, err := strconv.ParseUint(string(major), 16, 32)
	if err != nil {
		return m, false
	}
	low, err := strconv.ParseUint(string(minor), 16, 32)
	if err != nil {
		return m, false
	}
	return Mapping{
		Device: unix.Mkdev(uint32(high), uint32(low)), Inode: inode,
		Code: bytes.IndexByte(fields[1], 'x') >= 0,
		Name: bytes.TrimSuffix(bytes.TrimLeft(rest, " "), []byte("\n")),
	}, true
}
