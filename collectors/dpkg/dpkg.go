// Package dpkg reads which Debian packages are installed, under which terms,
// and which of them owns each program that runs.
//
// # What is installed
//
// The database is /var/lib/dpkg/status in the format of deb822(5), with the
// changes of a dpkg that is at work in updates/, and status.d/ as images
// without dpkg have it. A package counts as installed while its files are
// unpacked: in the middle of an upgrade a program does not lose its owner. One
// that is half-installed has some files at most and is a gap. Whether the
// status is whole shows in the file lists beside it: a list without a package
// is a package that was lost.
//
// # Free or not
//
// The archive area says more than any text, since an archive puts into an area
// what people have read. Areas other than main are written in the Section of
// each package. No prefix means main, but only in Debian's archive, and dpkg
// does not record where a package came from. The index files of apt tell it of most
// packages, not where they are compressed and not of a version that was superseded;
// so they fill [inventory.Component.Origin] and do not decide this. Two signs must agree instead: every repository that apt has
// lists of calls itself Debian, and the package's maintainer has an address at
// Debian. The second catches what came from a repository that was removed since
// or from a file. Both are claims that apt's keys, not this program, have
// checked. Otherwise the area is unknown and the text decides: of a
// machine-readable copyright file the stanza of the package's own files, else that
// of all files, with what the texts below its names say where the names do not; of
// prose the terms that it grants and quotes. The mere mention of a licence does not
// show that a package is free, nor does the licence of the packaging.
//
// # Who owns a program
//
// File lists are long and programs few, so the paths of running programs are
// collected first and the lists streamed past them once; a list is not kept.
// Lists spell paths as packages ship them: /bin/sh is found as /usr/bin/sh where
// the root has merged the two, and a diverted file belongs to the package that
// ships it under its other name. A path proves nothing about another root: the
// running file must be the host's file at that path, or, where it was replaced
// meanwhile, must run in the host's own view of the file system.
//
// # Between rounds
//
// A quiet round costs a few calls of stat(2). The database is read again when
// the status, the directories beside it or apt's lists have changed, and then
// only those copyright files that are new.
package dpkg

import (
	"context"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// Places below the root.
const (
	dirAdmin       = "/var/lib/dpkg"
	fileStatus     = dirAdmin + "/status"
	dirStatus      = dirAdmin + "/status.d"
	dirUpdates     = dirAdmin + "/updates"
	dirInfo        = dirAdmin + "/info"
	fileDiversions = dirAdmin + "/diversions"
	dirDoc         = "/usr/share/doc"
	dirApt         = "/var/lib/apt/lists"
)

// Collector reads Debian packages. It keeps the database between rounds and is
// not safe for concurrent use.
type Collector struct {
	host   *host.Host
	texts  *licence.Texts
	db     *database
	origin bool // where packages came from is asked for
	owners ownership
}

// New returns a collector of the packages below h's root. Texts of licences are
// read by texts.
func New(h *host.Host, texts *licence.Texts) *Collector { return &Collector{host: h, texts: texts} }

// Collect returns the installed packages, and the owners of the programs among
// seen.Processes. The package URLs name seen.Machine's operating system.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	vendor := "linux" // what os-release(5) says of a system without an ID
	if seen.Machine != nil && seen.Machine.OS != "" {
		vendor = seen.Machine.OS
	}
	programs, gaps := c.programs(seen)
	c.origin = true // an image has seldom lists, and what a container writes there costs time
	facts, err := c.Read(ctx, vendor, programs)
	facts.Gaps = append(facts.Gaps, gaps...)
	return facts, err
}

// Read returns the installed packages, whose URLs name the vendor, and the owners
// of programs that are known to run from the files below the root.
func (c *Collector) Read(ctx context.Context, vendor string, programs []installed.Program) (inventory.Facts, error) {
	if now := c.version(vendor); c.db == nil || c.db.version != now {
		db, err := read(ctx, c.host, c.texts, now, c.db)
		if err != nil {
			return inventory.Facts{}, err
		}
		if c.origin {
			if err := db.originate(ctx, c.host); err != nil {
				return inventory.Facts{}, err
			}
		}
		c.db, c.owners = db, ownership{}
	}
	owners, err := c.own(ctx, programs)
	if err != nil {
		return inventory.Facts{}, err
	}
	return inventory.Facts{
		Components: slices.Clip(c.db.components),
		Owners:     owners,
		Gaps:       slices.Concat(c.db.gaps, c.owners.gaps),
	}, nil
}

// stamp changes whenever a file does. It is zero for a file that cannot be
// found.
type stamp struct {
	file         inventory.FileID
	size         int64
	mtime, ctime int64 // nanoseconds
}

func stampOf(h *host.Host, path string) stamp {
	st, err := h.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{
		file:  inventory.FileID{Device: st.Dev, Inode: st.Ino},
		size:  st.Size,
		mtime: st.Mtim.Nano(),
		ctime: st.Ctim.Nano(),
	}
}

// version is all that the database depends on.
type version struct {
	vendor                                          string
	status, images, updates, info, diversions, apts stamp
}

func (c *Collector) version(vendor string) version {
	return version{
		vendor:     vendor,
		status:     stampOf(c.host, fileStatus),
		images:     stampOf(c.host, dirStatus),
		updates:    stampOf(c.host, dirUpdates),
		info:       stampOf(c.host, dirInfo),
		diversions: stampOf(c.host, fileDiversions),
		apts:       stampOf(c.host, dirApt),
	}
}

// gap is one of this collector's gaps about packages.
func gap(subject, reason string, lost int) inventory.Gap {
	return inventory.Gap{
		Collector: "dpkg",
		Kind:      inventory.KindComponents,
		Subject:   subject,
		Reason:    reason,
		Lost:      lost,
	}
}

// tally counts things of one kind that were lost and keeps the first as the
// example to show.
type tally struct {
	example string
	count   int
}

func (t *tally) add(example string) {
	if t.count == 0 {
		t.example = example
	}
	t.count++
}

// gap appends what was lost to gaps, if anything was.
func (t *tally) gap(gaps []inventory.Gap, kind, reason string) []inventory.Gap {
	if t.count == 0 {
		return gaps
	}
	g := gap(t.example, reason, t.count)
	g.Kind = kind
	return append(gaps, g)
}
