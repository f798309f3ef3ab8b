//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"os"

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
	// A reset leaves nothing in TIME_WAIT.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return canary{}, err
	}
	to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Sendto(fd, make([]byte, canaryTCP), unix.MSG_FASTOPEN, to); err != nil {
		return canary{}, err
	}
	accepted, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return canary{}, err
	}
	n, err := unix.Read(accepted, make([]byte, 2*canaryTCP))
	if err == nil && n != canaryTCP {
		err = fmt.Errorf("read %d bytes of %d", n, canaryTCP)
	}
	return canary{unix.IPPROTO_TCP, uint16(port), canaryTCP, false}, errors.Join(err, unix.Close(accepted))
}

// loopback binds a socket to a port of 127.0.0.1.
func loopback(kind int) (fd, port int, err error) {
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, 0, errors.Join(err, unix.Close(fd))
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, 0, errors.Join(err, unix.Close(fd))
	}
	return fd, at.(*unix.SockaddrInet4).Port, nil
}

// hear reports whether a row is one of the canary's, and notes that it is there.
func hear(sung []canary, key *flowsFlowKey, row *flowsFlowRow) bool {
	if row.Own == 0 {
		return false
	}
	for i := range sung {
		if c := &sung[i]; c.protocol == key.Protocol && c.port == key.Port && int(key.Owner>>42) == os.Getpid() {
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
