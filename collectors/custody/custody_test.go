package custody

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func noon() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

func machine(t testing.TB) *host.Host {
	t.Helper()
	h, err := host.Open("/", noon)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// store declares a directory and describes it as the storage room does.
func store(t testing.TB, dir string) (*configs.Config, inventory.DataStore) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := machine(t)
	mounts, _, err := h.ReadMounts("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	m, ok := mounts.Covering(dir)
	if !ok {
		t.Fatalf("no mount covers %s", dir)
	}
	st, err := h.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &configs.Config{}
	cfg.Stores = []configs.DataStore{{ID: "registry", Paths: []string{dir}}}
	return cfg, inventory.DataStore{ID: "registry", Medium: inventory.MediumLocal, Paths: []inventory.StorePath{{
		Path: dir, Resolved: dir, File: inventory.FileID{Device: st.Dev, Inode: st.Ino},
		MountRoot: m.Inside(dir), Mount: inventory.Mount{Target: m.Target, Device: m.Device},
	}}}
}

func process(pid int) inventory.Process {
	return inventory.Process{ID: inventory.Execution{PID: pid, Start: 7}, Name: "child", Executable: "/bin/child"}
}

func gapsOf(facts inventory.Facts, store string) []string {
	var reasons []string
	for _, g := range facts.Gaps {
		if g.Store == store {
			reasons = append(reasons, g.Reason)
		}
	}
	return reasons
}

func TestNoStoreNoWork(t *testing.T) {
	empty, err := host.Open(t.TempDir(), noon) // has no /proc: reading it would fail
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	facts, err := New(empty, &configs.Config{}, nil).Collect(t.Context(), &inventory.Facts{})
	if err != nil || len(facts.Gaps) > 0 || len(facts.Captures) != 1 {
		t.Errorf("facts %+v, error %v", facts, err)
	}
}

func TestBlindness(t *testing.T) {
	empty, err := host.Open(t.TempDir(), noon)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	cfg, row := store(t, t.TempDir())
	if _, err := New(empty, cfg, nil).Collect(t.Context(), &inventory.Facts{}); err == nil {
		t.Error("a machine without /proc gave no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(machine(t), cfg, nil).Collect(ctx, &inventory.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	for name, test := range map[string]struct {
		change func(*inventory.DataStore)
		want   string
	}{
		"not followed": {func(s *inventory.DataStore) { s.Paths = nil }, "not known where"},
		"missing": {func(s *inventory.DataStore) {
			s.Paths[0] = inventory.StorePath{Path: "/srv", Medium: inventory.MediumMissing}
		}, "missing"},
		"network": {func(s *inventory.DataStore) { s.Paths[0].Mount.Network = true }, "another machine"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := row
			changed.Paths = slices.Clone(row.Paths)
			test.change(&changed)
			facts, err := New(machine(t), cfg, nil).Collect(t.Context(), &inventory.Facts{Stores: []inventory.DataStore{changed}})
			if err != nil {
				t.Fatal(err)
			}
			if gaps := gapsOf(facts, "registry"); len(gaps) != 1 || !strings.Contains(gaps[0], test.want) {
				t.Errorf("gaps %q, want one with %q", gaps, test.want)
			}
			if always := gapsOf(facts, ""); !slices.Contains(always, sampled) || facts.Captures[0].Complete {
				t.Errorf("gaps %q and capture %+v do not say that opens are sampled", always, facts.Captures[0])
			}
		})
	}
}

func TestServices(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := machine(t).Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &configs.Config{}
	cfg.Stores = []configs.DataStore{{ID: "db", Services: []configs.Service{
		{Protocol: "tcp", Port: 5432}, {Protocol: "unix", Path: socket},
	}}}
	id := func(pid int) inventory.Execution { return inventory.Execution{PID: pid, Start: 1} }
	out := func(pid int, remote string, connections, attempts uint64) inventory.Flow {
		return inventory.Flow{
			Process: id(pid), Direction: inventory.Out, Protocol: "tcp", Remote: netip.MustParseAddrPort(remote),
			Connections: connections, Attempts: attempts, First: noon(),
		}
	}
	nameless := out(0, "127.0.0.1:5432", 1, 0)
	nameless.Process = inventory.Execution{}
	seen := &inventory.Facts{
		Machine: &inventory.Machine{Addresses: []string{"203.0.113.1"}},
		Listeners: []inventory.Listener{
			{Process: id(1), Protocol: "tcp", Local: netip.MustParseAddrPort("0.0.0.0:5432")},
			{Process: id(2), Protocol: "tcp", Local: netip.MustParseAddrPort("10.77.0.2:5432"), NetNS: 9},
		},
		Flows: []inventory.Flow{
			out(10, "127.0.0.1:5432", 1, 0),
			out(11, "203.0.113.1:5432", 3, 1),
			out(12, "10.77.0.2:5432", 1, 0),          // of a container
			out(13, "[::ffff:127.0.0.1]:5432", 1, 0), // mapped
			out(20, "127.0.0.1:80", 1, 0),            // another service
			out(21, "198.51.100.1:5432", 1, 0),       // another machine's
			out(22, "127.0.0.1:5432", 2, 2),          // refused
			{Process: id(23), Direction: inventory.In, Protocol: "tcp", Local: netip.MustParseAddrPort("127.0.0.1:5432")},
			nameless,
			{Process: id(24), Direction: inventory.Out, Protocol: "tcp", Folded: true},
		},
		Locals: []inventory.LocalConnection{
			{Process: id(30), Peer: id(1), Path: socket},
			{Process: id(31), Peer: id(1), Path: "../s", File: inventory.FileID{Device: st.Dev, Inode: st.Ino & (1<<32 - 1)}},
			{Process: id(32), Peer: id(1), Path: "/run/other", File: inventory.FileID{Device: st.Dev, Inode: 1}},
		},
	}
	facts, err := New(machine(t), cfg, nil).Collect(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[int]int)
	for _, h := range facts.Holdings {
		got[h.Process.PID] = h.From.PID
		if h.Store != "db" || h.How != inventory.HowService || !h.Since.Equal(noon()) || h.Evidence == "" {
			t.Errorf("holding %+v", h)
		}
	}
	if want := map[int]int{10: 1, 11: 1, 12: 2, 13: 1, 30: 1, 31: 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("clients and their servers %v, want %v", got, want)
	}
	if gaps := gapsOf(facts, "db"); len(gaps) != 3 {
		t.Errorf("gaps %q, want one for the files, one for the connection of nobody and one for the peers that are not known", gaps)
	}
}

func FuzzMountID(f *testing.F) {
	f.Add([]byte("pos:\t0\nflags:\t02\nmnt_id:\t27\nino:\t5\n"))
	f.Fuzz(func(t *testing.T, info []byte) {
		if id, ok := mountID(info); !ok && id != 0 {
			t.Fatalf("id %d without an answer", id)
		}
	})
}
