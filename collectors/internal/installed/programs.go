package installed

import (
	"cmp"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// mostPrograms bounds the different executables of one round.
const mostPrograms = 16 << 10

// Program is an executable file that runs, or another that runs with it.
type Program struct {
	Path string
	File inventory.FileID
}

// Programs lists, sorted, what runs from this machine's own files, with scripts and
// libraries, and what was replaced under its path since it started there. over are those beyond a bound.
func Programs(h *host.Host, seen *inventory.Facts) (programs []Program, over Tally) {
	first := seen.First()
	known := make(map[Program]bool)
	add := func(key Program) {
		switch {
		case known[key]:
		case len(known) >= mostPrograms:
			over.Add(key.Path)
		default:
			known[key] = true
			programs = append(programs, key)
		}
	}
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
		add(key)
	}
	for _, key := range Loaded(seen) {
		add(key)
	}
	slices.SortFunc(programs, Program.Compare)
	return programs, over
}

// Compare orders them by path.
func (p Program) Compare(q Program) int {
	return cmp.Or(cmp.Compare(p.Path, q.Path), cmp.Compare(p.File.Device, q.File.Device), cmp.Compare(p.File.Inode, q.File.Inode))
}

// Loaded lists the scripts and libraries among the facts, which are the machine's
// own files.
func Loaded(seen *inventory.Facts) []Program {
	programs := make([]Program, 0, len(seen.Scripts)+len(seen.Libraries))
	for i := range seen.Scripts {
		programs = append(programs, Program{seen.Scripts[i].Path, seen.Scripts[i].File})
	}
	for i := range seen.Libraries {
		programs = append(programs, Program{seen.Libraries[i].Path, seen.Libraries[i].File})
	}
	return programs
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
