package access

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// tree makes a store below a root; each line is a path and its mode, a path
// with a slash at its end is a directory.
func tree(t *testing.T, lines ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	type chmod struct {
		path string
		mode os.FileMode
	}
	var last []chmod // modes come last, or nothing could be made below 0700
	for _, line := range append([]string{"srv/ 0755"}, lines...) {
		var name string
		var mode os.FileMode
		if _, err := fmt.Sscanf(line, "%s %o", &name, &mode); err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(full, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		last = append(last, chmod{full, mode})
	}
	for _, c := range last {
		if err := syscall.Chmod(c.path, uint32(c.mode)); err != nil { // with the sticky bit
			t.Fatal(err)
		}
	}
	return root
}

type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func newCollector(t *testing.T, root string, c *clock) *Collector {
	t.Helper()
	h, err := host.Open(root, c.read)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	cfg := &configs.Config{}
	cfg.Stores = []configs.DataStore{{ID: "s", Paths: []string{"/srv/s"}}, {ID: "by-service"}}
	return New(h, cfg)
}

// stored is what the storage room says of the store below a root.
func stored(t *testing.T, root, medium string) *inventory.Facts {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(root, "srv/s"), &st); err != nil {
		t.Fatal(err)
	}
	return &inventory.Facts{Stores: []inventory.DataStore{{ID: "s", Paths: []inventory.StorePath{{
		Path: "/srv/s", Resolved: "/srv/s", File: inventory.FileID{Device: st.Dev, Inode: st.Ino}, Medium: medium,
		Mount: inventory.Mount{Network: medium == inventory.MediumNetwork},
	}}}}}
}

func TestExposure(t *testing.T) {
	tests := []struct {
		name     string
		lines    []string
		exposed  []inventory.Exposure
		examined int
	}{
		{"closed at the top", []string{"srv/s/ 0750", "srv/s/a 0644"}, nil, 1},
		{"closed above", []string{"srv/ 0700", "srv/s/ 0755", "srv/s/a 0644"}, nil, 1},
		{
			"open",
			[]string{"srv/s/ 0755", "srv/s/a 0644", "srv/s/b 0640"},
			[]inventory.Exposure{{Path: "/srv/s", Mode: 0o755}, {Path: "/srv/s/a", Mode: 0o644}},
			3,
		},
		{
			"may be entered but not listed: names can be guessed",
			[]string{"srv/s/ 0711", "srv/s/a 0606"},
			[]inventory.Exposure{{Path: "/srv/s/a", Mode: 0o606, Writable: true}},
			2,
		},
		{
			"a closed directory shields",
			[]string{"srv/s/ 0711", "srv/s/in/ 0700", "srv/s/in/a 0666", "srv/s/box/ 01777"},
			[]inventory.Exposure{{Path: "/srv/s/box", Mode: 0o1777, Writable: true}},
			3,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The last mode of a path wins, so that srv itself can be closed.
			root := tree(t, tt.lines...)
			facts, err := newCollector(t, root, &clock{}).Collect(t.Context(), stored(t, root, inventory.MediumLocal))
			if err != nil {
				t.Fatal(err)
			}
			if len(facts.Stores) != 1 || len(facts.Gaps) != 0 {
				t.Fatalf("stores %+v, gaps %+v", facts.Stores, facts.Gaps)
			}
			if got := facts.Stores[0]; !reflect.DeepEqual(got.Exposed, tt.exposed) || got.Examined != tt.examined {
				t.Errorf("exposed %+v of %d, want %+v of %d", got.Exposed, got.Examined, tt.exposed, tt.examined)
			}
		})
	}
}

func TestNotSeenIsAGap(t *testing.T) {
	root := tree(t, "srv/s/ 0755")
	unlooked := stored(t, root, inventory.MediumLocal)
	unlooked.Stores[0].Paths[0].File = inventory.FileID{}
	another := stored(t, root, inventory.MediumLocal)
	another.Stores[0].Paths[0].File.Inode++
	for _, tt := range []struct {
		name string
		seen *inventory.Facts
		want string
	}{
		{"storage told nothing", &inventory.Facts{}, "where the store lies is not known"},
		{"missing", stored(t, root, inventory.MediumMissing), "missing"},
		{"network", stored(t, root, inventory.MediumNetwork), "its server's"},
		{"FUSE", unlooked, "may not answer"},
		{"mounts of the agent's own", another, "sees another directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := newCollector(t, root, &clock{}).Collect(t.Context(), tt.seen)
			if err != nil {
				t.Fatal(err)
			}
			if len(facts.Gaps) != 1 || facts.Gaps[0].Store != "s" || !strings.Contains(facts.Gaps[0].Reason, tt.want) {
				t.Errorf("gaps = %+v, want one with %q", facts.Gaps, tt.want)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	root := tree(t, "srv/s/ 0755")
	for i := range maxExamined + 10 {
		f, err := os.OpenFile(filepath.Join(root, "srv/s", strconv.Itoa(i)), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	facts, err := newCollector(t, root, &clock{}).Collect(t.Context(), stored(t, root, inventory.MediumLocal))
	if err != nil {
		t.Fatal(err)
	}
	if got := facts.Stores[0]; got.Examined != maxExamined || len(got.Exposed) != maxExposed {
		t.Errorf("examined %d, listed %d", got.Examined, len(got.Exposed))
	}
	if len(facts.Gaps) != 1 || !strings.Contains(facts.Gaps[0].Reason, "not seen whole") {
		t.Errorf("gaps = %+v", facts.Gaps)
	}
}

// A quiet store is not walked each round, one that changes is, and any is after
// a while.
func TestWalksAreRemembered(t *testing.T) {
	root := tree(t, "srv/s/ 0711", "srv/s/a 0600")
	c := &clock{time.Unix(1000, 0)}
	collector := newCollector(t, root, c)
	exposed := func() int {
		facts, err := collector.Collect(t.Context(), stored(t, root, inventory.MediumLocal))
		if err != nil {
			t.Fatal(err)
		}
		return len(facts.Stores[0].Exposed)
	}
	open := func(path string, mode os.FileMode) {
		if err := os.Chmod(filepath.Join(root, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if n := exposed(); n != 0 {
		t.Fatalf("%d exposed at first", n)
	}
	open("srv/s/a", 0o644)
	if n := exposed(); n != 0 {
		t.Errorf("%d exposed: walked again at once", n)
	}
	c.now = c.now.Add(renewal)
	if n := exposed(); n != 1 {
		t.Errorf("%d exposed after the renewal, want 1", n)
	}
	open("srv/s", 0o755)
	if n := exposed(); n != 2 {
		t.Errorf("%d exposed after the top changed, want 2", n)
	}
	open("srv", 0o700)
	if n := exposed(); n != 0 {
		t.Errorf("%d exposed below a closed directory", n)
	}
	open("srv", 0o755)
	if n := exposed(); n != 2 {
		t.Errorf("%d exposed after a directory above was opened, want 2", n)
	}
}
