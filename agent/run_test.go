package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cityward/collectors"
	"cityward/collectors/inventory"
)

// watch is an agent at work and what it published.
type watch struct {
	*Agent
	began   time.Time
	reports []*Report
	wake    chan struct{}
	stop    func()
}

// start runs an agent in a bubble. The prompt collector takes a while and counts
// how often it was asked; so does the other.
func start(t *testing.T, takes time.Duration) (w *watch, prompt, other *int) {
	t.Helper()
	prompt, other = new(int), new(int)
	w = &watch{began: time.Now(), wake: make(chan struct{}, 1)}
	w.Agent = newAgent(t,
		collectors.Entry{Name: "machine", Collector: collect(func(context.Context, *inventory.Facts) (inventory.Facts, error) {
			*other++
			return inventory.Facts{Machine: &inventory.Machine{CPUs: *other}}, nil
		})},
		collectors.Entry{Name: "flow", Prompt: true, Collector: collect(func(_ context.Context, seen *inventory.Facts) (inventory.Facts, error) {
			*prompt++
			time.Sleep(takes)
			if seen.Machine == nil || seen.Machine.CPUs != *other {
				t.Errorf("a prompt collector is not given what the last full round saw: %+v", seen.Machine)
			}
			return inventory.Facts{Flows: []inventory.Flow{{Sent: uint64(*prompt)}}}, nil
		})},
	)
	w.Wake = w.wake
	w.Published = func(r *Report) { w.reports = append(w.reports, r) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, nil) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(takes) // a collector that was left behind comes back
	}
	synctest.Wait()
	return w, prompt, other
}

// signal wakes the agent every now and then for some time.
func (w *watch) signal(every, during time.Duration) {
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(every) {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func TestWakeUpMakesAShortRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, prompt, other := start(t, 0)
		time.Sleep(time.Second)
		w.wake <- struct{}{}
		time.Sleep(time.Second)
		w.stop()
		if *prompt != 2 || *other != 1 {
			t.Errorf("the prompt collector was asked %d times, the other %d times, want 2 and 1", *prompt, *other)
		}
		if len(w.reports) != 2 {
			t.Fatalf("%d reports, want 2", len(w.reports))
		}
		r := w.reports[1]
		if !r.Short || r.Rounds != 1 || r.Shorts != 1 || !r.Snapshot.Taken.Equal(w.began.Add(time.Second)) {
			t.Errorf("short %t, %d full rounds and %d short ones, at %v", r.Short, r.Rounds, r.Shorts, r.Snapshot.Taken.Sub(w.began))
		}
		if r.Snapshot.Machine == nil || len(r.Snapshot.Flows) != 1 || r.Snapshot.Flows[0].Sent != 2 || len(r.Collectors) != 2 {
			t.Errorf("a short round shows %+v", r.Snapshot.Facts)
		}
	})
}

// However much goes out, the daemon keeps to its share of a core and to its clock.
func TestShortRoundsAreBounded(t *testing.T) {
	for takes, most := range map[time.Duration]int{0: 4 * 60, 20 * time.Millisecond: 4 * 60, 100 * time.Millisecond: 60, 2 * time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			w, _, _ := start(t, takes)
			w.signal(time.Millisecond, time.Minute)
			w.stop()
			full, short := 0, 0
			for i, r := range w.reports {
				if r.Rounds+r.Shorts != uint64(i+1) {
					t.Fatalf("report %d is that of full round %d and short round %d", i, r.Rounds, r.Shorts)
				}
				if r.Short {
					short++
					continue
				}
				want := time.Duration(full) * 15 * time.Second
				full++
				if late := r.Snapshot.Taken.Sub(w.began) - want; late < 0 || late > takes {
					t.Errorf("full round %d is %v late", full, late)
				}
			}
			if full < 4 || short > most || short < most/2 {
				t.Errorf("rounds of %v: %d full ones and %d short ones, want 4 and at most %d", takes, full, short, most)
			}
		})
	}
}

func TestFollowersShareARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, prompt, _ := start(t, 10*time.Millisecond)
		var first sync.WaitGroup
		for range 50 { // while the first full round runs, which began before they asked
			first.Go(func() {
				r, err := w.Fresh(t.Context())
				if err != nil || !r.Short || r.Shorts != 1 {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
		first.Wait()
		if *prompt != 2 {
			t.Errorf("50 followers made %d rounds", *prompt-1)
		}
		time.Sleep(time.Second)
		asked := time.Now()
		r, err := w.Fresh(t.Context())
		if err != nil || r.Snapshot.Taken.Before(asked) || time.Since(asked) > 50*time.Millisecond {
			t.Errorf("asked at %v, given a round of %v after %v: %v", asked, r.Snapshot.Taken, time.Since(asked), err)
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := w.Fresh(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who does not wait is told %v", err)
		}
		var last sync.WaitGroup
		last.Go(func() {
			if _, err := w.Fresh(t.Context()); !errors.Is(err, ErrStopped) {
				t.Errorf("the end is told as %v", err)
			}
		})
		synctest.Wait()
		w.stop()
		last.Wait()
	})
}
