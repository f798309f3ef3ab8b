// Package apk reads which packages of Alpine Linux are installed, under which
// terms, and which of them owns each program that runs.
//
// All of it is in one file, /lib/apk/db/installed, or /usr/lib/apk/db/installed
// where /lib has moved. A machine without it has no such packages. The terms are
// what the package's maker wrote; apk does not keep from which repository a
// package came. As with other databases, that a package owns a file does not say
// that the file is unchanged.
//
// The file is read again when it has changed, and when a program runs that did
// not before, for its owner.
package apk

import (
	"bufio"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const (
	name         = "apk"
	sizeDatabase = 256 << 20
	sizeLine     = 64 << 10
	mostPackages = 64 << 10
	mostOwners   = 64 << 10
)

// Collector reads packages of Alpine Linux. It keeps the database between rounds
// and is not safe for concurrent use.
type Collector struct {
	host       *host.Host
	at         installed.Stamp
	vendor     string
	components []inventory.Component
	gaps       []inventory.Gap
	owners     map[string]int // index of the owner, by path; -1 none
}

// New returns a collector of the packages below h's root.
func New(h *host.Host) *Collector { return &Collector{host: h} }

// Collect returns the installed packages, and the owners of the programs among
// seen.Processes.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	vendor := "alpine"
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
	file, at := c.database()
	if at == (installed.Stamp{}) {
		*c = Collector{host: c.host}
		return inventory.Facts{}, nil
	}
	if c.at != at || c.vendor != vendor {
		c.components, c.gaps, c.owners = nil, nil, nil
		c.at, c.vendor = at, vendor
	}
	if wanted := c.unknown(programs); c.owners == nil || len(wanted) > 0 {
		if err := c.read(ctx, file, wanted); err != nil {
			c.at = installed.Stamp{} // not read to its end
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

func (c *Collector) database() (string, installed.Stamp) {
	for _, file := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"} {
		if at := installed.StampOf(c.host, file); at != (installed.Stamp{}) {
			return file, at
		}
	}
	return "", installed.Stamp{}
}

// unknown lists the programs whose owner was not looked for yet.
func (c *Collector) unknown(programs []installed.Program) map[string]int {
	wanted := make(map[string]int)
	for _, p := range programs {
		if _, known := c.owners[p.Path]; !known {
			wanted[p.Path] = -1
		}
	}
	return wanted
}

// read reads the whole database, for its packages and for who has the wanted
// files.
func (c *Collector) read(ctx context.Context, file string, wanted map[string]int) error {
	var gaps []inventory.Gap
	fail := func(err error) {
		gaps = append(gaps, inventory.Gap{Collector: name, Kind: inventory.KindComponents, Subject: file, Reason: host.Cause(err)})
	}
	var all []inventory.Component
	lost := 0
	f, err := c.host.Open(file)
	if err != nil {
		fail(err)
	} else {
		defer f.Close()
		bounded := &io.LimitedReader{R: f, N: sizeDatabase}
		all, lost, err = parseInstalled(bufio.NewReaderSize(cancelled{ctx, bounded}, sizeLine), c.vendor, wanted)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && bounded.N == 0 {
			err = host.ErrTooLarge
		}
		if err != nil {
			fail(err)
		}
	}
	if lost > 0 {
		gaps = append(gaps, inventory.Gap{
			Collector: name, Kind: inventory.KindComponents, Subject: file, Lost: lost,
			Reason: "damaged entries: their packages are not known",
		})
	}
	if c.owners == nil || len(c.owners) > mostOwners {
		c.owners = make(map[string]int)
	}
	maps.Copy(c.owners, wanted)
	c.components, c.gaps = all, gaps
	return nil
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// entry is one package while its lines are read.
type entry struct {
	name, version, arch, licence, origin, maintainer string
	lines                                            int
}

// parseInstalled reads the database: lines of a letter, a colon and a value, an
// empty line after each package. Those of its files follow: F:directory, then
// R:name for each file in it. wanted gets the number of the package by path. lost
// counts what is no package.
func parseInstalled(in *bufio.Reader, vendor string, wanted map[string]int) (all []inventory.Component, lost int, err error) {
	var e entry
	var dir, path []byte // with /usr before them, as the paths may have moved there
	end := func() {
		switch {
		case e.lines == 0:
			return
		case e.name == "" || e.version == "" || len(all) >= mostPackages:
			lost++
		default:
			all = append(all, e.component(vendor))
		}
		e, dir = entry{}, dir[:0]
	}
	err = installed.Lines(in, func(line []byte) bool {
		if len(line) == 0 {
			end()
			return true
		}
		e.lines++
		if len(line) < 2 || line[1] != ':' {
			return true
		}
		switch value := line[2:]; line[0] {
		case 'F':
			dir = append(append(dir[:0], "/usr/"...), value...)
			if len(value) > 0 {
				dir = append(dir, '/')
			}
		case 'R':
			if len(wanted) > 0 && len(dir) > 0 {
				path = append(append(path[:0], dir...), value...)
				installed.Claim(wanted, path, len(all))
			}
		default:
			e.set(line[0], value)
		}
		return true
	})
	if e.lines > 0 && err == nil { // an empty line ends the last one, too
		err = io.ErrUnexpectedEOF
	}
	end()
	for path, i := range wanted { // of a package that turned out to be none
		if i >= len(all) {
			wanted[path] = -1
		}
	}
	return all, lost, err
}

func (e *entry) set(letter byte, value []byte) {
	var field *string
	switch letter {
	case 'P':
		field = &e.name
	case 'V':
		field = &e.version
	case 'A':
		field = &e.arch
	case 'L':
		field = &e.licence
	case 'o':
		field = &e.origin
	case 'm':
		field = &e.maintainer
	default:
		return
	}
	*field = host.Text(strings.TrimSpace(string(value)), 256)
}
