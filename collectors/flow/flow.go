// Package flow finds the connections and listeners of this machine, in every
// network namespace, with the programs that hold them.
//
// It does so in one of several ways, the best that the machine permits; see
// tiers. In the best the kernel counts every flow for the program that owns it,
// see package kernel, and lists the sockets of all processes. In the lower ones the kernel lists its sockets over netlink, see
// sock_diag(7), which is several times faster than /proc/net and counts the
// bytes of TCP; /proc/PID/net serves where a namespace may not be entered.
// Sockets are looked at once in a round. Tier poll sees nothing else; tier events
// is told of sockets that end and, where a firewall tracks connections, of
// those that began. In either some flows pass unseen or without a program:
// there is always a gap that says so, and no flow check can pass on this
// evidence alone.
//
// Who began a flow follows from the listeners: a connection on a port where
// something listens when the connection is first seen came in, every other one
// went out. A UDP socket has no byte counts.
//
// A remote address on this machine (loopback, or an address of an interface in
// the same namespace) is in zone host. All others are judged by the policy
// alone: link-local, multicast and broadcast addresses, and those of containers
// in other namespaces, are the city's only where the policy lists them.
package flow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const collector = "flow"

// Collector keeps the flows of the last minutes, so it is not for concurrent
// use.
type Collector struct {
	working  sync.Mutex // held by Collect
	host     *host.Host
	policy   *configs.Policy
	source   source // nil of another machine's tree
	declined string // why it is no better one
	err      error  // why there is none
}

// New returns a collector of the connections of h, and begins to listen to what
// the kernel tells: by k, or by something less where that was refused. Zones follow
// the policy.
func New(h *host.Host, cfg *configs.Config, k *kernel.Kernel) *Collector {
	c := &Collector{host: h, policy: &cfg.Policy}
	if h.Live() {
		c.source, c.declined, c.err = choose(cfg.Capture.Tier, tiers(k), &surroundings{host: h, zone: c.zone, city: c.city})
	}
	return c
}

// Configure takes a new policy. All flows are judged by it, those known already
// too. The source stays: it would lose what it counted.
func (c *Collector) Configure(cfg *configs.Config) {
	c.policy = &cfg.Policy
	if s, heeds := c.source.(configurer); heeds {
		s.configure()
	}
}

// Close ends what listens. A Collect that never came back keeps it.
func (c *Collector) Close() error {
	if c.source == nil {
		return nil
	}
	if !c.working.TryLock() {
		return errors.New("close capture of flows: it is still at work")
	}
	defer c.working.Unlock()
	err := c.source.close()
	c.source, c.err = nil, errors.New("ask the capture of flows: it is closed")
	return err
}

// Collect lists listeners, flows and connected Unix sockets. It uses the
// processes seen to find network namespaces.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	c.working.Lock()
	defer c.working.Unlock()
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	if c.err != nil {
		return inventory.Facts{}, c.err
	}
	if c.source == nil {
		var gaps gaps
		gaps.add(c.host.Root(), "another machine's file tree: sockets belong to a running kernel", 0, everything()...)
		return inventory.Facts{Gaps: gaps.list}, nil
	}
	facts, err := c.source.collect(ctx, seen)
	if err == nil && c.declined != "" {
		tell(&facts, c.declined)
	}
	return facts, err
}

// tell adds to the reason of the capture, and to the gap that says the same, why
// no better source serves.
func tell(facts *inventory.Facts, declined string) {
	for i := range facts.Captures {
		short := facts.Captures[i].Reason
		long := short + " (" + declined + ")"
		facts.Captures[i].Reason = long
		for j := range facts.Gaps {
			if facts.Gaps[j].Reason == short {
				facts.Gaps[j].Reason = long
			}
		}
	}
}

func (c *Collector) city() []netip.Prefix { return c.policy.City.Networks }

// zone judges the remote address of a flow.
func (c *Collector) zone(f *inventory.Flow, own bool) inventory.Zone {
	switch {
	case own:
		return inventory.Host
	case c.policy.InCity(f.Remote.Addr()):
		return inventory.City
	case c.policy.Approves(f.Direction, f.Remote.Addr(), f.Port(), c.host.Now()):
		return inventory.Approved
	}
	return inventory.Outside
}

// everything lists the kinds of evidence that an unread namespace touches. A
// holder of a data store may be known by a connection alone.
func everything() []string {
	return []string{inventory.KindFlows, inventory.KindListeners, inventory.KindHoldings}
}

// gaps collects what could not be seen, one gap for each reason.
type gaps struct{ list []inventory.Gap }

// reasons are those of all gaps.
func (g *gaps) reasons() []string {
	var all []string
	for i := range g.list {
		all = append(all, fmt.Sprintf("%d %s: %s", g.list[i].Lost, g.list[i].Subject, g.list[i].Reason))
	}
	return all
}

func (g *gaps) add(subject, reason string, lost int, kinds ...string) {
	for _, kind := range kinds {
		i := slices.IndexFunc(g.list, func(known inventory.Gap) bool { return known.Kind == kind && known.Reason == reason })
		if i < 0 {
			g.list = append(g.list, inventory.Gap{Collector: collector, Kind: kind, Subject: subject, Reason: reason, Lost: lost})
			continue
		}
		g.list[i].Lost += lost
	}
}

// explain puts an error in words for people.
func explain(err error) string {
	text := host.Text(err.Error(), 400)
	if errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) { // package kernel says what it needs
		text += " (needs CAP_NET_ADMIN)"
	}
	return text
}
