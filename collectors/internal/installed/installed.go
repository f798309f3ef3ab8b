// Package installed is what the readers of installed software do alike: read a
// file again only when it has changed, list directories within bounds, leave to
// a system package what is its own, name a component, and count what was lost.
package installed

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Bounds of a directory, and of what a pattern may match.
const (
	mostEntries = 32 << 10
	mostMatches = 16 << 10
)

// ErrTooMany is returned for a directory with more entries than are read.
var ErrTooMany = errors.New("too many entries")

// Stamp changes whenever a file does. It is zero for a file that cannot be found.
type Stamp struct {
	File         inventory.FileID
	Size         int64
	mtime, ctime int64 // nanoseconds
}

// StampOf describes what a path leads to.
func StampOf(h *host.Host, path string) Stamp {
	st, err := h.Stat(path)
	if err != nil {
		return Stamp{}
	}
	return Stamp{inventory.FileID{Device: st.Dev, Inode: st.Ino}, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

// Files keeps what was read of files, errors too, until they change. What a round
// does not ask for is forgotten with the next.
type Files[T any] struct {
	known map[string]*kept[T]
	round uint64
}

type kept[T any] struct {
	at    Stamp
	round uint64 // when it was asked for last
	value T
	err   error
}

// Begin starts a round.
func (f *Files[T]) Begin() {
	if f.known == nil {
		f.known = make(map[string]*kept[T])
	}
	for path, k := range f.known {
		if k.round != f.round {
			delete(f.known, path)
		}
	}
	f.round++
}

// Get gives what read returned for the file as it is now.
func (f *Files[T]) Get(h *host.Host, path string, read func() (T, error)) (T, error) {
	k := f.known[path]
	if k != nil && k.round == f.round {
		return k.value, k.err
	}
	if at := StampOf(h, path); k == nil || k.at != at || at == (Stamp{}) {
		k = &kept[T]{at: at}
		k.value, k.err = read()
		f.known[path] = k
	}
	k.round = f.round
	return k.value, k.err
}

// Forget drops what was read of a file in this round.
func (f *Files[T]) Forget(path string) { delete(f.known, path) }

// Tree lists directories of one machine.
type Tree struct {
	Host *host.Host
	dirs Files[[]string]
	Lost Tally // directories that could not be listed whole, in this round
}

// Begin starts a round.
func (t *Tree) Begin() {
	t.dirs.Begin()
	t.Lost = Tally{}
}

// List gives the sorted names in a directory, none where there is no directory.
func (t *Tree) List(dir string) []string {
	names, err := t.dirs.Get(t.Host, dir, func() ([]string, error) { return list(t.Host, dir) })
	if err != nil && !host.Gone(err) {
		t.Lost.Add(dir + ": " + host.Cause(err))
	}
	return names
}

func list(h *host.Host, dir string) ([]string, error) {
	st, err := h.Stat(dir)
	if errors.Is(err, unix.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	if st.Mode&0o170000 != 0o040000 {
		return nil, fs.ErrNotExist // a file where a directory may be is none
	}
	f, err := h.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(mostEntries + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(names) > mostEntries {
		names, err = names[:mostEntries], ErrTooMany
	}
	slices.Sort(names)
	return names, err
}

// Glob gives the paths below a directory that match a pattern, of which each
// element is one of [path.Match].
func (t *Tree) Glob(base, pattern string) []string {
	found := []string{base}
	for element := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, dir := range found {
			if !strings.ContainsAny(element, `*?[\`) {
				next = append(next, path.Join(dir, element))
				continue
			}
			for _, name := range t.List(dir) {
				if ok, err := path.Match(element, name); err != nil || !ok || name[0] == '.' {
					continue
				}
				if len(next) >= mostMatches {
					t.Lost.Add(pattern + ": " + ErrTooMany.Error())
					break
				}
				next = append(next, path.Join(dir, name))
			}
		}
		found = next
	}
	return found
}

// Tally counts things of one kind that were lost and keeps the first as the
// example to show.
type Tally struct {
	example string
	count   int
}

// Add counts one.
func (t *Tally) Add(example string) { t.AddMany(example, 1) }

// AddMany counts n of which one is the example.
func (t *Tally) AddMany(example string, n int) {
	if t.count == 0 {
		t.example = example
	}
	t.count += n
}

// Join adds what another counted.
func (t *Tally) Join(other *Tally) {
	if t.count == 0 {
		t.example = other.example
	}
	t.count += other.count
}

// Gap appends what was lost to gaps, if anything was.
func (t *Tally) Gap(gaps []inventory.Gap, collector, reason string) []inventory.Gap {
	if t.count == 0 {
		return gaps
	}
	return append(gaps, inventory.Gap{
		Collector: collector, Kind: inventory.KindComponents,
		Subject: host.Text(t.example, 512), Reason: reason, Lost: t.count,
	})
}

// Native reports whether a process runs a file that this machine has under the
// same path. What a container runs is another machine's matter.
func Native(h *host.Host, p *inventory.Process) bool {
	if p.Kernel || p.Memory || p.Deleted || p.Foreign || p.Container != "" || !strings.HasPrefix(p.Executable, "/") {
		return false
	}
	st, err := h.Stat(p.Executable)
	return err == nil && p.File == inventory.FileID{Device: st.Dev, Inode: st.Ino}
}

// Directory gives the working directory of a process, inside of h's tree.
func Directory(h *host.Host, proc *host.Proc, pid int) (string, error) {
	cwd, err := proc.Readlink(pid, "cwd")
	if err != nil {
		return "", err
	}
	if len(cwd) == 0 || cwd[0] != '/' {
		return "", fs.ErrNotExist
	}
	return h.Inside(string(cwd))
}

// Distinct leaves out directories that are not there, and those that were named
// before by another path.
func Distinct(h *host.Host, dirs []string) []string {
	known := make(map[inventory.FileID]bool)
	var distinct []string
	for _, dir := range dirs {
		if at := StampOf(h, dir); at != (Stamp{}) && !known[at.File] {
			known[at.File] = true
			distinct = append(distinct, dir)
		}
	}
	return distinct
}

// Sorted gives the components of a map in the order of their package URLs.
func Sorted(components map[string]inventory.Component) []inventory.Component {
	all := make([]inventory.Component, 0, len(components))
	for _, c := range components {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b inventory.Component) int { return strings.Compare(a.PURL, b.PURL) })
	return slices.Clip(all)
}
