package process

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

// tier is one way of seeing programs that start.
type tier struct {
	name   string // one of the Tier constants
	reason string // what it misses
	open   func(*host.Host) (watch, error)
}

// watch sees programs start between the rounds.
type watch interface {
	// totals are those since it was opened.
	totals() totals
	Close() error
}

// follower is a watch that knows more of processes than /proc shows.
type follower interface {
	// follow completes facts, which were read from /proc since began.
	follow(r *round, began time.Time, facts *inventory.Facts) error
	// missed says what is missing; "" nothing.
	missed() string
}

// totals are of programs that started.
type totals struct{ events, lost, orphans uint64 }

// tiers lists them in the order in which they are tried. A nil watch means that
// nothing is seen between the rounds.
func tiers(k *kernel.Kernel) []tier {
	none := func(*host.Host) (watch, error) { return nil, nil } //nolint:nilnil // no watch is an answer
	return []tier{
		{
			inventory.TierBPF, "", func(h *host.Host) (watch, error) {
				return &traced{kernel: k, opened: h.Now()}, k.Err()
			},
		},
		{
			inventory.TierEvents, "told of every program that starts: one that ends before it is looked at is counted, but neither named nor listed", openStarts,
		},
		{
			inventory.TierPoll, "sampled every round: programs that start and end between two rounds are not seen", none,
		},
		{
			inventory.TierGopsutil, "sampled every round by gopsutil: programs that start and end between two rounds, and the units, containers and namespaces of the others, are not seen", none,
		},
	}
}

// choose opens the best tier not above one. Its reason says what it misses, and
// why it is none of those above it.
func choose(best string, all []tier, h *host.Host) (tier, watch, error) {
	var declined []string
	for i := range all {
		if all[i].name == best && i > 0 {
			declined = []string{fmt.Sprintf("capture.tier = %q permits no better", best)}
			all = all[i:]
			break
		}
	}
	for _, t := range all {
		w, err := t.open(h)
		if err != nil {
			declined = append(declined, t.name+": "+err.Error())
			continue
		}
		if len(declined) > 0 {
			t.reason += " (" + strings.Join(declined, "; ") + ")"
		}
		return t, w, nil
	}
	return tier{}, nil, fmt.Errorf("open a capture of processes: %s", strings.Join(declined, "; "))
}

// capture says how programs that start are watched.
func (c *Collector) capture() inventory.Capture {
	capture := inventory.Capture{Name: inventory.CaptureProcesses, Tier: c.tier.name, Reason: c.tier.reason, Events: c.events}
	if f, follows := c.watch.(follower); follows {
		capture.Reason = f.missed()
		capture.Complete = capture.Reason == ""
	}
	if c.watch != nil {
		n := c.watch.totals()
		capture.Events, capture.Lost, capture.Orphans = c.begun+n.events, n.lost, n.orphans
	}
	return capture
}

// Collect lists the processes. seen is not used.
func (c *Collector) Collect(ctx context.Context, _ *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	if c.err != nil {
		return inventory.Facts{}, c.err
	}
	list := c.list
	if c.tier.name == inventory.TierGopsutil {
		list = c.listPortably
	}
	facts, err := list(ctx)
	if c.begun == 0 {
		c.begun = uint64(len(facts.Processes))
	}
	return facts, err
}

// Close ends the watch.
func (c *Collector) Close() error {
	if c.watch == nil {
		return nil
	}
	return c.watch.Close()
}
