package flow

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	gopsutil "github.com/shirou/gopsutil/v3/net"

	"cityward/collectors/inventory"
)

// crowd opens sockets, in connected pairs, and starts processes.
func crowd(b *testing.B, sockets, processes int) {
	b.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	for range sockets / 2 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT
			_ = c.Close()
			_ = s.Close()
		})
	}
	running, err := list(liveHost(b))
	if err != nil {
		b.Fatal(err)
	}
	for range max(0, processes-len(running)) {
		cmd := exec.Command("/bin/cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	}
}

// BenchmarkSockets compares a round with gopsutil's list of connections, which
// has no bytes and only the agent's own namespace. New sockets make a round go
// through all descriptors; a quiet one looks only at those it knows.
func BenchmarkSockets(b *testing.B) {
	for _, sockets := range []int{1000, 10000} {
		b.Run(strconv.Itoa(sockets), func(b *testing.B) {
			crowd(b, sockets, 300)
			h := liveHost(b)
			processes, err := list(h)
			if err != nil {
				b.Fatal(err)
			}
			seen := &inventory.Facts{Processes: processes}
			round := func(c *Collector) {
				facts, err := c.Collect(b.Context(), seen)
				if err != nil {
					b.Fatal(err)
				}
				open := 0
				for _, f := range facts.Flows {
					if f.Process.PID == os.Getpid() {
						open += f.Open
					}
				}
				if open < sockets-2 {
					b.Fatalf("%d of %d sockets are this program's", open, sockets)
				}
			}
			b.Run("quiet", func(b *testing.B) {
				c := New(h, polling(), nil)
				round(c)
				for b.Loop() {
					round(c)
				}
			})
			b.Run("cold", func(b *testing.B) {
				for b.Loop() {
					round(New(h, polling(), nil))
				}
			})
			b.Run("gopsutil", func(b *testing.B) {
				for b.Loop() {
					all, err := gopsutil.Connections("inet")
					if err != nil || len(all) < sockets {
						b.Fatal(len(all), err)
					}
				}
			})
		})
	}
}
