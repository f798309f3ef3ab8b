// Package access looks at who may open the files of declared data stores: those
// that every local account may read or write.
//
// The permission bits for others suffice. Where a file has an access control
// list, its entry for others is these very bits, acl(5); entries for named users
// and groups are about accounts that somebody chose.
//
// What counts is what others can reach: a directory that they may not enter
// shields all that is below it, which also ends the walk there. So a store that
// is well kept costs one look, and an open one is walked up to a bound.
package access

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Bounds of one directory's walk.
const (
	maxExamined = 20000
	maxExposed  = 100
	// Permissions deep in a store may change without a sign at its top; they
	// are looked at again after this.
	renewal = 10 * time.Minute
)

// Permission bits for others, inode(7).
const (
	othersRead  = 0o4
	othersWrite = 0o2
	othersEnter = 0o1
	permissions = 0o7777
)

// Collector walks the declared stores.
type Collector struct {
	host   *host.Host
	stores []configs.DataStore
	walks  map[string]walk // by directory
}

// walk is what was seen below one directory.
type walk struct {
	when     time.Time
	top      state
	examined int
	exposed  []inventory.Exposure
	gap      string // why not all was seen; "" all was
}

// state tells whether a directory itself changed, or who may come to it.
type state struct {
	inode     uint64
	changed   int64 // status change time in nanoseconds
	reachable bool
}

// New returns a collector for the declared stores.
func New(h *host.Host, cfg *configs.Config) *Collector {
	c := &Collector{host: h}
	c.Configure(cfg)
	return c
}

// Configure takes the stores of another configuration.
func (c *Collector) Configure(cfg *configs.Config) {
	c.stores = cfg.Stores
	c.walks = make(map[string]walk)
}

// Collect gives a row for each store with a directory.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	var facts inventory.Facts
	for _, declared := range c.stores {
		if err := ctx.Err(); err != nil {
			return facts, err
		}
		if len(declared.Paths) == 0 {
			continue
		}
		at := slices.IndexFunc(seen.Stores, func(s inventory.DataStore) bool { return s.ID == declared.ID })
		if at < 0 {
			facts.Gaps = append(facts.Gaps, gap(declared.ID, "", "where the store lies is not known"))
			continue
		}
		row := inventory.DataStore{ID: declared.ID}
		for i := range seen.Stores[at].Paths {
			facts.Gaps = append(facts.Gaps, c.look(ctx, &row, &seen.Stores[at].Paths[i])...)
		}
		facts.Stores = append(facts.Stores, row)
	}
	return facts, ctx.Err()
}

func gap(store, subject, reason string) inventory.Gap {
	return inventory.Gap{Collector: "access", Kind: inventory.KindAccess, Store: store, Subject: subject, Reason: reason}
}

// look adds one directory to a store's row.
func (c *Collector) look(ctx context.Context, row *inventory.DataStore, p *inventory.StorePath) []inventory.Gap {
	switch p.Medium {
	case inventory.MediumMissing:
		return []inventory.Gap{gap(row.ID, p.Path, "the directory is missing")}
	case inventory.MediumNetwork:
		if p.Mount.Network {
			return []inventory.Gap{gap(row.ID, p.Path, "permissions on a network file system are its server's")}
		}
	}
	if p.Resolved != "" && p.File == (inventory.FileID{}) {
		return []inventory.Gap{gap(row.ID, p.Path, "its file system may not answer and is not looked into")}
	}
	if p.Resolved == "" {
		return []inventory.Gap{gap(row.ID, p.Path, "the directory could not be reached")}
	}
	w, err := c.walk(ctx, p)
	if err != nil {
		return []inventory.Gap{gap(row.ID, p.Path, host.Text(err.Error(), 300))}
	}
	row.Examined += w.examined
	row.Exposed = append(row.Exposed, w.exposed...)
	if w.gap != "" {
		return []inventory.Gap{gap(row.ID, p.Path, w.gap)}
	}
	return nil
}

// walk gives what is below a directory, from memory while that is fresh. An
// agent with mounts of its own may find another directory at the same path.
func (c *Collector) walk(ctx context.Context, p *inventory.StorePath) (walk, error) {
	dir := p.Resolved
	st, err := c.host.Stat(dir)
	if err != nil {
		return walk{}, err
	}
	if p.File != (inventory.FileID{Device: st.Dev, Inode: st.Ino}) {
		return walk{}, errors.New("the agent has mounts of its own and sees another directory there")
	}
	reachable, err := c.reachable(dir)
	if err != nil {
		return walk{}, err
	}
	w := walk{when: c.host.Now(), top: state{st.Ino, st.Ctim.Nano(), reachable}}
	if before, ok := c.walks[dir]; ok && before.top == w.top && w.when.Sub(before.when) < renewal {
		return before, nil
	}
	if !reachable {
		w.examined = 1
	} else if err := c.examine(ctx, dir, &w); err != nil {
		return walk{}, err
	}
	c.walks[dir] = w
	return w, nil
}

// reachable reports whether others may enter every directory above dir.
func (c *Collector) reachable(dir string) (bool, error) {
	for above := path.Dir(dir); above != "/"; above = path.Dir(above) {
		st, err := c.host.Stat(above)
		if err != nil {
			return false, err
		}
		if st.Mode&othersEnter == 0 {
			return false, nil
		}
	}
	return true, nil
}

func (c *Collector) examine(ctx context.Context, dir string, w *walk) error {
	exposed := 0
	examined, missed, err := c.host.Walk(dir, maxExamined, func(at *host.Walked) error {
		if !at.Directory() && !at.Regular() {
			return nil // the mode of a symbolic link means nothing, symlink(7)
		}
		if at.Mode&(othersRead|othersWrite) != 0 {
			exposed++
			if len(w.exposed) < maxExposed {
				w.exposed = append(w.exposed, inventory.Exposure{
					Path: host.Text(at.Path, 500), Mode: at.Mode & permissions, Writable: at.Mode&othersWrite != 0,
				})
			}
		}
		if at.Directory() && at.Mode&othersEnter == 0 {
			return host.ErrSkip
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	w.examined = examined
	var reasons []string
	if missed > 0 {
		reasons = append(reasons, fmt.Sprintf("%d directories were not seen whole: the walk ends after %d files", missed, maxExamined))
	}
	if exposed > maxExposed {
		reasons = append(reasons, fmt.Sprintf("%d more files are open to others than are listed", exposed-maxExposed))
	}
	w.gap = strings.Join(reasons, "; ")
	return nil
}
