package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityward/collectors/inventory"
	"cityward/configs"
)

func TestPruneByAge(t *testing.T) {
	dir := t.TempDir()
	component := &inventory.Facts{Components: []inventory.Component{{Ecosystem: "dpkg", Name: "bash", Version: "5"}}}
	at := time.Now().Add(-10 * 24 * time.Hour)
	bounds := configs.Ledger{Days: 3, MaxSize: 64 << 20}
	past := func() time.Time { return at }
	l := start(Options{Dir: dir, Limits: bounds, Log: discard(), Now: past}, time.Millisecond)
	l.Observe(seen(at, component))
	for i := range 20 {
		r := moved(at.Add(time.Duration(i)*12*time.Hour), 2, 1)
		r.Short = true // software is not looked at
		l.Observe(r)
	}
	l.Close()
	change(t, dir, "DROP VIEW flows") // views are nobody's proof
	through := uint64(0)
	for range 10 {
		l = begin(t, dir, bounds)
		l.Observe(seen(time.Now(), component))
		l.Close()
		sum := sound(t, dir)
		if sum.Pruned > through+8 {
			t.Errorf("from row %d to %d at once: more than a day", through, sum.Pruned)
		}
		through = sum.Pruned
	}
	sum := sound(t, dir)
	if sum.Pruned == 0 || sum.Began.Before(time.Now().Add(-4*24*time.Hour)) {
		t.Errorf("pruned through %d, the oldest row is of %v", sum.Pruned, sum.Began)
	}
	if got := events(t, dir, KindComponent); !strings.HasPrefix(got, "seen") {
		t.Errorf("what is still there is told as %q", got)
	}
	change(t, dir, "UPDATE seal SET seq = seq - 1 WHERE what = 'start'")
	if _, err := checked(t, dir); !errors.Is(err, ErrFalse) {
		t.Errorf("with a begin that was changed: %v", err)
	}
}

func TestGrowthIsBounded(t *testing.T) {
	dir := t.TempDir()
	const bound = 2 << 20
	l := begin(t, dir, configs.Ledger{Days: 400, MaxSize: bound})
	for i := range 60 {
		l.Observe(moved(now().Add(time.Duration(i)*time.Hour), 300, 1))
		until(t, "it is written", func() bool { return l.last.Load() >= uint64(i*300) })
		if size := l.bytes.Load(); size > bound+6<<20 { // and a write-ahead log
			t.Fatalf("%d bytes after %d hours", size, i)
		}
	}
	gaps := gapsOf(l)
	l.Close()
	sum := sound(t, dir)
	info, err := os.Stat(filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	if sum.Pruned == 0 || gaps != "[]" || info.Size() > bound {
		t.Errorf("pruned through %d of %d, %d bytes, gaps %s", sum.Pruned, sum.Last, info.Size(), gaps)
	}
	t.Logf("%d rows in %d bytes", sum.Rows, info.Size())
}

func TestClockJumpsBackwards(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, dir, limits())
	for _, hours := range []int{0, 1, -5, -4, 30000, 1, -30000, 2} {
		l.Observe(moved(now().Add(time.Duration(hours)*time.Hour), 2, 10))
	}
	l.Close()
	sound(t, dir)
	l = begin(t, dir, limits())
	l.Close()
	sound(t, dir)
	if got := len(rows(t, dir, KindFlow)); got != 16 {
		t.Errorf("%d rows, want 2 for each hour", got)
	}
}

// Of more things than are remembered the rest is counted, and programs, which only
// come, make room.
func TestMoreThingsThanAreRemembered(t *testing.T) {
	n := 0
	add := func(time.Time, string, any) *entry { n++; return &entry{} }
	bounded := newLives()
	components, programs := make(map[string]sight[componentState]), make(map[string]sight[programState])
	for i := range maxItems + 7 {
		c, p := componentState{Name: strconv.Itoa(i)}, programState{Executable: strconv.Itoa(i)}
		components[c.key()], programs[p.key()] = sight[componentState]{state: c}, sight[programState]{state: p}
	}
	never := func(programState) bool { return false }
	bounded.components.observe(now(), false, components, func(componentState) bool { return true }, add)
	if n != maxItems || bounded.over() != 7 {
		t.Errorf("%d of %d are written, %d over", n, len(components), bounded.over())
	}
	bounded.programs.observe(now(), false, programs, never, add)
	if len(bounded.programs.items) != 7 || bounded.programs.over != 0 {
		t.Errorf("%d programs are remembered", len(bounded.programs.items))
	}
	l := Ledger{lives: bounded}
	if gaps := l.Gaps(); len(gaps) != 1 || gaps[0].Lost != 7 {
		t.Errorf("gaps: %v", gaps)
	}
}
