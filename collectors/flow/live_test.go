package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func TestTCPBytesAreExact(t *testing.T) {
	tests := []struct{ name, network, listen, remote string }{
		{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "tcp6", "[::1]:0", "::1"},
		{"IPv4 to a dual-stack server", "tcp", "[::]:0", "127.0.0.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := newPuppet(t, nil)
			client := newPuppet(t, server)
			_, port, _ := net.SplitHostPort(server.do("listen %s %s", test.network, test.listen))
			from := netip.MustParseAddrPort(client.do("connect tcp %s", net.JoinHostPort(test.remote, port)))
			server.do("accept")
			client.do("send 123456")
			server.do("receive 123456")
			server.do("send 789")
			client.do("receive 789")

			c := New(liveHost(t), polling(), nil)
			check := func(step string, open int, sent, received uint64) {
				t.Helper()
				flows := flowsIn(collect(t, c), server.ns)
				slices.SortFunc(flows, func(a, b inventory.Flow) int { return strings.Compare(a.Direction, b.Direction) })
				if len(flows) != 2 {
					t.Fatalf("%s: got %+v", step, flows)
				}
				in, out := flows[0], flows[1]
				if in.Process != server.id || in.Direction != inventory.In || in.Received != sent || in.Sent != received || in.Local.Port() != netip.MustParseAddrPort("[::]:"+port).Port() || in.Remote != netip.AddrPortFrom(from.Addr(), 0) {
					t.Errorf("%s: server: %+v", step, in)
				}
				if out.Process != client.id || out.Direction != inventory.Out || out.Sent != sent || out.Received != received || out.Remote.Addr() != netip.MustParseAddr(test.remote) || out.Local != netip.AddrPortFrom(from.Addr(), 0) {
					t.Errorf("%s: client: %+v", step, out)
				}
				for _, f := range flows {
					if f.Connections != 1 || f.Attempts != 0 || f.Open != open || f.Protocol != "tcp" || f.Zone != inventory.Host {
						t.Errorf("%s: %+v", step, f)
					}
				}
			}
			check("open", 1, 123456, 789)
			client.do("send 44")
			server.do("receive 44")
			client.do("shut")
			check("client has finished", 1, 123500, 789)
			server.do("send 11")
			client.do("receive 11")
			check("server has answered", 1, 123500, 800)
			server.do("close")
			client.do("close")
			check("both have closed", 0, 123500, 800)
		})
	}
}

func TestUDP(t *testing.T) {
	for network, address := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"} {
		t.Run(network, func(t *testing.T) {
			server := newPuppet(t, nil)
			client := newPuppet(t, server)
			local := netip.MustParseAddrPort(server.do("bind %s %s", network, address))
			client.do("connect %s %s", network, local)
			client.do("send 100")
			facts := collect(t, New(liveHost(t), polling(), nil))
			flows := flowsIn(facts, server.ns)
			if len(flows) != 1 || flows[0].Process != client.id || flows[0].Direction != inventory.Out || flows[0].Remote != local || flows[0].Protocol != "udp" || flows[0].Open != 1 {
				t.Errorf("got %+v", flows)
			}
			want := inventory.Listener{Process: server.id, NetNS: server.ns, Protocol: "udp", Local: local}
			if !slices.Contains(facts.Listeners, want) {
				t.Errorf("%+v is not among %+v", want, facts.Listeners)
			}
		})
	}
}

func TestListenersOfEveryNamespace(t *testing.T) {
	a, b := newPuppet(t, nil), newPuppet(t, nil)
	wants := []inventory.Listener{
		{Process: a.id, NetNS: a.ns, Protocol: "tcp", Local: netip.MustParseAddrPort(a.do("listen tcp4 0.0.0.0:0"))},
		{Process: b.id, NetNS: b.ns, Protocol: "tcp", Local: netip.MustParseAddrPort(b.do("listen tcp6 [::]:0"))},
	}
	facts := collect(t, New(liveHost(t), polling(), nil))
	for _, want := range wants {
		if !slices.Contains(facts.Listeners, want) {
			t.Errorf("%+v is not among %+v", want, facts.Listeners)
		}
	}
}

func TestZones(t *testing.T) {
	server, client := newPuppet(t, nil), newPuppet(t, nil)
	wire(server, client, "203.0.113.1/24", "203.0.113.2/24")
	server.ip("addr add 2001:db8::1/64 dev cable nodad")
	client.ip("addr add 2001:db8::2/64 dev cable nodad")
	server.ip("addr add 10.77.0.1/24 dev cable")
	client.ip("addr add 10.77.0.2/24 dev cable")
	port := netip.MustParseAddrPort(server.do("listen tcp [::]:0")).Port()
	for _, address := range []string{"203.0.113.1", "2001:db8::1", "10.77.0.1"} {
		client.do("connect tcp %s", netip.AddrPortFrom(netip.MustParseAddr(address), port))
		server.do("accept")
	}
	expires := time.Now().Add(time.Hour)
	cfg := &configs.Config{Capture: configs.Capture{Tier: inventory.TierPoll}, Policy: configs.Policy{
		City:      configs.City{Networks: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}},
		Transfers: []configs.Transfer{{Direction: "out", Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/128")}, Ports: []uint16{port}, Expires: expires}},
	}}
	facts := collect(t, New(liveHost(t), cfg, nil))
	got := map[string]inventory.Zone{}
	for _, f := range facts.Flows {
		if f.NetNS == client.ns || f.NetNS == server.ns {
			got[f.Direction+" "+f.Remote.Addr().String()] = f.Zone
		}
	}
	want := map[string]inventory.Zone{
		"out 203.0.113.1": inventory.Outside, "out 2001:db8::1": inventory.Approved, "out 10.77.0.1": inventory.City,
		"in 203.0.113.2": inventory.Outside, "in 2001:db8::2": inventory.Outside, "in 10.77.0.2": inventory.City,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestAttempt(t *testing.T) {
	a, b := newPuppet(t, nil), newPuppet(t, nil)
	wire(a, b, "198.51.100.1/24", "198.51.100.2/24")
	a.ip("neigh add 198.51.100.77 lladdr 02:00:00:00:00:77 dev cable") // swallows what is sent
	a.do("attempt tcp 198.51.100.77:443")
	flows := flowsIn(collect(t, New(liveHost(t), polling(), nil)), a.ns)
	if len(flows) != 1 || flows[0].Process != a.id || flows[0].Attempts != 1 || flows[0].Connections != 1 || flows[0].Open != 0 || flows[0].Direction != inventory.Out {
		t.Errorf("got %+v", flows)
	}
}

func TestWaitingForAccept(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	client.do("connect tcp %s", server.do("listen tcp4 127.0.0.1:0"))
	client.do("send 70")
	flows := flowsIn(collect(t, New(liveHost(t), polling(), nil)), server.ns)
	for _, f := range flows {
		if f.Direction == inventory.In && (f.Process != server.id || f.Received != 70) {
			t.Errorf("got %+v", f)
		}
	}
	if len(flows) != 2 {
		t.Errorf("got %+v", flows)
	}
}

func TestEndedBeforeItWasSeen(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	client.do("connect tcp %s", server.do("listen tcp4 127.0.0.1:0"))
	server.do("accept")
	client.do("close")
	server.do("close")
	facts := collect(t, New(liveHost(t), polling(), nil))
	flows := flowsIn(facts, server.ns)
	if len(flows) != 1 || flows[0].Process != (inventory.Execution{}) || flows[0].Direction != inventory.Out || flows[0].Open != 0 || facts.Captures[0].Orphans == 0 {
		t.Errorf("got %+v, %+v", flows, facts.Captures)
	}
}

func TestPassedDescriptor(t *testing.T) {
	needRoot(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mine, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := mine.Write(make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	c := New(liveHost(t), polling(), nil)
	outward := func() map[int]inventory.Flow {
		found := make(map[int]inventory.Flow)
		for _, f := range collect(t, c).Flows {
			if f.Direction == inventory.Out && f.Remote.String() == l.Addr().String() {
				found[f.Process.PID] = f
			}
		}
		return found
	}
	if f := outward()[os.Getpid()]; f.Sent != 500 || f.Open != 1 {
		t.Errorf("before: got %+v", f)
	}
	file, err := mine.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	heir := newPuppet(t, &puppet{id: inventory.Execution{PID: os.Getpid()}}, file)
	if err := errors.Join(file.Close(), mine.Close()); err != nil {
		t.Fatal(err)
	}
	heir.do("adopt")
	heir.do("send 33")
	flows := outward()
	if f := flows[os.Getpid()]; f.Sent != 500 || f.Open != 0 {
		t.Errorf("giver: got %+v", f)
	}
	if f := flows[heir.id.PID]; f.Sent != 33 || f.Open != 1 || f.Process != heir.id {
		t.Errorf("heir: got %+v", f)
	}
}

func TestYoungestHolder(t *testing.T) {
	needRoot(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	worker := newPuppet(t, &puppet{id: inventory.Execution{PID: os.Getpid()}}, file)
	local := netip.MustParseAddrPort(l.Addr().String())
	for _, x := range collect(t, New(liveHost(t), polling(), nil)).Listeners {
		if x.Local == local && x.Process != worker.id {
			t.Errorf("got %+v, want %v", x, worker.id)
		}
	}
}

func TestLocalConnections(t *testing.T) {
	server, client := newPuppet(t, nil), newPuppet(t, nil) // a path leads across namespaces
	dir := t.TempDir()
	path := server.do("listen unix %s", filepath.Join(dir, "stream"))
	client.do("connect unix %s", path)
	log := server.do("bind unixgram %s", filepath.Join(dir, "datagrams"))
	client.do("connect unixgram %s", log)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	h := liveHost(t)
	c := New(h, polling(), nil)
	check := func(step string, c *Collector) {
		t.Helper()
		facts := collect(t, c)
		want := inventory.LocalConnection{Process: client.id, Peer: server.id, Path: path, File: inventory.FileID{Device: st.Dev, Inode: st.Ino & (1<<32 - 1)}}
		if !slices.Contains(facts.Locals, want) {
			t.Errorf("%s: %+v is not among %+v", step, want, facts.Locals)
		}
		if !slices.ContainsFunc(facts.Locals, func(x inventory.LocalConnection) bool {
			return x.Path == log && x.Process == client.id && x.Peer == server.id
		}) {
			t.Errorf("%s: no datagram connection among %+v", step, facts.Locals)
		}
		for _, p := range []string{path, log} {
			if want := (inventory.Listener{Process: server.id, NetNS: server.ns, Protocol: "unix", Path: p}); !slices.Contains(facts.Listeners, want) {
				t.Errorf("%s: %+v is not among %+v", step, want, facts.Listeners)
			}
		}
	}
	check("before accept", c)
	server.do("accept")
	check("accepted", c)
	check("by a new agent", New(h, polling(), nil))
}

func TestAbstractName(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	name := server.do("listen unix @cityward-test-%d", server.id.PID)
	client.do("connect unix %s", name)
	server.do("accept")
	want := inventory.LocalConnection{Process: client.id, Peer: server.id, Path: name}
	if facts := collect(t, New(liveHost(t), polling(), nil)); !slices.Contains(facts.Locals, want) {
		t.Errorf("%+v is not among %+v", want, facts.Locals)
	}
}

func TestProcAgreesWithSockDiag(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	server.ip("addr add 10.77.0.1/24 dev lo")
	server.ip("addr add 2001:db8::1/64 dev lo nodad")
	client.do("connect tcp %s", server.do("listen tcp4 127.0.0.1:0"))
	server.do("accept")
	client.do("connect tcp %s", server.do("listen tcp6 [::1]:0"))
	client.do("connect udp %s", server.do("bind udp6 [::1]:0"))
	server.do("bind udp4 0.0.0.0:0")
	server.do("listen unix %s", filepath.Join(t.TempDir(), "sock"))

	h := liveHost(t)
	inside := &namespace{id: server.ns, pids: []int{server.id.PID}}
	var diag view
	if err := readForeign(t.Context(), []*namespace{inside}, make([]byte, bufferSize), nil, func(_ *namespace, v view, err error) {
		if err != nil {
			t.Error(err)
		}
		diag = v
	}); err != nil {
		t.Fatal(err)
	}
	proc, err := readProc(h, fmt.Sprintf("/proc/%d/net", client.id.PID))
	if err != nil {
		t.Fatal(err)
	}
	for i := range diag.sockets { // what /proc does not have
		s := &diag.sockets[i]
		s.cookie, s.sent, s.received, s.acked, s.v6only = 0, 0, 0, 0, false
	}
	for i := range diag.locals {
		s := &diag.locals[i]
		s.peer, s.pending, s.file = 0, nil, inventory.FileID{}
	}
	text := func(x any) []string {
		var all []string
		for i := range reflect.ValueOf(x).Len() {
			all = append(all, fmt.Sprintf("%+v", reflect.ValueOf(x).Index(i)))
		}
		slices.Sort(all)
		return all
	}
	if a, b := text(diag.sockets), text(proc.sockets); len(a) < 7 || !slices.Equal(a, b) {
		t.Errorf("sockets:\n%s\n/proc:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if a, b := text(diag.locals), text(proc.locals); len(a) < 1 || !slices.Equal(a, b) {
		t.Errorf("Unix sockets:\n%s\n/proc:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if !maps.Equal(diag.addresses, proc.addresses) || len(diag.addresses) != 4 {
		t.Errorf("addresses: %v, /proc: %v", diag.addresses, proc.addresses)
	}
}

func TestMountedNamespace(t *testing.T) {
	needRoot(t)
	path := filepath.Join(t.TempDir(), "net work")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keeper := newPuppet(t, nil)
	if err := unix.Mount(fmt.Sprintf("/proc/%d/ns/net", keeper.id.PID), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	}()
	address := keeper.do("listen tcp4 127.0.0.1:0")
	h := liveHost(t)
	spaces, err := namespaces(h, &inventory.Facts{}) // as if no process were in it
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(spaces, func(n *namespace) bool { return n.id == keeper.ns })
	if i < 0 || !slices.Equal(spaces[i].paths, []string{path}) {
		t.Fatalf("%d is not among %+v", keeper.ns, spaces)
	}
	facts, err := New(h, polling(), nil).Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(facts.Listeners, func(l inventory.Listener) bool { return l.NetNS == keeper.ns && l.Local.String() == address }) {
		t.Errorf("got %+v", facts.Listeners)
	}
}

func TestThreadsStayAtHome(t *testing.T) {
	p := newPuppet(t, nil)
	h := liveHost(t)
	c := New(h, polling(), nil)
	for range 50 {
		collect(t, c)
	}
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(home, strconv.FormatUint(p.ns, 10)) {
		t.Fatal("the puppet is in the test's namespace")
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(threads) == 0 {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if link, err := os.Readlink(thread); err == nil && link != home {
			t.Errorf("%s is in %s", thread, link)
		}
	}
}

func TestMainThreadIsSpared(t *testing.T) {
	for range 200 {
		onSpareThread(func() bool {
			if unix.Gettid() == os.Getpid() {
				t.Error("work ran on the main thread")
			}
			return false
		})
	}
}

func TestTwiceTheSame(t *testing.T) {
	server := newPuppet(t, nil)
	client := newPuppet(t, server)
	client.do("connect tcp %s", server.do("listen tcp4 127.0.0.1:0"))
	server.do("accept")
	h, err := host.Open("/", func() time.Time { return time.Unix(1_700_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	c := New(h, polling(), nil)
	collect(t, c)
	before := runtime.NumGoroutine()
	first, second := collect(t, c), collect(t, c)
	mine := func(l []inventory.Listener) []inventory.Listener {
		return slices.DeleteFunc(l, func(l inventory.Listener) bool { return l.NetNS != server.ns })
	}
	if !reflect.DeepEqual(flowsIn(first, server.ns), flowsIn(second, server.ns)) || !slices.Equal(mine(first.Listeners), mine(second.Listeners)) {
		t.Errorf("got %+v\nthen %+v", first, second)
	}
	for end := time.Now().Add(time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // one that has said it is done may take a moment to end
			t.Fatalf("%d goroutines were left", runtime.NumGoroutine()-before)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := New(liveHost(t), polling(), nil)
	if _, err := c.Collect(ctx, &inventory.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := readHere(ctx, make([]byte, bufferSize)); !errors.Is(err, context.Canceled) {
		t.Errorf("while reading: got %v", err)
	}
}

func hasGap(facts inventory.Facts, kind, text string) *inventory.Gap {
	for i, g := range facts.Gaps {
		if g.Kind == kind && strings.Contains(g.Reason, text) {
			return &facts.Gaps[i]
		}
	}
	return nil
}

func TestAnotherRoot(t *testing.T) {
	h, err := host.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	facts, err := New(h, polling(), nil).Collect(t.Context(), &inventory.Facts{})
	if err != nil || hasGap(facts, inventory.KindFlows, "running kernel") == nil || hasGap(facts, inventory.KindListeners, "running kernel") == nil {
		t.Errorf("got %+v, %v", facts, err)
	}
}

func TestSamplingIsAlwaysAGap(t *testing.T) {
	facts := collect(t, New(liveHost(t), polling(), nil))
	if hasGap(facts, inventory.KindFlows, "sampled") == nil || hasGap(facts, inventory.KindListeners, "sampled") != nil {
		t.Errorf("got %+v", facts.Gaps)
	}
	if c := facts.Captures[0]; c.Complete || c.Tier != inventory.TierPoll || c.Reason == "" {
		t.Errorf("got %+v", c)
	}
}

func TestUnprivileged(t *testing.T) {
	server := newPuppet(t, nil)
	server.do("listen tcp4 127.0.0.1:0")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	facts := agent(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	i := slices.IndexFunc(facts.Listeners, func(x inventory.Listener) bool { return x.Local.String() == l.Addr().String() })
	if i < 0 || facts.Listeners[i].Process != (inventory.Execution{}) {
		t.Errorf("got %+v", facts.Listeners)
	}
	for kind, text := range map[string]string{inventory.KindListeners: "cannot be read", inventory.KindFlows: "network namespace", inventory.KindHoldings: "network namespace"} {
		if g := hasGap(facts, kind, text); g == nil || g.Lost == 0 {
			t.Errorf("no gap %q among %+v", text, facts.Gaps)
		}
	}
}

// TestNoRightToEnter has the rights to look at other processes, but not to enter
// their namespaces.
func TestNoRightToEnter(t *testing.T) {
	server := newPuppet(t, nil)
	local := netip.MustParseAddrPort(server.do("listen tcp4 127.0.0.1:0"))
	facts := agent(t, &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH},
	})
	want := inventory.Listener{Process: server.id, NetNS: server.ns, Protocol: "tcp", Local: local}
	if !slices.Contains(facts.Listeners, want) {
		t.Errorf("%+v is not among %+v", want, facts.Listeners)
	}
	if g := hasGap(facts, inventory.KindFlows, "no byte counts"); g == nil || !strings.Contains(g.Subject, strconv.FormatUint(server.ns, 10)) && g.Lost < 2 {
		t.Errorf("got %+v", facts.Gaps)
	}
}
