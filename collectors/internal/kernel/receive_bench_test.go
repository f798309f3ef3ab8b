package kernel

import (
	"errors"
	"runtime"
	"testing"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// exchange is a message of 64 bytes and its receipt.
func exchange(write, read int) operation {
	message := make([]byte, 64)
	return operation{chunk: 500, do: func() error {
		if _, err := unix.Write(write, message); err != nil {
			return err
		}
		_, err := unix.Read(read, message)
		return err
	}}
}

func pairOf(tb testing.TB, kind int) operation {
	tb.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = errors.Join(unix.Close(ends[0]), unix.Close(ends[1])) })
	return exchange(ends[0], ends[1])
}

// BenchmarkCopies is what it adds to receiving that datagrams of Unix sockets are
// seen by their copies: the rest of the capture is there with and without.
func BenchmarkCopies(b *testing.B) {
	privileged(b)
	for name, make := range map[string]func() operation{
		"tcp": func() operation {
			client, server, err := tcpPair(listening(b))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _, _ = unix.Close(client), unix.Close(server) })
			return exchange(client, server)
		},
		"unix-stream":   func() operation { return pairOf(b, unix.SOCK_STREAM) },
		"unix-datagram": func() operation { return pairOf(b, unix.SOCK_DGRAM) },
	} {
		b.Run(name, func(b *testing.B) {
			o := make()
			var c comparison
			for b.Loop() {
				c.roundOfCopies(b, o)
			}
			b.ReportMetric(quantile(c.without, 4), "us-without")
			b.ReportMetric(quantile(c.with, 4), "us-with")
			b.ReportMetric(quantile(c.with, 4)-quantile(c.without, 4), "us-added")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// roundOfCopies is [comparison.round] of one program more or less.
func (c *comparison) roundOfCopies(tb testing.TB, o operation) {
	tb.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	k, err := Open(Options{})
	if err != nil {
		tb.Fatal(err)
	}
	defer k.Close()
	copies := k.links[flowsProgOnCopy]
	if copies == nil {
		tb.Skip("functions are hooked here")
	}
	delete(k.links, flowsProgOnCopy)
	if err := copies.Close(); err != nil {
		tb.Fatal(err)
	}
	o.measure(tb) // what is new is slower
	for range 3 {
		c.without = append(c.without, o.measure(tb)...)
		again, err := link.AttachTracing(link.TracingOptions{Program: k.programs[flowsProgOnCopy]})
		if err != nil {
			tb.Fatal(err)
		}
		c.with = append(c.with, o.measure(tb)...)
		if err := again.Close(); err != nil {
			tb.Fatal(err)
		}
	}
}
