package flow

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

func TestWireGuards(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"eth0": "INTERFACE=eth0\nIFINDEX=2\n", "wg0": "DEVTYPE=wireguard\nINTERFACE=wg0\nIFINDEX=7\n", "br0": "DEVTYPE=bridge\n",
	} {
		dir := filepath.Join(root, "sys/class/net", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "uevent"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var gaps gaps
	s := &traced{surroundings: &surroundings{host: h}}
	want := []inventory.Bypass{{Kind: inventory.BypassWireGuard, Interface: "wg0", Open: true}}
	if got := s.wireGuards(&gaps); !slices.Equal(got, want) || gaps.list != nil {
		t.Errorf("got %+v, %+v", got, gaps.list)
	}
	if err := os.RemoveAll(filepath.Join(root, "sys")); err != nil {
		t.Fatal(err)
	}
	if got := s.wireGuards(&gaps); got != nil || len(gaps.list) != 1 {
		t.Errorf("without interfaces: got %+v, %+v", got, gaps.list)
	}
}

// The clients of a Unix socket, whether or not they were accepted and have names
// of their own.
func TestHeldLocals(t *testing.T) {
	who := func(pid int) kernel.Execution { return kernel.Execution{PID: pid, Start: 1} }
	server := kernel.Socket{Owner: who(1), Family: unix.AF_UNIX, Inode: 10, Listens: true, Name: []byte("/s\x00"), File: 1<<32 + 5, Device: 3}
	accepted := kernel.Socket{Owner: who(1), Family: unix.AF_UNIX, Inode: 11, Peer: 20, Name: []byte("/s\x00"), File: 1<<32 + 5, Device: 3}
	sockets := []kernel.Socket{
		server, accepted,
		{Owner: who(2), Family: unix.AF_UNIX, Inode: 20, Peer: 11, Name: []byte("/s\x00"), NamedPeer: true, File: 1<<32 + 5, Device: 3},
		{Owner: who(3), Family: unix.AF_UNIX, Inode: 30, Name: []byte("/s\x00"), NamedPeer: true, File: 1<<32 + 5, Device: 3}, // waits
		{Owner: who(4), Family: unix.AF_UNIX, Inode: 40, Peer: 41},                                                            // a pair without names
	}
	file := inventory.FileID{Device: 3, Inode: 5}
	want := []inventory.LocalConnection{
		{Process: inventory.Execution{PID: 2, Start: 1}, Peer: inventory.Execution{PID: 1, Start: 1}, Path: "/s", File: file},
		{Process: inventory.Execution{PID: 3, Start: 1}, Peer: inventory.Execution{PID: 1, Start: 1}, Path: "/s", File: file},
	}
	if got := heldLocals(sockets); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

// What the kernel sends of its own accord is nobody's.
func TestKernelsOwn(t *testing.T) {
	for _, test := range []struct {
		flow kernel.Flow
		want bool
	}{
		{kernel.Flow{Protocol: unix.IPPROTO_ICMPV6, Sent: 64}, true},
		{kernel.Flow{Protocol: unix.IPPROTO_TCP}, true}, // a reset
		{kernel.Flow{Protocol: unix.IPPROTO_TCP, Sent: 1}, false},
		{kernel.Flow{Protocol: unix.IPPROTO_TCP, Connections: 1, Attempts: 1}, false},
		{kernel.Flow{Protocol: unix.IPPROTO_UDP, Received: 1}, false},
	} {
		if got := kernelsOwn(&test.flow); got != test.want {
			t.Errorf("%+v: got %t", test.flow, got)
		}
	}
}
