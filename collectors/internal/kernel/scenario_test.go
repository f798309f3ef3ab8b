package kernel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
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
	course
}

// course is how a scenario runs where it does not run the usual way.
type course struct {
	peerNear  bool               // by loopback
	older     bool               // the capture begins when the generator is ready
	since     bool               // and has only what comes from then on
	killed    bool               // the generator is, when it is ready: it moved what the peer did
	about     bool               // bytes are right within one percent
	unclaimed map[payload]uint64 // what netfilter has and no socket
}

func TestScenarios(t *testing.T) {
	k := open(t, Options{})
	for _, s := range slices.Concat(
		tcpScenarios(), streamScenarios(), datagramScenarios(), manyScenarios(), linkScenarios(), processScenarios(),
	) {
		t.Run(s.name, func(t *testing.T) { s.run(t, k) })
	}
}

// run has a capture of its own, unless every instruction is emulated: loading one
// then takes longer than all else.
func (s scenario) run(t *testing.T, k *Kernel) {
	l := newLab(t)
	if !s.since {
		countPackets(t, l.near)
	}
	if !s.older && !inGuest() { // numbers of namespaces are used again, which netfilter's are told by
		k = open(t, Options{})
	}
	at := l.far
	if s.peerNear {
		at = l.near
	}
	p := start(t, at, s.peer)
	p.awaitReady(t)
	g := start(t, l.near, s.generator)
	if s.older {
		g.awaitReady(t)
		if s.since {
			countPackets(t, l.near)
		}
		k = openOwn(t, Options{})
		g.proceed(t)
	}
	if s.killed {
		g.awaitReady(t)
		g.kill(t)
	} else {
		g.end(t)
	}
	p.proceed(t)
	p.end(t)
	programs := slices.Concat(g.who[:1], p.who[:1], g.who[1:], p.who[1:])
	maps.Copy(p.moved, g.moved)
	if s.killed {
		m := p.moved[p.who[0].Owner.PID]
		p.moved[g.who[0].Owner.PID] = tally{sent: m.received, received: m.sent, connections: m.connections}
	}
	if s.since {
		delete(p.moved, p.who[0].Owner.PID) // it cannot tell since when
	}
	s.judge(t, k, programs, p.moved)
	if !inGuest() { // which has no program nft
		t.Run("nftables", func(t *testing.T) { checkReference(t, k, l.near, l.far, s.unclaimed) })
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
		if w.who >= len(programs) {
			t.Fatalf("only %d programs ran", len(programs))
		}
		m, c := moved[programs[w.who].Owner.PID], w.counts
		for _, x := range []struct {
			to  *uint64
			own uint64
		}{{&c.sent, m.sent}, {&c.received, m.received}, {&c.connections, m.connections}} {
			if *x.to == own {
				*x.to = x.own
			}
		}
		if c != (counts{}) { // a worker may have had nothing to do
			want[place{w.who, w.direction, w.protocol, netip.MustParseAddrPort(w.at)}] = c
		}
	}
	same := func(a, b uint64) bool { return a == b || s.about && near(a, b) }
	equal := func(a, b counts) bool {
		return same(a.sent, b.sent) && same(a.received, b.received) &&
			a.connections == b.connections && a.attempts == b.attempts && a.open == b.open
	}
	var got map[place]counts
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got = rowsOf(t, k, programs); maps.EqualFunc(got, want, equal) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got\n%swant\n%sthe programs counted %v", rowsText(got), rowsText(want), moved)
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
		if m, told := moved[p.Owner.PID]; told && (!same(sum.sent, m.sent) || !same(sum.received, m.received)) {
			t.Errorf("program %d: rows have %d sent, %d received; by its own count %d and %d", i, sum.sent, sum.received, m.sent, m.received)
		}
	}
}

func rowsText(rows map[place]counts) string {
	var lines []string
	for at, c := range rows {
		lines = append(lines, fmt.Sprintf("program %d direction %d protocol %d %s %+v\n", at.who, at.direction, at.protocol, at.at, c))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
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
		who := slices.IndexFunc(programs, func(p Flow) bool {
			return p.Owner.PID == f.Owner.PID && p.Owner.Start == f.Owner.Start && p.NetNS == f.NetNS
		})
		if who < 0 {
			who = slices.IndexFunc(programs, func(p Flow) bool { return p.Owner.PID == f.Owner.PID })
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
