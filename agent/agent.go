// Package agent is the round: collect, merge, judge, publish.
//
// One goroutine runs the rounds; everything it publishes is immutable, so a
// scrape or a report never waits for a collector. A collector that hangs (a
// dead network file system can hold a system call for ever) is left behind: its
// evidence is a gap until it returns.
//
// Full rounds follow the clock and ask every collector. Between them a wake-up
// from the kernel, or somebody who follows, has a short one made: only prompt
// collectors are asked (see [collectors.Spec]), the facts of the others are those
// of the full round before. All else is the same: the facts are merged, judged by
// every check and published. So all reports come in one order from one place, and
// whoever observes each of them once misses nothing.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Options is what an agent needs from outside.
type Options struct {
	Config    *configs.Config
	Load      func() (*configs.Config, error) // reads the configuration anew, for Reload
	Set       *collectors.Set                 // what to look with
	Wake      <-chan struct{}                 // asks for a short round; may be nil
	Checks    []checks.Check                  // what to judge
	Log       *slog.Logger
	Now       func() time.Time
	Progress  func(name string, done, total int) // called before each collector; may be nil
	Published func(*Report)                      // called after each round of Run, full or short; may be nil
	Gaps      func() []inventory.Gap             // what rooms of the agent itself cannot do now; may be nil
	Since     map[string]time.Time               // by [SinceKey]: when findings began that an earlier run knew; may be nil
}

// Agent runs rounds. Its methods are for one goroutine, but for Busy and Fresh.
type Agent struct {
	Options
	state  ConfigState
	stats  map[string]*CollectorStat
	stuck  map[string]<-chan struct{} // collectors that did not come back, until they do
	given  map[string]*configs.Config // what each collector works by
	since  map[string]time.Time       // when each finding was first seen with its verdict
	kept   map[string]inventory.Facts // what collectors that are not prompt saw in the last full round
	rounds uint64
	shorts uint64
	rested time.Time    // no short round before
	began  atomic.Int64 // of the round that runs, in Unix nanoseconds; 0 between rounds
	queue  *queue       // of those who wait for a round
	growth *Growth

	components int // of the last collection
}

// Report is one finished round. It is immutable.
type Report struct {
	Snapshot   *inventory.Snapshot
	Findings   []finding.Finding
	Results    []checks.Result
	Moved      []Moved         // since the report before; of the first, all that there is to count
	Policy     *configs.Policy // in force
	Config     ConfigState
	Collectors []CollectorStat
	Rounds     uint64 // full ones finished since the start, this one included
	Shorts     uint64 // likewise short ones
	Short      bool   // whether this was one: what need not be prompt is of the full round before
	Duration   time.Duration
}

// ConfigState says whether the configuration on disk is the one in force.
type ConfigState struct {
	Valid  bool
	Loaded time.Time // when the one in force was read
	Err    string    // what is wrong with the one on disk; "" nothing
}

// CollectorStat is how one collector fared.
type CollectorStat struct {
	Name        string
	Success     bool
	Duration    time.Duration
	LastSuccess time.Time // zero before the first
	Err         string
}

// New returns an agent that has not looked yet.
func New(o Options) *Agent {
	a := &Agent{
		Options: o,
		state:   ConfigState{Valid: true, Loaded: o.Now()},
		stats:   make(map[string]*CollectorStat),
		stuck:   make(map[string]<-chan struct{}),
		given:   make(map[string]*configs.Config),
		since:   make(map[string]time.Time),
		kept:    make(map[string]inventory.Facts),
		queue:   newQueue(),
		growth:  NewGrowth(),
	}
	maps.Copy(a.since, o.Since)
	for _, entry := range o.Set.Entries() {
		a.given[entry.Name] = o.Config
	}
	return a
}

// Busy is how long the round that runs now has been running; 0 between rounds.
// It may be called from any goroutine.
func (a *Agent) Busy() time.Duration {
	began := a.began.Load()
	if began == 0 {
		return 0
	}
	return max(a.Now().Sub(time.Unix(0, began)), 1)
}

// Reload reads the configuration again. A broken one changes nothing but the
// state that reports and metrics show. A collector is given the new one when it
// is next asked, so never while it is at work.
func (a *Agent) Reload() {
	config, err := a.Load()
	if err != nil {
		a.state.Valid, a.state.Err = false, err.Error()
		a.Log.Error("configuration is broken, the one before stays in force", "err", err)
		return
	}
	if config.Listen != a.Config.Listen || config.Log != a.Config.Log || config.Capture != a.Config.Capture ||
		config.Ledger != a.Config.Ledger {
		a.Log.Warn("settings of [listen], [log], [capture] and [ledger] change with a restart only")
	}
	a.Config = config
	a.state = ConfigState{Valid: true, Loaded: a.Now()}
	a.Log.Info("configuration reloaded", "file", config.Source)
}

// Round looks at everything once and judges it.
func (a *Agent) Round(ctx context.Context) *Report { return a.round(ctx, false) }

func (a *Agent) round(ctx context.Context, short bool) *Report {
	began := a.Now()
	a.began.Store(began.UnixNano())
	defer a.began.Store(0)

	facts := a.collect(ctx, short)
	if err := a.Set.Rest(); err != nil {
		a.Log.Warn("what was read of licences is not kept", "err", err)
	}
	if a.Gaps != nil {
		facts.Gaps = append(facts.Gaps, a.Gaps()...)
	}
	facts.Tables = append(facts.Tables, tables(&a.Config.Policy)...)
	snapshot := inventory.Merge(began, &facts)
	findings := checks.Run(a.Checks, snapshot, &a.Config.Policy)
	a.date(findings, began)
	if short {
		a.shorts++
	} else {
		a.rounds++
	}
	return &Report{
		Snapshot:   snapshot,
		Findings:   findings,
		Results:    checks.Summary(a.Checks, findings),
		Moved:      a.growth.Next(snapshot, short),
		Policy:     &a.Config.Policy,
		Config:     a.state,
		Collectors: a.collectorStats(),
		Rounds:     a.rounds,
		Shorts:     a.shorts,
		Short:      short,
		Duration:   a.Now().Sub(began),
	}
}

// tables are the facts that come with the policy and not from a collector.
func tables(p *configs.Policy) []inventory.Table {
	if p.Substitutes == nil {
		return nil
	}
	list := []inventory.Table{{Name: "substitutes", Date: p.Substitutes.Date}}
	if own := p.Substitutes.Own; !own.IsZero() {
		list = append(list, inventory.Table{Name: "substitutes of facts.d", Date: own})
	}
	return list
}

// SinceKey names a finding, by its key, with its verdict: one that changes begins
// anew.
func SinceKey(key, verdict string) string { return key + "\x00" + verdict }

// date fills in since when each finding has had its verdict.
func (a *Agent) date(findings []finding.Finding, now time.Time) {
	current := make(map[string]time.Time, len(findings))
	for i := range findings {
		key := SinceKey(findings[i].Key(), findings[i].Verdict.String())
		since, known := a.since[key]
		if !known {
			since = now
		}
		current[key] = since
		findings[i].Since = since
	}
	a.since = current
}

func (a *Agent) collect(ctx context.Context, short bool) inventory.Facts {
	facts := inventory.Facts{Components: make([]inventory.Component, 0, a.components)} // they are the most
	entries := a.Set.Entries()
	for i, entry := range entries {
		if ctx.Err() != nil {
			break
		}
		if a.Progress != nil {
			a.Progress(entry.Name, i, len(entries))
		}
		part := a.kept[entry.Name]
		if !short || entry.Prompt {
			part = a.ask(ctx, entry, facts)
		}
		if !short && !entry.Prompt {
			a.kept[entry.Name] = part
		}
		facts.Append(&part)
	}
	if a.Progress != nil {
		a.Progress("", len(entries), len(entries))
	}
	a.components = len(facts.Components)
	return facts
}

// ask runs one collector within its time. seen is a copy of the slice headers,
// so a collector that is left behind can go on reading it.
func (a *Agent) ask(ctx context.Context, entry collectors.Entry, seen inventory.Facts) inventory.Facts {
	stat := a.stat(entry.Name)
	began := a.Now()
	part, err := a.attempt(ctx, entry, seen)
	stat.Duration = a.Now().Sub(began)
	stat.Success = err == nil
	if err == nil {
		stat.LastSuccess, stat.Err = a.Now(), ""
		return part
	}
	stopping := ctx.Err() != nil
	if stat.Err != err.Error() && !stopping {
		a.Log.Warn("collector sees nothing", "collector", entry.Name, "err", err)
	}
	stat.Err = err.Error()
	for _, kind := range entry.Kinds {
		part.Gaps = append(part.Gaps, inventory.Gap{Collector: entry.Name, Kind: kind, Reason: err.Error()})
	}
	return part
}

type answer struct {
	facts inventory.Facts
	err   error
}

func (a *Agent) attempt(ctx context.Context, entry collectors.Entry, seen inventory.Facts) (inventory.Facts, error) {
	if back, stuck := a.stuck[entry.Name]; stuck {
		select {
		case <-back:
			delete(a.stuck, entry.Name)
		default:
			return inventory.Facts{}, fmt.Errorf("ask %s: has not come back from an earlier round", entry.Name)
		}
	}
	var config *configs.Config // nil if it has it
	if a.given[entry.Name] != a.Config {
		config = a.Config
		a.given[entry.Name] = config
	}
	ctx, cancel := context.WithTimeout(ctx, a.Config.Round.Timeout)
	defer cancel()
	answers := make(chan answer, 1)
	back := make(chan struct{})
	go func() {
		defer close(back)
		answers <- guarded(ctx, entry, config, &seen)
	}()
	select {
	case got := <-answers:
		return got.facts, got.err
	case <-ctx.Done():
	}
	// A collector that heeds its context comes back at once; give it that.
	select {
	case got := <-answers:
		return got.facts, got.err
	case <-time.After(time.Second):
		a.stuck[entry.Name] = back
		return inventory.Facts{}, fmt.Errorf("ask %s: %w", entry.Name, context.Cause(ctx))
	}
}

// guarded turns a panic into an error: one room on fire must not blind the
// others.
func guarded(ctx context.Context, entry collectors.Entry, config *configs.Config, seen *inventory.Facts) (got answer) {
	defer func() {
		if p := recover(); p != nil {
			got = answer{err: fmt.Errorf("ask %s: panic: %v", entry.Name, p)}
		}
	}()
	if config != nil { // also this may wait for what a hanging collector holds
		entry.Configure(config)
	}
	facts, err := entry.Collect(ctx, seen)
	return answer{facts, err}
}

func (a *Agent) stat(name string) *CollectorStat {
	if a.stats[name] == nil {
		a.stats[name] = &CollectorStat{Name: name}
	}
	return a.stats[name]
}

func (a *Agent) collectorStats() []CollectorStat {
	stats := make([]CollectorStat, 0, len(a.stats))
	for _, entry := range a.Set.Entries() {
		if stat, asked := a.stats[entry.Name]; asked {
			stats = append(stats, *stat)
		}
	}
	return stats
}
