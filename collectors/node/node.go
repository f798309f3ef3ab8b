// Package node reads which packages of Node.js are installed, from the
// package.json of each.
//
// It looks in the directories for all users, below /usr/lib, /usr/local/lib and
// /usr/share/nodejs, and where Node.js programs that run look themselves: the
// node_modules of the script's directory, of the working directory and of those
// above. The program's own package counts, too, where it has a name and a
// version. It does not see what a bundler has put into one file. Containers are
// looked at, each like a machine, by the room for these.
//
// A package whose package.json belongs to a system package is another identity of
// that component, not one more.
package node

import (
	"context"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

const (
	name       = "node"
	modules    = "node_modules"
	mostFound  = 16 << 10 // packages of one machine
	mostDepth  = 16       // packages within packages, and directories above a script
	mostPlaces = 1024     // directories where programs look
)

// Collector reads packages of Node.js. It keeps what it read between rounds and
// is not safe for concurrent use.
type Collector struct {
	host     *host.Host
	texts    *licence.Texts
	tree     installed.Tree
	packages installed.Files[found] // by directory, which a change of the package changes
	owned    installed.Owned
}

// found is a directory as a package.
type found struct {
	dir      inventory.FileID
	there    bool // it is a directory
	manifest manifest
	err      error
	nested   bool // it has packages of its own
	location []inventory.Location
}

// New returns a collector of the packages below h's root. Texts of licences are
// read by texts.
func New(h *host.Host, texts *licence.Texts) *Collector {
	return &Collector{host: h, texts: texts, tree: installed.Tree{Host: h}}
}

// Collect returns the packages that no system package has.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.tree.Begin()
	c.packages.Begin()
	programs, lost := c.programs(seen)
	s := search{Collector: c, ctx: ctx, at: make(map[string]found), known: make(map[inventory.FileID]bool)}
	for _, dir := range programs.own {
		s.one(dir) // what it uses is among the places
	}
	for _, place := range []string{"/usr/lib/" + modules, "/usr/share/nodejs", "/usr/local/lib/" + modules, "/usr/lib64/" + modules} {
		s.modules(place, 0)
	}
	for _, place := range programs.places {
		s.modules(place, 0)
	}
	if ctx.Err() != nil {
		return inventory.Facts{}, ctx.Err()
	}
	owned, unread, err := c.owned.Among(ctx, c.host, s.files)
	if err != nil {
		return inventory.Facts{}, err
	}
	var parts installed.Parts
	var damaged installed.Tally
	for _, file := range s.files {
		at := s.at[file]
		own := slices.Contains(programs.own, path.Dir(file)) // need not have a name
		switch {
		case at.err != nil && (!own || !at.manifest.incomplete) && owned(file).None():
			damaged.Add(file + ": " + host.Cause(at.err))
		case at.err == nil:
			component, owner := at.manifest.component(), owned(file)
			if owner.None() {
				component.Locations = at.location
			}
			parts.Add(owner, component)
		}
	}
	gaps := c.tree.Lost.Gap(nil, name, "directories of Node.js packages cannot be listed whole")
	gaps = damaged.Gap(gaps, name, "descriptions of Node.js packages cannot be read")
	gaps = unread.Gap(gaps, name, "file lists of system packages cannot be read: some Node.js packages may be listed twice")
	gaps = lost.Gap(gaps, name, "directories of running Node.js programs are not known")
	gaps = s.over.Gap(gaps, name, "too many Node.js packages, or too deep within each other")
	return parts.Facts(gaps), nil
}

// search goes through directories of packages, each once whatever links lead to
// it.
type search struct {
	*Collector
	ctx   context.Context
	files []string // package.json of each package
	at    map[string]found
	known map[inventory.FileID]bool
	over  installed.Tally
}

// modules reads a directory of packages; those of an @scope lie one deeper.
func (s *search) modules(dir string, depth int) {
	if s.ctx.Err() != nil {
		return
	}
	for _, entry := range s.tree.List(dir) {
		at := path.Join(dir, entry)
		switch {
		case entry == ".pnpm": // pnpm keeps all packages there, linked from where they are used
			for _, inner := range s.tree.List(at) {
				if inner[0] != '.' && inner != "lock.yaml" {
					s.modules(path.Join(at, inner, modules), depth+1)
				}
			}
		case entry[0] == '.':
		case entry[0] == '@':
			for _, inner := range s.tree.List(at) {
				s.add(path.Join(at, inner), depth)
			}
		default:
			s.add(at, depth)
		}
	}
}

// add reads a package, and those that it brings.
func (s *search) add(dir string, depth int) {
	switch {
	case !s.one(dir):
	case depth < mostDepth:
		s.modules(path.Join(dir, modules), depth+1)
	default:
		s.over.Add(dir)
	}
}

// one reads one package and says whether it brings others.
func (s *search) one(dir string) bool {
	if len(s.files) >= mostFound {
		s.over.Add(dir)
		return false
	}
	at, err := s.packages.Get(s.host, dir, func() (found, error) { return s.read(dir) })
	if err != nil || !at.there || s.known[at.dir] {
		return false
	}
	s.known[at.dir] = true
	if file := path.Join(dir, "package.json"); at.err == nil || !host.Gone(at.err) {
		s.files = append(s.files, file)
		s.at[file] = at
	}
	return at.nested
}

// located is where a package lies. One among others was put there by an installer;
// elsewhere only its own package.json says what it is.
func located(h *host.Host, dir string) []inventory.Location {
	dir = installed.Resolved(h, dir)
	among := strings.Contains(dir, "/"+modules+"/") || strings.HasPrefix(dir, "/usr/share/nodejs/")
	return []inventory.Location{{Path: host.Text(dir, 4096), Recorded: among}}
}

func (s *search) read(dir string) (found, error) {
	st, err := s.host.Stat(dir)
	if err != nil || st.Mode&0o170000 != 0o040000 {
		return found{}, nil //nolint:nilerr // what is gone or no directory is no package
	}
	at := found{dir: inventory.FileID{Device: st.Dev, Inode: st.Ino}, there: true}
	data, err := s.host.ReadFile(path.Join(dir, "package.json"), sizeManifest)
	if err == nil {
		at.manifest, err = parseManifest(data)
	}
	if err == nil {
		at.manifest.licence = s.complete(dir, &at.manifest)
	}
	at.err = err
	at.location = located(s.host, dir)
	at.nested = installed.StampOf(s.host, path.Join(dir, modules)) != installed.Stamp{}
	return at, nil
}

// complete heeds texts: where the field leaves the terms open the file that it names,
// as npm's manual has it, else all.
func (s *search) complete(dir string, m *manifest) inventory.Licence {
	l, texts := m.licence, installed.Licences(s.host, dir)
	if licence.Open(l) {
		if file, ok := strings.CutPrefix(l.Declared, "SEE LICENSE IN "); ok && path.Base(file) == strings.TrimPrefix(file, "./") {
			if text, err := s.host.ReadFile(path.Join(dir, path.Base(file)), licence.MostText); err == nil {
				texts = [][]byte{text}
			}
		}
	}
	return licence.Named(s.texts.Complete(l, texts...), strings.TrimPrefix(m.scope, "@")+"-"+m.name)
}
