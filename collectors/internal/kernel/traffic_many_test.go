package kernel

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ways to send and receive datagrams, other than one at a time.

const together = 16

func manyTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"send-by": func(a arguments) error { // way, address, calls, bytes in each datagram
			fd, err := connected(a[1], unix.SOCK_DGRAM, udp)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return senders()[a[0]](fd, a.number(2), a.number(3))
		},
		"older-datagrams": func(a arguments) error { // address, datagrams before and after, bytes
			return olderDatagrams(a[0], a.number(1), a.number(2))
		},
		"drain-joined": func(a arguments) error { return receiveJoined(a[0]) }, // address
		"two-peers": func(a arguments) error { // address, another, bytes to each
			return twoPeers(a[0], a[1], a.number(2))
		},
		"drain-many": func(a arguments) error { return receiveMany(a[0]) }, // address
		"drain-group": func(a arguments) error { // address, group
			return receiveGroup(a[0], a[1])
		},
		"send-wide": func(a arguments) error { // address of a group or a network, datagrams, bytes
			return sendWide(a[0], a.number(1), a.number(2))
		},
	}
}

func senders() map[string]func(fd, calls, size int) error {
	return map[string]func(fd, calls, size int) error{
		"sendmmsg": sendMany, "segments": sendSegments, "cork": sendCorked, "zerocopy": sendInPlace, "uring": sendByUring,
	}
}

// messages is an array of struct mmsghdr, each with one buffer.
type messages struct {
	headers [together]struct {
		unix.Msghdr
		length uint32
	}
	vectors [together]unix.Iovec
	buffers [together][]byte
}

func newMessages(size int) *messages {
	var m messages
	for i := range m.headers {
		m.buffers[i] = make([]byte, size)
		m.vectors[i].Base = unsafe.SliceData(m.buffers[i])
		m.vectors[i].SetLen(size)
		m.headers[i].Iov = &m.vectors[i]
		m.headers[i].SetIovlen(1)
	}
	return &m
}

// call is sendmmsg or recvmmsg. It gives the bytes of all messages.
func (m *messages) call(number uintptr, fd int, flags uintptr) (int, error) {
	n, _, errno := syscall.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(&m.headers)), together, flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	sum := 0
	for _, h := range m.headers[:n] {
		sum += int(h.length)
	}
	return sum, nil
}

func sendMany(fd, calls, size int) error {
	m := newMessages(size)
	return inChunks(calls*together*size, "sendmmsg", func(int) (int, error) { return sends(m.call(unix.SYS_SENDMMSG, fd, 0)) })
}

func receiveMany(address string) error {
	fd, err := bound(address, unix.SOCK_DGRAM, udp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	m := newMessages(1 << 16)
	sayReady()
	return whenReadable(fd, func() error {
		_, err := receives(m.call(unix.SYS_RECVMMSG, fd, unix.MSG_DONTWAIT))
		return os.NewSyscallError("recvmmsg", err)
	})
}

// receiveJoined takes datagrams that the kernel has put together, udp(7).
func receiveJoined(address string) error {
	fd, err := bound(address, unix.SOCK_DGRAM, udp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	sayReady()
	return each(fd, func([]byte, unix.Sockaddr) error { return nil })
}

// twoPeers connects a socket to one, then to another.
func twoPeers(address, another string, size int) error {
	fd, err := connected(address, unix.SOCK_DGRAM, udp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := sends(unix.Write(fd, make([]byte, size))); err != nil {
		return os.NewSyscallError("write", err)
	}
	_, to := sockaddr(another)
	if err := unix.Connect(fd, to); err != nil {
		return os.NewSyscallError("connect", err)
	}
	_, err = sends(unix.Write(fd, make([]byte, size)))
	return os.NewSyscallError("write", err)
}

// sendSegments leaves it to the kernel or the card to cut datagrams, udp(7).
func sendSegments(fd, calls, size int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, size); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	buf := make([]byte, together*size)
	return inChunks(calls*len(buf), "write", func(int) (int, error) { return sends(unix.Write(fd, buf)) })
}

// sendCorked makes one datagram of several calls.
func sendCorked(fd, calls, size int) error {
	for range calls {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_CORK, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		for range 4 {
			if _, err := sends(unix.Write(fd, make([]byte, size/4))); err != nil {
				return os.NewSyscallError("write", err)
			}
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_CORK, 0); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func sendInPlace(fd, calls, size int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	buf := make([]byte, size)
	return inChunks(calls*size, "send", func(int) (int, error) {
		return sends(unix.SendmsgN(fd, buf, nil, nil, unix.MSG_ZEROCOPY))
	})
}

func sendByUring(fd, calls, size int) error {
	r, err := newRing(false)
	if err != nil {
		return err
	}
	defer r.close()
	buf := make([]byte, size)
	return inChunks(calls*size, "io_uring", func(int) (int, error) {
		return sends(r.do(submission{opcode: opSend, fd: int32(fd), addr: uint64(address(buf)), length: uint32(size)}))
	})
}

// olderDatagrams counts only what it sends after it was ready.
func olderDatagrams(address string, n, size int) error {
	fd, err := connected(address, unix.SOCK_DGRAM, udp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, size)
	converse := func() error {
		for range n {
			if _, err := sends(unix.Write(fd, buf)); err != nil {
				return err
			}
			if _, err := receives(unix.Read(fd, buf)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := converse(); err != nil {
		return err
	}
	sayReady()
	awaitProceed()
	moved.sent.Store(0)
	moved.received.Store(0)
	return converse()
}

func receiveGroup(address, group string) error {
	fd, err := bound(address, unix.SOCK_DGRAM, udp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, on := sockaddr(far4 + ":0")
	_, of := sockaddr(group + ":0")
	membership := &unix.IPMreq{Multiaddr: of.(*unix.SockaddrInet4).Addr, Interface: on.(*unix.SockaddrInet4).Addr}
	if err := unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, membership); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	sayReady()
	return each(fd, func([]byte, unix.Sockaddr) error { return nil })
}

func sendWide(address string, datagrams, size int) error {
	family, to := sockaddr(address)
	fd, err := socket(family, unix.SOCK_DGRAM, udp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, on := sockaddr(near4 + ":0")
	if err := unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, on.(*unix.SockaddrInet4).Addr); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	buf := make([]byte, size)
	for range datagrams {
		if err := unix.Sendto(fd, buf, 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
	}
	return nil
}
