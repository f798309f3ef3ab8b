package kernel

import (
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const udplite = 136

func udpTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"drain": func(a arguments) error { // address, protocol
			return receive(a[0], a.number(1), false)
		},
		"echo": func(a arguments) error { // address, protocol
			return receive(a[0], a.number(1), true)
		},
		"send": func(a arguments) error { // address, protocol, datagrams, bytes
			return send(a[0], a.number(1), a.number(2), a.number(3))
		},
		"send-connected": func(a arguments) error { // address, protocol, datagrams, bytes
			return sendConnected(a[0], a.number(1), a.number(2), a.number(3))
		},
		"converse": func(a arguments) error { // address, protocol, datagrams, bytes
			return converseUDP(a[0], a.number(1), a.number(2), a.number(3))
		},
	}
}

// sockaddr is the address as the family has it.
func sockaddr(address string) (family int, to unix.Sockaddr) {
	a := netip.MustParseAddrPort(address)
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func socket(family, kind, protocol int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	return fd, os.NewSyscallError("socket", err)
}

// bound is a socket that holds what comes until it is read.
func bound(address string, kind, protocol int) (int, error) {
	family, at := sockaddr(address)
	fd, err := socket(family, kind, protocol)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		return -1, err
	}
	return fd, os.NewSyscallError("bind", unix.Bind(fd, at))
}

// receive takes what comes until the input ends and nothing is left.
func receive(address string, protocol int, echo bool) error {
	fd, err := bound(address, unix.SOCK_DGRAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sayReady()
	return each(fd, func(b []byte, from unix.Sockaddr) error {
		if !echo {
			return nil
		}
		moved.sent.Add(uint64(len(b)))
		return unix.Sendto(fd, b, 0, from)
	})
}

// each calls take for each datagram.
func each(fd int, take func([]byte, unix.Sockaddr) error) error {
	buf := make([]byte, 1<<16)
	return whenReadable(fd, func() error {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		moved.received.Add(uint64(n))
		return take(buf[:n], from)
	})
}

func whenReadable(fd int, read func() error) error {
	var last atomic.Bool
	go func() { awaitProceed(); last.Store(true) }()
	for {
		ended := last.Load()
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10)
		if n == 0 && ended {
			return nil
		}
		if n <= 0 || err != nil {
			continue // nothing yet, or an interruption
		}
		if err := read(); err != nil {
			return err
		}
	}
}

func send(address string, protocol, datagrams, size int) error {
	family, to := sockaddr(address)
	fd, err := socket(family, unix.SOCK_DGRAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, size)
	for range datagrams {
		if err := unix.Sendto(fd, buf, 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
	}
	return nil
}

// connected is a socket of the generator that has one peer.
func connected(address string, kind, protocol int) (int, error) {
	family, to := sockaddr(address)
	fd, err := socket(family, kind, protocol)
	if err != nil {
		return -1, err
	}
	moved.connections.Add(1)
	return fd, os.NewSyscallError("connect", unix.Connect(fd, to))
}

func sendConnected(address string, protocol, datagrams, size int) error {
	fd, err := connected(address, unix.SOCK_DGRAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for buf := make([]byte, size); datagrams > 0; datagrams-- {
		n, err := syscall.Write(fd, buf)
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		moved.sent.Add(uint64(n))
	}
	return nil
}

// converseUDP waits for the echo of each datagram.
func converseUDP(address string, protocol, datagrams, size int) error {
	family, to := sockaddr(address)
	fd, err := socket(family, unix.SOCK_DGRAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	out, in := make([]byte, size), make([]byte, size)
	for range datagrams {
		if err := unix.Sendto(fd, out, 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
		n, _, err := unix.Recvfrom(fd, in, 0)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		moved.received.Add(uint64(n))
	}
	return nil
}
