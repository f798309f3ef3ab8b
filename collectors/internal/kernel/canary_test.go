package kernel

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The capture is not believed: each reading makes flows that it must have seen.
func TestCanary(t *testing.T) {
	k := openOwn(t, Options{})
	for range 3 {
		r := read(t, k)
		if r.Deaf != "" {
			t.Error(r.Deaf)
		}
		for _, f := range r.Flows {
			if f.Owner.PID == os.Getpid() {
				t.Errorf("the canary is listed: %+v", f)
			}
		}
	}
	for _, hook := range []string{flowsProgOnSockops, flowsProgOnState, flowsProgOnEgress} {
		if err := k.links[hook].Close(); err != nil {
			t.Fatal(err)
		}
		if r := read(t, k); (r.Deaf != "") != (hook != flowsProgOnSockops) {
			t.Errorf("without %s: %q", hook, r.Deaf)
		}
		delete(k.links, hook)
	}
}

// In a PID namespace of its own a process does not know its number.
func TestCanaryInPIDNamespace(t *testing.T) {
	openOwn(t, Options{Flows: 16})
	run(t, func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID} }, "listen-to-itself")
}

// Whoever is first to connect to the canary, and silent, cannot hold the capture up.
func TestCanaryDoesNotWait(t *testing.T) {
	listener, port, err := loopback(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	intruder, _, err := loopback(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(intruder)
	if err := unix.Listen(listener, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(intruder, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- overheard(listener) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("took the intruder for the canary")
		}
	case <-time.After(10 * time.Second):
		t.Error("waits for the intruder")
	}
}
