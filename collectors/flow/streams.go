package flow

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/netlink"
)

// Groups of sock_diag(7) and of the kernel's nfnetlink.h.
const (
	endedTCP4  = 1 // SKNLGRP_INET_TCP_DESTROY
	endedUDP4  = 2
	endedTCP6  = 3
	endedUDP6  = 4
	trackBegun = 1 // NFNLGRP_CONNTRACK_NEW
	trackEnded = 3 // NFNLGRP_CONNTRACK_DESTROY
)

// Bounds of what waits for the next round. An entry costs about 150 bytes; the
// kernel's buffers are memory only while they are full.
const (
	maxWaiting    = 100_000
	maxStreams    = 64 // namespaces
	ownBuffer     = 16 << 20
	foreignBuffer = 2 << 20
)

// streams is what the kernel tells of one namespace. Its sockets keep the
// namespace alive, with its interfaces, until the first round in which nothing
// else does.
type streams struct {
	ended   *netlink.Stream
	tracked *netlink.Stream // nil where it cannot be had
	refused error           // why tracked is nil
	last    view            // listeners and addresses of the last round
	fresh   bool            // not yet through a round
	found   uint64          // the round that last found the namespace
	tracks  bool            // conntrack was at work there
	counts  bool            // and counts bytes
	losses  uint64          // that were told already
}

// news is one thing that a stream told.
type news struct {
	netns uint64
	socket
	track
}

// queue holds what came since the last round.
type queue struct {
	mu      sync.Mutex
	ended   []news
	tracked []news
	dropped int
}

func (q *queue) add(to *[]news, n news) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(*to) >= maxWaiting {
		q.dropped++
		return
	}
	*to = append(*to, n)
}

// take empties the queue.
func (q *queue) take() (ended, tracked []news, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ended, tracked, dropped = q.ended, q.tracked, q.dropped
	q.ended, q.tracked, q.dropped = nil, nil, 0
	return ended, tracked, dropped
}

// listen opens the streams of the namespace of the calling thread.
func (q *queue) listen(netns uint64, buffer int) (*streams, error) {
	ended, err := netlink.Open(unix.NETLINK_SOCK_DIAG, buffer, []int{endedTCP4, endedUDP4, endedTCP6, endedUDP6}, func(_ uint16, payload []byte) {
		if s, err := parseEnded(payload); err == nil {
			q.add(&q.ended, news{netns: netns, socket: s})
		}
	})
	if err != nil {
		return nil, err
	}
	s := &streams{ended: ended, fresh: true}
	s.tracked, s.refused = netlink.Open(unix.NETLINK_NETFILTER, buffer, []int{trackBegun, trackEnded}, func(kind uint16, payload []byte) {
		if t, err := parseTrack(kind, payload); err == nil {
			q.add(&q.tracked, news{netns: netns, track: t})
		}
	})
	return s, nil
}

func (s *streams) close() error {
	err := s.ended.Close()
	if s.tracked != nil {
		if also := s.tracked.Close(); err == nil {
			err = also
		}
	}
	return err
}

// lost gives how often messages were lost since it was last asked.
func (s *streams) lost() int {
	all := s.ended.Losses()
	if s.tracked != nil {
		all += s.tracked.Losses()
	}
	n := all - s.losses
	s.losses = all
	return int(n)
}

const inetDiagProtocol = 10 // INET_DIAG_PROTOCOL

// parseEnded reads what a destroy group tells: an inet_diag_msg with the protocol
// among its attributes.
func parseEnded(data []byte) (socket, error) {
	s, err := parseInet(data)
	if err != nil {
		return socket{}, err
	}
	err = attributes(data[sizeInetMessage:], func(kind uint16, value []byte) {
		if kind == inetDiagProtocol && len(value) > 0 {
			s.protocol = value[0]
		}
	})
	if err == nil && s.protocol != unix.IPPROTO_TCP && s.protocol != unix.IPPROTO_UDP {
		err = errOther
	}
	s.unread = binary.NativeEndian.Uint32(data[56:])
	s.reset = s.protocol == unix.IPPROTO_TCP && s.remote.Port() == 0 && !s.remote.Addr().IsUnspecified()
	return s, err
}
