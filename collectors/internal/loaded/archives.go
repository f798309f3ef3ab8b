package loaded

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// archives adds the archives that a virtual machine of Java has open: it keeps those
// that it has loaded classes from open until it ends.
func (t *tree) archives(p *inventory.Process, into *process) error {
	if path.Base(p.Executable) != "java" {
		return nil
	}
	descriptors, err := t.proc.Numbers(p.ID.PID, "fd", nil)
	if err != nil {
		return err
	}
	for _, number := range descriptors {
		entry := "fd/" + strconv.Itoa(number)
		name, err := t.proc.Readlink(p.ID.PID, entry)
		if err != nil || unnamed(name) || !archive(string(name)) {
			continue // a descriptor that was closed meanwhile, or of something else
		}
		if len(into.libraries) >= mostOfOne {
			t.f.Over.Add(p.ID.String())
			return nil
		}
		name = slices.Clone(name)
		st, err := t.proc.Stat(p.ID.PID, entry)
		if err != nil {
			continue
		}
		if l := t.library(p, host.Mapping{Name: name, Device: st.Dev, Inode: st.Ino}); l != nil && !slices.Contains(into.libraries, l) {
			into.libraries = append(into.libraries, l)
		}
	}
	return nil
}

// archive tells by its name a file that classes are loaded from.
func archive(name string) bool {
	switch path.Ext(strings.TrimSuffix(name, " (deleted)")) {
	case ".jar", ".war", ".ear", ".zip":
		return true
	}
	return false
}
