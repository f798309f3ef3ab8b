package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// collect stands in for a collector: what is tested here is how the round
// treats good, failing, crashing and hanging ones.
type collect func(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error)

func (c collect) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	return c(ctx, seen)
}

func entry(name, kind string, c collect) collectors.Entry {
	return collectors.Entry{Name: name, Kinds: []string{kind}, Collector: c}
}

func facts(f inventory.Facts) collect {
	return func(context.Context, *inventory.Facts) (inventory.Facts, error) { return f, nil }
}

func newAgent(t *testing.T, entries ...collectors.Entry) *Agent {
	t.Helper()
	cfg := configs.Default()
	cfg.Round.Interval, cfg.Round.Timeout = 15*time.Second, 10*time.Second
	return New(Options{
		Config: cfg, Set: collectors.Of(entries...), Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Load: func() (*configs.Config, error) { return cfg, nil },
	})
}

func gaps(r *Report) string {
	var all []string
	for _, g := range r.Snapshot.Gaps {
		all = append(all, g.Collector+"/"+g.Kind+": "+g.Reason)
	}
	return strings.Join(all, "\n")
}

func TestRoundMergesAndPassesFactsOn(t *testing.T) {
	a := newAgent(t,
		entry("process", inventory.KindProcesses, facts(inventory.Facts{Processes: []inventory.Process{{Name: "init"}}})),
		entry("engine", inventory.KindEngines, func(_ context.Context, seen *inventory.Facts) (inventory.Facts, error) {
			if len(seen.Processes) != 1 {
				t.Errorf("a later collector sees %d processes, want 1", len(seen.Processes))
			}
			return inventory.Facts{Candidates: []inventory.Candidate{{Engine: "PostgreSQL"}}}, nil
		}),
	)
	r := a.Round(t.Context())
	if len(r.Snapshot.Processes) != 1 || len(r.Snapshot.Candidates) != 1 || gaps(r) != "" {
		t.Errorf("snapshot = %+v", r.Snapshot.Facts)
	}
	for _, c := range r.Collectors {
		if !c.Success || c.LastSuccess.IsZero() {
			t.Errorf("stat = %+v, want success", c)
		}
	}
}

func TestFailuresAreGaps(t *testing.T) {
	a := newAgent(t,
		entry("broken", inventory.KindFlows, func(context.Context, *inventory.Facts) (inventory.Facts, error) {
			return inventory.Facts{}, errors.New("read sockets: permission denied")
		}),
		entry("crashing", inventory.KindStorage, func(context.Context, *inventory.Facts) (inventory.Facts, error) {
			panic("index out of range")
		}),
		entry("sound", inventory.KindMachine, facts(inventory.Facts{Machine: &inventory.Machine{OS: "debian"}})),
	)
	r := a.Round(t.Context())
	got := gaps(r)
	for _, want := range []string{"broken/flows: read sockets: permission denied", "crashing/storage: ask crashing: panic: index out of range"} {
		if !strings.Contains(got, want) {
			t.Errorf("gaps are\n%s\nwant %s", got, want)
		}
	}
	if r.Snapshot.Machine == nil {
		t.Error("a crash of one collector blinded another")
	}
	if r.Collectors[0].Success || r.Collectors[1].Success || !r.Collectors[2].Success {
		t.Errorf("stats = %+v", r.Collectors)
	}
}

// A collector in a system call that never ends must not stop the round, and
// must not be asked a second time while it hangs.
func TestHangingCollectorIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		a := newAgent(t, entry("stuck", inventory.KindStorage, func(context.Context, *inventory.Facts) (inventory.Facts, error) {
			asked.Add(1)
			<-release
			return inventory.Facts{}, nil
		}))
		for range 3 {
			if got := gaps(a.Round(t.Context())); !strings.Contains(got, "stuck/storage") {
				t.Errorf("gaps are %q", got)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the hanging collector was asked %d times", n)
		}
		close(release)
		synctest.Wait()
		if got := gaps(a.Round(t.Context())); got != "" {
			t.Errorf("after it came back the gaps are %q", got)
		}
	})
}

// heeder is a collector that may be configured while it is not at work.
type heeder struct {
	collect

	working atomic.Bool
	city    string
}

func (h *heeder) Configure(cfg *configs.Config) {
	if h.working.Load() {
		panic("configured while at work")
	}
	h.city = cfg.City.Name
}

// A reload must not upset a collector that hangs, nor be lost on it.
func TestReloadReachesHangingCollectorLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &heeder{}
		h.collect = func(context.Context, *inventory.Facts) (inventory.Facts, error) {
			h.working.Store(true)
			defer h.working.Store(false)
			<-release
			return inventory.Facts{}, nil
		}
		a := newAgent(t, collectors.Entry{Name: "stuck", Collector: h})
		a.Round(t.Context())
		renamed := configs.Default()
		renamed.City.Name = "Another"
		a.Load = func() (*configs.Config, error) { return renamed, nil }
		a.Reload()
		a.Round(t.Context())
		close(release)
		synctest.Wait()
		a.Round(t.Context())
		if h.city != "Another" {
			t.Errorf("the collector works for the city %q", h.city)
		}
	})
}

// waiting is a collector whose new configuration waits for what another holds.
type waiting struct {
	collect

	held chan struct{}
}

func (w *waiting) Configure(*configs.Config) { <-w.held }

func TestReloadDoesNotWaitForCollectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{facts(inventory.Facts{}), make(chan struct{})}
		a := newAgent(t, collectors.Entry{Name: "stuck", Kinds: []string{inventory.KindFlows}, Collector: w})
		a.Round(t.Context())
		a.Load = func() (*configs.Config, error) { return configs.Default(), nil }
		a.Reload()
		release := time.AfterFunc(time.Hour, func() { close(w.held) })
		if got := gaps(a.Round(t.Context())); !strings.Contains(got, "stuck/flows") {
			t.Errorf("gaps are %q", got)
		}
		if !release.Stop() {
			t.Error("the round waited")
		}
		close(w.held)
		synctest.Wait()
		if got := gaps(a.Round(t.Context())); got != "" {
			t.Errorf("after it came back the gaps are %q", got)
		}
	})
}

func failing(verdict *finding.Verdict) checks.Check {
	return checks.Check{
		Rule: finding.Rule{ID: "TST-001", Title: "Test", Severity: finding.High},
		Judge: func(*inventory.Snapshot, *configs.Policy) []finding.Finding {
			return []finding.Finding{{Subject: "x", Verdict: *verdict}}
		},
	}
}

func TestSinceIsWhenTheVerdictBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verdict := finding.Fail
		a := newAgent(t)
		a.Checks = []checks.Check{failing(&verdict)}
		began := time.Now()
		since := func() time.Time { return a.Round(t.Context()).Findings[0].Since }
		if got := since(); !got.Equal(began) {
			t.Errorf("since = %s, want %s", got, began)
		}
		time.Sleep(time.Minute)
		if got := since(); !got.Equal(began) {
			t.Errorf("a minute later since = %s, want %s", got, began)
		}
		verdict = finding.Pass
		changed := time.Now()
		if got := since(); !got.Equal(changed) {
			t.Errorf("with another verdict since = %s, want %s", got, changed)
		}
	})
}

func TestReload(t *testing.T) {
	a := newAgent(t)
	old := a.Config
	a.Load = func() (*configs.Config, error) { return nil, errors.New("cityward.toml:3:1: city: unknown key") }
	a.Reload()
	if r := a.Round(t.Context()); r.Config.Valid || !strings.Contains(r.Config.Err, ":3:1:") || r.Policy != &old.Policy {
		t.Errorf("a broken file gives state %+v; the old policy must stay", r.Config)
	}
	sound := configs.Default()
	sound.City.Name = "Another"
	a.Load = func() (*configs.Config, error) { return sound, nil }
	a.Reload()
	if r := a.Round(t.Context()); !r.Config.Valid || r.Config.Err != "" || r.Policy.City.Name != "Another" {
		t.Errorf("a sound file gives state %+v, policy %+v", r.Config, r.Policy.City)
	}
}

// What is opened at the start cannot change with a reload, and must not seem to.
func TestReloadSaysWhatNeedsARestart(t *testing.T) {
	for section, change := range map[string]func(*configs.Config){
		"nothing": func(c *configs.Config) { c.City.Name = "Another" },
		"listen":  func(c *configs.Config) { c.Listen.Metrics = "127.0.0.1:1" },
		"capture": func(c *configs.Config) { c.Capture.Tier = "poll" },
		"log":     func(c *configs.Config) { c.Log.Level = "debug" },
	} {
		var log strings.Builder
		a := newAgent(t)
		a.Log = slog.New(slog.NewTextHandler(&log, nil))
		changed := configs.Default()
		change(changed)
		a.Load = func() (*configs.Config, error) { return changed, nil }
		a.Reload()
		if warned := strings.Contains(log.String(), "restart"); warned != (section != "nothing") {
			t.Errorf("%s: the log says %q", section, log.String())
		}
	}
}

func TestRunKeepsItsClockAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		a := newAgent(t)
		a.Published = func(r *Report) { times = append(times, r.Snapshot.Taken) }
		reload := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		began := time.Now()
		go func() { done <- a.Run(ctx, reload) }()
		time.Sleep(31 * time.Second)
		reload <- struct{}{}
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []time.Duration{0, 15 * time.Second, 30 * time.Second, 31 * time.Second}
		if len(times) != len(want) {
			t.Fatalf("%d rounds, want %d", len(times), len(want))
		}
		for i, w := range want {
			if got := times[i].Sub(began); got != w {
				t.Errorf("round %d began after %s, want %s", i, got, w)
			}
		}
	})
}
