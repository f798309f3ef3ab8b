// Package file lists the programs and libraries that nothing else accounts for:
// files in the ELF format, AppImages and scripts below /opt, /srv, /usr/local,
// /var/www and in the homes that no system package owns. So nothing that was put
// there by hand is silently left out.
//
// What lies in one directory of those places is one component, a tree, whatever
// the number of its programs: /opt/NAME. A file that lies in such a place itself,
// as in /usr/local/bin, is one component, and so is each AppImage. Go programs
// that name their module and Rust programs that name their crates are left to the
// rooms of those; packages of Python, Node.js, Ruby and PHP lie in directories
// that the walk does not enter. A tree of scripts alone is one, too.
//
// The component is named by its path. Its version and maker come from the package
// metadata that a builder may have left in it (ELF note FDO), its licence from the
// files LICENSE, COPYING and the like at the top of the tree. That it is listed does
// not say who put it there: nothing is recorded of it, and it owns no program.
package file

import (
	"cmp"
	"context"
	"path"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

const (
	name      = "file"
	mostUnits = 8 << 10
	mostTerms = 16 // files with terms of one unit
)

// Collector lists files. It keeps what it read between rounds and is not safe for
// concurrent use.
type Collector struct {
	host     *host.Host
	local    *installed.Local
	texts    *licence.Texts
	seen     installed.Seen
	programs installed.Files[described]
	terms    installed.Files[inventory.Licence]
	owned    installed.Owned
}

// New returns a collector of the files below h's root. local is the walk that it
// shares with other rooms, whose gaps it reports. texts reads terms.
func New(h *host.Host, local *installed.Local, texts *licence.Texts) *Collector {
	return &Collector{host: h, local: local, texts: texts}
}

// Collect returns the trees and single files.
func (c *Collector) Collect(ctx context.Context, _ *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	found, err := c.local.Find(ctx, &c.seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	c.programs.Begin()
	c.terms.Begin()
	units, over := group(found.Files)
	r := round{Collector: c, over: over}
	owned, lists, err := c.owned.Among(ctx, c.host, asked(units))
	if err != nil {
		return inventory.Facts{}, err
	}
	r.owned = owned
	for i := range units {
		if ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		r.add(&units[i])
	}
	gaps := found.Lost.Gap(nil, name, "directories where software is put by hand cannot be listed whole")
	gaps = found.Over.Gap(gaps, name, "too many directories where software is put by hand, or too deep: what is in the rest is not known")
	gaps = r.unread.Gap(gaps, name, "programs cannot be read")
	gaps = r.terms.Gap(gaps, name, "files with terms cannot be read")
	gaps = lists.Gap(gaps, name, "file lists of system packages cannot be read: some files may be listed twice")
	gaps = r.over.Gap(gaps, name, "too many programs that no package owns")
	return r.parts.Facts(gaps), nil
}

// asked lists the files of which the owner is looked for.
func asked(units []unit) []string {
	var paths []string
	for i := range units {
		for _, f := range units[i].files {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// round is what one round gathers.
type round struct {
	*Collector
	owned               func(string) installed.Package
	parts               installed.Parts
	unread, terms, over installed.Tally
}

// add makes a component of a unit, and of each AppImage in it.
func (r *round) add(u *unit) {
	var first described // the first program with metadata
	rest, programs, scripts := 0, 0, 0
	for _, f := range u.files {
		if !r.owned(f.Path).None() {
			continue
		}
		if f.Kind == installed.Script {
			scripts++
			continue
		}
		d := described{}
		if f.Kind == installed.ELF || u.single() {
			var err error
			d, err = r.programs.Get(r.host, f.Path, func() (described, error) { return read(r.host, f.Path, u.single()) })
			if err != nil && !host.Gone(err) {
				r.unread.Add(f.Path + ": " + host.Cause(err))
			}
		}
		programs++
		switch {
		case d.appImage > 0 && !u.single():
			component := d.component(f.Path)
			component.Files = []string{f.Path}
			r.parts.Add(installed.Package{}, component)
		case d.elsewhere: // a module or a crate
		default:
			rest++
			if first.name == "" {
				first = d
			}
		}
	}
	if rest == 0 && (programs > 0 || scripts == 0) {
		return
	}
	component := first.component(u.path)
	if u.single() {
		component.Files = []string{u.path}
	} else {
		component.Locations = []inventory.Location{{Path: host.Text(u.path, 4096)}}
	}
	if len(u.terms) > 0 {
		component.Licence = r.licence(u.terms)
	}
	r.parts.Add(installed.Package{}, component)
}

// licence gives what the files with terms say together: the name that the first
// has for them, and an answer where all say the same. One that cannot be read may
// say anything.
func (r *round) licence(files []string) inventory.Licence {
	var all inventory.Licence
	for i, file := range files {
		if i == mostTerms {
			r.terms.AddMany(file, len(files)-i)
			all.Expression, all.Freedom = "", inventory.FreedomUnknown
			break
		}
		l, err := r.Collector.terms.Get(r.host, file, func() (inventory.Licence, error) { return r.readTerms(file) })
		if err != nil && !host.Gone(err) {
			r.terms.Add(file + ": " + host.Cause(err))
		}
		switch declared := cmp.Or(all.Declared, l.Declared); {
		case i == 0:
			all = l
		case all.Expression != l.Expression || all.Freedom != l.Freedom:
			all = inventory.Licence{Declared: declared, Source: cmp.Or(all.Source, l.Source)}
		default:
			all.Declared = declared
		}
	}
	return all
}

// unit is what one component is made of.
type unit struct {
	path  string // of the tree, or of the single file
	files []installed.LocalFile
	terms []string // files with terms at the top of the tree
}

func (u *unit) single() bool { return len(u.files) == 1 && u.files[0].Path == u.path }

// group puts files that belong together into units, sorted by path.
func group(files []installed.LocalFile) (units []unit, over installed.Tally) {
	at := make(map[string]int)
	for _, f := range files {
		if f.Kind != installed.ELF && f.Kind != installed.Library && f.Kind != installed.Script {
			continue
		}
		top := unitOf(f.Path)
		i, known := at[top]
		if !known {
			if i = len(units); i >= mostUnits {
				over.Add(f.Path)
				continue
			}
			at[top] = i
			units = append(units, unit{path: top})
		}
		units[i].files = append(units[i].files, f)
	}
	for _, f := range files {
		if i, known := at[path.Dir(f.Path)]; known && f.Kind == installed.Terms {
			units[i].terms = append(units[i].terms, f.Path)
		}
	}
	return slices.Clip(units), over
}

// unitOf gives the tree that a file belongs to, or the file itself where it lies
// where many do.
func unitOf(file string) string {
	base := path.Dir(file)
	for !shared(base) { // "/" is
		base = path.Dir(base)
	}
	unit := file
	for dir := path.Dir(file); dir != base; dir = path.Dir(dir) {
		unit = dir
	}
	return unit
}

// shared reports whether what lies in a directory does not belong together.
func shared(dir string) bool {
	switch dir {
	case "/", "/opt", "/srv", "/var/www", "/home", "/root":
		return true
	}
	parent, base := path.Split(dir)
	parent = path.Clean(parent)
	home := parent == "/root" || path.Dir(parent) == "/home"
	switch base {
	case "bin", "sbin", "lib", "lib64", "libexec", "share", "games":
		return parent == "/usr/local" || home || path.Base(parent) == ".local" && shared(parent)
	case ".local":
		return home
	case "local":
		return parent == "/usr"
	}
	return parent == "/home"
}
