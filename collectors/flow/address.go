package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// dumpAddresses asks for the addresses of all interfaces in the link's
// namespace, see rtnetlink(7).
func dumpAddresses(ctx context.Context, l *link) (map[netip.Addr]bool, error) {
	own := make(map[netip.Addr]bool)
	request := make([]byte, unix.SizeofIfAddrmsg) // family 0: all
	err := l.dump(ctx, unix.RTM_GETADDR, request, func(payload []byte) error {
		addr, err := parseAddress(payload)
		if addr.IsValid() {
			own[addr] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dump addresses: %w", err)
	}
	return own, nil
}

// parseAddress reads a struct ifaddrmsg and its attributes. Of a point-to-point
// interface IFA_ADDRESS is the peer's address and IFA_LOCAL the own one; IPv6
// often has IFA_ADDRESS alone.
func parseAddress(data []byte) (netip.Addr, error) {
	if len(data) < unix.SizeofIfAddrmsg {
		return netip.Addr{}, errors.New("parse address: message cut short")
	}
	var local, address netip.Addr
	err := attributes(data[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		addr, ok := netip.AddrFromSlice(value)
		if !ok {
			return
		}
		switch kind {
		case unix.IFA_LOCAL:
			local = addr.Unmap()
		case unix.IFA_ADDRESS:
			address = addr.Unmap()
		}
	})
	if local.IsValid() {
		return local, err
	}
	return address, err
}
