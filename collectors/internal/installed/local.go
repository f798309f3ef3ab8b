package installed

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/program"
)

// Bounds of the walk.
const (
	mostLocalDirs  = 32 << 10 // of all places
	mostPlaceDirs  = 16 << 10 // of one
	mostLocalDepth = 32
	mostLocalFiles = 32 << 10 // of those that matter
	mostLocalTime  = 20 * time.Second
	maxListingAge  = time.Hour // neither chmod(2) nor writing changes a directory
	localTurns     = 4         // rounds in which each directory is asked once whether it has changed
)

// FileKind is why a file matters.
type FileKind uint8

// What [Local] looks for.
const (
	Script   FileKind = iota // executable, begins with #!
	ELF                      // executable, and in that format
	Library                  // in that format, and a library by its name
	Composer                 // vendor/composer/installed.json
	Deps                     // NAME.deps.json of .NET
	Gemspec                  // specifications/NAME.gemspec
	Terms                    // LICENSE, COPYING and the like
)

// LocalFile is one of them.
type LocalFile struct {
	Path string
	Kind FileKind
}

// Local is the part of a machine where software is put past the package system:
// /opt, /srv, /usr/local, /var/www and the homes. Several rooms look for files
// there, and share one walk a round. It is safe for concurrent use.
//
// Directories of language packages, of version control and of caches are not
// entered, nor are other file systems and symbolic links. A directory is listed
// again when it has changed, and after an hour. To ask all of them each round
// would be a sixth of what it takes, so each has its turn every fourth.
type Local struct {
	host  *host.Host
	most  int // directories of one place
	mu    sync.Mutex
	dirs  map[string]*localDir
	queue []localStep // of the last place, for its room
	round int
	found LocalFound
}

// LocalFound is what one walk found.
type LocalFound struct {
	Files []LocalFile // sorted by path
	Lost  Tally       // directories that could not be listed whole
	Over  Tally       // what lies beyond a bound
}

type localDir struct {
	at    Stamp
	read  time.Time
	round int
	turn  int
	dirs  []string // their paths
	files []LocalFile
	err   error
}

type localStep struct {
	dir   string
	depth int
}

// NewLocal makes the walk of a machine.
func NewLocal(h *host.Host) *Local {
	return &Local{host: h, most: mostPlaceDirs, dirs: make(map[string]*localDir)}
}

// LocalPlaces lists where Local looks.
func LocalPlaces() []string {
	return []string{"/opt", "/srv", "/usr/local", "/var/www", "/root", "/home"}
}

// Seen is how far a room has followed the walks; its zero value is a room's first
// round.
type Seen struct{ round int }

// Find gives what the walk of this round found. The first room that asks a second
// time begins a new round.
func (l *Local) Find(ctx context.Context, seen *Seen) (LocalFound, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seen.round == l.round {
		w := walk{Local: l, ctx: ctx, until: time.Now().Add(mostLocalTime)}
		if err := w.all(); err != nil {
			return LocalFound{}, err
		}
	}
	seen.round = l.round
	return l.found, nil
}

// walk is one pass over all places.
type walk struct {
	*Local
	ctx   context.Context
	until time.Time
	now   time.Time
	mount *host.MountTable // nil for another machine's tree
	found LocalFound
	seen  int // directories
}

func (w *walk) all() error {
	w.now = w.host.Now()
	w.found.Files = make([]LocalFile, 0, len(w.Local.found.Files))
	if w.host.Live() {
		var err error
		if w.mount, _, err = w.host.ReadMounts("/proc/self/mountinfo"); err != nil {
			w.found.Lost.Add("/proc/self/mountinfo: " + host.Cause(err)) // looking might never end
			w.Local.found, w.round = w.found, w.round+1
			return nil
		}
	}
	for _, place := range LocalPlaces() {
		if w.waits(place) {
			w.found.Lost.Add(place + ": may wait for another machine")
			continue
		}
		if st, err := w.host.Lstat(place); err != nil || st.Mode&0o170000 != 0o040000 {
			continue
		}
		if err := w.place(place); err != nil {
			return err
		}
	}
	w.round++
	for name, d := range w.dirs {
		if d.round != w.round {
			delete(w.dirs, name)
		}
	}
	slices.SortFunc(w.found.Files, func(a, b LocalFile) int { return strings.Compare(a.Path, b.Path) })
	w.Local.found = w.found
	return nil
}

// place walks one place level by level, so that what a bound cuts off is deep.
func (w *walk) place(top string) error {
	device, others := uint64(0), w.mounted(top)
	queue := append(w.queue[:0], localStep{top, 0})
	defer func() { w.queue = queue }()
	for n := 0; n < len(queue); n++ {
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		at := queue[n]
		if n >= w.most || w.seen >= mostLocalDirs || at.depth > mostLocalDepth || len(w.found.Files) >= mostLocalFiles || time.Now().After(w.until) {
			w.found.Over.AddMany(at.dir, len(queue)-n)
			return nil
		}
		w.seen++
		d := w.list(at.dir)
		switch {
		case host.Gone(d.err):
			continue
		case n == 0:
			device = d.at.File.Device
		case d.at.File.Device != device && d.err == nil:
			continue // another file system
		}
		if d.err != nil {
			w.found.Lost.Add(at.dir + ": " + host.Cause(d.err))
		}
		w.found.Files = append(w.found.Files, d.files...)
		for _, inner := range d.dirs {
			if !others[inner] {
				queue = append(queue, localStep{inner, at.depth + 1})
			}
		}
	}
	return nil
}

// waits reports whether to look at a place may wait for another machine.
func (w *walk) waits(place string) bool {
	if w.mount == nil {
		return false
	}
	m, known := w.mount.Covering(place)
	return known && m.Waits()
}

// mounted tells where other file systems are mounted below a place. They are
// known before they are looked at: that might never end.
func (w *walk) mounted(place string) map[string]bool {
	if w.mount == nil {
		return nil
	}
	targets := make(map[string]bool)
	for _, m := range w.mount.Below(place) {
		targets[m.Target] = m.Target != place
	}
	return targets
}

// list gives a directory as it was listed last, if it has not changed or it is not
// its turn.
func (w *walk) list(dir string) *localDir {
	d := w.dirs[dir]
	if d == nil || d.err != nil || d.turn == w.round%localTurns || w.now.Sub(d.read) > maxListingAge {
		d = w.ask(dir, d)
	}
	d.round = w.round + 1
	return d
}

func (w *walk) ask(dir string, d *localDir) *localDir {
	at := StampOf(w.host, dir)
	if d != nil && d.at == at && at != (Stamp{}) && w.now.Sub(d.read) <= maxListingAge {
		return d
	}
	if d == nil {
		d = &localDir{turn: len(w.dirs) % localTurns}
	}
	d = &localDir{at: at, read: w.now, turn: d.turn}
	d.err = d.fill(w.host, dir)
	w.dirs[dir] = d
	return d
}

func (d *localDir) fill(h *host.Host, dir string) error {
	f, err := h.OpenDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	entries, err := f.ReadDir(mostEntries + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(entries) > mostEntries {
		entries, err = entries[:mostEntries], ErrTooMany
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	names := make(map[string]bool)
	for _, e := range entries {
		names[e.Name()] = true
	}
	for _, e := range entries {
		switch {
		case e.IsDir():
			if entered(dir, e.Name(), names) {
				d.dirs = append(d.dirs, path.Join(dir, e.Name()))
			}
		case e.Type().IsRegular():
			if kind, ok := kindOf(h, dir, e); ok {
				d.files = append(d.files, LocalFile{path.Join(dir, e.Name()), kind})
			}
		}
	}
	d.dirs, d.files = slices.Clip(d.dirs), slices.Clip(d.files)
	return err
}

// entered reports whether a walk goes into a directory: what package managers of
// languages fill has descriptions of its own, of which beside says the names.
func entered(dir, name string, beside map[string]bool) bool {
	switch name {
	case "node_modules", "site-packages", "dist-packages", "__pycache__", ".git", ".svn", ".hg", ".cache", ".npm", "lost+found":
		return false
	case "mod", "registry":
		return path.Base(dir) != "pkg" && path.Base(dir) != ".cargo" // downloads of Go and of Cargo
	case "gems", "extensions", "cache", "doc", "build_info":
		return !beside["specifications"]
	}
	if beside["autoload.php"] && beside["composer"] {
		return name == "composer"
	}
	return true
}

// kindOf says why a file matters, if it does.
func kindOf(h *host.Host, dir string, e fs.DirEntry) (FileKind, bool) {
	name := e.Name()
	switch {
	case strings.HasSuffix(name, ".deps.json"):
		return Deps, true
	case name == "installed.json" && path.Base(dir) == "composer":
		return Composer, true
	case strings.HasSuffix(name, ".gemspec"):
		return Gemspec, inSpecifications(dir)
	}
	if kind, ok := runs(h, dir, e); ok || !licence.File(name) { // a program may have any name
		return kind, ok
	}
	return Terms, true
}

// runs tells programs and libraries by their names, permissions and first bytes.
func runs(h *host.Host, dir string, e fs.DirEntry) (FileKind, bool) {
	name := e.Name()
	library := strings.HasSuffix(name, ".so") || strings.Contains(name, ".so.")
	st, err := h.Lstat(path.Join(dir, name))
	if err != nil || !library && st.Mode&0o111 == 0 || st.Size < 4 {
		return 0, false
	}
	f, err := h.Open(path.Join(dir, name))
	if err != nil {
		return ELF, !host.Gone(err) // who reads it will say what is wrong
	}
	defer f.Close()
	var head [4]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, false
	}
	switch {
	case library:
		return Library, program.IsELF(head[:])
	case head[0] == '#' && head[1] == '!':
		return Script, true
	}
	return ELF, program.IsELF(head[:])
}

func inSpecifications(dir string) bool {
	return path.Base(dir) == "specifications" || path.Base(dir) == "default" && path.Base(path.Dir(dir)) == "specifications"
}

// IsTerms reports whether a file of this name has the terms of what lies beside it.
// Others that begin so may be a customer's key, of which nothing is shown.
func IsTerms(name string) bool {
	stem := strings.ToUpper(name)
	for _, ext := range []string{".TXT", ".MD", ".RST"} {
		stem = strings.TrimSuffix(stem, ext)
	}
	switch stem {
	case "LICENSE", "LICENCE", "COPYING", "UNLICENSE", "EULA":
		return true
	}
	return false
}
