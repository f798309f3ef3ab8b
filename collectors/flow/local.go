package flow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// localSocket is one Unix socket, see unix(7).
type localSocket struct {
	kind    uint8 // SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET
	state   uint8
	inode   uint64   // 0 while no program has it
	peer    uint64   // inode of the other end; 0 none, or not accepted yet
	pending []uint64 // inodes of those that wait to be accepted
	name    string   // path, or abstract name with a leading @
	file    inventory.FileID
}

// listens reports whether a socket waits for peers under a name. One for
// datagrams does if it has no peer itself: its state is that of its last client.
func (s *localSocket) listens() bool {
	return s.name != "" && (s.state == stateListen || s.kind == unix.SOCK_DGRAM && s.peer == 0)
}

// nameLimit exceeds sun_path, whose bytes may each become three when cleaned.
const nameLimit = 400

// socketName reads sun_path: a path up to a NUL, or after a leading NUL an
// abstract name in which every byte counts.
func socketName(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	if raw[0] == 0 {
		return "@" + host.Text(string(raw[1:]), nameLimit)
	}
	path, _, _ := bytes.Cut(raw, []byte{0})
	return host.Text(string(path), nameLimit)
}

// Parts of unix_diag.h that x/sys does not have.
const (
	unixDiagName = 0
	unixDiagVFS  = 1
	unixDiagPeer = 2
	unixDiagWait = 3 // UNIX_DIAG_ICONS

	showName = 1
	showVFS  = 2
	showPeer = 4
	showWait = 8

	sizeUnixRequest = 24 // struct unix_diag_req
	sizeUnixMessage = 16 // struct unix_diag_msg
)

// dumpUnix asks the kernel for all Unix sockets of the link's namespace, see
// sock_diag(7). A path leads across namespaces, so the two ends of a connection
// may be found in different ones.
func dumpUnix(ctx context.Context, l *link) ([]localSocket, error) {
	request := make([]byte, sizeUnixRequest)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], allStates)
	binary.NativeEndian.PutUint32(request[12:], showName|showVFS|showPeer|showWait)
	var all []localSocket
	err := l.dump(ctx, unix.SOCK_DIAG_BY_FAMILY, request, func(payload []byte) error {
		s, err := parseUnix(payload)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dump Unix sockets: %w", err)
	}
	return all, nil
}

// parseUnix reads a struct unix_diag_msg and its attributes.
func parseUnix(data []byte) (localSocket, error) {
	if len(data) < sizeUnixMessage || data[0] != unix.AF_UNIX {
		return localSocket{}, errors.New("parse Unix socket: not one")
	}
	s := localSocket{kind: data[1], state: data[2], inode: uint64(binary.NativeEndian.Uint32(data[4:]))}
	err := attributes(data[sizeUnixMessage:], func(kind uint16, value []byte) {
		switch kind {
		case unixDiagName:
			s.name = socketName(value)
		case unixDiagVFS:
			if len(value) >= 8 {
				dev := binary.NativeEndian.Uint32(value[4:]) // 12 bits major, 20 minor, inside the kernel
				s.file = inventory.FileID{
					Device: unix.Mkdev(dev>>20, dev&(1<<20-1)),
					Inode:  uint64(binary.NativeEndian.Uint32(value)),
				}
			}
		case unixDiagPeer:
			if len(value) >= 4 {
				s.peer = uint64(binary.NativeEndian.Uint32(value))
			}
		case unixDiagWait:
			for ; len(value) >= 4; value = value[4:] {
				s.pending = append(s.pending, uint64(binary.NativeEndian.Uint32(value)))
			}
		}
	})
	return s, err
}
