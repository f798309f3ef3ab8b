package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// States of a socket: the kernel's tcp_states.h, which it uses for UDP and Unix
// sockets, too.
const (
	stateEstablished = 1
	stateSynSent     = 2
	stateSynRecv     = 3
	stateFinWait2    = 5
	stateTimeWait    = 6
	stateClose       = 7
	stateCloseWait   = 8
	stateLastAck     = 9
	stateListen      = 10
	stateClosing     = 11
	stateNewSynRecv  = 12
	allStates        = 1<<(stateNewSynRecv+1) - 2
)

// socket is one TCP or UDP socket.
type socket struct {
	protocol uint8 // IPPROTO_TCP, IPPROTO_UDP
	state    uint8
	v6only   bool // of a wildcard listener
	local    netip.AddrPort
	remote   netip.AddrPort
	inode    uint64 // 0 while no program has it: before accept, after close
	cookie   uint64 // unique among the sockets of a boot; 0 from /proc
	sent     uint64 // payload bytes, TCP only
	received uint64
	acked    uint64 // as the kernel counts it: with SYN and FIN
	unread   uint32 // of an ended one: in the receive queue, the peer's FIN as one
	reset    bool   // ended, and the kernel had forgotten its counts and the peer's port
}

func (s *socket) ends() ends { return ends{s.protocol, s.local, s.remote} }

// listens reports whether a socket waits for peers. A UDP socket without a peer
// does, even if its program only means to send.
func (s *socket) listens() bool {
	if s.protocol == unix.IPPROTO_TCP {
		return s.state == stateListen
	}
	return s.remote.Port() == 0
}

// connects reports whether a socket has a peer.
func (s *socket) connects() bool {
	return s.remote.Port() != 0 && s.state != stateListen
}

// attempts reports whether a connection is not yet established.
func (s *socket) attempts() bool {
	return s.protocol == unix.IPPROTO_TCP && (s.state == stateSynSent || s.state == stateSynRecv || s.state == stateNewSynRecv)
}

// remains reports whether it is what the kernel leaves of a socket that its
// program closed first: it answers the peer's last segments.
func (s *socket) remains() bool {
	return s.inode == 0 && (s.state == stateTimeWait || s.state == stateFinWait2)
}

// open reports whether a connection can carry bytes now.
func (s *socket) open() bool {
	return !s.attempts() && s.state != stateTimeWait && (s.state != stateClose || s.protocol == unix.IPPROTO_UDP)
}

// Parts of inet_diag.h that x/sys does not have.
const (
	inetDiagInfo    = 2
	inetDiagV6Only  = 11
	sizeInetRequest = 56 // struct inet_diag_req_v2
	sizeInetMessage = 72 // struct inet_diag_msg
)

// dumpInet asks the kernel for all TCP and UDP sockets of the link's namespace,
// see sock_diag(7).
func dumpInet(ctx context.Context, l *link) ([]socket, error) {
	var all []socket
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			request := make([]byte, sizeInetRequest)
			request[0], request[1] = family, protocol
			request[2] = 1 << (inetDiagInfo - 1)
			binary.NativeEndian.PutUint32(request[4:], allStates)
			err := l.dump(ctx, unix.SOCK_DIAG_BY_FAMILY, request, func(payload []byte) error {
				s, err := parseInet(payload)
				if err == nil {
					s.protocol = protocol
					all = append(all, s)
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("dump sockets of protocol %d family %d: %w", protocol, family, err)
			}
		}
	}
	return all, nil
}

// parseInet reads a struct inet_diag_msg and its attributes.
func parseInet(data []byte) (socket, error) {
	if len(data) < sizeInetMessage {
		return socket{}, errors.New("parse socket: message cut short")
	}
	s := socket{
		state:  data[1],
		inode:  uint64(binary.NativeEndian.Uint32(data[68:])),
		cookie: uint64(binary.NativeEndian.Uint32(data[44:])) | uint64(binary.NativeEndian.Uint32(data[48:]))<<32,
	}
	var source, destination netip.Addr
	switch data[0] {
	case unix.AF_INET:
		source, destination = netip.AddrFrom4([4]byte(data[8:])), netip.AddrFrom4([4]byte(data[24:]))
	case unix.AF_INET6:
		source, destination = netip.AddrFrom16([16]byte(data[8:])).Unmap(), netip.AddrFrom16([16]byte(data[24:])).Unmap()
	default:
		return socket{}, fmt.Errorf("parse socket: family %d", data[0])
	}
	s.local = netip.AddrPortFrom(source, binary.BigEndian.Uint16(data[4:]))
	s.remote = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(data[6:]))
	err := attributes(data[sizeInetMessage:], func(kind uint16, value []byte) {
		switch kind {
		case inetDiagInfo:
			s.sent, s.received = payloadBytes(value, s.state)
			s.acked = counter(value, atBytesAcked)
		case inetDiagV6Only:
			s.v6only = len(value) > 0 && value[0] != 0
		}
	})
	return s, err
}

// Offsets in struct tcp_info, which grows with the kernel.
const (
	atBytesAcked    = 120 // Linux 4.1
	atBytesReceived = 128
	atBytesSent     = 200 // Linux 4.19
	atBytesRetrans  = 208
)

// counter reads one number of a struct tcp_info; 0 where it is too short.
func counter(info []byte, at int) uint64 {
	if len(info) < at+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(info[at:])
}

// payloadBytes takes what a program sent and received from a struct tcp_info.
// bytes_acked counts SYN as well, so the first transmissions are taken where the
// kernel counts them; bytes_received counts the peer's FIN.
func payloadBytes(info []byte, state uint8) (sent, received uint64) {
	if len(info) < atBytesReceived+8 {
		return 0, 0
	}
	acked := binary.NativeEndian.Uint64(info[atBytesAcked:])
	received = binary.NativeEndian.Uint64(info[atBytesReceived:])
	if received > 0 && (state == stateCloseWait || state == stateLastAck || state == stateClosing) {
		received--
	}
	if len(info) < atBytesRetrans+8 {
		return acked - min(acked, 1), received
	}
	sent = binary.NativeEndian.Uint64(info[atBytesSent:])
	return sent - min(sent, binary.NativeEndian.Uint64(info[atBytesRetrans:])), received
}
