// Package gobinary reads which Go modules are linked into programs, from what
// the compiler writes into each: the main module, the modules that it was built
// from, and the release of Go.
//
// It looks at the programs that run from this machine's files, and at those below
// /opt, /srv, /usr/local, /var/www and in the homes. It does not
// see programs that were packed, whose build information was removed, or whose
// file was deleted while they run. Of a container the room for these asks after the
// programs that run. Distributions often build without modules: then there is nothing
// to see but Go itself.
//
// Nothing there says under which terms a module is; they are not known. Of a
// program that a system package owns the main module is another identity of that
// component, not one more; the modules that it was built from are components. That a
// program names its modules does not say who put it here: it gets no owner.
package gobinary

import (
	"context"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const (
	name      = "gobinary"
	mostFiles = 16 << 10
)

// Collector reads modules of Go programs. It keeps what it read between rounds
// and is not safe for concurrent use.
type Collector struct {
	host  *host.Host
	local *installed.Local
	seen  installed.Seen
	files installed.Files[build]
	owned installed.Owned
}

// New returns a collector of the Go programs below h's root. local is the walk
// that it shares with other rooms; without one it looks at what runs.
func New(h *host.Host, local *installed.Local) *Collector { return &Collector{host: h, local: local} }

// Collect returns the modules of all Go programs that were found.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.files.Begin()
	var local []string
	if c.local != nil {
		found, err := c.local.Find(ctx, &c.seen)
		if err != nil {
			return inventory.Facts{}, err
		}
		local = found.Named(installed.ELF)
	}
	files, over := c.find(seen, local)
	builds := make(map[string]build)
	var programs []string // those with Go in them
	var unread installed.Tally
	for i, file := range files {
		if i%16 == 0 && ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		b, err := c.files.Get(c.host, file, func() (build, error) { return read(c.host, file) })
		switch {
		case err != nil && !host.Gone(err):
			unread.Add(file + ": " + host.Cause(err))
		case err == nil && len(b.modules) > 0:
			builds[file] = b
			programs = append(programs, file)
		}
	}
	owned, lists, err := c.owned.Among(ctx, c.host, programs)
	if err != nil {
		return inventory.Facts{}, err
	}
	var parts installed.Parts
	for _, file := range programs {
		modules := builds[file].modules
		if builds[file].main {
			program := modules[0]
			program.Files = []string{installed.Resolved(c.host, file)}
			parts.Add(owned(file), program)
			modules = modules[1:]
		}
		for i := range modules {
			parts.Add(installed.Package{}, modules[i])
		}
	}
	gaps := unread.Gap(nil, name, "the build information of programs cannot be read")
	gaps = lists.Gap(gaps, name, "file lists of system packages cannot be read: some Go programs may be listed twice")
	gaps = over.Gap(gaps, name, "too many programs")
	return parts.Facts(gaps), nil
}

// find lists, sorted, the files that may be Go programs.
func (c *Collector) find(seen *inventory.Facts, local []string) (files []string, over installed.Tally) {
	running := make(map[string]bool)
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if _, known := running[p.Executable]; !known || !running[p.Executable] {
			running[p.Executable] = installed.Native(c.host, p)
		}
	}
	for file, native := range running {
		if native {
			files = append(files, file)
		}
	}
	files = append(files, local...)
	slices.Sort(files)
	files = slices.Compact(files)
	if len(files) > mostFiles {
		for _, file := range files[mostFiles:] {
			over.Add(file)
		}
		files = files[:mostFiles]
	}
	return files, over
}
