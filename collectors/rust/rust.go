// Package rust reads which Rust crates are linked into programs, from the list
// that cargo-auditable has the linker write into each: section .dep-v0, JSON
// compressed by zlib.
//
// It looks at the programs that run from this machine's files, and at those below
// /opt, /srv, /usr/local, /var/www and in the homes. Programs that were built
// without cargo-auditable say nothing of their crates; collectors/file lists them
// as files. The list names no terms: they are not known.
//
// Of a program that a system package owns its own crate is another identity of
// that component, not one more; the crates that it was built from are components.
package rust

import (
	"context"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const (
	name      = "rust"
	mostFiles = 16 << 10
)

// Collector reads crates of Rust programs. It keeps what it read between rounds
// and is not safe for concurrent use.
type Collector struct {
	host  *host.Host
	local *installed.Local
	seen  installed.Seen
	files installed.Files[build]
	owned installed.Owned
}

// New returns a collector of the Rust programs below h's root. local is the walk
// that it shares with other rooms.
func New(h *host.Host, local *installed.Local) *Collector { return &Collector{host: h, local: local} }

// Collect returns the crates of all Rust programs that were found.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.files.Begin()
	found, err := c.local.Find(ctx, &c.seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	files, over := find(c.host, seen, found.Files)
	var programs []string // those with crates in them
	builds := make(map[string]build)
	var unread installed.Tally
	for i, file := range files {
		if i%16 == 0 && ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		b, err := c.files.Get(c.host, file, func() (build, error) { return read(c.host, file) })
		switch {
		case err != nil && !host.Gone(err):
			unread.Add(file + ": " + host.Cause(err))
		case err == nil && len(b.crates) > 0:
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
		b := builds[file]
		for i := range b.crates {
			owner, crate := installed.Package{}, b.crates[i]
			if i == b.root {
				owner, crate.Files = owned(file), []string{installed.Resolved(c.host, file)}
			}
			parts.Add(owner, crate)
		}
	}
	gaps := unread.Gap(nil, name, "the lists of crates in programs cannot be read")
	gaps = lists.Gap(gaps, name, "file lists of system packages cannot be read: some Rust programs may be listed twice")
	gaps = over.Gap(gaps, name, "too many programs")
	return parts.Facts(gaps), nil
}

// find lists, sorted, the files that may be Rust programs.
func find(h *host.Host, seen *inventory.Facts, local []installed.LocalFile) (files []string, over installed.Tally) {
	programs, over := installed.Programs(h, seen)
	for _, p := range programs {
		if at := installed.StampOf(h, p.Path); at.File == p.File { // not replaced since
			files = append(files, p.Path)
		}
	}
	for _, f := range local {
		if f.Kind == installed.ELF {
			files = append(files, f.Path)
		}
	}
	slices.Sort(files)
	files = slices.Compact(files)
	if len(files) > mostFiles {
		over.AddMany(files[mostFiles], len(files)-mostFiles)
		files = files[:mostFiles]
	}
	return files, over
}
