// Package pacman reads which packages of Arch Linux and its relatives are
// installed, under which terms, and which of them owns each program that runs.
//
// The database is a directory for each package, /var/lib/pacman/local/NAME-VERSION,
// with desc and files: lines %KEY%, each followed by its values and an empty line.
// A machine without it has no such packages. The terms are what the package's
// maker wrote; pacman does not keep from which repository a package came.
package pacman

import (
	"bufio"
	"context"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const (
	name       = "pacman"
	dirLocal   = "/var/lib/pacman/local"
	sizeFiles  = 64 << 20
	mostOwners = 64 << 10
)

// Collector reads packages of pacman. It keeps what it read between rounds and is
// not safe for concurrent use.
type Collector struct {
	host       *host.Host
	at         installed.Stamp // of the database: each change gives a directory another name
	vendor     string
	dirs       []string
	components []inventory.Component // sorted by package URL
	purls      map[string]string     // by directory
	gaps       []inventory.Gap
	owners     map[string]string // directory of the owner, by path; "" none
	lost       installed.Tally   // file lists that could not be read
}

// New returns a collector of the packages below h's root.
func New(h *host.Host) *Collector { return &Collector{host: h} }

// Collect returns the installed packages, and the owners of the programs among
// seen.Processes.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	at := installed.StampOf(c.host, dirLocal)
	if at == (installed.Stamp{}) {
		*c = *New(c.host)
		return inventory.Facts{}, nil
	}
	vendor := "arch"
	if seen.Machine != nil && seen.Machine.OS != "" {
		vendor = seen.Machine.OS
	}
	if c.at != at || c.vendor != vendor {
		*c = Collector{host: c.host, vendor: vendor}
		if err := c.read(ctx); err != nil {
			return inventory.Facts{}, err
		}
		c.at = at
	}
	programs, over := installed.Programs(c.host, seen)
	if err := c.own(ctx, programs); err != nil {
		return inventory.Facts{}, err
	}
	var owners []inventory.Owner
	for _, p := range programs {
		if purl, ok := c.purls[c.owners[p.Path]]; ok {
			owners = append(owners, inventory.Owner{Path: p.Path, File: p.File, PURL: purl})
		}
	}
	gaps := c.lost.Gap(slices.Clip(c.gaps), name, "file lists cannot be read")
	return inventory.Facts{
		Components: slices.Clip(c.components), Owners: owners, Gaps: over.Gap(gaps, name, "too many different programs"),
	}, nil
}

// read reads what is installed.
func (c *Collector) read(ctx context.Context) error {
	tree := installed.Tree{Host: c.host}
	tree.Begin()
	c.purls = make(map[string]string)
	var damaged installed.Tally
	for i, dir := range tree.List(dirLocal) {
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if installed.PacmanName(dir) == "" {
			continue // ALPM_DB_VERSION
		}
		file := path.Join(dirLocal, dir, "desc")
		e, err := read(c.host, file)
		if err != nil {
			damaged.Add(file + ": " + host.Cause(err)) // gone, too: the directory names a package
			continue
		}
		component := e.component(c.vendor)
		c.dirs = append(c.dirs, dir)
		c.components = append(c.components, component)
		c.purls[dir] = component.PURL
	}
	slices.SortFunc(c.components, func(a, b inventory.Component) int { return strings.Compare(a.PURL, b.PURL) })
	gaps := damaged.Gap(nil, name, "damaged entries: their packages are not known")
	c.gaps = tree.Lost.Gap(gaps, name, "the database cannot be listed whole")
	return nil
}

// own looks for the owners of those programs that are not known yet, in one pass
// over all file lists.
func (c *Collector) own(ctx context.Context, programs []installed.Program) error {
	if len(c.owners) > mostOwners {
		c.owners = nil
	}
	wanted := make(map[string]int)
	for _, p := range programs {
		if _, known := c.owners[p.Path]; !known {
			wanted[p.Path] = -1
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var lost installed.Tally
	in := bufio.NewReaderSize(nil, 16<<10)
	for i, dir := range c.dirs {
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := readFiles(c.host, in, path.Join(dirLocal, dir, "files"), wanted, i); err != nil && !host.Gone(err) {
			lost.Add(path.Join(dirLocal, dir, "files") + ": " + host.Cause(err)) // a package without files has none
		}
	}
	found := make(map[string]string, len(wanted))
	for path, i := range wanted {
		found[path] = ""
		if i >= 0 {
			found[path] = c.dirs[i]
		}
	}
	if c.owners == nil {
		c.owners = make(map[string]string)
	}
	maps.Copy(c.owners, found)
	c.lost = lost
	return nil
}

// readFiles claims what a package has: lines without the leading slash. Arch has
// merged its directories into /usr, where its packages have all files.
func readFiles(h *host.Host, in *bufio.Reader, file string, wanted map[string]int, owner int) error {
	f, err := h.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: sizeFiles}
	in.Reset(bounded)
	err = installed.Lines(in, func(line []byte) bool {
		if at, ok := wanted["/"+string(line)]; ok && at < 0 {
			wanted["/"+string(line)] = owner
		}
		return true
	})
	if err == nil && bounded.N == 0 {
		err = host.ErrTooLarge
	}
	return err
}

func trimmed(line []byte) string { return host.Text(strings.TrimSpace(string(line)), 256) }
