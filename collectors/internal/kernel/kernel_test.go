package kernel

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

const (
	tcp = 6
	udp = 17
)

// open gives a capture without flows. In a guest, where loading one takes seconds, all
// tests that ask for nothing special share one.
func open(t *testing.T, o Options) *Kernel {
	t.Helper()
	if inGuest() && o == (Options{}) {
		k, err := sharedCapture()
		if err != nil {
			t.Fatal(err)
		}
		forget(t, k)
		return k
	}
	return openOwn(t, o)
}

// forget drops the flows of earlier tests: a port that is given out by chance may be
// given out again.
func forget(t *testing.T, k *Kernel) {
	t.Helper()
	for _, name := range []string{flowsMapFlows, flowsMapReported} {
		var keys []flowsFlowKey
		var key flowsFlowKey
		table := k.maps[name]
		for err := table.NextKey(nil, &key); err == nil; err = table.NextKey(key, &key) {
			keys = append(keys, key)
		}
		for _, key := range keys {
			if err := table.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				t.Fatal(err)
			}
		}
	}
}

var sharedCapture = sync.OnceValues(func() (*Kernel, error) { return Open(Options{}) })

// openOwn gives one that begins now and that nobody else reads.
func openOwn(t *testing.T, o Options) *Kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("capturing flows needs root")
		}
		t.Skip("capturing flows needs root")
	}
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// row is the one row of who that has the direction, protocol and port.
func row(t *testing.T, k *Kernel, who Flow, direction, protocol uint8, port uint16) Flow {
	t.Helper()
	flows, err := k.Flows(nil)
	if err != nil {
		t.Fatal(err)
	}
	var found []Flow
	for _, f := range flows {
		at := f.Remote.Port()
		if direction == In {
			at = f.Local.Port()
		}
		if f.Owner.PID == who.Owner.PID && f.Owner.Start == who.Owner.Start && f.NetNS == who.NetNS && f.Direction == direction && f.Protocol == protocol && at == port {
			found = append(found, f)
		}
	}
	if len(found) > 1 {
		t.Fatalf("%d rows where one was expected: %+v", len(found), found)
	}
	if len(found) == 0 {
		return Flow{}
	}
	return found[0]
}

type counts struct{ sent, received, connections, attempts, open uint64 }

// expect waits until the row counts what it should: the last packets of a
// connection come after the processes at its ends are done with it.
func expect(t *testing.T, k *Kernel, who Flow, direction, protocol uint8, port uint16, want counts) Flow {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f := row(t, k, who, direction, protocol, port)
		if got := (counts{f.Sent, f.Received, f.Connections, f.Attempts, f.Open}); got == want {
			return f
		} else if time.Now().After(end) {
			all, _ := k.Flows(nil)
			t.Fatalf("pid %d direction %d port %d: got %+v, want %+v; all: %+v", who.Owner.PID, direction, port, got, want, all)
		}
	}
}

func noLosses(t *testing.T, k *Kernel) {
	t.Helper()
	if l, err := k.Counts(); err != nil || l.Rows+l.Bytes+l.Storage+l.Races+l.Headers != 0 {
		t.Errorf("losses %+v, %v", l, err)
	}
}

func self(t *testing.T) Flow {
	t.Helper()
	start, netns, err := identity()
	if err != nil {
		t.Fatal(err)
	}
	return Flow{Owner: Execution{PID: os.Getpid(), Start: start}, NetNS: netns}
}

func portOf(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// listen serves each connection by serve until the test ends.
func listen(t *testing.T, address string, serve func(*net.TCPConn) error) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if err := serve(c.(*net.TCPConn)); err != nil {
					t.Error(err)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l
}

func TestTCP(t *testing.T) {
	const up, down = 1_234_567, 765_432
	answer := func(c *net.TCPConn) error { return serveOne(c, down) }
	for name, address := range map[string]string{"v4": "127.0.0.1:0", "v6": "[::1]:0", "mapped": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			k := open(t, Options{})
			l := listen(t, address, answer)
			port := portOf(l.Addr())
			var who Flow
			if name == "mapped" {
				who = run(t, nil, "mapped %d %d", port, up)
			} else {
				who = run(t, nil, "tcp %s %d", l.Addr(), up)
			}
			out := expect(t, k, who, Out, tcp, port, counts{sent: up, received: down, connections: 1})
			if want := netip.MustParseAddrPort(l.Addr().String()); out.Remote != want {
				t.Errorf("remote %s, want %s", out.Remote, want)
			}
			if out.Last.Before(out.First) || time.Since(out.First) > time.Minute {
				t.Errorf("from %s to %s", out.First, out.Last)
			}
			in := expect(t, k, self(t), In, tcp, port, counts{sent: down, received: up, connections: 1})
			if in.Remote.Addr() != out.Remote.Addr() || in.Remote.Port() != 0 {
				t.Errorf("remote %s of the accepted side", in.Remote)
			}
			noLosses(t, k)
		})
	}
}

func TestRefusedIsAnAttempt(t *testing.T) {
	k := open(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return c.Close() })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	who := run(t, nil, "refused %s", l.Addr())
	expect(t, k, who, Out, tcp, portOf(l.Addr()), counts{connections: 1, attempts: 1})
	noLosses(t, k)
}

func TestUDP(t *testing.T) {
	const n, size = 100, 777
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, kind := range []string{"connected", "unconnected"} {
			t.Run(address+" "+kind, func(t *testing.T) {
				k := open(t, Options{})
				addr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
				c, err := net.ListenUDP("udp", addr)
				if err != nil {
					t.Fatal(err)
				}
				var echo sync.WaitGroup
				echo.Go(func() {
					for buf := make([]byte, 2*size); ; {
						m, from, err := c.ReadFromUDP(buf)
						if err != nil {
							return
						}
						if _, err := c.WriteToUDP(buf[:m], from); err != nil {
							t.Error(err)
						}
					}
				})
				t.Cleanup(func() { _ = c.Close(); echo.Wait() })
				who := run(t, nil, "udp %s %s %d %d", kind, c.LocalAddr(), n, size)
				want := counts{sent: n * size, received: n * size, connections: 1}
				expect(t, k, who, Out, udp, portOf(c.LocalAddr()), want)
				expect(t, k, self(t), In, udp, portOf(c.LocalAddr()), want)
				noLosses(t, k)
			})
		}
	}
}

// ownNetwork gives a generator a network namespace of its own.
func ownNetwork(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET} }

func TestAnotherNamespace(t *testing.T) {
	k := open(t, Options{})
	who := run(t, ownNetwork, "space %d", 5000)
	if who.NetNS == self(t).NetNS {
		t.Fatal("the generator was not in a namespace of its own")
	}
	expect(t, k, who, Out, tcp, 4242, counts{sent: 5000, connections: 1})
	expect(t, k, who, In, tcp, 4242, counts{received: 5000, connections: 1})
	noLosses(t, k)
}

// Processes that are gone before anyone could look them up.
func TestShortLivedProcesses(t *testing.T) {
	k := open(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 3) })
	processes := 100
	if testing.Short() {
		processes = 20
	}
	var who []Flow
	for range processes {
		who = append(who, run(t, nil, "tcp %s 7", l.Addr()))
	}
	for _, w := range who {
		expect(t, k, w, Out, tcp, portOf(l.Addr()), counts{sent: 7, received: 3, connections: 1})
	}
	noLosses(t, k)
}

// Twenty thousand flows of forty processes, all captured, each by its process;
// fewer where every instruction is emulated.
func TestBurst(t *testing.T) {
	processes, each := 40, 500
	if testing.Short() {
		processes, each = 10, 50
	}
	k := open(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error {
		defer c.Close()
		buf := make([]byte, burstUp)
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		if _, err := c.Write(buf[:burstDown]); err != nil {
			return err
		}
		_, _ = c.Read(buf) // the reset
		return nil
	})
	who := make([]Flow, processes)
	t.Run("processes", func(t *testing.T) {
		for i := range who {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				who[i] = run(t, nil, "burst %s %d", l.Addr(), each)
			})
		}
	})
	for _, w := range who {
		expect(t, k, w, Out, tcp, portOf(l.Addr()), counts{sent: uint64(each) * burstUp, received: uint64(each) * burstDown, connections: uint64(each)})
	}
	n := uint64(processes * each)
	expect(t, k, self(t), In, tcp, portOf(l.Addr()), counts{sent: n * burstDown, received: n * burstUp, connections: n})
	noLosses(t, k)
}

// A connection that is open, made before the capture, from both of its ends.
func TestLiveAndOlder(t *testing.T) {
	accepted := make(chan *net.TCPConn, 1)
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { accepted <- c; return nil })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	send := func(n int) {
		t.Helper()
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	send(1000)
	k := openOwn(t, Options{})
	port := portOf(l.Addr())
	for _, total := range []uint64{1000, 1300, 1600} {
		expect(t, k, self(t), Out, tcp, port, counts{sent: total, connections: 1, open: 1})
		expect(t, k, self(t), In, tcp, port, counts{received: total, connections: 1, open: 1})
		send(300)
	}
	for _, end := range []*net.TCPConn{c.(*net.TCPConn), server} {
		if err := end.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, k, self(t), Out, tcp, port, counts{sent: 1900, connections: 1})
	expect(t, k, self(t), In, tcp, port, counts{received: 1900, connections: 1})
	noLosses(t, k)
}

// What a process sends on a socket that was given to it is its own.
func TestPassedDescriptor(t *testing.T) {
	k := open(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 50)); err != nil {
		t.Fatal(err)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	who := run(t, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} }, "inherited %d", 7000)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	port := portOf(l.Addr())
	expect(t, k, self(t), Out, tcp, port, counts{sent: 50, connections: 1})
	expect(t, k, who, Out, tcp, port, counts{sent: 7000, connections: 1})
	noLosses(t, k)
}

func TestZonesAreRenewed(t *testing.T) {
	k := open(t, Options{})
	set := func(z map[string]uint32) {
		t.Helper()
		zones := make(map[netip.Prefix]uint32)
		for p, n := range z {
			zones[netip.MustParsePrefix(p)] = n
		}
		if err := k.SetZones(zones); err != nil {
			t.Fatal(err)
		}
	}
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	set(map[string]uint32{"127.0.0.0/8": 1, "127.0.0.1/32": 2, "::/0": 7})
	who := run(t, nil, "tcp %s 10", l.Addr())
	want := counts{sent: 10, connections: 1}
	for i, z := range []map[string]uint32{nil, {"127.0.0.0/8": 3}, {"2001:db8::/32": 4}} {
		if z != nil {
			set(z)
		}
		f := expect(t, k, who, Out, tcp, portOf(l.Addr()), want)
		if zone := []uint32{2, 3, 0}[i]; f.Zone != zone {
			t.Errorf("zone %d of %s after change %d, want %d", f.Zone, f.Remote, i, zone)
		}
	}
}

// Prefixes that could be set in part are not left behind by the next ones.
func TestZonesThatFindNoRoom(t *testing.T) {
	k := openOwn(t, Options{})
	former := map[netip.Prefix]uint32{netip.MustParsePrefix("10.77.0.0/16"): 1}
	if err := k.SetZones(former); err != nil {
		t.Fatal(err)
	}
	many := make(map[netip.Prefix]uint32)
	for i := range 16385 {
		many[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 32)] = 1
	}
	if k.SetZones(many) == nil {
		t.Fatal("there was room for one prefix more than the table holds")
	}
	if err := k.SetZones(former); err != nil {
		t.Fatal(err)
	}
	for p := range many {
		if zone, err := k.zone(p.Addr().As16()); err != nil || zone != 0 {
			t.Fatalf("zone %d of %s, %v", zone, p, err)
		}
	}
}

// What finds no room keeps its bytes, its program and its zone, and is told.
func TestFullTableFolds(t *testing.T) {
	const n, up, down = 20, 1000, 70
	k := open(t, Options{Flows: 4})
	for range n {
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, down) })
		run(t, nil, "tcp %s %d", l.Addr(), up)
	}
	me := self(t)
	var in, folded Flow
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && (in.Received != n*up || in.Open != 0); time.Sleep(10 * time.Millisecond) {
		flows, err := k.Flows(nil)
		if err != nil {
			t.Fatal(err)
		}
		in, folded = Flow{}, Flow{}
		for _, f := range flows {
			if f.Owner.PID == me.Owner.PID && f.Direction == In {
				in.Sent, in.Received, in.Connections, in.Open = in.Sent+f.Sent, in.Received+f.Received, in.Connections+f.Connections, in.Open+f.Open
				if f.Folded {
					folded = f
				}
			}
		}
	}
	if in.Sent != n*down || in.Received != n*up || in.Connections != n || in.Open != 0 {
		t.Errorf("all rows together: %+v", in)
	}
	if !folded.Own || folded.Remote.Addr().IsValid() || folded.Connections == 0 {
		t.Errorf("folded: %+v", folded)
	}
	if c, err := k.Counts(); err != nil || c.Folded == 0 || c.Rows+c.Bytes != 0 {
		t.Errorf("counts %+v, %v", c, err)
	}
}

// Of many flows in one nobody can say where they go by prefixes that came later.
func TestFoldedZonesGoStale(t *testing.T) {
	k := openOwn(t, Options{Flows: 1})
	stale := func(who Flow) (n int) {
		t.Helper()
		flows, err := k.Flows(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flows {
			if f.Stale && f.Owner.PID == who.Owner.PID {
				n++
			}
		}
		return n
	}
	if err := k.SetZones(map[netip.Prefix]uint32{netip.MustParsePrefix("203.0.113.0/24"): 1}); err != nil {
		t.Fatal(err)
	}
	who := run(t, ownNetwork, "space-spray 20")
	if n := stale(who); n != 0 {
		t.Errorf("%d are stale at once", n)
	}
	if err := k.SetZones(nil); err != nil {
		t.Fatal(err)
	}
	if stale(who) == 0 {
		t.Error("none is stale")
	}
}

func TestMemory(t *testing.T) {
	small, large := open(t, Options{Flows: 16}), open(t, Options{Flows: 1 << 16})
	a, err := small.MemoryBytes()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := large.MemoryBytes(); err != nil || b < a+1<<16*100 {
		t.Errorf("%d bytes with 65536 rows, %d with 16, %v", b, a, err)
	}
}

func TestUnprivilegedIsUnsupported(t *testing.T) {
	open(t, Options{})
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), generatorVariable+"=open")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "unsupported operation") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCgroupMount(t *testing.T) {
	for name, test := range map[string]struct{ mounts, want string }{
		"only": {"24 1 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		"beside the first": {
			"23 1 0:20 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n24 1 0:21 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw\n",
			"/sys/fs/cgroup/unified",
		},
		"part of it": {"24 1 0:21 /a /mnt rw - cgroup2 cgroup2 rw\n", ""},
		"none":       {"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n", ""},
		"cut off":    {"24 1 0:21 - cgroup2", ""},
	} {
		if got := cgroupMount([]byte(test.mounts)); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// A flow is known from reading to reading by when it began.
func TestFlowsBeginOnce(t *testing.T) {
	k := open(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var began []time.Time
	for range 5 {
		r, err := k.Read()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Flows {
			if f.Direction == Out && f.Remote.String() == l.Addr().String() {
				began = append(began, f.First)
			}
		}
	}
	if len(began) != 5 || slices.ContainsFunc(began, func(at time.Time) bool { return at != began[0] }) {
		t.Errorf("one flow began at %v", began)
	}
}
