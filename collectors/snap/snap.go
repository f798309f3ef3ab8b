// Package snap reads which snaps are installed, under which terms, and which of
// them owns each program that runs from one.
//
// A snap is an image that snapd mounts; what it says of itself is read where the
// image is mounted, /snap/NAME/current/meta/snap.yaml, or /var/lib/snapd/snap on
// systems without /snap. Images are not opened: of one that is not mounted only
// the name is known, and that is a gap. The terms are the publisher's word. What a
// snap brings beside its own program is not listed.
package snap

import (
	"context"
	"path"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const (
	name      = "snap"
	mostSnaps = 1024
	dirImages = "/var/lib/snapd/snaps"
)

// Collector reads snaps. It keeps what it read between rounds and is not safe for
// concurrent use.
type Collector struct {
	host  *host.Host
	tree  installed.Tree
	snaps installed.Files[inventory.Component]
}

// New returns a collector of the snaps below h's root.
func New(h *host.Host) *Collector { return &Collector{host: h, tree: installed.Tree{Host: h}} }

// Collect returns the snaps, and the owners of the programs among seen.Processes.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.tree.Begin()
	c.snaps.Begin()
	var parts installed.Parts
	var damaged, over installed.Tally
	mounted := make(map[string]string) // package URL by directory of the revision
	known := make(map[string]bool)
	base := "/snap"
	if installed.StampOf(c.host, base) == (installed.Stamp{}) {
		base = "/var/lib/snapd/snap"
	}
	for i, snap := range c.tree.List(base) {
		revision, err := c.host.Readlink(path.Join(base, snap, "current"))
		dir := path.Join(base, snap, path.Base(revision))
		file := path.Join(dir, "meta/snap.yaml")
		if err != nil || installed.StampOf(c.host, file) == (installed.Stamp{}) {
			continue
		}
		if i >= mostSnaps {
			over.Add(file)
			continue
		}
		known[snap] = true
		component, err := c.snaps.Get(c.host, file, func() (inventory.Component, error) { return read(c.host, file) })
		if err != nil {
			damaged.Add(file + ": " + host.Cause(err))
			continue
		}
		parts.Add(installed.Package{}, component)
		mounted[dir] = component.PURL
	}
	unmounted := c.unmounted(known)
	gaps := damaged.Gap(nil, name, "descriptions of snaps cannot be read")
	gaps = unmounted.Gap(gaps, name, "snaps are not mounted: their versions and terms are not known")
	gaps = c.tree.Lost.Gap(gaps, name, "directories of snaps cannot be listed whole")
	gaps = over.Gap(gaps, name, "too many snaps")
	programs, many := installed.Programs(c.host, seen)
	facts := parts.Facts(many.Gap(gaps, name, "too many different programs"))
	for _, p := range programs {
		if purl, ok := mounted[revisionOf(base, p.Path)]; ok {
			facts.Owners = append(facts.Owners, inventory.Owner{Path: p.Path, File: p.File, PURL: purl})
		}
	}
	return facts, nil
}

// unmounted counts the images of which none of that name is mounted. Images are
// named NAME_REVISION.snap, and old revisions stay beside the new.
func (c *Collector) unmounted(known map[string]bool) (lost installed.Tally) {
	for _, image := range c.tree.List(dirImages) {
		file, ok := strings.CutSuffix(image, ".snap")
		snap, _, revised := strings.Cut(file, "_")
		if ok && revised && !known[snap] {
			known[snap] = true
			lost.Add(path.Join(dirImages, image))
		}
	}
	return lost
}

// revisionOf gives BASE/NAME/REVISION of a path below it.
func revisionOf(base, file string) string {
	rest, ok := strings.CutPrefix(file, base+"/")
	if !ok {
		return ""
	}
	words := strings.SplitN(rest, "/", 3)
	if len(words) < 3 {
		return ""
	}
	return path.Join(base, words[0], words[1])
}
