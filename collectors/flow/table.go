package flow

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// Bounds of the table. A row costs about 500 bytes, a connection 300.
const (
	rowLife        = 10 * time.Minute // after it was last seen
	maxRows        = 100_000
	maxConnections = 200_000
)

// table adds connections up to flows. What a connection carried stays in its row
// when it ends, and what it carries after it changed hands counts for the new
// holder, as one more connection.
type table struct {
	rows        map[rowKey]*row
	connections map[connectionKey]*connection
	cookies     map[cookieKey]*connection // of TCP
	round       uint64
	events      uint64 // connections begun
	orphans     uint64 // of these, with no holder when first seen
	lost        uint64 // sightings that found no room
	lostNow     int
}

type rowKey struct {
	process  inventory.Execution
	netns    uint64
	protocol uint8
	in       bool
	remote   netip.Addr
	port     uint16 // local if in, else remote
}

type row struct {
	inventory.Flow
	own  bool // the remote address is one of this machine's in the namespace
	used bool // by a connection
}

type connectionKey struct {
	netns    uint64
	cookie   uint64 // 0 from /proc
	protocol uint8
	local    netip.AddrPort
	remote   netip.AddrPort
}

// cookieKey finds a socket that has lost its addresses.
type cookieKey struct{ netns, cookie uint64 }

func (s *socket) key(netns uint64) connectionKey {
	return connectionKey{netns: netns, cookie: s.cookie, protocol: s.protocol, local: s.local, remote: s.remote}
}

type connection struct {
	row      *row
	key      rowKey
	sent     uint64
	received uint64
	attempt  bool
	open     bool
	round    uint64 // that last saw it
}

func newTable() *table {
	return &table{rows: make(map[rowKey]*row), connections: make(map[connectionKey]*connection), cookies: make(map[cookieKey]*connection)}
}

// begin starts a round.
func (t *table) begin() {
	t.round++
	t.lostNow = 0
}

// observe takes in one namespace. It gives the number of live connections that
// have no holder.
func (t *table) observe(v *view, holder func(inode uint64) inventory.Execution, now time.Time) (unheld int) {
	waiting := make(listeners)
	waiting.add(v.sockets)
	for i := range v.sockets {
		s := &v.sockets[i]
		if !s.connects() {
			continue
		}
		id := s.key(v.id)
		c := t.connections[id]
		if c == nil && s.remains() && (v.covered || v.ended[s.ends()]) {
			continue // the end of its socket, which had another cookie, was told or will be
		}
		key := rowKey{process: holder(s.inode), netns: v.id, protocol: s.protocol, remote: s.remote.Addr()}
		if c != nil {
			key.in = c.key.in
			if key.process == (inventory.Execution{}) {
				key.process = c.key.process // its descriptor was closed since, or cannot be seen any more
			}
		} else {
			listener, in := waiting.find(s)
			key.in = s.state == stateSynRecv || in && s.state != stateSynSent
			if in && key.in && queued(s) {
				key.process = holder(listener.inode)
			}
		}
		key.port = s.remote.Port()
		if key.in {
			key.port = s.local.Port()
		}
		if key.process == (inventory.Execution{}) && s.open() {
			unheld++
		}
		if c = t.enter(id, key, c, s, now); c == nil {
			continue
		}
		c.count(s, now)
		c.round = t.round
		c.row.own = s.remote.Addr().IsLoopback() || v.addresses[s.remote.Addr()]
	}
	return unheld
}

// queued reports whether a connection waits for its server to accept it: then
// it is the listener's. One that was closed has no inode either, but has left
// these states.
func queued(s *socket) bool {
	return s.inode == 0 && (s.state == stateEstablished || s.state == stateSynRecv || s.state == stateCloseWait)
}

// enter gives the connection for a socket, in the row that it belongs to now;
// nil if there is no room for another.
func (t *table) enter(id connectionKey, key rowKey, c *connection, s *socket, now time.Time) *connection {
	if c != nil && c.key == key {
		return c
	}
	r := t.row(key, s, now)
	if r == nil || c == nil && len(t.connections) >= maxConnections {
		t.lost++
		t.lostNow++
		return c // one that changed hands stays with its old holder
	}
	r.Connections++
	if s.attempts() {
		r.Attempts++
	}
	if c == nil {
		c = &connection{}
		t.connections[id] = c
		if s.protocol == unix.IPPROTO_TCP && s.cookie != 0 {
			t.cookies[cookieKey{id.netns, id.cookie}] = c
		}
		t.begun(key)
	}
	c.row, c.key, c.attempt = r, key, s.attempts()
	return c
}

// row gives the row of a key; nil if there is no room for another.
func (t *table) row(key rowKey, s *socket, now time.Time) *row {
	r := t.rows[key]
	if r == nil && len(t.rows) < maxRows {
		r = &row{Flow: key.flow(s, now)}
		t.rows[key] = r
	}
	return r
}

// begun counts a connection.
func (t *table) begun(key rowKey) {
	t.events++
	if key.process == (inventory.Execution{}) {
		t.orphans++
	}
}

// flow begins a row.
func (k *rowKey) flow(s *socket, now time.Time) inventory.Flow {
	f := inventory.Flow{
		Process:   k.process,
		NetNS:     k.netns,
		Direction: inventory.Out,
		Protocol:  protocolName(k.protocol),
		Local:     netip.AddrPortFrom(s.local.Addr(), 0),
		Remote:    s.remote,
		First:     now,
	}
	if k.in {
		f.Direction, f.Local, f.Remote = inventory.In, s.local, netip.AddrPortFrom(k.remote, 0)
	}
	return f
}

func protocolName(protocol uint8) string {
	switch protocol {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return "icmp"
	case unix.IPPROTO_UDPLITE:
		return "udplite"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_IGMP:
		return "igmp"
	}
	return fmt.Sprintf("ip:%d", protocol) // a raw socket's
}

// count adds what the socket carried since the last round.
func (c *connection) count(s *socket, now time.Time) {
	f := &c.row.Flow
	f.Sent += max(s.sent, c.sent) - c.sent
	f.Received += max(s.received, c.received) - c.received
	c.sent, c.received = max(s.sent, c.sent), max(s.received, c.received)
	if c.attempt && !s.attempts() && s.open() {
		f.Attempts--
		c.attempt = false
	}
	c.open = s.open()
	f.Last = now
}

// end forgets connections that are no more and rows that nothing used for long.
// Connections of a namespace that could not be read this time stay as they were.
func (t *table) end(unread map[uint64]bool, now time.Time) {
	for _, r := range t.rows {
		r.Open, r.used = 0, false
	}
	for id, c := range t.connections {
		if c.round != t.round && !unread[id.netns] {
			delete(t.connections, id)
			if at := (cookieKey{id.netns, id.cookie}); t.cookies[at] == c {
				delete(t.cookies, at)
			}
			continue
		}
		c.row.used = true
		if c.open {
			c.row.Open++
		}
	}
	for key, r := range t.rows {
		if !r.used && now.Sub(r.Last) > rowLife {
			delete(t.rows, key)
		}
	}
}

// flows gives all rows with their zones, sorted.
func (t *table) flows(zone func(f *inventory.Flow, own bool) inventory.Zone) []inventory.Flow {
	flows := make([]inventory.Flow, 0, len(t.rows))
	for _, r := range t.rows {
		f := r.Flow
		f.Zone = zone(&f, r.own)
		flows = append(flows, f)
	}
	slices.SortFunc(flows, func(a, b inventory.Flow) int {
		return cmp.Or(a.Process.Compare(b.Process), cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Direction, b.Direction),
			cmp.Compare(a.Protocol, b.Protocol), a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
	})
	return flows
}

// listeners finds the socket that a connection came in by.
type listeners map[listenerKey][]*socket

type listenerKey struct {
	protocol uint8
	port     uint16
}

func (l listeners) add(sockets []socket) {
	for i := range sockets {
		if s := &sockets[i]; s.listens() {
			key := listenerKey{s.protocol, s.local.Port()}
			l[key] = append(l[key], s)
		}
	}
}

// find gives the listener on the local address of a connection, the exact
// address before the wildcard.
func (l listeners) find(s *socket) (*socket, bool) {
	var wild *socket
	for _, w := range l[listenerKey{s.protocol, s.local.Port()}] {
		switch {
		case w.local.Addr() == s.local.Addr():
			return w, true
		case w.serves(s.local.Addr()):
			wild = w
		}
	}
	return wild, wild != nil
}

// serves reports whether a listener takes what comes to an address.
func (s *socket) serves(at netip.Addr) bool {
	served := s.local.Addr()
	return served == at || served.IsUnspecified() && (served.Is4() == at.Is4() || served.Is6() && !s.v6only)
}
