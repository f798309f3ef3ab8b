package flow

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// place is what is known of one namespace when its ended sockets are counted:
// what listens there, what listened a round before, and what stopped since.
type place struct {
	view
	before  []socket
	stopped []socket
	remains map[ends]bool // made when first asked for
}

// left reports whether the kernel keeps the remains of an ended socket.
func (p *place) left(s *socket) bool {
	if p.remains == nil {
		p.remains = make(map[ends]bool)
		for i := range p.sockets {
			if r := &p.sockets[i]; r.remains() {
				p.remains[r.ends()] = true
			}
		}
	}
	return p.remains[s.ends()]
}

// waiting gives all listeners, to tell directions by.
func (p *place) waiting() listeners {
	all := make(listeners)
	all.add(p.before)
	all.add(p.sockets)
	all.add(p.stopped)
	return all
}

// listened reports whether an ended socket had a port, but no peer.
func (s *socket) listened() bool {
	return s.protocol == unix.IPPROTO_TCP && !s.met() && s.local.Port() != 0
}

// listening keeps what the next round needs of a view.
func listening(sockets []socket) []socket {
	var all []socket
	for i := range sockets {
		if sockets[i].listens() {
			all = append(all, sockets[i])
		}
	}
	return all
}

// server gives the inode of the one socket that served a local address from the
// last round to this one. If several share a port, or one took the place of
// another, there is none that is sure.
func (p *place) server(s *socket) (inode uint64, sure bool) {
	then, one := only(p.before, s)
	now, still := only(p.sockets, s)
	also := slices.ContainsFunc(p.stopped, func(w socket) bool {
		return w.protocol == s.protocol && w.local.Port() == s.local.Port()
	})
	if !one || !still || also || then.cookie != now.cookie || now.cookie == 0 {
		return 0, false
	}
	return now.inode, true
}

func only(sockets []socket, s *socket) (found *socket, one bool) {
	for i := range sockets {
		w := &sockets[i]
		if !w.listens() || w.protocol != s.protocol || w.local.Port() != s.local.Port() || !w.serves(s.local.Addr()) {
			continue
		}
		if found != nil {
			return nil, false
		}
		found = w
	}
	return found, found != nil
}

// finish takes in a socket that ended since the last round. The kernel gives its
// cookie and last counts, but no inode and no user. nameless reports that a
// connection is new and has no program.
func (t *table) finish(p *place, waiting listeners, s *socket, sole func(inode uint64) inventory.Execution, now time.Time) (nameless bool) {
	c := t.connections[s.key(p.id)]
	if c == nil && s.protocol == unix.IPPROTO_TCP {
		c = t.cookies[cookieKey{p.id, s.cookie}]
	}
	switch {
	case c == nil && !s.met():
		return false
	case c == nil:
		key := rowKey{netns: p.id, protocol: s.protocol, remote: s.remote.Addr(), port: s.remote.Port()}
		if key.in = waiting.took(s); key.in {
			key.port = s.local.Port()
			if inode, sure := p.server(s); sure {
				key.process = sole(inode)
			}
		}
		if c = t.enter(s.key(p.id), key, nil, s, now); c == nil {
			return false
		}
		nameless = key.process == inventory.Execution{}
		if s.unanswered() && !key.in {
			c.row.Attempts++
			c.attempt = true
		}
		c.row.own = s.remote.Addr().IsLoopback() || p.addresses[s.remote.Addr()]
	case c.attempt && !s.unanswered():
		c.row.Attempts--
		c.attempt = false
	}
	if s.received > 0 && s.closedByPeer(c.key.in, p.left(s)) {
		s.received--
	}
	c.count(s, now)
	c.open = false
	c.round = t.round
	return nameless
}

// met reports whether an ended socket ever had a peer.
func (s *socket) met() bool { return s.remote.Port() != 0 || s.reset }

// unanswered reports whether an ended socket was never connected: its SYN was
// not acknowledged. Of one that was reset nothing is known.
func (s *socket) unanswered() bool {
	return s.protocol == unix.IPPROTO_TCP && !s.reset && s.acked == 0 && s.sent == 0 && s.received == 0
}

// closedByPeer reports whether the peer's FIN is among the bytes received, which
// the kernel does not say. It is not where a reset came before our own FIN was
// acknowledged, which acked shows. Else it is one byte in the queue that the
// program did not read; or it was read, if our side was not the first to close,
// so that there are no remains. Where this guess fails, a count is off by one.
func (s *socket) closedByPeer(in, remains bool) bool {
	first := s.sent // unless a SYN was ours
	if !in {
		first++
	}
	return s.protocol == unix.IPPROTO_TCP && s.acked > first && (s.unread > 0 || !remains)
}

// took reports whether an ended connection came in by a listener. Of one whose
// own address is lost, the port alone tells.
func (l listeners) took(s *socket) bool {
	if s.local.Addr().IsUnspecified() {
		return slices.ContainsFunc(l[listenerKey{s.protocol, s.local.Port()}], func(w *socket) bool {
			return w.protocol == unix.IPPROTO_TCP
		})
	}
	_, in := l.find(s)
	return in
}
