package kernel

import (
	"net"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// socketOf gives the one of this process that want holds for.
func socketOf(t *testing.T, r *Reading, want func(*Socket) bool) Socket {
	t.Helper()
	me := self(t)
	var found []Socket
	for _, s := range r.Sockets {
		if s.Owner.PID == me.Owner.PID && s.Owner.Start == me.Owner.Start && want(&s) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Errorf("%d sockets where one was expected: %+v", len(found), found)
		return Socket{}
	}
	return found[0]
}

func TestListeners(t *testing.T) {
	k := open(t, Options{})
	tcp4 := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return c.Close() })
	tcp6 := listen(t, "[::1]:0", func(c *net.TCPConn) error { return c.Close() })
	udp4, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp4.Close() })
	r := read(t, k)
	for _, want := range []net.Addr{tcp4.Addr(), tcp6.Addr(), udp4.LocalAddr()} {
		s := socketOf(t, r, func(s *Socket) bool { return s.Local.String() == want.String() })
		if !s.Listens || s.NetNS != self(t).NetNS || s.Inode == 0 {
			t.Errorf("%s: %+v", want, s)
		}
	}
}

func TestUnixSockets(t *testing.T) {
	k := open(t, Options{})
	path := filepath.Join(t.TempDir(), "s")
	for _, name := range []string{path, "@cityward test " + path} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		waiting, err := net.Dial("unix", name) // not accepted
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = waiting.Close() })
		raw := []byte(name)
		if name[0] == '@' {
			raw[0] = 0
		} else {
			raw = append(raw, 0)
		}
		named := func(s *Socket) bool { return s.Family == unix.AF_UNIX && slices.Equal(s.Name, raw) }
		r := read(t, k)
		server := socketOf(t, r, func(s *Socket) bool { return named(s) && s.Listens })
		client := socketOf(t, r, func(s *Socket) bool { return named(s) && !s.Listens })
		if !client.NamedPeer || client.Peer != 0 {
			t.Errorf("client that waits: %+v", client)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = accepted.Close() })
		r = read(t, k)
		client = socketOf(t, r, func(s *Socket) bool { return named(s) && s.NamedPeer })
		other := socketOf(t, r, func(s *Socket) bool { return named(s) && s.Peer == client.Inode })
		if client.Peer != other.Inode || client.Peer == 0 {
			t.Errorf("client %+v of %+v", client, other)
		}
		if name == path {
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				t.Fatal(err)
			}
			for _, s := range []Socket{server, client, other} {
				if s.File != st.Ino || s.Device != st.Dev {
					t.Errorf("file %d:%d of %+v, want %d:%d", s.Device, s.File, s, st.Dev, st.Ino)
				}
			}
		}
	}
}

// What goes past the protocols is named at once, and still after it is closed.
func TestFrames(t *testing.T) {
	k := open(t, Options{})
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, k)
	socketOf(t, r, func(s *Socket) bool { return s.Family == unix.AF_PACKET })
	socketOf(t, r, func(s *Socket) bool { return s.Family == 0 })
	to := &unix.SockaddrLinklayer{Protocol: 0xffff, Ifindex: 1, Halen: 6}
	if err := unix.Sendto(fd, make([]byte, 321), 0, to); err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{fd, tun} {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	r = read(t, k)
	i := slices.IndexFunc(r.Frames, func(f Frames) bool { return f.Owner.PID == self(t).Owner.PID })
	if i < 0 || r.Frames[i].Bytes != 321 || r.Frames[i].Kind != FramesPacket {
		t.Errorf("%+v", r.Frames)
	}
}

// So is what has a network of its own, as that between a virtual machine and its
// host. Which of them a kernel has is its own affair.
func TestOtherNetworks(t *testing.T) {
	k := open(t, Options{})
	found := 0
	for _, family := range []int{unix.AF_VSOCK, unix.AF_TIPC, unix.AF_QIPCRTR, unix.AF_CAN, unix.AF_RDS} {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
			fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				continue
			}
			found++
			socketOf(t, read(t, k), func(s *Socket) bool { return s.Family == uint16(family) })
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d kinds of sockets of other networks", found)
	if n, ok := vsockToItself(t); ok && k.SeesSenders() {
		r := read(t, k)
		i := slices.IndexFunc(r.Frames, func(f Frames) bool { return f.Owner.PID == self(t).Owner.PID && f.Kind == FramesOther })
		if i < 0 || r.Frames[i].Bytes != uint64(n) {
			t.Errorf("sent %d bytes by vsock: %+v", n, r.Frames)
		}
	}
}

// vsockToItself sends by vsock(7) within the machine, where the kernel can.
func vsockToItself(t *testing.T) (sent int, ok bool) {
	t.Helper()
	const here = 1 // VMADDR_CID_LOCAL
	l, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(l)
	at := &unix.SockaddrVM{CID: here, Port: 54321}
	if unix.Bind(l, at) != nil || unix.Listen(l, 1) != nil {
		return 0, false
	}
	c, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(c)
	if unix.Connect(c, at) != nil {
		return 0, false
	}
	n, err := unix.Write(c, make([]byte, 777))
	if err != nil {
		t.Error(err)
	}
	return n, true
}
