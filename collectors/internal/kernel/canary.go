//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// What the canary sends: to itself, over loopback.
const canaryUDP, canaryTCP = 17, 29

// canary is a flow of this process that the capture must see.
type canary struct {
	protocol uint8
	port     uint16
	bytes    uint64
	heard    bool
}

// sing makes the flows: a datagram, and a connection. The latter is made by
// sending, see MSG_FASTOPEN of tcp(7), so that the process needs no connect(2) and
// may be held to that; where fast open is switched off there is no such flow.
func sing() ([]canary, error) {
	datagram, err := singUDP()
	if err != nil {
		return nil, fmt.Errorf("send a datagram to itself: %w", err)
	}
	stream, err := singTCP()
	if errors.Is(err, unix.EOPNOTSUPP) {
		return []canary{datagram}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("connect to itself: %w", err)
	}
	return []canary{datagram, stream}, nil
}

func singUDP() (canary, error) {
	fd, port, err := loopback(unix.SOCK_DGRAM)
	if err != nil {
		return canary{}, err
	}
	err = unix.Sendto(fd, make([]byte, canaryUDP), 0, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		// What arrived after the reading would stand in the way of the next canary.
		_, err = untilDone(func() (int, error) { return unix.Read(fd, make([]byte, 2*canaryUDP)) })
	}
	return canary{unix.IPPROTO_UDP, uint16(port), canaryUDP, false}, errors.Join(err, unix.Close(fd))
}

func singTCP() (c canary, err error) {
	listener, port, err := loopback(unix.SOCK_STREAM)
	if err != nil {
		return canary{}, err
	}
	defer func() { err = errors.Join(err, unix.Close(listener)) }()
	if err := unix.Listen(listener, 1); err != nil {
		return canary{}, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return canary{}, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := impatient(fd); err != nil {
		return canary{}, err
	}
	// A reset leaves nothing in TIME_WAIT.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return canary{}, err
	}
	to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Sendto(fd, make([]byte, canaryTCP), unix.MSG_FASTOPEN, to); err != nil {
		return canary{}, err
	}
	return canary{unix.IPPROTO_TCP, uint16(port), canaryTCP, false}, overheard(listener)
}

// overheard takes the connection, and what came by it.
func overheard(listener int) error {
	accepted, err := untilDone(func() (int, error) {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		return fd, err
	})
	if err != nil {
		return err
	}
	n, err := untilDone(func() (int, error) { return unix.Read(accepted, make([]byte, 2*canaryTCP)) })
	if err == nil && n != canaryTCP {
		err = fmt.Errorf("read %d bytes of %d", n, canaryTCP)
	}
	return errors.Join(err, unix.Close(accepted))
}

// untilDone repeats a call that a signal interrupts; with a time-out, the kernel does not.
func untilDone(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// impatient lets no call on a socket, or on one that it accepts, wait for ever: some
// other program may connect first and be silent, or a firewall drop the packets.
func impatient(fd int) error {
	wait := unix.Timeval{Sec: 1}
	return errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait),
	)
}

// networkNumber is the number of this process's network namespace.
func networkNumber() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("look at network namespace: %w", err)
	}
	return uint32(st.Ino), nil
}

// loopback binds a socket to a port of 127.0.0.1.
func loopback(kind int) (fd, port int, err error) {
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	if err := errors.Join(impatient(fd), unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})); err != nil {
		return 0, 0, errors.Join(err, unix.Close(fd))
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, 0, errors.Join(err, unix.Close(fd))
	}
	return fd, at.(*unix.SockaddrInet4).Port, nil
}

// hear reports whether a row is one of the canary's, and notes that it is there.
// The port tells: in one network namespace it is nobody else's. This process may
// not know its own number, as the kernel has it.
func hear(sung []canary, netns uint32, key *flowsFlowKey, row *flowsFlowRow) bool {
	if key.Netns != netns || row.Own == 0 {
		return false
	}
	for i := range sung {
		if c := &sung[i]; c.protocol == key.Protocol && c.port == key.Port && (row.Sent == c.bytes || row.Received == c.bytes) {
			c.heard = c.heard || key.Direction == Out && row.Sent == c.bytes
			return true
		}
	}
	return false
}

// deaf says what was not heard; "" nothing.
func deaf(sung []canary) string {
	for _, c := range sung {
		if !c.heard {
			return fmt.Sprintf("the agent sent %d bytes to itself by protocol %d, and the capture did not see it", c.bytes, c.protocol)
		}
	}
	return ""
}
