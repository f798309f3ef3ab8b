package flow

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityward/collectors/inventory"
)

// eventful opens a collector of tier events. Its streams must be there before
// what they tell of.
func eventful(t *testing.T) *Collector {
	t.Helper()
	needRoot(t)
	c := New(liveHost(t), watching(inventory.TierEvents), nil)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if c.err != nil {
		t.Fatal(c.err)
	}
	if _, is := c.source.(*events); !is {
		t.Fatalf("tier events cannot be had: %s", c.declined)
	}
	return c
}

// burst lets a client make short connections to a server that closes first, and
// waits until the kernel has let go of the sockets.
func burst(server, client *puppet, address string, count, request, answer int) {
	server.say("serve %d %d %d", count, request, answer)
	client.do("burst %s %d %d %d", address, count, request, answer)
	server.read()
	time.Sleep(200 * time.Millisecond) // the kernel tells of ends a little later
}

func TestShortConnectionsAreAllCounted(t *testing.T) {
	const request, answer = 100, 77
	count := 2000
	if testing.Short() {
		count = 200
	}
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	address := server.do("listen tcp4 127.0.0.1:0")
	c := eventful(t)
	collect(t, c) // opens the streams of the namespace
	burst(server, client, address, count, request, answer)
	facts := collect(t, c)

	named, wrong := uint64(0), uint64(0)
	for _, direction := range []string{inventory.In, inventory.Out} {
		want, sent, received := server.id, uint64(answer), uint64(request)
		if direction == inventory.Out {
			want, sent, received = client.id, request, answer
		}
		var total inventory.Flow
		for _, f := range flowsIn(facts, server.ns) {
			if f.Direction != direction {
				continue
			}
			total.Connections += f.Connections
			total.Sent += f.Sent
			total.Received += f.Received
			switch f.Process {
			case want:
				named += f.Connections
			case inventory.Execution{}:
			default:
				wrong += f.Connections
			}
		}
		if total.Connections != uint64(count) || total.Sent != uint64(count)*sent || total.Received != uint64(count)*received {
			t.Errorf("%s: got %d connections, %d sent, %d received, want %d, %d, %d", direction, total.Connections, total.Sent, total.Received, count, uint64(count)*sent, uint64(count)*received)
		}
	}
	t.Logf("%.1f %% of the ends have the right program, %d a wrong one", 100*float64(named)/float64(2*count), wrong)
	if wrong > 0 || named < uint64(count) {
		t.Errorf("%d ends have a wrong program, %d the right one; want 0, and at least %d", wrong, named, count)
	}
	capture := facts.Captures[0]
	if capture.Tier != inventory.TierEvents || capture.Complete || capture.Lost > 0 || capture.Orphans < uint64(count) || hasGap(facts, inventory.KindFlows, "ended before their program") == nil {
		t.Errorf("got %+v, %+v", capture, facts.Gaps)
	}
	// The same once more adds up, and nothing is counted again.
	burst(server, client, address, 10, request, answer)
	collect(t, c)
	facts = collect(t, c)
	total := uint64(0)
	for _, f := range flowsIn(facts, server.ns) {
		total += f.Connections
	}
	if total != uint64(2*(count+10)) {
		t.Errorf("got %d ends, want %d", total, 2*(count+10))
	}
}

// A server that forks may have handed connections to children that no round saw.
func TestForkingServerIsNotNamed(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	address := server.do("listen tcp4 127.0.0.1:0")
	c := eventful(t)
	collect(t, c)
	server.do("fork")
	burst(server, client, address, 5, 10, 10)
	for _, f := range flowsIn(collect(t, c), server.ns) {
		if f.Process != (inventory.Execution{}) {
			t.Errorf("got %+v", f)
		}
	}
}

func TestSharedListenerIsNotNamed(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	address := server.do("listen tcp4 127.0.0.1:0")
	server.do("keep") // a child that holds the listener, too
	c := eventful(t)
	collect(t, c)
	burst(server, client, address, 5, 10, 10)
	for _, f := range flowsIn(collect(t, c), server.ns) {
		if f.Process != (inventory.Execution{}) {
			t.Errorf("got %+v", f)
		}
	}
}

// One that was seen in a round keeps its program and gets its last bytes.
func TestEndOfAKnownConnection(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	address := server.do("listen tcp4 127.0.0.1:0")
	c := eventful(t)
	client.do("connect tcp %s", address)
	server.do("accept")
	collect(t, c)
	client.do("send 500")
	server.do("receive 500")
	server.do("send 20")
	client.do("receive 20")
	client.do("close")
	server.do("close")
	time.Sleep(200 * time.Millisecond)
	for range 2 {
		flows := flowsIn(collect(t, c), server.ns)
		if len(flows) != 2 {
			t.Fatalf("got %+v", flows)
		}
		for _, f := range flows {
			want, sent, received := client.id, uint64(500), uint64(20)
			if f.Direction == inventory.In {
				want, sent, received = server.id, 20, 500
			}
			if f.Process != want || f.Sent != sent || f.Received != received || f.Open != 0 || f.Connections != 1 || f.Attempts != 0 {
				t.Errorf("got %+v", f)
			}
		}
	}
}

// Of a refused connection the address is known, and the port where the program
// did not ask for the kernel's own waiting.
func TestRefused(t *testing.T) {
	a := newPuppet(t, nil)
	c := eventful(t)
	collect(t, c)
	a.do("refused tcp 127.0.0.1:9")
	a.do("refused tcp [::1]:9")
	a.do("blocking 127.0.0.1:9")
	time.Sleep(200 * time.Millisecond)
	got := make(map[string]uint64)
	for _, f := range flowsIn(collect(t, c), a.ns) {
		if f.Direction != inventory.Out || f.Connections != 1 || f.Sent+f.Received != 0 || f.Process != (inventory.Execution{}) || f.Zone != inventory.Host {
			t.Errorf("got %+v", f)
		}
		got[f.Remote.String()] = f.Attempts
	}
	if len(got) != 3 || got["127.0.0.1:9"] != 1 || got["[::1]:9"] != 1 || got["127.0.0.1:0"] != 0 {
		t.Errorf("got %v", got)
	}
}

// filter makes a firewall of the namespace track connections.
func (p *puppet) filter(account string) {
	p.t.Helper()
	rules := "table inet cityward {\n chain out {\n type filter hook output priority 0\n ct state new counter accept\n }\n}\n"
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(p.id.PID), "-n", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Skipf("nft: %v: %s", err, out)
	}
	p.do("set /proc/sys/net/netfilter/nf_conntrack_acct %s", account)
	for _, timer := range []string{"udp_timeout", "udp_timeout_stream"} {
		p.do("set /proc/sys/net/netfilter/nf_conntrack_%s 1", timer)
	}
}

func TestTrackedConnections(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	server.filter("1")
	address := server.do("bind udp4 127.0.0.1:0")
	c := eventful(t)
	collect(t, c)
	for range 3 {
		client.do("datagram udp4 %s 50", address) // from a socket of its own, without a peer
	}
	client.do("connect udp4 %s", address)
	client.do("send 11")
	client.do("blocking 127.0.0.1:9")
	time.Sleep(100 * time.Millisecond)
	collect(t, c)
	check := func(step string, f inventory.Flow, id inventory.Execution, connections uint64) {
		t.Helper()
		if f.Process != id || f.Connections != connections {
			t.Errorf("%s: got %+v", step, f)
		}
	}
	flows := flowsIn(collect(t, c), server.ns)
	seen := make(map[string]bool)
	for _, f := range flows {
		key := fmt.Sprintf("%s %s %d %t", f.Protocol, f.Direction, f.Port(), f.Process == inventory.Execution{})
		seen[key] = true
		switch {
		case f.Protocol == "tcp":
			check("refused", f, inventory.Execution{}, 1)
		case f.Direction == inventory.In:
			check("server", f, server.id, 4)
		case f.Process == client.id:
			check("connected", f, client.id, 1)
		default:
			check("loose", f, inventory.Execution{}, 3)
		}
	}
	port := netip.MustParseAddrPort(address).Port()
	for _, want := range []string{"tcp out 9 true", fmt.Sprintf("udp in %d false", port), fmt.Sprintf("udp out %d false", port), fmt.Sprintf("udp out %d true", port)} {
		if !seen[want] {
			t.Errorf("no %s among %+v", want, flows)
		}
	}
}

// Streams hold their namespaces, so they must let go.
func TestStreamsLetGo(t *testing.T) {
	c := eventful(t)
	var id uint64
	t.Run("while it lives", func(t *testing.T) {
		p := newPuppet(t, nil)
		id = p.ns
		collect(t, c)
		if c.source.(*events).streams[id] == nil {
			t.Error("no streams")
		}
	})
	collect(t, c)
	if c.source.(*events).streams[id] != nil {
		t.Error("streams of a namespace that nothing uses")
	}
}

func TestManyNamespaces(t *testing.T) {
	c := eventful(t)
	e := c.source.(*events)
	e.rounds++
	e.refused = make(map[string]int)
	for i := range maxStreams + 3 {
		if e.streams[uint64(i)] == nil {
			e.streams[uint64(i)] = &streams{}
		}
	}
	defer func() {
		for i := range maxStreams + 3 {
			delete(e.streams, uint64(i))
		}
	}()
	e.enter(&namespace{id: 1 << 40}, &view{})
	if len(e.refused) != 1 {
		t.Errorf("got %v", e.refused)
	}
}

func captured(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(data)
}

// What overflowed is lost for good, is told, and makes no name sure for a while.
func TestLossIsAdmitted(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	address := server.do("listen tcp4 127.0.0.1:0")
	c := eventful(t)
	e := c.source.(*events)
	collect(t, c)
	for range maxWaiting + 5 {
		e.queue.add(&e.queue.ended, news{})
	}
	e.forks.full = true
	facts := collect(t, c)
	if g := hasGap(facts, inventory.KindFlows, "more than could be taken in"); g == nil || g.Lost < 5 || facts.Captures[0].Lost != uint64(g.Lost) {
		t.Errorf("got %+v, %+v", g, facts.Captures)
	}
	lost := facts.Captures[0].Lost // 5, and what else ended on this machine meanwhile
	burst(server, client, address, 3, 10, 10)
	facts = collect(t, c)
	for _, f := range flowsIn(facts, server.ns) {
		if f.Process != (inventory.Execution{}) {
			t.Errorf("got %+v", f)
		}
	}
	if facts.Captures[0].Lost != lost || hasGap(facts, inventory.KindFlows, "more than could be taken in") != nil {
		t.Errorf("the round after: got %+v", facts.Captures)
	}
}
