package flow

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func openHost(t *testing.T) *host.Host {
	t.Helper()
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// story plays rounds to a table.
type story struct {
	t     *testing.T
	table *table
	now   time.Time
	held  map[uint64]inventory.Execution
}

func newStory(t *testing.T) *story {
	t.Helper()
	return &story{t: t, table: newTable(), now: time.Unix(1_700_000_000, 0), held: map[uint64]inventory.Execution{
		1: {PID: 1, Start: 1}, 2: {PID: 2, Start: 2}, 9: {PID: 9, Start: 9},
	}}
}

// round shows the table one namespace and gives the flows after it.
func (s *story) round(after time.Duration, sockets ...socket) []inventory.Flow {
	s.t.Helper()
	s.now = s.now.Add(after)
	s.table.begin()
	v := view{id: 5, sockets: sockets, addresses: map[netip.Addr]bool{netip.MustParseAddr("10.77.0.1"): true}}
	s.table.observe(&v, func(inode uint64) inventory.Execution { return s.held[inode] }, s.now)
	s.table.end(nil, s.now)
	return s.flows()
}

func (s *story) flows() []inventory.Flow {
	return s.table.flows(func(_ *inventory.Flow, own bool) inventory.Zone {
		if own {
			return inventory.Host
		}
		return inventory.Outside
	})
}

func tcp(state uint8, inode, cookie uint64, local, remote string, sent, received uint64) socket {
	return socket{
		protocol: unix.IPPROTO_TCP, state: state, inode: inode, cookie: cookie, sent: sent, received: received,
		local: netip.MustParseAddrPort(local), remote: netip.MustParseAddrPort(remote),
	}
}

func udp(inode, cookie uint64, local, remote string) socket {
	s := tcp(stateEstablished, inode, cookie, local, remote, 0, 0)
	s.protocol = unix.IPPROTO_UDP
	if s.remote.Port() == 0 {
		s.state = stateClose
	}
	return s
}

// want is what the stories look at in a flow.
type want struct {
	pid                   int
	direction             string
	sent, received        uint64
	connections, attempts uint64
	open                  int
}

func (s *story) check(step string, flows []inventory.Flow, wants ...want) {
	s.t.Helper()
	if len(flows) != len(wants) {
		s.t.Fatalf("%s: got %d flows: %+v", step, len(flows), flows)
	}
	for i, f := range flows {
		got := want{f.Process.PID, f.Direction, f.Sent, f.Received, f.Connections, f.Attempts, f.Open}
		if got != wants[i] {
			s.t.Errorf("%s: flow %d: got %+v, want %+v", step, i, got, wants[i])
		}
	}
}

const (
	here  = "10.77.0.1:40000"
	there = "203.0.113.5:443"
)

func TestConnectionsAddUp(t *testing.T) {
	s := newStory(t)
	s.check("attempt", s.round(0, tcp(stateSynSent, 1, 11, here, there, 0, 0)), want{1, "out", 0, 0, 1, 1, 0})
	s.check("established", s.round(time.Second, tcp(stateEstablished, 1, 11, here, there, 10, 5)), want{1, "out", 10, 5, 1, 0, 1})
	s.check("more, and a second", s.round(time.Second,
		tcp(stateEstablished, 1, 11, here, there, 30, 5),
		tcp(stateEstablished, 1, 12, "10.77.0.1:40001", there, 100, 7)), want{1, "out", 130, 12, 2, 0, 2})
	s.check("first ended", s.round(time.Second, tcp(stateEstablished, 1, 12, "10.77.0.1:40001", there, 101, 7)), want{1, "out", 131, 12, 2, 0, 1})
	s.check("orphaned by close", s.round(time.Second, tcp(stateTimeWait, 0, 12, "10.77.0.1:40001", there, 0, 0)), want{1, "out", 131, 12, 2, 0, 0})
	last := s.now
	s.check("all ended", s.round(time.Minute), want{1, "out", 131, 12, 2, 0, 0})
	if f := s.flows()[0]; !f.Last.Equal(last) || !f.First.Equal(time.Unix(1_700_000_000, 0)) || f.Local.Port() != 0 || f.Remote.String() != there || f.Zone != inventory.Outside {
		t.Errorf("got %+v", f)
	}
	s.check("kept for a while", s.round(rowLife-time.Minute), want{1, "out", 131, 12, 2, 0, 0})
	s.check("then forgotten", s.round(time.Second))
	if s.table.events != 2 || s.table.orphans != 0 || len(s.table.connections) != 0 {
		t.Errorf("got %d events, %d orphans, %d connections", s.table.events, s.table.orphans, len(s.table.connections))
	}
}

func TestRefusedAttemptStays(t *testing.T) {
	s := newStory(t)
	s.round(0, tcp(stateSynSent, 1, 11, here, there, 0, 0))
	s.check("refused", s.round(time.Second), want{1, "out", 0, 0, 1, 1, 0})
}

func TestDirection(t *testing.T) {
	v4, v6, exact := tcp(stateListen, 9, 1, "0.0.0.0:443", "0.0.0.0:0", 0, 0), tcp(stateListen, 9, 1, "[::]:443", "[::]:0", 0, 0), tcp(stateListen, 9, 1, "10.77.0.1:443", "0.0.0.0:0", 0, 0)
	v6only := v6
	v6only.v6only = true
	other := tcp(stateListen, 9, 1, "127.0.0.1:443", "0.0.0.0:0", 0, 0)
	peer4, peer6 := tcp(1, 1, 2, "10.77.0.1:443", "203.0.113.5:9", 0, 0), tcp(1, 1, 2, "[2001:db8::1]:443", "[2001:db8::2]:9", 0, 0)
	tests := []struct {
		name     string
		listener socket
		peer     socket
		want     string
	}{
		{"wildcard", v4, peer4, "in"},
		{"dual stack", v6, peer4, "in"},
		{"IPv6", v6, peer6, "in"},
		{"IPv6 alone", v6only, peer6, "in"},
		{"IPv6 alone does not take IPv4", v6only, peer4, "out"},
		{"IPv4 does not take IPv6", v4, peer6, "out"},
		{"exact", exact, peer4, "in"},
		{"another address", other, peer4, "out"},
		{"another protocol", udp(9, 1, "0.0.0.0:443", "0.0.0.0:0"), peer4, "out"},
		{"UDP", udp(9, 1, "0.0.0.0:443", "0.0.0.0:0"), udp(1, 2, "10.77.0.1:443", "203.0.113.5:9"), "in"},
		{"connecting from a served port", v4, tcp(stateSynSent, 1, 2, "10.77.0.1:443", "203.0.113.5:9", 0, 0), "out"},
		{"being connected to", other, tcp(stateSynRecv, 0, 2, "10.77.0.1:443", "203.0.113.5:9", 0, 0), "in"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newStory(t).round(0, test.listener, test.peer)
			if len(f) != 1 || f[0].Direction != test.want {
				t.Fatalf("got %+v", f)
			}
			if in := test.want == "in"; in != (f[0].Local.Port() == 443) || in != (f[0].Remote.Port() == 0) {
				t.Errorf("got ports %v, %v", f[0].Local, f[0].Remote)
			}
		})
	}
	t.Run("remembered", func(t *testing.T) {
		s := newStory(t)
		s.round(0, v4, peer4)
		s.check("listener closed", s.round(time.Second, peer4), want{1, "in", 0, 0, 1, 0, 1})
	})
}

func TestHolders(t *testing.T) {
	listener := tcp(stateListen, 9, 1, "0.0.0.0:443", "0.0.0.0:0", 0, 0)
	s := newStory(t)
	s.check("not accepted yet: the listener's", s.round(0, listener, tcp(1, 0, 2, "10.77.0.1:443", "203.0.113.5:9", 0, 4)), want{9, "in", 0, 4, 1, 0, 1})
	s.check("accepted by a worker", s.round(time.Second, listener, tcp(1, 1, 2, "10.77.0.1:443", "203.0.113.5:9", 3, 10)),
		want{1, "in", 3, 6, 1, 0, 1}, want{9, "in", 0, 4, 1, 0, 0})
	s.check("cannot be found now", s.round(time.Second, listener, tcp(1, 3, 2, "10.77.0.1:443", "203.0.113.5:9", 5, 10)),
		want{1, "in", 5, 6, 1, 0, 1}, want{9, "in", 0, 4, 1, 0, 0})

	s = newStory(t)
	s.check("never found", s.round(0, tcp(stateTimeWait, 0, 2, here, there, 0, 0)), want{0, "out", 0, 0, 1, 0, 0})
	if s.table.orphans != 1 {
		t.Errorf("got %d orphans", s.table.orphans)
	}
}

func TestUDPSocketConnectsAnew(t *testing.T) {
	s := newStory(t)
	s.round(0, udp(1, 7, here, "203.0.113.5:53"))
	s.check("another resolver", s.round(time.Second, udp(1, 7, here, "203.0.113.6:53")), want{1, "out", 0, 0, 1, 0, 0}, want{1, "out", 0, 0, 1, 0, 1})
}

func TestZoneOfOwnAddresses(t *testing.T) {
	s := newStory(t)
	flows := s.round(0, tcp(1, 1, 1, "10.77.0.1:1", "10.77.0.1:2", 0, 0), tcp(1, 1, 2, "127.0.0.1:1", "127.8.0.1:2", 0, 0), tcp(1, 1, 3, "[::1]:1", "[::1]:2", 0, 0), tcp(1, 1, 4, here, "10.77.0.2:2", 0, 0))
	outside := 0
	for _, f := range flows {
		if f.Zone != inventory.Host {
			outside++
		}
	}
	if len(flows) != 4 || outside != 1 {
		t.Errorf("got %+v", flows)
	}
}

// A city that gives up a network has flows beyond it from the next round on.
func TestReloadJudgesKnownFlowsAnew(t *testing.T) {
	cfg := &configs.Config{Capture: configs.Capture{Tier: inventory.TierPoll}, Policy: configs.Policy{City: configs.City{Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}}
	c := New(openHost(t), cfg, nil)
	views := []view{{id: 5, sockets: []socket{tcp(stateEstablished, 0, 1, "10.77.0.1:40000", "203.0.113.7:443", 1, 1)}}}
	zone := func() inventory.Zone { return c.source.(*poll).flows(views, nil, beside{}, new(gaps))[0].Zone }
	if got := zone(); got != inventory.City {
		t.Errorf("zone is %v, want city", got)
	}
	c.Configure(polling())
	if got := zone(); got != inventory.Outside {
		t.Errorf("after the reload the zone is %v, want outside", got)
	}
}

func TestUnreadNamespaceKeepsItsConnections(t *testing.T) {
	s := newStory(t)
	s.round(0, tcp(1, 1, 11, here, there, 10, 0))
	s.table.begin()
	s.table.end(map[uint64]bool{5: true}, s.now)
	s.check("not read", s.flows(), want{1, "out", 10, 0, 1, 0, 1})
	s.check("read again", s.round(time.Second, tcp(1, 1, 11, here, there, 15, 0)), want{1, "out", 15, 0, 1, 0, 1})
}

func TestTableIsBounded(t *testing.T) {
	s := newStory(t)
	const over = 10
	sockets := make([]socket, 0, maxRows+over)
	for i := range maxRows + over {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, byte(i >> 16), 1}), uint16(i))
		sockets = append(sockets, socket{protocol: unix.IPPROTO_TCP, state: 1, inode: 1, cookie: uint64(i + 1), local: netip.MustParseAddrPort(here), remote: remote})
	}
	// Port 0 is no peer: i = 0, 65536.
	flows := s.round(0, sockets...)
	if len(flows) != maxRows || s.table.lostNow != over-2 {
		t.Errorf("got %d flows, %d lost", len(flows), s.table.lostNow)
	}
	if s.round(2 * rowLife); len(s.table.rows) != 0 || s.table.lostNow != 0 {
		t.Errorf("got %d rows, %d lost", len(s.table.rows), s.table.lostNow)
	}
}
