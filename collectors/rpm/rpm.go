// Package rpm reads which packages of RPM are installed, under which terms, and
// which of them owns each program that runs.
//
// The database is in /var/lib/rpm or /usr/lib/sysimage/rpm, in one of three
// formats. A machine without one has no such packages. The terms are those that
// the package's maker wrote: SPDX expressions today, and before that Fedora's own
// names, of which the usual ones are understood. The database does not say from
// which repository a package came.
//
// The database is read again when it has changed, and when a program runs that
// did not before, for its owner. Changes that SQLite has not written back to the
// file are not seen; that is a gap, and seldom lasts.
package rpm

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/rpmdb"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

const (
	name       = "rpm"
	mostOwners = 64 << 10
)

// Collector reads packages of RPM. It keeps the database between rounds and is
// not safe for concurrent use.
type Collector struct {
	host       *host.Host
	at         version
	components []inventory.Component
	gaps       []inventory.Gap
	owners     map[string]int // index of the owner, by path; -1 none
}

// version is all that the packages depend on.
type version struct {
	vendor, path  string
	file, pending installed.Stamp
}

// New returns a collector of the packages below h's root.
func New(h *host.Host) *Collector { return &Collector{host: h} }

// Collect returns the installed packages, and the owners of the programs among
// seen.Processes.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	vendor := "linux"
	if seen.Machine != nil && seen.Machine.OS != "" {
		vendor = seen.Machine.OS
	}
	programs, over := installed.Programs(c.host, seen)
	facts, err := c.Read(ctx, vendor, programs)
	facts.Gaps = over.Gap(facts.Gaps, name, "too many different programs")
	return facts, err
}

// Read returns the installed packages, whose URLs name the vendor, and the owners
// of programs that are known to run from the files below the root.
func (c *Collector) Read(ctx context.Context, vendor string, programs []installed.Program) (inventory.Facts, error) {
	path := rpmdb.Find(c.host)
	if path == "" {
		*c = Collector{host: c.host}
		return inventory.Facts{}, nil
	}
	at := version{vendor: vendor, path: path, file: installed.StampOf(c.host, path), pending: installed.StampOf(c.host, path+"-wal")}
	if c.at != at {
		*c = Collector{host: c.host, at: at}
	}
	wanted := make(map[string]int)
	for _, p := range programs {
		if _, known := c.owners[p.Path]; !known {
			wanted[p.Path] = -1
		}
	}
	if c.owners == nil || len(wanted) > 0 {
		if err := c.read(ctx, wanted); err != nil {
			*c = Collector{host: c.host} // not read to its end
			return inventory.Facts{}, err
		}
	}
	var owners []inventory.Owner
	for _, p := range programs {
		if i, known := c.owners[p.Path]; known && i >= 0 {
			owners = append(owners, inventory.Owner{Path: p.Path, File: p.File, PURL: c.components[i].PURL})
		}
	}
	return inventory.Facts{
		Components: slices.Clip(c.components), Owners: owners, Gaps: slices.Clip(c.gaps),
	}, nil
}

// read reads the whole database, for its packages and for who has the wanted
// files.
func (c *Collector) read(ctx context.Context, wanted map[string]int) error {
	var all []inventory.Component
	lost, err := rpmdb.Each(ctx, c.host, c.at.path, func(h *rpmdb.Header) {
		component := describe(h, c.at.vendor)
		if h.Name == "gpg-pubkey" || component.Name == "" { // a key that packages are checked with
			return
		}
		if len(wanted) > 0 {
			h.Files(func(moved []byte) { installed.Claim(wanted, moved, len(all)) })
		}
		all = append(all, component)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	gap := inventory.Gap{Collector: name, Kind: inventory.KindComponents, Subject: c.at.path}
	var gaps []inventory.Gap
	if err != nil {
		gap.Reason = host.Text(host.Cause(err), 256)
		gaps = append(gaps, gap)
	}
	if lost > 0 {
		gap.Reason, gap.Lost = "damaged entries: their packages are not known", lost
		gaps = append(gaps, gap)
	}
	if c.owners == nil || len(c.owners) > mostOwners {
		c.owners = make(map[string]int)
	}
	maps.Copy(c.owners, wanted)
	c.components, c.gaps = all, gaps
	return nil
}

// describe turns what a package says of itself into a component.
func describe(h *rpmdb.Header, vendor string) inventory.Component {
	text := func(raw string) string { return host.Text(strings.TrimSpace(raw), 256) }
	c := inventory.Component{Ecosystem: name, Name: text(h.Name), Version: text(h.Version), Arch: text(h.Arch), Supplier: text(h.Vendor)}
	if release := text(h.Release); release != "" {
		c.Version += "-" + release
	}
	epoch := ""
	if h.Epoch > 0 {
		epoch = strconv.FormatUint(uint64(h.Epoch), 10)
	}
	c.PURL = installed.PURL("rpm", strings.ToLower(vendor), c.Name, c.Version, "arch", c.Arch, "epoch", epoch)
	if epoch != "" {
		c.Version = epoch + ":" + c.Version
	}
	if c.Supplier == "" {
		c.Supplier = text(h.Packager)
	}
	if source := sourceOf(text(h.Built)); source != c.Name {
		c.Source = source
	}
	if declared := text(h.Licence); declared != "" {
		c.Licence = inventory.Licence{Declared: declared, Source: "package"}
		c.Licence.Expression, c.Licence.Freedom = spdx.Fedora(strings.ToValidUTF8(h.Licence, "\ufffd"))
	}
	return c
}

// sourceOf gives the name of the source package, of NAME-VERSION-RELEASE.src.rpm.
func sourceOf(file string) string {
	for range 2 {
		i := strings.LastIndexByte(file, '-')
		if i < 0 {
			return ""
		}
		file = file[:i]
	}
	return file
}
