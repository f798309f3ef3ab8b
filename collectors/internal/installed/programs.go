package installed

import (
	"cmp"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// mostPrograms bounds the different executables of one round.
const mostPrograms = 16 << 10

// Program is an executable file that runs.
type Program struct {
	Path string
	File inventory.FileID
}

// Programs lists, sorted, what runs from this machine's own files, and what was
// replaced under its path since it started there. over are those beyond a bound.
func Programs(h *host.Host, seen *inventory.Facts) (programs []Program, over Tally) {
	first := seen.First()
	known := make(map[Program]bool)
	for i := range seen.Processes {
		p := &seen.Processes[i]
		key := Program{p.Executable, p.File}
		if known[key] || p.Kernel || p.Executable == "" {
			continue
		}
		replaced := p.Deleted && !p.Memory && !p.Foreign && first != nil && p.MountNS != 0 && p.MountNS == first.MountNS
		if !replaced && !Native(h, p) {
			continue
		}
		if len(known) >= mostPrograms {
			over.Add(p.Executable)
			continue
		}
		known[key] = true
		programs = append(programs, key)
	}
	slices.SortFunc(programs, func(a, b Program) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.File.Device, b.File.Device), cmp.Compare(a.File.Inode, b.File.Inode))
	})
	return programs, over
}

// Claim notes who owns a path, which has /usr before it: as before or after the
// top directories moved there. wanted has -1 for those without an owner yet, and
// the first package that has a file is its owner.
func Claim(wanted map[string]int, moved []byte, owner int) {
	for _, path := range [][]byte{moved[len("/usr"):], moved} {
		if i, ok := wanted[string(path)]; ok && i < 0 {
			wanted[string(path)] = owner
			return
		}
	}
}
