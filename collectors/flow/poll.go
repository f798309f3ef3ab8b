package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// poll is the source that looks at the sockets of each round.
type poll struct {
	*surroundings
	holders holders
	table   *table
	buf     []byte
}

func newPoll(s *surroundings) *poll {
	return &poll{surroundings: s, holders: holders{host: s.host}, table: newTable(), buf: make([]byte, bufferSize)}
}

func openPoll(s *surroundings) (source, error) { return newPoll(s), nil }

func (p *poll) close() error { return nil }

const sampled = "sampled every round: flows that begin and end between two rounds, datagrams sent without a connection and protocols other than TCP and UDP are not seen"

func (p *poll) collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	return p.round(ctx, seen, inventory.Capture{Tier: inventory.TierPoll, Reason: sampled}, beside{})
}

// beside is what another source does in a round of this one; each may be nil.
type beside struct {
	enter func(n *namespace, v *view)                   // in a namespace, before it is read
	read  func(views []view)                            // all are read
	add   func(views []view, now time.Time, gaps *gaps) // to the table, after the views
}

func (p *poll) round(ctx context.Context, seen *inventory.Facts, capture inventory.Capture, also beside) (inventory.Facts, error) {
	var gaps gaps
	spaces, err := namespaces(p.host, seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	views, unread := p.read(ctx, spaces, also.enter, &gaps)
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	if len(views) == 0 {
		return inventory.Facts{}, fmt.Errorf("list sockets: %s", gaps.list[0].Reason)
	}
	noteHidden(seen, &gaps)
	if also.read != nil {
		also.read(views)
	}

	pairs := newPairs(views)
	if err := p.holders.resolve(ctx, wanted(views, pairs), seen.Processes); err != nil {
		if ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		gaps.add("/proc", fmt.Sprintf("find the holders of sockets: %v", err), 0, everything()...)
	}
	gaps.add("flows", capture.Reason, 0, inventory.KindFlows)
	facts := inventory.Facts{
		Flows:     p.flows(views, unread, also, &gaps),
		Listeners: p.listeners(views, &gaps),
		Locals:    pairs.connections(p.holders.of),
	}
	capture.Name = inventory.CaptureFlows
	capture.Events, capture.Orphans = p.table.events, p.table.orphans
	capture.Lost += p.table.lost
	facts.Captures = []inventory.Capture{capture}
	facts.Gaps = gaps.list
	return facts, nil
}

// read reads every namespace that can be read and names the others.
func (p *poll) read(ctx context.Context, spaces []*namespace, enter func(*namespace, *view), gaps *gaps) (views []view, unread map[uint64]bool) {
	unread = make(map[uint64]bool)
	take := func(n *namespace, v view, err error) {
		if errors.Is(err, errVanished) {
			return
		}
		if err != nil && ctx.Err() == nil {
			v, err = p.readOutside(n, err)
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
		v, err := n.read(ctx, p.buf, enter)
		take(n, v, err)
	}
	if len(foreign) > 0 {
		if err := readForeign(ctx, foreign, p.buf, enter, take); err != nil {
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
func (p *poll) readOutside(n *namespace, inside error) (view, error) {
	dirs := []string{"/proc/self/net"}
	if !n.own {
		dirs = dirs[:0]
	}
	for _, pid := range n.pids {
		dirs = append(dirs, fmt.Sprintf("/proc/%d/net", pid))
	}
	for _, dir := range dirs {
		v, err := readProc(p.host, dir)
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
func (p *poll) flows(views []view, unread map[uint64]bool, also beside, gaps *gaps) []inventory.Flow {
	now := p.host.Now()
	p.table.begin()
	unheld := 0
	for i := range views {
		unheld += p.table.observe(&views[i], p.holders.of, now)
	}
	if also.add != nil {
		also.add(views, now, gaps)
	}
	p.table.end(unread, now)
	if unheld > 0 {
		gaps.add("connections", p.unheldReason(), unheld, inventory.KindFlows)
	}
	if p.table.lostNow > 0 {
		gaps.add("connections", fmt.Sprintf("more than %d flows or %d connections", maxRows, maxConnections), p.table.lostNow, inventory.KindFlows)
	}
	return p.table.flows(p.zone)
}

func (p *poll) unheldReason() string {
	if p.holders.denied == 0 {
		return "no process holds them: they are the kernel's own, or their holder closed them"
	}
	return fmt.Sprintf("no process that can be read holds them, and %d cannot be read (needs CAP_SYS_PTRACE)", p.holders.denied)
}

// listeners lists what waits for peers.
func (p *poll) listeners(views []view, gaps *gaps) []inventory.Listener {
	all := listenersOf(views, p.holders.of)
	unheld := 0
	for i := range all {
		if all[i].Process == (inventory.Execution{}) {
			unheld++
		}
	}
	if unheld > 0 {
		gaps.add("listeners", p.unheldReason(), unheld, inventory.KindListeners)
	}
	return all
}

// listenersOf lists what waits for peers, each once.
func listenersOf(views []view, holder func(inode uint64) inventory.Execution) []inventory.Listener {
	var all []inventory.Listener
	for i := range views {
		v := &views[i]
		for j := range v.sockets {
			if s := &v.sockets[j]; s.listens() {
				all = append(all, inventory.Listener{Process: holder(s.inode), NetNS: v.id, Protocol: protocolName(s.protocol), Local: s.local})
			}
		}
		for j := range v.locals {
			if s := &v.locals[j]; s.listens() {
				all = append(all, inventory.Listener{Process: holder(s.inode), NetNS: v.id, Protocol: "unix", Path: s.name})
			}
		}
	}
	return sortedListeners(all)
}

// sortedListeners gives each once: with SO_REUSEPORT one program may listen many
// times.
func sortedListeners(all []inventory.Listener) []inventory.Listener {
	slices.SortFunc(all, func(a, b inventory.Listener) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Protocol, b.Protocol), a.Local.Compare(b.Local),
			cmp.Compare(a.Path, b.Path), a.Process.Compare(b.Process))
	})
	return slices.Compact(all)
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
