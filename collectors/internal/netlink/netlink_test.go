package netlink

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func captured(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The files were recorded from a kernel: a shell that starts a program.
func TestParseProcess(t *testing.T) {
	tests := map[string]ProcessEvent{
		"fork.bin": {Kind: Fork, PID: 19675, Child: 19716},
		"exec.bin": {Kind: Exec, PID: 19716},
		"exit.bin": {Kind: Exit, PID: 19716},
		"ack.bin":  {Kind: ack},
	}
	for name, want := range tests {
		count := 0
		whole := Split(captured(t, name), func(_ uint16, payload []byte) {
			count++
			if got, ok := ParseProcess(payload); !ok || got != want {
				t.Errorf("%s: got %+v, %t", name, got, ok)
			}
			for n := range payload {
				if e, ok := ParseProcess(payload[:n]); ok && e.Kind == ack && n < sizeConnector+sizeEvent+4 {
					t.Errorf("%s cut to %d: got %+v", name, n, e)
				}
			}
		})
		if !whole || count != 1 {
			t.Errorf("%s: %d messages, whole %t", name, count, whole)
		}
	}
}

func TestThreadsAreNoProcesses(t *testing.T) {
	Split(captured(t, "fork.bin"), func(_ uint16, payload []byte) {
		thread := slices.Clone(payload)
		thread[sizeConnector+sizeEvent+8]++ // the child's thread differs from its process
		if e, ok := ParseProcess(thread); ok {
			t.Errorf("got %+v", e)
		}
	})
}

func TestSplit(t *testing.T) {
	one := captured(t, "exec.bin")
	for name, test := range map[string]struct {
		data  []byte
		count int
		whole bool
	}{
		"none": {nil, 0, true}, "two": {slices.Concat(one, one), 2, true}, "cut": {one[:40], 0, false},
		"head cut": {one[:7], 0, false}, "no size": {make([]byte, 16), 0, false}, "second cut": {slices.Concat(one, one[:9]), 1, false},
	} {
		count := 0
		if whole := Split(test.data, func(uint16, []byte) { count++ }); whole != test.whole || count != test.count {
			t.Errorf("%s: got %d messages, whole %t", name, count, whole)
		}
	}
}

func FuzzProcess(f *testing.F) {
	for _, name := range []string{"fork.bin", "exec.bin", "exit.bin", "ack.bin"} {
		f.Add(captured(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		Split(data, func(_ uint16, payload []byte) {
			e, ok := ParseProcess(payload)
			if ok && e.Kind != ack && (e.PID <= 0 || e.Kind == Fork && e.Child <= 0) {
				t.Errorf("got %+v", e)
			}
		})
	})
}

func TestProcesses(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	before := runtime.NumGoroutine()
	var mu sync.Mutex
	seen := make(map[ProcessEvent]bool)
	p, err := OpenProcesses(func(e ProcessEvent) {
		mu.Lock()
		defer mu.Unlock()
		seen[e] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	for _, want := range []ProcessEvent{{Kind: Fork, PID: os.Getpid(), Child: pid}, {Kind: Exec, PID: pid}, {Kind: Exit, PID: pid}} {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			got := seen[want]
			mu.Unlock()
			if got {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v was not told", want)
			}
		}
	}
	if err := p.Err(); err != nil {
		t.Errorf("it ended: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines were left", after-before)
	}
}

// What overflows is counted, and the stream goes on.
func TestOverflow(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	heard := make(chan struct{}, 1)
	s, err := Open(unix.NETLINK_SOCK_DIAG, 4<<10, []int{3, 4, 1, 2}, func(uint16, []byte) {
		once.Do(func() { <-release })
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	end := func(count int) {
		for range count {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
		}
	}
	end(2000)
	time.Sleep(100 * time.Millisecond)
	close(release)
	<-heard
	for deadline := time.Now().Add(5 * time.Second); s.Losses() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was lost from a buffer of 4 KiB")
		}
	}
	end(1)
	<-heard
	if s.Err() != nil {
		t.Errorf("it ended: %v", s.Err())
	}
}
