// Package flow finds the connections and listeners of this machine, in every
// network namespace, with the programs that hold them.
//
// The kernel lists its sockets over netlink, see sock_diag(7), which is several
// times faster than /proc/net and counts the bytes of TCP; /proc/PID/net serves
// where a namespace may not be entered. Sockets are looked at once in a round,
// so a flow that begins and ends in between is not seen, nor is a datagram from
// a socket without a peer: there is always a gap that says so, and no flow check
// can pass on this evidence alone.
//
// Who began a flow follows from the listeners: a connection on a port where
// something listens when the connection is first seen came in, every other one
// went out. UDP has no byte counts here.
//
// A remote address on this machine (loopback, or an address of an interface in
// the same namespace) is in zone host. All others are judged by the policy
// alone: link-local, multicast and broadcast addresses, and those of containers
// in other namespaces, are the city's only where the policy lists them.
package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const collector = "flow"

// Collector keeps the flows of the last minutes, so it is not for concurrent
// use.
type Collector struct {
	host    *host.Host
	policy  *configs.Policy
	holders holders
	table   *table
	buf     []byte
}

// New returns a collector of the connections of h. Zones follow the policy.
func New(h *host.Host, cfg *configs.Config) *Collector {
	return &Collector{
		host:    h,
		policy:  &cfg.Policy,
		holders: holders{host: h},
		table:   newTable(),
		buf:     make([]byte, bufferSize),
	}
}

// Configure takes a new policy. All flows are judged by it, those known already
// too.
func (c *Collector) Configure(cfg *configs.Config) { c.policy = &cfg.Policy }

// Collect lists listeners, flows and connected Unix sockets. It uses the
// processes seen to find network namespaces.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	var gaps gaps
	if !c.host.Live() {
		gaps.add(c.host.Root(), "another machine's file tree: sockets belong to a running kernel", 0, everything()...)
		return inventory.Facts{Gaps: gaps.list}, nil
	}
	spaces, err := namespaces(c.host, seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	views, unread := c.read(ctx, spaces, &gaps)
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	if len(views) == 0 {
		return inventory.Facts{}, fmt.Errorf("list sockets: %s", gaps.list[0].Reason)
	}
	noteHidden(seen, &gaps)

	pairs := newPairs(views)
	if err := c.holders.resolve(ctx, wanted(views, pairs), seen.Processes); err != nil {
		if ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		gaps.add("/proc", fmt.Sprintf("find the holders of sockets: %v", err), 0, everything()...)
	}
	facts := inventory.Facts{
		Flows:     c.flows(views, unread, &gaps),
		Listeners: c.listeners(views, &gaps),
		Locals:    pairs.connections(c.holders.of),
	}
	facts.Captures = []inventory.Capture{{
		Name: inventory.CaptureFlows, Tier: inventory.TierPoll, Reason: sampled,
		Events: c.table.events, Lost: c.table.lost, Orphans: c.table.orphans,
	}}
	facts.Gaps = gaps.list
	return facts, nil
}

const sampled = "sampled every round: flows that begin and end between two rounds, datagrams sent without a connection and protocols other than TCP and UDP are not seen"

// read reads every namespace that can be read and names the others.
func (c *Collector) read(ctx context.Context, spaces []*namespace, gaps *gaps) (views []view, unread map[uint64]bool) {
	unread = make(map[uint64]bool)
	take := func(n *namespace, v view, err error) {
		if errors.Is(err, errVanished) {
			return
		}
		if err != nil && ctx.Err() == nil {
			v, err = c.readOutside(n, err)
		}
		if err != nil {
			unread[n.id] = true
			gaps.add(n.String(), reason(err), 1, everything()...)
			return
		}
		if v.fromProc {
			gaps.add(n.String(), "read from /proc/PID/net: no byte counts and no peers of Unix sockets", 1, inventory.KindFlows, inventory.KindHoldings)
		}
		v.id = n.id
		views = append(views, v)
	}
	var foreign []*namespace
	for _, n := range spaces {
		if !n.own {
			foreign = append(foreign, n)
			continue
		}
		v, err := readHere(ctx, c.buf)
		take(n, v, err)
	}
	if len(foreign) > 0 {
		if err := readForeign(ctx, foreign, c.buf, take); err != nil {
			for _, n := range foreign {
				take(n, view{}, err)
			}
		}
	}
	slices.SortFunc(views, func(a, b view) int { return cmp.Compare(a.id, b.id) })
	return views, unread
}

// readOutside reads a namespace that could not be read from inside, by the first
// of its processes that shows it.
func (c *Collector) readOutside(n *namespace, inside error) (view, error) {
	dirs := []string{"/proc/self/net"}
	if !n.own {
		dirs = dirs[:0]
	}
	for _, pid := range n.pids {
		dirs = append(dirs, fmt.Sprintf("/proc/%d/net", pid))
	}
	for _, dir := range dirs {
		v, err := readProc(c.host, dir)
		if err == nil {
			return v, nil
		}
		if !host.Gone(err) {
			return view{}, fmt.Errorf("%w, and %w", inside, err)
		}
	}
	return view{}, inside
}

func reason(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "permission denied: entering a network namespace needs CAP_SYS_ADMIN"
	}
	return host.Text(err.Error(), 400)
}

// noteHidden says that the namespaces of some processes are not known.
func noteHidden(seen *inventory.Facts, gaps *gaps) {
	hidden, example := 0, ""
	for i := range seen.Processes {
		if p := &seen.Processes[i]; p.NetNS == 0 && !p.Kernel {
			if hidden == 0 {
				example = p.ID.String()
			}
			hidden++
		}
	}
	switch {
	case len(seen.Processes) == 0:
		gaps.add("/proc", "no processes were listed: network namespaces other than the agent's are not known", 0, everything()...)
	case hidden > 0:
		gaps.add(example, "its network namespace is not known", hidden, everything()...)
	}
}

// flows brings the table up to date.
func (c *Collector) flows(views []view, unread map[uint64]bool, gaps *gaps) []inventory.Flow {
	now := c.host.Now()
	c.table.begin()
	unheld := 0
	for i := range views {
		unheld += c.table.observe(&views[i], c.holders.of, now)
	}
	c.table.end(unread, now)
	gaps.add("flows", sampled, 0, inventory.KindFlows)
	if unheld > 0 {
		gaps.add("connections", c.unheldReason(), unheld, inventory.KindFlows)
	}
	if c.table.lostNow > 0 {
		gaps.add("connections", fmt.Sprintf("more than %d flows or %d connections", maxRows, maxConnections), c.table.lostNow, inventory.KindFlows)
	}
	return c.table.flows(func(f *inventory.Flow, own bool) inventory.Zone {
		switch {
		case own:
			return inventory.Host
		case c.policy.InCity(f.Remote.Addr()):
			return inventory.City
		case c.policy.Approves(f.Direction, f.Remote.Addr(), f.Port(), now):
			return inventory.Approved
		}
		return inventory.Outside
	})
}

func (c *Collector) unheldReason() string {
	if c.holders.denied == 0 {
		return "no process holds them: they are the kernel's own, or their holder closed them"
	}
	return fmt.Sprintf("no process that can be read holds them, and %d cannot be read (needs CAP_SYS_PTRACE)", c.holders.denied)
}

// listeners lists what waits for peers, each once.
func (c *Collector) listeners(views []view, gaps *gaps) []inventory.Listener {
	var all []inventory.Listener
	for i := range views {
		v := &views[i]
		for j := range v.sockets {
			if s := &v.sockets[j]; s.listens() {
				all = append(all, inventory.Listener{Process: c.holders.of(s.inode), NetNS: v.id, Protocol: protocolName(s.protocol), Local: s.local})
			}
		}
		for j := range v.locals {
			if s := &v.locals[j]; s.listens() {
				all = append(all, inventory.Listener{Process: c.holders.of(s.inode), NetNS: v.id, Protocol: "unix", Path: s.name})
			}
		}
	}
	slices.SortFunc(all, func(a, b inventory.Listener) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Protocol, b.Protocol), a.Local.Compare(b.Local),
			cmp.Compare(a.Path, b.Path), a.Process.Compare(b.Process))
	})
	all = slices.Compact(all) // SO_REUSEPORT: one program may listen many times
	unheld := 0
	for i := range all {
		if all[i].Process == (inventory.Execution{}) {
			unheld++
		}
	}
	if unheld > 0 {
		gaps.add("listeners", c.unheldReason(), unheld, inventory.KindListeners)
	}
	return all
}

// wanted gathers the inodes whose holders matter.
func wanted(views []view, pairs *pairs) map[uint64]bool {
	want := make(map[uint64]bool)
	for i := range views {
		for j := range views[i].sockets {
			want[views[i].sockets[j].inode] = true
		}
		for j := range views[i].locals {
			if s := &views[i].locals[j]; s.listens() {
				want[s.inode] = true
			}
		}
	}
	for _, p := range pairs.all {
		want[p.from], want[p.to] = true, true
	}
	delete(want, 0)
	return want
}

// everything lists the kinds of evidence that an unread namespace touches. A
// holder of a data store may be known by a connection alone.
func everything() []string {
	return []string{inventory.KindFlows, inventory.KindListeners, inventory.KindHoldings}
}

// gaps collects what could not be seen, one gap for each reason.
type gaps struct{ list []inventory.Gap }

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
