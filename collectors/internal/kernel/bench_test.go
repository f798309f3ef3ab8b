package kernel

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	gopsutil "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"
)

// cpu is the processor time that f takes, in milliseconds.
func cpu(tb testing.TB, f func() error) float64 {
	tb.Helper()
	used := func() (sum int64) {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			tb.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	began := used()
	if err := f(); err != nil {
		tb.Fatal(err)
	}
	return float64(used()-began) / 1e6
}

// fill puts rows of flows into the table, all of one execution.
func fill(tb testing.TB, k *Kernel, rows int) {
	tb.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		tb.Fatal(err)
	}
	at := uint64(now.Nano())
	keys, values := make([]flowsFlowKey, rows), make([]flowsFlowRow, rows)
	for i := range rows {
		keys[i] = flowsFlowKey{
			Owner: uint64(os.Getpid()) << 42, Port: uint16(i), Protocol: tcp, Direction: Out,
			Remote: netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 16)}).As16(),
		}
		values[i] = flowsFlowRow{Sent: 1, Connections: 1, First: at, Last: at}
	}
	if _, err := k.maps[flowsMapFlows].BatchUpdate(keys, values, &ebpf.BatchOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkRead is a whole reading, with so many flows.
func BenchmarkRead(b *testing.B) {
	privileged(b)
	for _, rows := range []int{10_000, 65_536} {
		b.Run(strconv.Itoa(rows), func(b *testing.B) {
			k, err := Open(Options{Flows: 1 << 17})
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			fill(b, k, rows)
			var all []float64
			for b.Loop() {
				all = append(all, cpu(b, func() error { _, err := k.Read(); return err }))
			}
			b.ReportMetric(median(all)*10_000/float64(rows), "cpu-ms/10000")
		})
	}
}

// crowd opens sockets: connected pairs of TCP, and datagram sockets. Threads hold
// them, each in a table of its own, since a table's limit is often lower.
func crowd(tb testing.TB, pairs, datagrams int) {
	tb.Helper()
	const most = 9_000
	for i := byte(1); pairs > 0 || datagrams > 0; i++ {
		p := min(pairs, most)
		d := min(datagrams, 2*(most-p))
		hold(tb, func() ([]int, error) { return openMany(p, d, [4]byte{127, 0, 0, i}) })
		pairs, datagrams = pairs-p, datagrams-d
	}
}

// hold lets a thread have what open gives until the test ends.
func hold(tb testing.TB, open func() ([]int, error)) {
	tb.Helper()
	opened, done, closed := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		closed <- inThread(func() error {
			if err := unix.Unshare(unix.CLONE_FILES); err != nil {
				opened <- err
				return err
			}
			all, err := open()
			opened <- err
			<-done
			for _, fd := range all {
				err = errors.Join(err, unix.Close(fd))
			}
			return err
		})
	}()
	tb.Cleanup(func() {
		close(done)
		if err := <-closed; err != nil {
			tb.Error(err)
		}
	})
	if err := <-opened; err != nil {
		tb.Fatal(err)
	}
}

func openMany(pairs, datagrams int, address [4]byte) (all []int, err error) {
	listener, to, err := tcpListener(address)
	if err != nil {
		return nil, err
	}
	all = append(all, listener)
	for range pairs {
		client, server, err := tcpPair(listener, to)
		if err != nil {
			return all, err
		}
		all = append(all, client, server)
		// A reset leaves nothing in TIME_WAIT.
		if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return all, err
		}
	}
	for range datagrams {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return all, err
		}
		all = append(all, fd)
	}
	return all, nil
}

// seedAnew makes a capture and gives the processor time of its seeding, and of a
// list of the sockets that wait for peers.
func seedAnew(tb testing.TB) (seeding, listing float64) {
	tb.Helper()
	spec, err := choose(btf.NewCache(), "")
	if err != nil {
		tb.Fatal(err)
	}
	var k Kernel
	if err := k.load(spec, nil); err != nil {
		tb.Fatal(err)
	}
	seeding = cpu(tb, k.seed)
	listing = cpu(tb, func() error { _, err := k.sockets(); return err })
	if c, err := k.Counts(); err != nil || c.Lost() > 0 {
		tb.Fatalf("losses %+v, %v", c, err)
	}
	if err := k.Close(); err != nil {
		tb.Fatal(err)
	}
	return seeding, listing
}

// BenchmarkSeed is what a machine with many sockets costs at the start, and to list
// at each reading, compared with gopsutil's list of connections.
func BenchmarkSeed(b *testing.B) {
	privileged(b)
	for _, sockets := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(sockets), func(b *testing.B) {
			crowd(b, sockets/2, 0)
			var seeding, listing, others []float64
			for b.Loop() {
				seed, list := seedAnew(b)
				seeding, listing = append(seeding, seed), append(listing, list)
				if sockets <= 10_000 { // it takes seconds
					others = append(others, cpu(b, func() error { _, err := gopsutil.Connections("inet"); return err }))
				}
			}
			b.ReportMetric(median(seeding), "cpu-ms-seed")
			b.ReportMetric(median(listing), "cpu-ms-list")
			if others != nil {
				b.ReportMetric(median(others), "cpu-ms-gopsutil")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// best gives the lowest of a few figures: other work on the machine only adds.
func best(tries int, figure func() float64) float64 {
	all := make([]float64, tries)
	for i := range all {
		all[i] = figure()
	}
	return slices.Min(all)
}

// TestCosts holds twice or three times what docs/performance.md promises: it is for
// what makes the capture dear, not for how busy the machine is.
func TestCosts(t *testing.T) {
	open(t, Options{Flows: 16}) // or skip
	if inGuest() {
		return // every instruction is emulated
	}
	for _, c := range []struct {
		what   string
		figure func() float64
		most   float64
	}{
		{"µs added to a connection of TCP", added(t, tcpLife(t)), 18},
		{"µs added to a datagram", added(t, udpSend(t, false)), 2},
		{"µs added to sending by TCP", added(t, tcpSend(t)), 1},
		{"ms to read 10000 flows", readMany(t), 22},
		{"ms to seed 100000 sockets", func() float64 { crowd(t, 5_000, 90_000); s, _ := seedAnew(t); return s }, 600},
	} {
		if got := best(3, c.figure); got > c.most {
			t.Errorf("%.1f %s, at most %g", got, c.what, c.most)
		} else {
			t.Logf("%.2f %s", got, c.what)
		}
	}
}

func added(t *testing.T, o operation) func() float64 {
	return func() float64 {
		var c comparison
		c.round(t, o)
		return quantile(c.with, 10) - quantile(c.without, 10) // what nothing interrupted
	}
}

func readMany(t *testing.T) func() float64 {
	k := openOwn(t, Options{})
	fill(t, k, 10_000)
	return func() float64 { return cpu(t, func() error { _, err := k.Read(); return err }) }
}
