package collectors

import (
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cityward/collectors/internal/kernel"
)

// told gives the events of one look after the other.
type told struct{ looks [][]kernel.Event }

func (t *told) Events(into []kernel.Event) ([]kernel.Event, error) {
	if len(t.looks) == 0 {
		return into, nil
	}
	into = append(into, t.looks[0]...)
	t.looks = t.looks[1:]
	return into, nil
}

func TestWake(t *testing.T) {
	peer := netip.MustParseAddr("203.0.113.7")
	out, in := kernel.Event{Direction: kernel.Out, Remote: peer}, kernel.Event{Direction: kernel.In, Remote: peer}
	loop := kernel.Event{Direction: kernel.Out, Remote: netip.MustParseAddr("127.0.0.9")}
	leak := kernel.Event{Kind: kernel.EventLeak, Direction: kernel.In, Remote: peer}
	loopLeak := kernel.Event{Kind: kernel.EventLeak, Direction: kernel.In, Remote: loop.Remote}
	var own []kernel.Event
	for _, address := range addresses() {
		own = append(own, kernel.Event{Direction: kernel.Out, Remote: address})
	}
	for name, tt := range map[string]struct {
		looks [][]kernel.Event
		want  int
	}{
		"quiet":           {[][]kernel.Event{nil, nil}, 0},
		"out":             {[][]kernel.Event{nil, {in, out}}, 1},
		"in":              {[][]kernel.Event{{in}, {in, in}}, 0},
		"leak":            {[][]kernel.Event{{in, leak}}, 1},
		"leak to itself":  {[][]kernel.Event{{loopLeak}}, 0},
		"to itself":       {[][]kernel.Event{{loop}, own}, 0},
		"nobody listened": {[][]kernel.Event{{out}, {out, out}, {out}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWaker(&told{tt.looks})
				time.Sleep(2 * time.Second)
				w.close()
				if got := len(w.signals); got != tt.want {
					t.Errorf("%d signals, want %d", got, tt.want)
				}
			})
		})
	}
}

func TestNobodyWakesWithoutAKernel(t *testing.T) {
	set := build(t, t.TempDir())
	if set.Wake() != nil || Of().Wake() != nil {
		t.Error("a wake-up is promised where no kernel tells")
	}
}

// Waiting for a wake-up must cost next to nothing.
func TestIdleCost(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("capturing flows needs root")
		}
		t.Skip("capturing flows needs root")
	}
	set := build(t, "/")
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	wait := func() time.Duration {
		before := used()
		time.Sleep(4 * time.Second)
		return used() - before
	}
	without := wait()
	wake := set.Wake()
	if wake == nil {
		t.Skip("no capture in this kernel")
	}
	if set.Wake() != wake {
		t.Error("each call gives another channel")
	}
	with := wait()
	t.Logf("in 4 s: %v without, %v with", without, with)
	if with > without+100*time.Millisecond { // 2.5 % of a core; expected are tens of microseconds a look
		t.Errorf("waiting used %v in 4 s, %v without it", with, without)
	}
}
