package container

import (
	"context"
	"slices"
	"strings"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Language finds the packages of one programming language below its root, and by
// the programs that run from there.
type Language interface {
	Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error)
}

// seldom is how often the packages of languages are looked for where the same
// programs run.
const seldom = time.Minute

// languages is what a tree has beside its package databases. Unlike these it is read
// for each tree: where it lies depends on what runs.
type languages struct {
	host       *host.Host
	rooms      []Language
	ran        []execution
	looked     time.Time
	components []inventory.Component
	gaps       []inventory.Gap
}

// languages looks, on the side, for the packages of languages of a tree.
func (c *Collector) languages(ctx context.Context, h *host.Host, t *tree, processes []*inventory.Process) error {
	l := t.languages
	if l == nil {
		l = &languages{host: host.Detached(c.host)}
		l.rooms = c.rooms(l.host)
		t.languages = l
	}
	now := c.host.Now()
	if slices.Equal(l.ran, t.ran) && now.Sub(l.looked) < seldom && !now.Before(l.looked) {
		return nil
	}
	if err := l.host.Share(h); err != nil {
		return err
	}
	defer l.host.Detach()
	seen := inside(h, processes)
	var components []inventory.Component
	var gaps []inventory.Gap
	for _, room := range l.rooms {
		facts, err := room.Collect(ctx, seen)
		if err != nil {
			return err
		}
		for _, component := range facts.Components {
			components = append(components, placed(component, t))
		}
		gaps = append(gaps, facts.Gaps...) // identities: what a system package has is that one
	}
	l.components, l.gaps, l.ran, l.looked = components, gaps, slices.Clone(t.ran), now
	return nil
}

// placed says of a component's places whose they are. What lies in a tree that a user
// may have made accounts for nothing.
func placed(c inventory.Component, t *tree) inventory.Component {
	var at []inventory.Location
	if !t.users {
		at = slices.Clone(c.Locations) // the room's own is kept for the next time
		for _, file := range c.Files {
			at = append(at, inventory.Location{Path: file})
		}
		for i := range at {
			at[i].Tree = t.at
		}
	}
	c.Files, c.Locations = nil, at // files are the machine's
	return c
}

// inside describes a tree's processes as those of a machine that has its files.
func inside(h *host.Host, processes []*inventory.Process) *inventory.Facts {
	var seen inventory.Facts
	for _, p := range processes {
		if p.Memory || !strings.HasPrefix(p.Executable, "/") {
			continue
		}
		own := *p
		own.Container, own.Foreign = "", false
		var err error
		if own.Executable, err = h.Inside(p.Executable); err == nil {
			seen.Processes = append(seen.Processes, own)
		}
	}
	return &seen
}
