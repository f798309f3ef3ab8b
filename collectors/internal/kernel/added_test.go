package kernel

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// operation is what is measured with the capture and without it.
type operation struct {
	chunk int          // that many are measured together
	do    func() error // one of them
	after func() error // after each chunk, unmeasured; may be nil
}

// comparison has the microseconds of one operation, as each chunk gives them.
type comparison struct{ without, with []float64 }

// chunks is how many of them follow each other before the capture comes or goes.
const chunks = 30

// round measures o without a capture and then with one, so that what else runs on
// the machine slows both.
func (c *comparison) round(tb testing.TB, o operation) {
	tb.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.without = append(c.without, o.measure(tb)...)
	k, err := Open(Options{})
	if err != nil {
		tb.Fatal(err)
	}
	c.with = append(c.with, o.measure(tb)...)
	lost, err := k.Counts()
	if err := errors.Join(err, k.Close()); err != nil || lost.Lost() > 0 {
		tb.Fatalf("losses %+v, %v", lost, err)
	}
}

// measure gives the time of one operation for each chunk but the first.
func (o operation) measure(tb testing.TB) []float64 {
	tb.Helper()
	var each []float64
	for i := range chunks + 1 {
		began := time.Now()
		for range o.chunk {
			if err := o.do(); err != nil {
				tb.Fatal(err)
			}
		}
		took := time.Since(began)
		if o.after != nil {
			if err := o.after(); err != nil {
				tb.Fatal(err)
			}
		}
		if i > 0 {
			each = append(each, float64(took.Nanoseconds())/1000/float64(o.chunk))
		}
	}
	return each
}

func median(all []float64) float64 { return quantile(all, 2) }

// quantile is what one of n is below.
func quantile(all []float64, n int) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/n]
}

// privileged skips what nobody but root can measure.
func privileged(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("capturing flows needs root")
	}
}

// tcpLife is a connection from socket(2) to the end of both sides. The client
// closes first.
func tcpLife(tb testing.TB) operation {
	tb.Helper()
	listener, to := listening(tb)
	message := make([]byte, 64)
	return operation{chunk: 20, do: func() error {
		client, server, err := tcpPair(listener, to)
		if err != nil {
			return err
		}
		_, err = unix.Write(client, message)
		return errors.Join(err, unix.Close(client), unix.Close(server))
	}}
}

func tcpListener(address [4]byte) (fd int, at *unix.SockaddrInet4, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: address}), unix.Listen(fd, 128)); err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	return fd, name.(*unix.SockaddrInet4), nil
}

func listening(tb testing.TB) (int, *unix.SockaddrInet4) {
	tb.Helper()
	fd, at, err := tcpListener([4]byte{127, 0, 0, 1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	return fd, at
}

func tcpPair(listener int, to unix.Sockaddr) (client, server int, err error) {
	if client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, 0, err
	}
	if err = unix.Connect(client, to); err != nil {
		return 0, 0, errors.Join(err, unix.Close(client))
	}
	if server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC); err != nil {
		return 0, 0, errors.Join(err, unix.Close(client))
	}
	return client, server, nil
}

// drained reads what fd has.
func drained(fd int) func() error {
	buffer := make([]byte, 1<<16)
	return func() error {
		for {
			_, _, err := unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

func tcpSend(tb testing.TB) operation {
	tb.Helper()
	client, server, err := tcpPair(listening(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = unix.Close(client), unix.Close(server) })
	if err := unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		tb.Fatal(err)
	}
	message := make([]byte, 64)
	return operation{100, func() error { _, err := unix.Write(client, message); return err }, drained(server)}
}

func udpSend(tb testing.TB, connected bool) operation {
	tb.Helper()
	sink, port, err := loopback(unix.SOCK_DGRAM)
	if err != nil {
		tb.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = unix.Close(fd), unix.Close(sink) })
	to, message := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}, make([]byte, 64)
	do := func() error { return unix.Sendto(fd, message, 0, to) }
	if connected {
		if err := unix.Connect(fd, to); err != nil {
			tb.Fatal(err)
		}
		do = func() error { _, err := unix.Write(fd, message); return err }
	}
	return operation{100, do, drained(sink)}
}

// execution of a program that does nothing, from fork to exit.
func execute(testing.TB) operation {
	return operation{chunk: 2, do: func() error {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		if err != nil {
			return err
		}
		_, err = syscall.Wait4(pid, nil, 0, nil)
		return err
	}}
}

// BenchmarkAdded is what the capture adds to what other programs do. One operation
// of the benchmark is a round of many, with and without.
func BenchmarkAdded(b *testing.B) {
	privileged(b)
	for _, m := range []struct {
		name string
		make func(testing.TB) operation
	}{
		{"tcp-life", tcpLife},
		{"tcp-send", tcpSend},
		{"udp-send", func(tb testing.TB) operation { return udpSend(tb, false) }},
		{"udp-send-connected", func(tb testing.TB) operation { return udpSend(tb, true) }},
		{"execution", execute},
	} {
		b.Run(m.name, func(b *testing.B) {
			o := m.make(b)
			var c comparison
			for b.Loop() {
				c.round(b, o)
			}
			b.ReportMetric(median(c.without), "us-without")
			b.ReportMetric(median(c.with), "us-with")
			b.ReportMetric(median(c.with)-median(c.without), "us-added")
			b.ReportMetric(0, "ns/op")
		})
	}
}
