package custody

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// maxMaps bounds the mappings of one program that are read: the kernel allows
// 65 530 by default (vm.max_map_count), databases are told to raise it.
const maxMaps = 1 << 20

// mapping is a mapped file as one file tree shows it.
type mapping struct {
	tree *tree
	file inventory.FileID
	path string
}

// mappings looks at the files that a program has mapped; they stay readable
// after their descriptors are closed.
func (f *files) mappings(p *inventory.Process, pid int) error {
	maps, err := f.host.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	defer maps.Close()
	var t *tree
	var failed error
	f.lines.Reset(maps)
	err = parseMaps(f.lines, func(file inventory.FileID, name []byte) bool {
		if !f.any && !f.mapped[file.Device] {
			return true
		}
		if t == nil {
			if t, failed = f.treeOf(p, pid); failed != nil {
				return false
			}
		}
		m := mapping{t, file, string(name)}
		stores, known := f.answers[m]
		if !known {
			stores = f.storesMapped(&m, pid)
			f.answers[m] = stores
		}
		for _, store := range stores {
			f.remember(hold{store, p.ID, inventory.HowDirect}, inventory.Execution{}, f.now, "mapped: "+m.path)
		}
		return true
	})
	return errors.Join(err, failed)
}

// storesMapped gives the stores that a mapped file belongs to. How many names
// it has is only known while its path still leads to it.
func (f *files) storesMapped(m *mapping, pid int) []string {
	name, deleted := strings.CutSuffix(m.path, " (deleted)")
	file := host.Walked{Device: m.file.Device, Inode: m.file.Inode, Links: 2}
	covering, placed := m.tree.covering(name)
	inside := ""
	if placed {
		inside, placed = m.tree.inside(covering, name)
	}
	// The path may lead elsewhere by now, below a file system mounted later.
	placed = placed && (covering.Device == m.file.Device || f.any)
	if placed && !deleted && !covering.Waits() {
		relative := strings.TrimPrefix(name, m.tree.root)
		at, err := f.proc.Describe(pid, path.Join("root", "/"+relative))
		if err == nil && at.Inode == m.file.Inode {
			file = at
		}
	}
	device := m.file.Device
	if placed {
		device = covering.Device
	}
	return f.storesOf(device, inside, placed, file)
}

// parseMaps reads /proc/PID/maps and gives each mapped file, once for
// neighbouring mappings of it, until visit has had enough.
func parseMaps(lines *bufio.Reader, visit func(file inventory.FileID, name []byte) bool) error {
	var last inventory.FileID
	for range maxMaps {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read maps: %w", err)
		}
		file, name, ok := parseMapping(line)
		if !ok || file == last {
			continue
		}
		last = file
		if !visit(file, name) {
			return nil
		}
	}
	return errors.New("read maps: too many mappings")
}

// parseMapping reads one line: ADDRESS PERMISSIONS OFFSET DEVICE INODE PATH.
// Memory without a file has inode 0.
func parseMapping(line []byte) (file inventory.FileID, name []byte, ok bool) {
	var fields [5][]byte
	rest := line
	for i := range fields {
		fields[i], rest, _ = bytes.Cut(rest, []byte(" "))
	}
	if len(fields[4]) == 0 || fields[4][0] == '0' {
		return file, nil, false
	}
	inode, err := strconv.ParseUint(string(fields[4]), 10, 64)
	if err != nil {
		return file, nil, false
	}
	major, minor, _ := bytes.Cut(fields[3], []byte(":"))
	high, err := strconv.ParseUint(string(major), 16, 32)
	if err != nil {
		return file, nil, false
	}
	low, err := strconv.ParseUint(string(minor), 16, 32)
	if err != nil {
		return file, nil, false
	}
	name = bytes.TrimSuffix(bytes.TrimLeft(rest, " "), []byte("\n"))
	return inventory.FileID{Device: unix.Mkdev(uint32(high), uint32(low)), Inode: inode}, name, true
}
