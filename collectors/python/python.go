// Package python reads which Python packages are installed, from the metadata
// that installers leave beside the code: NAME.dist-info/METADATA, or PKG-INFO of
// older ones.
//
// It looks where distributions and administrators install: below /usr/lib,
// /usr/local/lib, in /opt, and in the virtual environments of Python programs
// that run, told by the paths of the interpreter and of the script. It does not
// see what users installed for themselves, or what lies in other directories of a
// PYTHONPATH. Python that is linked into another program shows its packages only
// where they lie in one of those places. Containers are looked at, each like a
// machine, by the room for these.
//
// A package whose metadata belongs to a system package is another identity of that
// component, not one more; the distribution's word on its terms is the better one.
package python

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
	name            = "python"
	mostFound       = 16 << 10 // packages of one machine
	mostPlaces      = 1024     // directories of packages
	fileEnvironment = "pyvenv.cfg"
	packageDirs     = "python3*/*-packages" // site-packages, and dist-packages on Debian
)

// Collector reads Python packages. It keeps what it read between rounds and is
// not safe for concurrent use.
type Collector struct {
	host  *host.Host
	texts *licence.Texts
	tree  installed.Tree
	files installed.Files[metadata]
	lists installed.Files[[]inventory.Location]
	owned installed.Owned
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
	c.files.Begin()
	c.lists.Begin()
	files, over := c.find(seen)
	owned, unread, err := c.owned.Among(ctx, c.host, files)
	if err != nil {
		return inventory.Facts{}, err
	}
	var parts installed.Parts
	var damaged, unlisted installed.Tally
	for i, file := range files {
		if i%64 == 0 && ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		m, err := c.files.Get(c.host, file, func() (metadata, error) { return read(c.host, c.texts, file) })
		if err != nil {
			if !host.Gone(err) && owned(file).None() {
				damaged.Add(file + ": " + host.Cause(err))
			}
			continue
		}
		component, owner := m.component(), owned(file)
		if owner.None() {
			if component.Locations, err = c.located(file); err != nil {
				unlisted.Add(file + ": " + host.Cause(err))
			}
		}
		parts.Add(owner, component)
	}
	gaps := c.tree.Lost.Gap(nil, name, "directories that may have Python packages cannot be listed whole")
	gaps = damaged.Gap(gaps, name, "metadata of Python packages cannot be read")
	gaps = unlisted.Gap(gaps, name, "lists of files of Python packages cannot be read: their scripts show no package")
	gaps = unread.Gap(gaps, name, "file lists of system packages cannot be read: some Python packages may be listed twice")
	gaps = over.Gap(gaps, name, "too many Python packages")
	return parts.Facts(gaps), nil
}

// find lists the metadata files of packages.
func (c *Collector) find(seen *inventory.Facts) (files []string, over installed.Tally) {
	var places []string
	for _, base := range []string{"/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"} {
		places = append(places, c.tree.Glob(base, packageDirs)...)
	}
	for _, pattern := range []string{"*/lib*/", "*/*/lib*/"} {
		places = append(places, c.tree.Glob("/opt", pattern+packageDirs)...)
	}
	for _, prefix := range c.prefixes(seen) {
		places = append(places, c.tree.Glob(prefix, "lib*/"+packageDirs)...)
	}
	places = installed.Distinct(c.host, places)
	for i, place := range places {
		if i >= mostPlaces {
			over.Add(place)
			continue
		}
		for _, entry := range c.tree.List(place) {
			file := path.Join(place, entry)
			switch {
			case strings.HasSuffix(entry, ".dist-info"):
				file = path.Join(file, "METADATA")
			case strings.HasSuffix(entry, ".egg-info"):
				if len(c.tree.List(file)) > 0 {
					file = path.Join(file, "PKG-INFO")
				}
			default:
				continue
			}
			if len(files) >= mostFound {
				over.Add(file)
				continue
			}
			files = append(files, file)
		}
	}
	return files, over
}

// prefixes lists the installations and virtual environments of the Python
// programs that run. An environment's interpreter is a link to another, so that
// only what the program was called as shows it.
func (c *Collector) prefixes(seen *inventory.Facts) []string {
	var prefixes []string
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if !interpreter(p.Executable) || !installed.Native(c.host, p) {
			continue
		}
		if prefix := prefixOf(p.Executable); prefix != "" && prefix != "/usr" {
			prefixes = append(prefixes, prefix)
		}
		for _, word := range p.Arguments[:min(len(p.Arguments), 2)] {
			prefix := prefixOf(word)
			if prefix == "" || slices.Contains(prefixes, prefix) {
				continue
			}
			if installed.StampOf(c.host, path.Join(prefix, fileEnvironment)) != (installed.Stamp{}) {
				prefixes = append(prefixes, prefix)
			}
		}
	}
	slices.Sort(prefixes)
	return slices.Compact(prefixes)
}

func interpreter(executable string) bool {
	base := path.Base(executable)
	return strings.HasPrefix(base, "python") || strings.HasPrefix(base, "pypy")
}

// prefixOf gives PREFIX of PREFIX/bin/PROGRAM.
func prefixOf(program string) string {
	if !path.IsAbs(program) || strings.IndexByte(program, 0) >= 0 || len(program) > 4096 {
		return ""
	}
	dir := path.Dir(path.Clean(program))
	if path.Base(dir) != "bin" {
		return ""
	}
	return path.Dir(dir)
}
