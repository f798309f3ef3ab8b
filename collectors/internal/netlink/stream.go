// Package netlink reads what the kernel tells of its own accord: multicast groups
// of netlink(7), and among them the process connector.
//
// A stream is read by one goroutine from its opening to Close, so that the
// kernel's buffer does not fill between rounds. What overflowed nevertheless is
// told by the kernel with ENOBUFS, once for any number of messages: a stream
// counts how often.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// messageSize exceeds what the groups read here put into one datagram.
const messageSize = 16 << 10

// Stream reads messages of multicast groups in the network namespace in which it
// was opened.
type Stream struct {
	file   *os.File
	losses atomic.Uint64
	done   chan struct{}
	err    error // why it ended before Close; to be read when done
}

// Open joins groups of a protocol and gives each message to each, which must not
// keep it and must not wait. buffer is how many bytes the kernel may hold.
func Open(protocol, buffer int, groups []int, each func(kind uint16, payload []byte)) (*Stream, error) {
	fd, err := join(protocol, buffer, groups)
	if err != nil {
		return nil, err
	}
	s := &Stream{file: os.NewFile(uintptr(fd), "netlink"), done: make(chan struct{})}
	go s.read(each)
	return s, nil
}

func join(protocol, buffer int, groups []int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, fmt.Errorf("open netlink: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	// Beyond net.core.rmem_max only with CAP_NET_ADMIN.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return -1, fmt.Errorf("enlarge netlink buffer: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, fmt.Errorf("bind netlink: %w", err)
	}
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return -1, fmt.Errorf("join netlink group %d: %w", group, err)
		}
	}
	return fd, nil
}

func (s *Stream) read(each func(kind uint16, payload []byte)) {
	defer close(s.done)
	buf := make([]byte, messageSize)
	for {
		n, err := s.file.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			s.losses.Add(1)
		case errors.Is(err, unix.EINTR):
		case err != nil:
			s.err = err
			return
		default:
			if !Split(buf[:n], each) {
				s.losses.Add(1)
			}
		}
	}
}

// Losses is how often messages were lost so far.
func (s *Stream) Losses() uint64 { return s.losses.Load() }

// Err says why the stream ended by itself; nil while it goes on.
func (s *Stream) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the stream and waits for its reader.
func (s *Stream) Close() error {
	err := s.file.Close()
	<-s.done
	return err
}

// Split gives each message of a datagram to each; false if it does not hold what
// its headers say.
func Split(data []byte, each func(kind uint16, payload []byte)) bool {
	for len(data) > 0 {
		if len(data) < unix.SizeofNlMsghdr {
			return false
		}
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return false
		}
		each(binary.NativeEndian.Uint16(data[4:]), data[unix.SizeofNlMsghdr:size])
		data = data[min((size+3)&^3, len(data)):]
	}
	return true
}
