// Package custody finds the programs that hold a data store's data, and how each
// came by it.
//
// It is a graph. Its roots are those who had a file of the store open or mapped
// (direct) and those who were connected to one of its services (service). From a
// holder the data goes on to the programs that it starts (descendant), to those
// that a pipe, a terminal or a local socket leads to (pipeline) and to those that
// read what it wrote or moved (derived). A hold lasts as long as the program runs,
// since what was read once may stay in its memory.
//
// Where the kernel tells (tier bpf), it has seen each open as it happened, and
// each start, write and message of those that it knew to hold something; this
// room joins what needs a look at the whole machine: services, pipes between
// programs that began with both ends, connections over loopback. What it finds it
// tells the kernel, so that what follows is seen as it happens, too. Otherwise
// (tier poll) open files are looked up once a round, what is opened and closed in
// between is not seen, and derived files are not followed. That is always a gap, so
// no check that rests on the absence of a holder passes by it.
//
// A file is recognised by where it lies, not by the path that led to it: the
// mount that a descriptor was opened through and the path below it give the
// path inside the file system, which is the same through bind mounts, other
// mount namespaces and changed roots. An open directory is no hold: whoever lists
// names has read no data.
//
// Data is not looked at, so a way by which it can go counts as one by which it
// went. The policy keeps that in hand: relays and custody.ignore name programs that
// are told things by all others and are not made holders by that.
//
// Sources: proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_maps(5),
// proc_pid_mountinfo(5).
package custody

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const (
	collector = "custody"
	sampled   = "open files are looked up once a round: what is opened and closed in between is not seen"
	maxText   = 512 // bytes of a path or of evidence
)

// Collector looks for holders. It remembers those it found.
type Collector struct {
	host    *host.Host
	cfg     *configs.Config
	kernel  *kernel.Kernel
	held    map[hold]*memory
	past    map[inventory.Execution]*past
	sent    map[flowID]uint64  // of flows beyond this machine, in the last round
	names   map[string]*linked // by directory of a store
	refused map[inventory.Execution]time.Time
	numbers map[string]uint                // of stores, as the kernel knows them
	exempt  map[inventory.Execution]bool   // relays that the kernel was told of
	marked  map[inventory.Execution]uint64 // holders likewise
	losses  kernel.Recent
	ended   []kernel.Program // in the last reading
	rounds  uint64
	opens   map[string]uint64 // by store
	times   map[opened]uint64 // of those, by program, in the last reading of the kernel
}

// opened is a program that opened files of some stores.
type opened struct {
	process inventory.Execution
	stores  uint64
}

// hold is what one execution holds and how.
type hold struct {
	store   string
	process inventory.Execution
	how     string
}

// memory is how a hold was first seen.
type memory struct {
	since    time.Time
	from     inventory.Execution
	evidence string
	before   map[inventory.FlowKey]uint64
}

// New makes a collector for one machine and one policy.
func New(h *host.Host, cfg *configs.Config, k *kernel.Kernel) *Collector {
	return &Collector{
		host: h, cfg: cfg, kernel: k,
		held: make(map[hold]*memory), past: make(map[inventory.Execution]*past), sent: make(map[flowID]uint64),
		names: make(map[string]*linked), refused: make(map[inventory.Execution]time.Time),
		exempt: make(map[inventory.Execution]bool), marked: make(map[inventory.Execution]uint64),
		opens: make(map[string]uint64), times: make(map[opened]uint64),
	}
}

// Configure takes a new policy. Holds of stores that it no longer declares, and
// those that it now ignores, are forgotten.
func (c *Collector) Configure(cfg *configs.Config) {
	c.cfg = cfg
	maps.DeleteFunc(c.held, func(h hold, _ *memory) bool {
		_, declared := cfg.Store(h.store)
		return !declared || c.ignores(h)
	})
	clear(c.names)
	clear(c.refused)
}

// round is the work of one Collect.
type round struct {
	*Collector
	seen  *inventory.Facts
	now   time.Time
	self  int // process id of this program; 0 it is another machine's tree
	gaps  []inventory.Gap
	files *files // nil where the kernel tells
	alive map[inventory.Execution]*inventory.Process
	byPID map[int]inventory.Execution // running
	trees inventory.Trees
	owner map[inventory.OwnerKey]*inventory.Owner
}

// Collect lists who holds declared data. Without a declared store there is
// nothing to hold, and it costs nothing.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.rounds++
	r := &round{Collector: c, seen: seen, now: c.host.Now()}
	if c.host.Live() {
		r.self = os.Getpid()
	}
	trace, err := r.trace()
	if err != nil {
		return inventory.Facts{}, err
	}
	if len(c.cfg.Stores) == 0 {
		return inventory.Facts{Captures: []inventory.Capture{r.capture(trace)}}, nil
	}
	r.index()
	r.forget()
	links := r.processLinks(trace)
	if trace != nil {
		r.tracedRoots(trace)
		r.tracedLinks(trace, links)
	} else if err := r.direct(ctx); err != nil {
		return inventory.Facts{}, err
	}
	r.services()
	r.socketLinks(links)
	r.spread(links)
	if trace != nil {
		r.tell()
	}
	r.measure()
	rows := r.holdings()
	facts := inventory.Facts{Captures: []inventory.Capture{r.capture(trace)}, Holdings: rows}
	before := r.former(rows)
	facts.Former, facts.Passed, facts.Owners = before.processes, before.holdings, before.owners
	facts.Gaps = r.gaps
	for i := range r.cfg.Stores {
		facts.Opens = append(facts.Opens, inventory.Opens{Store: r.cfg.Stores[i].ID, Count: r.opens[r.cfg.Stores[i].ID]})
	}
	return facts, nil
}

// capture says how opens are watched.
func (r *round) capture(trace *kernel.Reading) inventory.Capture {
	if trace == nil {
		return inventory.Capture{Name: inventory.CaptureOpens, Tier: inventory.TierPoll, Reason: sampled}
	}
	return r.tracedCapture(trace)
}

func (r *round) gap(store, subject, reason string, lost int) {
	r.gaps = append(r.gaps, inventory.Gap{
		Collector: collector, Kind: inventory.KindHoldings, Store: store,
		Subject: host.Text(subject, maxText), Reason: host.Text(reason, maxText), Lost: lost,
	})
}

// index finds processes by what names them.
func (r *round) index() {
	r.alive = make(map[inventory.Execution]*inventory.Process, len(r.seen.Processes))
	r.byPID = make(map[int]inventory.Execution, len(r.seen.Processes))
	for i := range r.seen.Processes {
		p := &r.seen.Processes[i]
		r.alive[p.ID] = p
		if p.Ended.IsZero() {
			r.byPID[p.ID.PID] = p.ID
		}
	}
	r.trees = r.seen.Trees()
	r.owner = make(map[inventory.OwnerKey]*inventory.Owner, len(r.seen.Owners))
	for i := range r.seen.Owners {
		r.owner[r.seen.Owners[i].Key()] = &r.seen.Owners[i]
	}
}

// remember notes a hold, unless it is known, and reports whether it is new.
func (r *round) remember(h hold, from inventory.Execution, since time.Time, evidence string) bool {
	if _, known := r.held[h]; known || h.process.PID == r.self && r.self != 0 || h.process == (inventory.Execution{}) {
		return false
	}
	r.keep(h.process)
	if r.ignores(h) {
		r.refused[h.process] = r.now
		return false
	}
	if h.how == inventory.HowDirect && r.files != nil {
		r.opens[h.store]++
	}
	r.held[h] = &memory{since: since, from: from, evidence: host.Text(evidence, maxText), before: r.before(h.process, since)}
	return true
}

// ignores reports whether the policy wants no holder made of a program.
func (c *Collector) ignores(h hold) bool {
	p := c.past[h.process]
	return p != nil && !p.process.Foreign && c.cfg.Custody.Ignores(p.process.Executable, h.how, h.store)
}

// holdings lists the holds of programs that were seen in this round: they run, have
// flows, or have just ended.
func (r *round) holdings() []inventory.Holding {
	var rows []inventory.Holding
	for h, m := range r.held {
		if r.past[h.process].round != r.rounds {
			continue
		}
		rows = append(rows, inventory.Holding{
			Store: h.store, Process: h.process, How: h.how, Since: m.since, From: m.from, Evidence: m.evidence, Before: m.before,
		})
	}
	slices.SortFunc(rows, func(a, b inventory.Holding) int {
		return cmp.Or(cmp.Compare(a.Store, b.Store), a.Process.Compare(b.Process), cmp.Compare(a.How, b.How))
	})
	return rows
}

func programOf(p *inventory.Process) string {
	return fmt.Sprintf("%s (%s)", cmp.Or(p.Executable, p.Name), p.ID)
}
