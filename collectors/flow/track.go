package flow

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errOther says that a message is none that is wanted here.
var errOther = errors.New("parse message: of another kind")

// track is what conntrack tells of one connection.
type track struct {
	begun    bool // else it ended
	id       uint32
	there    ends // as its first packet went
	back     ends // as answers come
	counted  bool
	sent     carried // in the direction of the first packet
	received carried
}

type carried struct{ packets, bytes uint64 }

// Parts of the kernel's nfnetlink_conntrack.h that x/sys does not have.
const (
	trackNew    = unix.NFNL_SUBSYS_CTNETLINK << 8   // IPCTNL_MSG_CT_NEW
	trackDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE
	sizeGeneric = 4                                 // struct nfgenmsg

	ctTupleThere    = 1 // CTA_TUPLE_ORIG
	ctTupleBack     = 2 // CTA_TUPLE_REPLY
	ctCountersThere = 9
	ctCountersBack  = 10
	ctID            = 12

	ctTupleIP    = 1
	ctTupleProto = 2

	ctSource4, ctDestination4, ctSource6, ctDestination6 = 1, 2, 3, 4
	ctProtocol, ctSourcePort, ctDestinationPort          = 1, 2, 3

	ctPackets, ctBytes = 1, 2
)

// parseTrack reads a message of a conntrack group.
func parseTrack(kind uint16, data []byte) (track, error) {
	if len(data) < sizeGeneric || kind != trackNew && kind != trackDelete {
		return track{}, errOther
	}
	t := track{begun: kind == trackNew}
	var broken error
	note := func(err error) {
		if err != nil {
			broken = err
		}
	}
	err := attributes(data[sizeGeneric:], func(kind uint16, value []byte) {
		switch kind {
		case ctTupleThere:
			note(parseEnds(value, &t.there))
		case ctTupleBack:
			note(parseEnds(value, &t.back))
		case ctCountersThere:
			t.counted = true
			note(parseCarried(value, &t.sent))
		case ctCountersBack:
			note(parseCarried(value, &t.received))
		case ctID:
			if len(value) >= 4 {
				t.id = binary.BigEndian.Uint32(value)
			}
		}
	})
	note(err)
	if broken == nil && (!t.there.local.Addr().IsValid() || !t.there.remote.Addr().IsValid()) {
		broken = errOther
	}
	return t, broken
}

// parseEnds reads a tuple: source as local, destination as remote.
func parseEnds(data []byte, into *ends) error {
	var source, destination netip.Addr
	var from, to uint16
	var broken error
	err := attributes(data, func(kind uint16, value []byte) {
		var err error
		switch kind {
		case ctTupleIP:
			err = attributes(value, func(kind uint16, value []byte) {
				addr, _ := netip.AddrFromSlice(value)
				switch kind {
				case ctSource4, ctSource6:
					source = addr.Unmap()
				case ctDestination4, ctDestination6:
					destination = addr.Unmap()
				}
			})
		case ctTupleProto:
			err = attributes(value, func(kind uint16, value []byte) {
				switch {
				case kind == ctProtocol && len(value) >= 1:
					into.protocol = value[0]
				case kind == ctSourcePort && len(value) >= 2:
					from = binary.BigEndian.Uint16(value)
				case kind == ctDestinationPort && len(value) >= 2:
					to = binary.BigEndian.Uint16(value)
				}
			})
		}
		if err != nil {
			broken = err
		}
	})
	if err == nil {
		err = broken
	}
	into.local, into.remote = netip.AddrPortFrom(source, from), netip.AddrPortFrom(destination, to)
	return err
}

func parseCarried(data []byte, into *carried) error {
	return attributes(data, func(kind uint16, value []byte) {
		if len(value) < 8 {
			return
		}
		switch kind {
		case ctPackets:
			into.packets = binary.BigEndian.Uint64(value)
		case ctBytes:
			into.bytes = binary.BigEndian.Uint64(value)
		}
	})
}
