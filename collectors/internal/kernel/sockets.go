//go:build linux && (amd64 || arm64)

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// sizeHeld is that of struct held in sockets.h, whose fields follow each other
// without padding.
const sizeHeld = 4*8 + 2*4 + 4*2 + 4 + 16 + 108

// sockets lists those of all processes and network namespaces.
func (k *Kernel) sockets() ([]Socket, error) {
	it, err := k.iterator(flowsProgListSockets)
	if err != nil {
		return nil, err
	}
	booted, err := k.bootTime()
	if err != nil {
		return nil, err
	}
	var d socketDecoder
	d.booted = booted
	if err := walk(it, &d); err != nil {
		return nil, fmt.Errorf("list sockets: %w", err)
	}
	if len(d.rest) > 0 {
		return nil, errors.New("list sockets: last record cut short")
	}
	return d.sockets, nil
}

// socketDecoder is written what the iterator prints, cut anywhere.
type socketDecoder struct {
	booted  time.Time
	rest    []byte
	sockets []Socket
}

// Write implements [io.Writer].
func (d *socketDecoder) Write(p []byte) (int, error) {
	n := len(p)
	if len(d.rest) > 0 {
		p = append(d.rest, p...)
	}
	for ; len(p) >= sizeHeld; p = p[sizeHeld:] {
		d.sockets = append(d.sockets, decodeSocket(p[:sizeHeld], d.booted))
	}
	d.rest = append([]byte(nil), p...)
	return n, nil
}

func decodeSocket(b []byte, booted time.Time) Socket {
	e := binary.NativeEndian
	s := Socket{
		Owner:     executionOf(e.Uint64(b), booted),
		Inode:     e.Uint64(b[8:]),
		Peer:      e.Uint64(b[16:]),
		File:      e.Uint64(b[24:]),
		Device:    userDevice(e.Uint32(b[32:])),
		NetNS:     uint64(e.Uint32(b[36:])),
		Family:    e.Uint16(b[40:]),
		Kind:      e.Uint16(b[42:]),
		Protocol:  e.Uint16(b[44:]),
		Listens:   b[48] != 0,
		V6Only:    b[49] != 0,
		NamedPeer: b[51] != 0,
	}
	switch s.Family {
	case unix.AF_INET, unix.AF_INET6:
		addr := netip.AddrFrom16([16]byte(b[52:68])).Unmap()
		s.Local = netip.AddrPortFrom(addr, e.Uint16(b[46:]))
	case unix.AF_UNIX:
		s.Name = append(s.Name, b[68:68+min(int(b[50]), 108)]...)
	}
	return s
}
