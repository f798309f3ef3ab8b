package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// shownFinding is a finding as the daemon tells it.
type shownFinding struct {
	Check, Result, Subject, Reason string
	Facts                          json.RawMessage // which differ by check
	sent                           sentFacts
	first                          time.Time // when it was seen
}

type sentFacts struct {
	Programs []string
	How      []string
	Sent     uint64                   `json:"sent_bytes"`
	Chain    [][]struct{ How string } // of each way the programs, the carrier last
}

// heldBy reports whether the carrier had the data in a way. A shell's child may be
// seen at a pipe before it is the program, which then has it from there.
func (f *sentFacts) heldBy(how string) bool {
	handed := func(steps []struct{ How string }) bool {
		n := len(steps)
		return n > 1 && steps[n-1].How == "descendant" && steps[n-2].How == how
	}
	return slices.Contains(f.How, how) || how == "pipeline" && slices.ContainsFunc(f.Chain, handed)
}

// observer remembers what was published.
type observer struct {
	mu     sync.Mutex
	failed map[string]shownFinding // by check and subject
	others map[string]shownFinding // and what is no failure
	ledger map[int]arrival
}

// observe asks the daemon again and again, until the test ends.
func (l *lab) observe(t *testing.T) *observer {
	t.Helper()
	o := &observer{failed: make(map[string]shownFinding), others: make(map[string]shownFinding)}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				o.look(t, l)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return o
}

func (o *observer) look(t *testing.T, l *lab) {
	data, err := l.admin.get(t.Context(), "findings")
	if err != nil {
		return // it may just start anew
	}
	var shown []shownFinding
	if err := json.Unmarshal(data, &shown); err != nil {
		t.Error(err)
		return
	}
	came, err := arrivals(l.path("sink.sock"))
	if err != nil {
		t.Error(err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ledger = came
	for _, f := range shown {
		at, key := o.others, f.Check+" "+f.Subject
		if f.Result == "fail" {
			at = o.failed
		}
		if f.Check == "NET-001" {
			if err := json.Unmarshal(f.Facts, &f.sent); err != nil {
				t.Error(err)
			}
		}
		f.first = time.Now()
		if before, known := at[key]; known {
			f.first = before.first
		}
		at[key] = f
	}
}

// problem says what a leak's finding lacks; "" nothing.
func (o *observer) problem(s *scenario) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	came := o.ledger[s.port]
	if came.Bytes == 0 && !s.inbound {
		return "nothing came to the sink"
	}
	f, failed := o.failed["NET-001 "+s.subject()]
	if !failed {
		f, known := o.others["NET-001 "+s.subject()]
		return fmt.Sprintf("no finding fails (another verdict: %t, %q, %v)", known, f.Reason, f.sent)
	}
	if s.seen = f; !s.inbound {
		s.took = f.first.Sub(came.First)
	}
	least := s.least
	if least == 0 {
		least = len(records())
	}
	switch sent := f.sent.Sent; {
	case !slices.Contains(f.sent.Programs, carrierPath(s)):
		return fmt.Sprintf("programs are %v, want %s", f.sent.Programs, carrierPath(s))
	case !f.sent.heldBy(s.how):
		return fmt.Sprintf("held by way of %v, want %s", f.sent.How, s.how)
	case sent < uint64(least):
		return fmt.Sprintf("%d bytes are reported, %d of the store left", sent, least)
	case !s.inbound && sent > came.Bytes:
		return fmt.Sprintf("%d bytes are reported, %d came", sent, came.Bytes)
	case !s.inbound && !s.loose && sent != came.Bytes:
		return fmt.Sprintf("%d bytes are reported, %d came", sent, came.Bytes)
	}
	return ""
}

// carrierPath is where the program of that name lies.
func carrierPath(s *scenario) string {
	switch s.carrier {
	case "carry", "gocarry":
		return filepath.Join(filepath.Dir(filepath.Dir(s.dir)), s.carrier)
	case "psql", "pg_dump", "postgres":
		return postgres15 + "/" + s.carrier
	}
	file, err := filepath.EvalSymlinks("/usr/bin/" + s.carrier)
	if err != nil {
		return s.carrier
	}
	return file
}

// gaps is what the daemon says that it does not see.
func (l *lab) gaps(t *testing.T) string {
	t.Helper()
	status, err := l.admin.get(t.Context(), "status")
	if err != nil {
		t.Fatal(err)
	}
	return string(status)
}

// settle waits for the findings that are still to come.
func (o *observer) settle(leaks []*scenario) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if !slices.ContainsFunc(leaks, func(s *scenario) bool { return s.exit == nil && o.problem(s) != "" }) {
			return
		}
	}
}

// reports gives what fails at a scenario's port and should not.
func (o *observer) reports(s *scenario) []string {
	port := strconv.Itoa(s.port)
	if s.inbound {
		port = strconv.Itoa(publicWeb)
	}
	return o.failing(func(f *shownFinding) bool {
		return strings.HasSuffix(f.Subject, ":"+port) || strings.HasSuffix(f.Subject, "port "+port)
	}, "NET-001", "NET-005", "DAT-008", "DAT-010")
}

func (o *observer) failing(picked func(*shownFinding) bool, checks ...string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []string
	for _, f := range o.failed {
		if slices.Contains(checks, f.Check) && picked(&f) {
			found = append(found, fmt.Sprintf("%s %s: %s", f.Check, f.Subject, f.Reason))
		}
	}
	return found
}

// shownHolding is a holding as the daemon tells it.
type shownHolding struct {
	Store, How, Evidence string
	Program, From        struct {
		Executable string
		PID        int
	}
	Destinations []struct {
		Port int
		Sent uint64 `json:"sent_bytes"`
	}
}

func (h shownHolding) String() string {
	return fmt.Sprintf("%s[%d]: %s, %s, %s", h.Program.Executable, h.Program.PID, h.Store, h.How, h.Evidence)
}

// links tells what the daemon knows of a scenario's destination and carrier.
func (l *lab) links(t *testing.T, s *scenario) string {
	t.Helper()
	data, err := l.admin.get(t.Context(), "custody")
	if err != nil {
		return err.Error()
	}
	var all []shownHolding
	if err := json.Unmarshal(data, &all); err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, h := range all {
		for _, d := range h.Destinations {
			if d.Port != s.port {
				continue
			}
			fmt.Fprintf(&text, "custody: %d bytes by %s\n", d.Sent, h)
			for from, steps := h.From.PID, 0; from != 0 && steps < 10; steps++ {
				i := slices.IndexFunc(all, func(other shownHolding) bool { return other.Program.PID == from && other.Store == h.Store })
				if i < 0 {
					break
				}
				fmt.Fprintf(&text, "  which has it from %s\n", all[i])
				from = all[i].From.PID
			}
		}
	}
	return text.String()
}
