package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// link is a netlink(7) socket for dumps. It belongs to the network namespace in
// which it was opened.
type link struct {
	fd  int
	buf []byte
}

// bufferSize exceeds the 32 KiB that the kernel puts into one datagram of a dump.
const bufferSize = 64 << 10

// errInterrupted says that what was dumped changed meanwhile, so that entries
// may be missing (NLM_F_DUMP_INTR).
var errInterrupted = errors.New("dump interrupted")

// dial opens a netlink socket of a protocol in the namespace of the calling
// thread. buf is used for what it receives.
func dial(protocol int, buf []byte) (*link, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// The kernel answers at once; this only keeps a defect of it from being ours.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &link{fd: fd, buf: buf}, nil
}

func (l *link) close() { unix.Close(l.fd) }

// dump asks for all entries and gives the payload of each to each, which must
// not keep it.
func (l *link) dump(ctx context.Context, kind uint16, request []byte, each func(payload []byte) error) error {
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(request))
	binary.NativeEndian.PutUint32(message[0:], uint32(cap(message)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	message = append(message, request...)
	if err := unix.Sendto(l.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send dump request: %w", err)
	}
	interrupted := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(l.fd, l.buf, unix.MSG_TRUNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive dump: %w", err)
		}
		if n > len(l.buf) {
			return fmt.Errorf("receive dump: datagram of %d bytes was cut", n)
		}
		done, intr, err := messages(l.buf[:n], each)
		interrupted = interrupted || intr
		switch {
		case err != nil:
			return err
		case done && interrupted:
			return errInterrupted
		case done:
			return nil
		}
	}
}

// messages splits one datagram of a dump. done says that it held the last.
func messages(data []byte, each func(payload []byte) error) (done, interrupted bool, err error) {
	for len(data) > 0 {
		if len(data) < unix.SizeofNlMsghdr {
			return false, false, errors.New("parse netlink: message cut short")
		}
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return false, false, fmt.Errorf("parse netlink: message of %d bytes in %d", size, len(data))
		}
		kind, flags := binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint16(data[6:])
		payload := data[unix.SizeofNlMsghdr:size]
		interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		switch kind {
		case unix.NLMSG_NOOP:
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			return true, interrupted, status(payload)
		default:
			if err := each(payload); err != nil {
				return false, interrupted, err
			}
		}
		data = data[min(align(size), len(data)):]
	}
	return false, interrupted, nil
}

// status reads the negative errno at the end of a dump.
func status(payload []byte) error {
	if len(payload) < 4 {
		return nil
	}
	if code := binary.NativeEndian.Uint32(payload); code>>31 != 0 {
		return fmt.Errorf("dump: %w", unix.Errno(-code))
	}
	return nil
}

// attributes walks the attributes behind a payload's fixed part.
func attributes(data []byte, each func(kind uint16, value []byte)) error {
	for len(data) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(data))
		if size < unix.SizeofNlAttr || size > len(data) {
			return fmt.Errorf("parse attribute: %d bytes in %d", size, len(data))
		}
		kind := binary.NativeEndian.Uint16(data[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		each(kind, data[unix.SizeofNlAttr:size])
		data = data[min(align(size), len(data)):]
	}
	return nil
}

// align rounds up to the 4 bytes that netlink aligns to.
func align(size int) int { return (size + 3) &^ 3 }
