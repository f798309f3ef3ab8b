package process

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

func TestChoose(t *testing.T) {
	fails := func(*host.Host) (watch, error) { return nil, errors.New("denied") }
	works := func(*host.Host) (watch, error) { return nil, nil }
	all := func(first func(*host.Host) (watch, error)) []tier {
		return []tier{{"events", "misses a little", first}, {"poll", "misses much", works}}
	}
	tests := []struct {
		best         string
		all          []tier
		name, reason string
	}{
		{"auto", all(works), "events", "misses a little"},
		{"events", all(works), "events", "misses a little"},
		{"bpf", all(works), "events", "misses a little"},
		{"auto", all(fails), "poll", "misses much (events: denied)"},
		{"poll", all(works), "poll", `misses much (capture.tier = "poll" permits no better)`},
	}
	for _, test := range tests {
		got, _, err := choose(test.best, test.all, nil)
		if err != nil || got.name != test.name || got.reason != test.reason {
			t.Errorf("%s: got %+v, %v", test.best, got, err)
		}
	}
	if _, _, err := choose("auto", all(fails)[:1], nil); err == nil || !strings.Contains(err.Error(), "events: denied") {
		t.Errorf("got %v", err)
	}
}

func TestStarts(t *testing.T) {
	needRoot(t)
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c := New(h, watching(inventory.TierEvents), nil)
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	before := collect(t, c).Captures[0]
	if before.Tier != inventory.TierEvents || before.Complete {
		t.Fatalf("got %+v", before)
	}
	const count = 200
	for range count {
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	var after inventory.Capture
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if after = collect(t, c).Captures[0]; after.Events >= before.Events+count {
			break
		}
	}
	t.Logf("of %d programs %d had no name any more", after.Events-before.Events, after.Orphans-before.Orphans)
	if after.Events < before.Events+count || after.Lost > 0 || after.Orphans > after.Events {
		t.Errorf("got %+v, then %+v", before, after)
	}
}

func TestGopsutil(t *testing.T) {
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	want := find(t, collect(t, New(h, polling(), nil)), os.Getpid())
	c := New(h, watching(inventory.TierGopsutil), nil)
	for range 2 {
		facts := collect(t, c)
		got := find(t, facts, os.Getpid())
		if got.ID.Start/ticks != want.ID.Start/ticks || got.Executable != want.Executable || got.User != want.User || got.UID != want.UID || got.Parent != want.Parent || got.Started.Sub(want.Started).Abs() > 2*time.Second || got.Kernel {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		if capture := facts.Captures[0]; capture.Tier != inventory.TierGopsutil || capture.Complete || capture.Events < uint64(len(facts.Processes)) {
			t.Errorf("got %+v", capture)
		}
		if len(facts.Gaps) == 0 || facts.Gaps[0].Reason != facts.Captures[0].Reason {
			t.Errorf("got %+v", facts.Gaps)
		}
	}
}
