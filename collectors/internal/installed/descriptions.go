package installed

import (
	"context"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Descriptions reads files of which each describes one or more language packages.
// It keeps what it read between rounds.
type Descriptions struct {
	files Files[[]inventory.Component]
	owned Owned
}

// Read reads what has changed. kind names the packages for people. A file that a
// system package owns gives identities of that one, and may be damaged.
func (d *Descriptions) Read(
	ctx context.Context, h *host.Host, name, kind string, files []string, read func(path string) ([]inventory.Component, error),
) (Parts, []inventory.Gap, error) {
	d.files.Begin()
	owned, lists, err := d.owned.Among(ctx, h, files)
	if err != nil {
		return Parts{}, nil, err
	}
	var parts Parts
	var damaged Tally
	for i, file := range files {
		if i%64 == 0 && ctx.Err() != nil {
			return Parts{}, nil, ctx.Err()
		}
		owner := owned(file)
		components, err := d.files.Get(h, file, func() ([]inventory.Component, error) { return read(file) })
		if err != nil && !host.Gone(err) && owner.None() {
			damaged.Add(file + ": " + host.Cause(err))
		}
		for i := range components {
			parts.Add(owner, components[i])
		}
	}
	gaps := damaged.Gap(nil, name, "descriptions of "+kind+" cannot be read")
	gaps = lists.Gap(gaps, name, "file lists of system packages cannot be read: some "+kind+" may be listed twice")
	return parts, gaps, nil
}

// Named lists the files of a kind that a walk found.
func (f *LocalFound) Named(kind FileKind) []string {
	var paths []string
	for i := range f.Files {
		if f.Files[i].Kind == kind {
			paths = append(paths, f.Files[i].Path)
		}
	}
	return paths
}
