// Package alerts pushes findings to receivers: Alertmanagers, and webhooks that
// take a plain document.
//
// A finding that fails and is not waived is queued for each receiver, and so is its
// end; both wait until the receiver has taken them. What waits is written to the
// ledger, so a restart, a kill and a receiver that is down for hours lose nothing;
// where the ledger cannot be written, memory keeps it. One entry a finding and
// receiver is all there is: an end that nobody was told the begin of is told after
// it, and a finding that comes back before its end was told has never ended. So what
// waits is bounded by what there is, and a receiver that comes back is told the
// state of things and not their history.
//
// Each receiver has a goroutine, a limit on its requests and a pause after failures
// of its own: a slow one holds up neither a round nor another receiver. A delivery
// whose answer was lost is made again, so receivers see alerts at least once.
//
// An Alertmanager forgets what it is not told again, so it is, as Prometheus does.
// It tells nobody of an alert that ended while it still waited for others of the
// group: there, a finding fails for a while at least.
//
// These connections are the only ones that the daemon makes. Without a receiver it
// makes none.
package alerts

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"cityward/agent"
	"cityward/checks/finding"
	"cityward/configs"
)

// maxOpen is how many findings are told to a receiver at once, and how many ends
// wait for one. Of more, the newest are.
const maxOpen = 20_000

// Options is what the room needs.
type Options struct {
	Config configs.Alerts
	Encode func(*finding.Finding) ([]byte, error) // a finding as reports show it
	Kept   map[string][]byte                      // what an earlier run kept
	Keep   func(map[string][]byte)                // keeps bodies by their keys, those of nil no longer; may be nil
	Head   func() *Head                           // of the ledger, which may have none; may be nil
	Log    *slog.Logger
	Now    func() time.Time
}

// Head is where the ledger's chain stands. Whoever was told can show later that the
// ledger does not have that row any more.
type Head struct {
	Row       uint64    `json:"row"`
	Hash      string    `json:"hash"`
	Open      string    `json:"open"`
	Time      time.Time `json:"time"`
	Signature []byte    `json:"signature"`
}

// Room tells receivers of findings.
type Room struct {
	Options

	mu      sync.Mutex // guards what follows
	lines   []*line
	open    map[string]*alert   // what fails now
	skipped map[string]struct{} // what fails, beyond the bound
	over    uint64

	machine atomic.Pointer[string] // its name
}

// New takes over what an earlier run left to tell, and begins to tell it.
func New(o Options) *Room {
	r := &Room{Options: o, open: make(map[string]*alert)}
	r.named(unknownMachine)
	left, broken := restore(o.Kept)
	if len(broken) > 0 {
		o.Log.Warn("alerts of an earlier run could not be read", "alerts", len(broken))
		r.keep(broken)
	}
	r.configure(o.Config, left)
	return r
}

// Configure takes a new configuration. Receivers that stay as they are notice
// nothing; one that goes is told nothing more.
func (r *Room) Configure(c configs.Alerts) { r.configure(c, nil) }

func (r *Room) configure(c configs.Alerts, left map[string]map[string]*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Config = c
	before := make(map[string]*line)
	for _, l := range r.lines {
		before[l.receiver.Name] = l
	}
	r.lines = nil
	for _, receiver := range c.Receivers {
		l := before[receiver.Name]
		if l != nil && l.receiver == receiver {
			delete(before, receiver.Name)
			l.configure(&c)
		} else {
			entries := left[receiver.Name]
			delete(left, receiver.Name)
			if l != nil { // the same one, reached otherwise
				l.stop()
				delete(before, receiver.Name)
				entries = l.entries
			}
			l = r.start(receiver, entries)
		}
		r.lines = append(r.lines, l)
	}
	for _, l := range before {
		l.stop()
		r.keep(rowsOf(l.receiver.Name, l.entries))
	}
	for name, entries := range left {
		r.keep(rowsOf(name, entries))
	}
}

// rowsOf are the rows of a receiver that is no more, to be removed.
func rowsOf(receiver string, entries map[string]*entry) map[string][]byte {
	rows := make(map[string][]byte, len(entries))
	for key := range entries {
		rows[rowKey(receiver, key)] = nil
	}
	return rows
}

// start begins to tell a receiver.
func (r *Room) start(receiver configs.Receiver, entries map[string]*entry) *line {
	ctx, cancel := context.WithCancel(context.Background())
	l := newLine(receiver, &r.Config, entries, r.keep)
	s := &sender{line: l, post: newClient(&receiver).post, head: r.head, log: r.Log.With("receiver", receiver.Name), now: r.Now, machine: r.name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	l.stop = func() { cancel(); <-done }
	return l
}

// Close stops telling. What waits is told by the next run.
func (r *Room) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		l.stop()
	}
	r.lines = nil
}

func (r *Room) keep(rows map[string][]byte) {
	if r.Keep != nil && len(rows) > 0 {
		r.Keep(rows)
	}
}

func (r *Room) head() *Head {
	if r.Head == nil {
		return nil
	}
	return r.Head()
}

// Observe queues what began or ended with a report. Every finished round, full or
// short, must pass here, in order. It waits for no receiver.
func (r *Room) Observe(report *agent.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := report.Snapshot.Machine; m != nil && m.Hostname != "" {
		r.named(m.Hostname)
	}
	if len(r.lines) == 0 {
		clear(r.open)
		return
	}
	open := r.failing(report)
	now := r.Now()
	for _, l := range r.lines {
		if dropped := l.observe(open, now); dropped > 0 {
			r.Log.Warn("ends of findings were not told in time", "receiver", l.receiver.Name, "alerts", dropped)
		}
	}
	r.open = open
}

// failing gives what is to be told of, with the alerts there are already.
func (r *Room) failing(report *agent.Report) map[string]*alert {
	least, _ := finding.ParseSeverity(r.Config.Severity) // it was judged when it was read
	var failing []*finding.Finding
	for i := range report.Findings {
		f := &report.Findings[i]
		if f.Verdict == finding.Fail && f.Disposition != finding.Waived && f.Severity >= least {
			failing = append(failing, f)
		}
	}
	failing = r.bounded(failing)
	open := make(map[string]*alert, len(failing))
	for _, f := range failing {
		key := keyOf(f)
		known := r.open[key]
		if known == nil || !known.starts.Equal(f.Since) {
			known = r.alert(f)
		}
		if known != nil {
			open[key] = known
		}
	}
	return open
}

// bounded leaves the newest of too many.
func (r *Room) bounded(failing []*finding.Finding) []*finding.Finding {
	if len(failing) <= maxOpen {
		r.skipped = nil
		return failing
	}
	newest(failing)
	skipped := make(map[string]struct{})
	fresh := 0
	for _, f := range failing[maxOpen:] {
		key := keyOf(f)
		if _, known := r.skipped[key]; !known {
			fresh++
		}
		skipped[key] = struct{}{}
	}
	r.skipped = skipped
	if fresh > 0 {
		r.over += uint64(fresh)
		r.Log.Warn("more fails than receivers are told of", "told", maxOpen, "dropped", fresh)
	}
	return failing[:maxOpen]
}

// alert makes the alert of a finding.
func (r *Room) alert(f *finding.Finding) *alert {
	body, err := r.Encode(f)
	if err == nil && len(body) > maxFinding {
		short := *f
		short.Facts = map[string]any{"facts": "too many to send: see cityward scan"}
		body, err = r.Encode(&short)
	}
	if err != nil || len(body) > maxFinding {
		r.Log.Error("a finding cannot be told", "check", f.Check, "bytes", len(body), "err", err)
		return nil
	}
	return &alert{instance: r.name(), starts: f.Since, finding: body}
}

// name is the machine's. No lock: whoever holds it may wait for a sender to end.
func (r *Room) name() string { return *r.machine.Load() }

func (r *Room) named(name string) {
	name = clean(name)
	r.machine.Store(&name)
}

// all gives the receivers there are now.
func (r *Room) all() (lines []*line, over uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(lines, r.lines...), r.over
}

// copyOf gives a map of its own.
func copyOf(entries map[string]*entry) map[string]*entry {
	if entries == nil {
		return make(map[string]*entry)
	}
	return maps.Clone(entries)
}
