package kernel

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A line of what a scenario is to leave behind.
type line struct {
	who                 int // generator, peer, or one that either started
	direction, protocol uint8
	at                  string // the remote address, with the remote port (out) or the local one (in)
	counts
}

const (
	generator = iota
	peer
	third
	fourth
)

// own stands for what the program itself counted.
const own = 1<<64 - 1

type scenario struct {
	name      string
	peer      string // starts first, at the far end
	generator string // at the near end
	want      []line
	change    func(*course) // where it does not run the usual way
}

// course is how a scenario runs.
type course struct {
	peerNear bool   // by loopback
	older    bool   // the capture begins when the generator is ready
	killed   bool   // the generator is, when it is ready: it moved what the peer did
	noNft    string // why netfilter is no reference
}

func tcpScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	const at6, from6 = "[" + far6 + "]:4000", "[" + near6 + "]:4000"
	const mega = 20_000_000
	both := func(at, from string, up, down, connections uint64) []line {
		return []line{
			{generator, Out, tcp, at, counts{sent: up, received: down, connections: connections}},
			{peer, In, tcp, from, counts{sent: down, received: up, connections: connections}},
		}
	}
	return []scenario{
		{name: "bulk up", peer: "serve :4000 0", generator: "ask " + at + " 20000000 1", want: both(at, from, mega, 0, 1)},
		{name: "bulk down", peer: "serve :4000 20000000", generator: "ask " + at + " 0 1", want: both(at, from, 0, mega, 1)},
		{name: "full duplex", peer: "serve-duplex :4000 20000000", generator: "duplex " + at + " 20000000", want: both(at, from, mega, mega, 1)},
		{name: "IPv6", peer: "serve :4000 700", generator: "ask " + at6 + " 20000000 1", want: both(at6, from6, mega, 700, 1)},
		{
			name: "loopback", peer: "serve 127.0.0.1:4000 20000000", generator: "ask 127.0.0.1:4000 20000000 1",
			want: both("127.0.0.1:4000", "127.0.0.1:4000", mega, mega, 1), change: func(c *course) { c.peerNear = true },
		},
		{name: "low and slow", peer: "serve :4000 1", generator: "slow " + at + " 40 25", want: both(at, from, 40, 1, 1)},
		{name: "many small connections", peer: "serve :4000 5", generator: "ask " + at + " 10 1000", want: both(at, from, 10_000, 5000, 1000)},
		{name: "parallel burst", peer: "serve :4000 5", generator: "ask-parallel " + at + " 10 1000", want: both(at, from, 10_000, 5000, 1000)},
		{
			name: "refused", peer: "idle", generator: "ask-refused " + at,
			want: []line{{generator, Out, tcp, at, counts{connections: 1, attempts: 1}}},
		},
		{name: "reset", peer: "serve-reset :4000 3000", generator: "ask-reset " + at + " 3000", want: both(at, from, 3000, 0, 1)},
	}
}

func streamScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	const n = 4_000_000
	both := func(up, down uint64) []line {
		return []line{
			{generator, Out, tcp, at, counts{sent: up, received: down, connections: 1}},
			{peer, In, tcp, from, counts{sent: down, received: up, connections: 1}},
		}
	}
	up := func(name, job string) scenario {
		return scenario{name: name, peer: "serve :4000 5", generator: job, want: both(n, 5)}
	}
	down := func(name, job string) scenario {
		return scenario{name: name, peer: "pour :4000 4000000", generator: job, want: both(0, n)}
	}
	return []scenario{
		up("sendfile", "fill sendfile "+at+" 4000000"),
		up("splice up", "fill splice "+at+" 4000000"),
		up("MSG_ZEROCOPY", "fill zerocopy "+at+" 4000000"),
		up("io_uring up", "fill uring "+at+" 4000000"),
		up("io_uring with SQPOLL", "fill uring-poll "+at+" 4000000"),
		up("multipath TCP", "multipath "+at+" 4000000"),
		up("v4-mapped", "mapped-stream "+at+" 4000000"),
		down("splice down", "empty splice "+at+" 4000000"),
		down("MSG_TRUNC", "empty truncate "+at+" 4000000"),
		down("io_uring down", "empty uring "+at+" 4000000"),
		{name: "fast open", peer: "serve :4000 5", generator: "fast-open " + at + " 900", want: both(900, 5)},
		{
			name: "socket older than the agent", peer: "serve :4000 5", generator: "older " + at + " 2000000",
			want: both(n, 5), change: func(c *course) { c.older = true },
		},
		{
			name: "killed sender", peer: "serve :4000 0", generator: "endless " + at,
			want: []line{
				{generator, Out, tcp, at, counts{sent: own, connections: 1}},
				{peer, In, tcp, from, counts{received: own, connections: 1}},
			},
			change: func(c *course) { c.killed = true },
		},
		{
			name: "no answer", peer: "idle", generator: "ask-nobody 10.77.0.99:4000",
			want: []line{{generator, Out, tcp, "10.77.0.99:4000", counts{connections: 1, attempts: 1}}},
		},
	}
}

func datagramScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	const at6, from6 = "[" + far6 + "]:4000", "[" + near6 + "]:4000"
	both := func(protocol uint8, at, from string, up, down uint64) []line {
		return []line{
			{generator, Out, protocol, at, counts{sent: up, received: down, connections: 1}},
			{peer, In, protocol, from, counts{sent: down, received: up, connections: 1}},
		}
	}
	return []scenario{
		{name: "UDP both ways", peer: "echo 0.0.0.0:4000 17", generator: "converse " + at + " 17 500 1400", want: both(udp, at, from, 700_000, 700_000)},
		{name: "UDP small packets", peer: "drain 0.0.0.0:4000 17", generator: "send " + at + " 17 10000 1", want: both(udp, at, from, 10_000, 0)},
		{name: "UDP in fragments", peer: "echo 0.0.0.0:4000 17", generator: "converse " + at + " 17 20 60000", want: both(udp, at, from, 1_200_000, 1_200_000)},
		{name: "UDP of IPv6", peer: "echo [::]:4000 17", generator: "converse " + at6 + " 17 100 1000", want: both(udp, at6, from6, 100_000, 100_000)},
		{name: "UDP of IPv6 in fragments", peer: "echo [::]:4000 17", generator: "converse " + at6 + " 17 20 60000", want: both(udp, at6, from6, 1_200_000, 1_200_000)},
		{name: "connected UDP", peer: "drain 0.0.0.0:4000 17", generator: "send-connected " + at + " 17 100 1000", want: both(udp, at, from, 100_000, 0)},
		{name: "UDP-Lite", peer: "echo 0.0.0.0:4000 136", generator: "converse " + at + " 136 100 1000", want: both(udplite, at, from, 100_000, 100_000)},
		{
			name: "ICMP", peer: "idle", generator: "ping " + far4 + ":0 3 10 1000",
			want: []line{{generator, Out, icmp, far4 + ":0", counts{sent: 10_000, received: 10_000, connections: 1}}},
		},
		{
			name: "ping socket", peer: "idle", generator: "ping " + far4 + ":0 2 10 1000",
			want: []line{{generator, Out, icmp, far4 + ":0", counts{sent: 10_000, received: 10_000, connections: 1}}},
		},
		{
			name: "ping socket of IPv6", peer: "idle", generator: "ping [" + far6 + "]:0 2 10 1000",
			want: []line{{generator, Out, icmp6, "[" + far6 + "]:0", counts{sent: 10_000, received: 10_000, connections: 1}}},
		},
		{name: "raw", peer: "drain-raw 0.0.0.0:0 253 20", generator: "raw " + far4 + ":0 253 100 1000", want: both(trial, far4+":0", near4+":0", 100_000, 0)},
		{name: "raw of IPv6", peer: "drain-raw [::]:0 253 0", generator: "raw [" + far6 + "]:0 253 100 1000", want: both(trial, "["+far6+"]:0", "["+near6+"]:0", 100_000, 0)},
	}
}

func TestScenarios(t *testing.T) {
	open(t, Options{Flows: 16}) // skips where there is no use in going on
	for _, s := range slices.Concat(tcpScenarios(), streamScenarios(), datagramScenarios()) {
		t.Run(s.name, func(t *testing.T) { s.run(t) })
	}
}

func (s scenario) run(t *testing.T) {
	var c course
	if s.change != nil {
		s.change(&c)
	}
	l := newLab(t)
	countPackets(t, l.near)
	var k *Kernel
	if !c.older {
		k = open(t, Options{})
	}
	at := l.far
	if c.peerNear {
		at = l.near
	}
	p := start(t, at, s.peer)
	p.awaitReady(t)
	g := start(t, l.near, s.generator)
	if c.older {
		g.awaitReady(t)
		k = open(t, Options{})
		g.proceed(t)
	}
	if c.killed {
		g.awaitReady(t)
		g.kill(t)
	} else {
		g.end(t)
	}
	p.proceed(t)
	p.end(t)
	programs := slices.Concat(g.who[:1], p.who[:1], g.who[1:], p.who[1:])
	maps.Copy(p.moved, g.moved)
	if c.killed {
		m := p.moved[p.who[0].PID]
		p.moved[g.who[0].PID] = tally{sent: m.received, received: m.sent, connections: m.connections}
	}
	s.judge(t, k, programs, p.moved)
	if c.noNft == "" {
		checkReference(t, k, l.near)
	}
	noLosses(t, k)
}

type place struct {
	who                 int
	direction, protocol uint8
	at                  netip.AddrPort
}

// judge waits for the rows of all programs to be those that are wanted, no row
// more and no byte, and for their sums to be what the programs counted.
func (s scenario) judge(t *testing.T, k *Kernel, programs []Flow, moved map[int]tally) {
	t.Helper()
	want := make(map[place]counts)
	for _, w := range s.want {
		m, c := moved[programs[w.who].PID], w.counts
		for _, x := range []struct {
			to  *uint64
			own uint64
		}{{&c.sent, m.sent}, {&c.received, m.received}, {&c.connections, m.connections}} {
			if *x.to == own {
				*x.to = x.own
			}
		}
		want[place{w.who, w.direction, w.protocol, netip.MustParseAddrPort(w.at)}] = c
	}
	var got map[place]counts
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got = rowsOf(t, k, programs); maps.Equal(got, want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got  %+v\nwant %+v\nprograms %+v moved %+v", got, want, programs, moved)
		}
	}
	for i, p := range programs {
		var sum tally
		for at, c := range got {
			if at.who == i {
				sum.sent += c.sent
				sum.received += c.received
			}
		}
		if m := moved[p.PID]; sum.sent != m.sent || sum.received != m.received {
			t.Errorf("program %d: rows have %d sent, %d received; by its own count %d and %d", i, sum.sent, sum.received, m.sent, m.received)
		}
	}
}

// rowsOf are all rows of the programs, wherever they are.
func rowsOf(t *testing.T, k *Kernel, programs []Flow) map[place]counts {
	t.Helper()
	flows, err := k.Flows(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[place]counts)
	for _, f := range flows {
		who := slices.IndexFunc(programs, func(p Flow) bool { return p.PID == f.PID && p.Start == f.Start && p.NetNS == f.NetNS })
		if who < 0 {
			who = slices.IndexFunc(programs, func(p Flow) bool { return p.PID == f.PID })
			if who < 0 {
				continue
			}
			t.Errorf("a row of a program that it is not of: %+v", f)
		}
		port := f.Remote.Port()
		if f.Direction == In {
			port = f.Local.Port()
		}
		at := place{who, f.Direction, f.Protocol, netip.AddrPortFrom(f.Remote.Addr(), port)}
		if _, twice := rows[at]; twice {
			t.Errorf("two rows for %+v", at)
		}
		rows[at] = counts{f.Sent, f.Received, f.Connections, f.Attempts, f.Open}
	}
	return rows
}
