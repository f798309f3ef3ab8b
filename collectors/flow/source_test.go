package flow

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	gopsutil "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
	"cityward/configs"
)

type nothing struct{ closed bool }

func (*nothing) collect(context.Context, *inventory.Facts) (inventory.Facts, error) {
	return inventory.Facts{}, nil
}
func (n *nothing) close() error { n.closed = true; return nil }

func TestChoose(t *testing.T) {
	fails := func(*surroundings) (source, error) { return nil, unix.EPERM }
	works := func(*surroundings) (source, error) { return &nothing{}, nil }
	tests := []struct {
		name, best string
		all        []tier
		want       []string // parts of what is declined, or of the error
		fails      bool
	}{
		{"the best", "auto", []tier{{"bpf", works}, {"poll", works}}, nil, false},
		{"named", "bpf", []tier{{"bpf", works}, {"poll", works}}, nil, false},
		{"denied", "auto", []tier{{"bpf", fails}, {"events", fails}, {"poll", works}}, []string{"bpf: operation not permitted", "events: operation"}, false},
		{"forced", "poll", []tier{{"bpf", works}, {"events", works}, {"poll", works}}, []string{`capture.tier = "poll"`}, false},
		{"forced and denied", "events", []tier{{"bpf", works}, {"events", fails}, {"poll", works}}, []string{`capture.tier = "events"`, "events: operation"}, false},
		{"none", "auto", []tier{{"bpf", fails}, {"poll", fails}}, []string{"bpf:", "poll:"}, true},
	}
	for _, test := range tests {
		got, declined, err := choose(test.best, test.all, nil)
		if (err != nil) != test.fails || (got == nil) != test.fails {
			t.Errorf("%s: got %v, %v", test.name, got, err)
			continue
		}
		if err != nil {
			declined = err.Error()
		}
		if len(test.want) == 0 && declined != "" {
			t.Errorf("%s: got %q", test.name, declined)
		}
		for _, part := range test.want {
			if !strings.Contains(declined, part) {
				t.Errorf("%s: %q does not say %q", test.name, declined, part)
			}
		}
	}
}

// What every tier owes: that it says which it is, what it misses, and why it is
// no better one.
func TestEachTierIsHonest(t *testing.T) {
	needRoot(t)
	for _, name := range []string{inventory.TierEvents, inventory.TierPoll, inventory.TierGopsutil} {
		t.Run(name, func(t *testing.T) {
			c := New(liveHost(t), watching(name), nil)
			defer func() {
				if err := errors.Join(c.Close(), c.Close()); err != nil {
					t.Error(err)
				}
			}()
			facts := collect(t, c)
			capture := facts.Captures[0]
			if capture.Tier != name || capture.Complete || !strings.Contains(capture.Reason, "sampled") {
				t.Errorf("got %+v", capture)
			}
			if name != inventory.TierEvents && !strings.Contains(capture.Reason, "permits no better") {
				t.Errorf("the reason is %q", capture.Reason)
			}
			if !slices.ContainsFunc(facts.Gaps, func(g inventory.Gap) bool {
				return g.Kind == inventory.KindFlows && g.Reason == capture.Reason
			}) {
				t.Errorf("no gap says %q: %+v", capture.Reason, facts.Gaps)
			}
		})
	}
}

func TestNoSource(t *testing.T) {
	c := New(liveHost(t), polling(), nil)
	c.source, c.err = nil, errors.New("open a capture of flows: bpf: denied")
	if _, err := c.Collect(t.Context(), &inventory.Facts{}); err == nil || !strings.Contains(err.Error(), "bpf: denied") {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// One that hangs in the kernel must not hold the end of the daemon.
func TestCloseWhileAtWork(t *testing.T) {
	n := &nothing{}
	c := &Collector{source: n, policy: &configs.Policy{}}
	c.working.Lock()
	if err := c.Close(); err == nil || n.closed {
		t.Error("it was closed while at work")
	}
	c.working.Unlock()
	if err := c.Close(); err != nil || !n.closed {
		t.Error("it was not closed", err)
	}
}

func TestGopsutil(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mine, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	facts := collect(t, New(liveHost(t), watching(inventory.TierGopsutil), nil))
	local := netip.MustParseAddrPort(l.Addr().String())
	if !slices.ContainsFunc(facts.Listeners, func(x inventory.Listener) bool { return x.Local == local && x.Process.PID == os.Getpid() }) {
		t.Errorf("%v is not among %+v", local, facts.Listeners)
	}
	in, out := false, false
	for _, f := range facts.Flows {
		ours := f.Process.PID == os.Getpid() && f.Open == 1 && f.Zone == inventory.Host && f.Sent+f.Received == 0
		in = in || ours && f.Direction == inventory.In && f.Local == local
		out = out || ours && f.Direction == inventory.Out && f.Remote == local
	}
	if !in || !out {
		t.Errorf("got %+v", facts.Flows)
	}
	for _, kind := range everything() {
		if hasGap(facts, kind, "gopsutil") == nil {
			t.Errorf("no gap for %s", kind)
		}
	}
}

func TestConvert(t *testing.T) {
	at := netip.MustParseAddrPort
	tests := []struct {
		in   gopsutil.ConnectionStat
		want socket
		ok   bool
	}{
		{gopsutil.ConnectionStat{Family: unix.AF_INET6, Type: unix.SOCK_STREAM, Status: "LISTEN", Laddr: gopsutil.Addr{IP: "*", Port: 80}}, socket{protocol: 6, state: stateListen, local: at("[::]:80"), remote: at("[::]:0")}, true},
		{gopsutil.ConnectionStat{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Status: "CLOSE_WAIT", Laddr: gopsutil.Addr{IP: "::ffff:10.77.0.1", Port: 80}, Raddr: gopsutil.Addr{IP: "203.0.113.5", Port: 9}}, socket{protocol: 6, state: stateEstablished, local: at("10.77.0.1:80"), remote: at("203.0.113.5:9")}, true},
		{gopsutil.ConnectionStat{Family: unix.AF_INET, Type: unix.SOCK_DGRAM, Status: "NONE", Laddr: gopsutil.Addr{IP: "0.0.0.0", Port: 53}}, socket{protocol: 17, state: stateClose, local: at("0.0.0.0:53"), remote: at("0.0.0.0:0")}, true},
		{gopsutil.ConnectionStat{Type: unix.SOCK_SEQPACKET}, socket{}, false},
	}
	for _, test := range tests {
		if got, ok := convert(&test.in); ok != test.ok || ok && got != test.want {
			t.Errorf("got %+v, %t", got, ok)
		}
	}
}
