//go:build linux && (amd64 || arm64)

package kernel

import (
	"testing"
	"time"
)

// Opens by the ten thousand are one hold, and delay nothing else that is seen.
func TestStormOfOpens(t *testing.T) {
	k := open(t, Options{})
	l := labs(t, k)
	opens := 30_000
	if testing.Short() { // emulated
		opens = 1000
	}
	began := time.Now()
	who := run(t, nil, "files many %d %s", opens, l.file)
	took := time.Since(began)
	h := l.holds(t, who, HowDirect)
	t.Logf("%d opens in %v: %.0f a second, counted %d times", opens, took, float64(opens)/took.Seconds(), h.Times)
	r := read(t, k)
	if c := &r.Counts; c.Holds+c.Derived > 0 || r.Deaf != "" {
		t.Errorf("lost: %+v, %s", r.Counts, r.Deaf)
	}
}

// Of the programs that a holder starts by the thousand each is known to have what it
// had, or is counted as lost.
func TestStormOfDescendants(t *testing.T) {
	k := open(t, Options{Programs: 1 << 11})
	l := labs(t, k)
	programs := 3000
	if testing.Short() {
		programs = 50
	}
	before := read(t, k).Counts
	who := run(t, nil, "files read %s storm %d nothing", l.file, programs)
	r := read(t, k)
	descendants := 0
	for _, h := range r.Holds {
		if h.How == HowDescendant && h.From.PID == who.Owner.PID {
			descendants++
		}
	}
	c := &r.Counts
	lost := int(c.Holds - before.Holds + c.Programs - before.Programs + c.Unlisted - before.Unlisted)
	t.Logf("of %d programs %d are known and %d counted as lost", programs, descendants, lost)
	if descendants == 0 || descendants+lost < programs {
		t.Errorf("of %d programs %d are known and %d counted as lost", programs, descendants, lost)
	}
	l.holds(t, run(t, nil, "files read %s", l.file), HowDirect) // it goes on
}
