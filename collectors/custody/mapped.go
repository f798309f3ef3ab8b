package custody

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

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
	err = host.ParseMaps(f.lines, func(mapped host.Mapping) bool {
		file := inventory.FileID{Device: mapped.Device, Inode: mapped.Inode}
		if !f.any && !f.mapped[file.Device] {
			return true
		}
		if t == nil {
			if t, failed = f.treeOf(p, pid); failed != nil {
				return false
			}
		}
		m := mapping{t, file, string(mapped.Name)}
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
