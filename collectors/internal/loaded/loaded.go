// Package loaded finds what runs in a process beside its executable: the script,
// or the archive, that an interpreter was told to run, and the libraries that are
// mapped as code or, archives of Java, open.
//
// The script is one of the arguments. They are secret: a word of them is shown
// only where a file of that name is there, and as that file's path. It is looked
// for once for each execution, so one that was removed, and one that was named
// from a directory that the program has left before, is not found.
//
// Both are read when an execution is first seen, and once more after a minute,
// since programs load more while they begin. What is loaded later is not seen.
// After that only the files are looked at: one that no longer has its path was
// replaced, and who has it mapped goes on with the old one.
package loaded

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

// Bounds, and how often the files are looked at.
const (
	mostLibraries = 16 << 10 // different ones
	mostOfOne     = 4096     // that one program has mapped
	mostUsers     = 1024     // of one that was replaced
	sizePath      = 4096
	settled       = time.Minute
	every         = 15 * time.Second
)

// Reader keeps what it found between rounds. It is not for concurrent use.
type Reader struct {
	known     map[inventory.Execution]*process
	libraries map[key]*library
	looked    time.Time // at the files
	lines     *bufio.Reader
}

type process struct {
	file      inventory.FileID // of the executable: exec keeps the execution where the kernel is not asked
	arguments []string
	script    *inventory.Script // nil none
	unknown   bool              // there is one, and it was not found
	libraries []*library
	again     time.Time // when the mappings are read once more; zero never
	failed    error     // why they were not
}

type key struct {
	path string
	file inventory.FileID
}

type library struct {
	key
	replaced bool
	users    []inventory.Execution // in this round
}

// Facts is what was found.
type Facts struct {
	Scripts   []inventory.Script
	Libraries []inventory.Library
	Unknown   installed.Tally // interpreters whose script was not found
	Denied    installed.Tally // programs whose mappings cannot be read
	Over      installed.Tally // libraries beyond the bounds
}

// Read looks at processes of one file tree. h is the tree, proc the machine's, and
// ns the mount namespace in which paths are the tree's own.
func (r *Reader) Read(ctx context.Context, h *host.Host, proc *host.Proc, ns uint64, processes []*inventory.Process) (*Facts, error) {
	f := &Facts{}
	t := tree{Reader: r, h: h, proc: proc, ns: ns, f: f, now: h.Now()}
	if r.libraries == nil {
		r.libraries = make(map[key]*library)
	}
	before := r.known
	r.known = make(map[inventory.Execution]*process, len(processes))
	for _, p := range processes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if p.Kernel {
			continue
		}
		old := before[p.ID]
		if old == nil || old.file != p.File || !slices.Equal(old.arguments, p.Arguments) {
			old = &process{file: p.File, arguments: p.Arguments}
			t.script(p, old)
			t.mappings(p, old)
		} else if !old.again.IsZero() && !t.now.Before(old.again) {
			t.mappings(p, old)
		}
		r.known[p.ID] = old
	}
	t.refresh()
	t.gather(processes)
	return f, nil
}

// tree is one reading.
type tree struct {
	*Reader
	h    *host.Host
	proc *host.Proc
	ns   uint64
	f    *Facts
	now  time.Time

	found map[string]found // by path, in this reading: programs share most libraries
}

type found struct {
	at  host.Walked
	err error
}

// find is [host.Host.Find], once for each path.
func (t *tree) find(path string) (host.Walked, error) {
	f, ok := t.found[path]
	if !ok {
		f.at, f.err = t.h.Find(path)
		if t.found == nil {
			t.found = make(map[string]found)
		}
		t.found[path] = f
	}
	return f.at, f.err
}

// script looks for what an interpreter runs.
func (t *tree) script(p *inventory.Process, into *process) {
	language, interprets := languageOf(p.Executable)
	if !interprets {
		return
	}
	words := language.read(p.Arguments)
	candidates := words.files
	cwd := ""
	if p.Ended.IsZero() {
		cwd, _ = installed.Directory(t.h, t.proc, p.ID.PID)
	}
	if words.module != "" {
		called := ""
		if len(p.Arguments) > 0 {
			called = p.Arguments[0]
		}
		inside, _ := t.h.Inside(p.Executable)
		candidates = moduleFiles(words.module, cwd, inside, called)
	}
	for _, word := range candidates {
		if number, ok := descriptor(word); ok { // its own, and a pipe has no file
			target, err := t.proc.Readlink(p.ID.PID, "fd/"+number)
			if err != nil || len(target) == 0 || target[0] != '/' {
				return
			}
			word, _ = t.h.Inside(string(target))
		}
		if script, found := t.file(word, cwd); found {
			if !t.same(p, &script) {
				break // it is not what the path leads to here
			}
			script.Process = p.ID
			into.script = &script
			return
		}
	}
	// Who shows no arguments at all is about to begin, or has blanked them.
	into.unknown = len(p.Arguments) == 0 || len(words.files) > 0 || words.module != "" || words.class || words.cut && long(p)
}

// same reports whether a program's own mounts have the same file at a script's path:
// who has a user namespace may mount what he likes over it. Of one that has ended
// nobody can tell.
func (t *tree) same(p *inventory.Process, script *inventory.Script) bool {
	if p.MountNS == t.ns || !p.Ended.IsZero() {
		return true
	}
	own, err := t.proc.Describe(p.ID.PID, "root"+script.Path)
	return host.Gone(err) || err == nil && script.File == inventory.FileID{Device: own.Device, Inode: own.Inode}
}

// long reports whether more arguments may have been left out: what /proc shows is
// read up to a bound, and of a program that ended the kernel keeps less.
func long(p *inventory.Process) bool {
	size := 0
	for _, word := range p.Arguments {
		size += len(word) + 1
	}
	return size > 4000 || !p.Ended.IsZero() && size > 250
}

// descriptor tells the paths by which a program reads one of its descriptors.
func descriptor(word string) (number string, ok bool) {
	for _, prefix := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if number, ok = strings.CutPrefix(path.Clean(word), prefix); ok {
			return number, number != "" && len(number) < 8 && strings.Trim(number, "0123456789") == ""
		}
	}
	return "0", path.Clean(word) == "/dev/stdin"
}

// file gives the regular file that a word names.
func (t *tree) file(word, cwd string) (inventory.Script, bool) {
	if word == "" || len(word) > sizePath || strings.IndexByte(word, 0) >= 0 {
		return inventory.Script{}, false
	}
	if !path.IsAbs(word) {
		if cwd == "" {
			return inventory.Script{}, false
		}
		word = path.Join(cwd, word)
	}
	at, err := t.h.Find(word)
	if err != nil || !at.Regular() || host.Within(at.Path, "/proc") {
		return inventory.Script{}, false
	}
	return inventory.Script{
		Path: host.Text(at.Path, sizePath), File: inventory.FileID{Device: at.Device, Inode: at.Inode}, Guarded: at.UID == 0 && at.Mode&0o022 == 0,
	}, true
}

// mappings reads which libraries a program has mapped, and which archives it has open.
func (t *tree) mappings(p *inventory.Process, into *process) {
	into.again = time.Time{}
	if !p.Ended.IsZero() {
		return
	}
	if t.now.Sub(p.Started) < settled {
		into.again = t.now.Add(settled)
	}
	maps, err := t.proc.Open(p.ID.PID, "maps")
	if err != nil {
		into.failed = err
		return
	}
	defer maps.Close()
	if t.lines == nil {
		t.lines = bufio.NewReaderSize(nil, 16<<10)
	}
	t.lines.Reset(maps)
	into.libraries = into.libraries[:0]
	into.failed = host.ParseMaps(t.lines, func(m host.Mapping) bool {
		if len(into.libraries) >= mostOfOne {
			t.f.Over.Add(p.ID.String())
			return false
		}
		if m.Code && !unnamed(m.Name) {
			if l := t.library(p, m); l != nil {
				into.libraries = append(into.libraries, l)
			}
		}
		return true
	})
	if into.failed == nil {
		into.failed = t.archives(p, into)
	}
}

// unnamed tells what is no file of any file tree, though the kernel gives it a
// path: shared memory and devices.
func unnamed(name []byte) bool {
	for _, prefix := range []string{"/memfd:", "/dev/", "/SYSV", "/anon_hugepage", "/proc/"} {
		if strings.HasPrefix(string(name), prefix) {
			return true
		}
	}
	return len(name) == 0 || name[0] != '/'
}

// library gives the file that a mapping is of, nil for the executable itself and
// for a file that is not the tree's.
func (t *tree) library(p *inventory.Process, m host.Mapping) *library {
	bare, gone := strings.CutSuffix(string(m.Name), " (deleted)")
	if bare == p.Executable {
		return nil
	}
	inside, err := t.h.Inside(bare)
	if err != nil {
		return nil
	}
	k := key{path: host.Text(inside, sizePath)}
	at, err := t.find(inside)
	file := inventory.FileID{Device: at.Device, Inode: at.Inode}
	switch {
	case gone && (err != nil || at.Inode != m.Inode):
		k.file = inventory.FileID{Device: m.Device, Inode: m.Inode}
	case err != nil:
		return nil // below a mount of the program's own
	case p.MountNS != t.ns:
		own, err := t.proc.Describe(p.ID.PID, "root"+inside)
		if err != nil || file != (inventory.FileID{Device: own.Device, Inode: own.Inode}) {
			return nil
		}
		k.file, gone = file, false
	default:
		k.file, gone = file, false
	}
	l := t.libraries[k]
	if l == nil {
		if len(t.libraries) >= mostLibraries {
			t.f.Over.Add(k.path)
			return nil
		}
		l = &library{key: k, replaced: gone}
		t.libraries[k] = l
	}
	return l
}

// refresh looks at whether the libraries still have their paths.
func (t *tree) refresh() {
	if t.now.Sub(t.looked) < every && !t.now.Before(t.looked) {
		return
	}
	t.looked = t.now
	for _, l := range t.libraries {
		if l.replaced {
			continue
		}
		at, err := t.h.Find(l.path)
		l.replaced = err != nil && host.Gone(err) || err == nil && l.file != inventory.FileID{Device: at.Device, Inode: at.Inode}
	}
}

// gather makes rows, and forgets the libraries that nobody has mapped any more.
func (t *tree) gather(processes []*inventory.Process) {
	used := make(map[*library]bool, len(t.libraries))
	for _, l := range t.libraries {
		l.users = nil
	}
	for _, p := range processes {
		known := t.known[p.ID]
		if known == nil {
			continue
		}
		if known.script != nil {
			t.f.Scripts = append(t.f.Scripts, *known.script)
		}
		if known.unknown {
			t.f.Unknown.Add(fmt.Sprintf("%s (%s)", p.ID, p.Executable))
		}
		if known.failed != nil && !host.Gone(known.failed) && p.Ended.IsZero() {
			t.f.Denied.Add(p.ID.String() + ": " + host.Cause(known.failed))
		}
		for _, l := range known.libraries {
			used[l] = true
			if l.replaced && len(l.users) < mostUsers && (len(l.users) == 0 || l.users[len(l.users)-1] != p.ID) {
				l.users = append(l.users, p.ID)
			}
		}
	}
	for k, l := range t.libraries {
		if !used[l] {
			delete(t.libraries, k)
			continue
		}
		slices.SortFunc(l.users, inventory.Execution.Compare)
		t.f.Libraries = append(t.f.Libraries, inventory.Library{Path: l.path, File: l.file, Replaced: l.replaced, Users: l.users})
	}
	slices.SortFunc(t.f.Libraries, func(a, b inventory.Library) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.File.Device, b.File.Device), cmp.Compare(a.File.Inode, b.File.Inode))
	})
}
