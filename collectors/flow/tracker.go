package flow

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// tracker makes flows of what a firewall tracked where no socket tells of it:
// datagrams sent without a connection, refused connections, other protocols. It
// waits a round for a socket to show, since that is told later. What this machine
// only forwards is no flow of its programs.
type tracker struct {
	round   uint64
	waiting map[trackKey]*waiter
	tallies map[trackKey][]tally
	resets  map[resetKey]ends // of those that wait; made when first asked for in a round
}

// resetKey is what a socket knows of its ends after a reset.
type resetKey struct {
	netns  uint64
	port   uint16
	remote netip.Addr
}

type trackKey struct {
	netns uint64
	id    uint32
	there ends
}

// waiter is a connection for which a socket may still show.
type waiter struct {
	track
	out, in inventory.Execution // whose sockets its ends were, where that is sure
	served  bool                // something took datagrams where it went
	round   uint64
	ended   bool
}

// tally is a row that gets the bytes when the connection ends.
type tally struct {
	row *row
	in  bool
}

func newTracker() tracker {
	return tracker{waiting: make(map[trackKey]*waiter), tallies: make(map[trackKey][]tally)}
}

func (t *tracker) begin(round uint64) { t.round, t.resets = round, nil }

// note takes what was told of one connection. lost counts those without room.
func (t *tracker) note(p *place, n *track, sole func(inode uint64) inventory.Execution) (lost int) {
	key := trackKey{p.id, n.id, n.there}
	if !n.begun {
		if w := t.waiting[key]; w != nil {
			w.ended, w.counted, w.sent, w.received = true, n.counted, n.sent, n.received
			return 0
		}
		for _, to := range t.tallies[key] {
			to.add(n)
		}
		delete(t.tallies, key)
		return 0
	}
	if len(t.waiting) >= maxWaiting {
		return 1
	}
	w := &waiter{track: *n, round: t.round}
	if n.there.protocol == unix.IPPROTO_UDP {
		// Now, since the sockets of the last round and this one enclose it.
		named := func(at netip.AddrPort) inventory.Execution {
			if inode, sure := p.server(&socket{protocol: unix.IPPROTO_UDP, local: at}); sure {
				return sole(inode)
			}
			return inventory.Execution{}
		}
		w.out, w.in = named(n.there.local), named(n.there.remote)
		to := &socket{protocol: unix.IPPROTO_UDP, local: n.there.remote}
		serves := func(s socket) bool {
			return s.protocol == to.protocol && s.local.Port() == to.local.Port() && s.serves(to.local.Addr())
		}
		w.served = slices.ContainsFunc(p.sockets, serves) || slices.ContainsFunc(p.before, serves)
	}
	t.waiting[key] = w
	return 0
}

// complete finds what a reset took from a socket.
func (t *tracker) complete(netns uint64, s *socket) {
	if t.resets == nil {
		t.resets = make(map[resetKey]ends, len(t.waiting))
		for key := range t.waiting {
			if key.there.protocol == unix.IPPROTO_TCP {
				t.resets[resetKey{key.netns, key.there.local.Port(), key.there.remote.Addr()}] = key.there
			}
		}
	}
	if there, ok := t.resets[resetKey{netns, s.local.Port(), s.remote.Addr()}]; ok {
		s.local, s.remote = there.local, there.remote
	}
}

// resolve makes flows of what has no socket. It gives the number of those
// without a program.
func (t *tracker) resolve(flows *table, places map[uint64]*place, now time.Time) (nameless int) {
	for _, all := range t.tallies {
		for _, to := range all {
			to.row.Last = now // it is still tracked
		}
	}
	if len(t.waiting) == 0 {
		return 0
	}
	type end struct {
		netns uint64
		ends
	}
	known := make(map[end]*connection, len(flows.connections))
	for id, c := range flows.connections {
		known[end{id.netns, ends{id.protocol, id.local, id.remote}}] = c
	}
	for key, w := range t.waiting {
		p := places[key.netns]
		if p == nil {
			delete(t.waiting, key)
			continue
		}
		there := w.there
		out := known[end{p.id, there}]
		in := known[end{p.id, ends{there.protocol, there.remote, there.local}}]
		if there.protocol == unix.IPPROTO_TCP && (out != nil || in != nil) {
			delete(t.waiting, key) // the socket counts
			continue
		}
		if w.round == t.round {
			continue
		}
		delete(t.waiting, key)
		nameless += t.make(flows, p, key, w, out, in, now)
	}
	return nameless
}

// make adds the flows of one connection, one for each end on this machine.
func (t *tracker) make(flows *table, p *place, key trackKey, w *waiter, out, in *connection, now time.Time) (nameless int) {
	tcp := w.there.protocol == unix.IPPROTO_TCP
	mine := func(a netip.Addr) bool { return a.IsLoopback() || p.addresses[a] }
	var all []tally
	add := func(c *connection, id inventory.Execution, incoming bool) {
		if c != nil {
			all = append(all, tally{c.row, incoming})
			return
		}
		s := socket{protocol: w.there.protocol, local: w.there.local, remote: w.there.remote}
		if incoming {
			s.local, s.remote = s.remote, s.local
		}
		k := rowKey{process: id, netns: p.id, protocol: s.protocol, in: incoming, remote: s.remote.Addr(), port: s.remote.Port()}
		if incoming {
			k.port = s.local.Port()
		}
		r := flows.row(k, &s, now)
		if r == nil {
			flows.lost++
			flows.lostNow++
			return
		}
		flows.begun(k)
		if id == (inventory.Execution{}) {
			nameless++
		}
		r.Connections++
		if tcp {
			r.Attempts++
		}
		r.Last, r.own = now, mine(s.remote.Addr())
		all = append(all, tally{r, incoming})
	}
	if mine(w.there.local.Addr()) {
		add(out, w.out, false)
	}
	// Where an address is translated, another machine or namespace answers. What
	// nothing waits for reaches no program.
	if w.served && mine(w.there.remote.Addr()) && w.back.local == w.there.remote {
		add(in, w.in, true)
	}
	switch {
	case tcp:
	case w.ended:
		for _, to := range all {
			to.add(&w.track)
		}
	case len(all) > 0 && len(t.tallies) < maxConnections:
		t.tallies[key] = all
	}
	return nameless
}

// add counts what a connection carried.
func (to tally) add(n *track) {
	there, back := n.sent.payload(n.there), n.received.payload(n.there)
	if to.in {
		there, back = back, there
	}
	to.row.Sent += there
	to.row.Received += back
}

// payload takes the headers away, which conntrack counts: those of IP without
// options, and of UDP.
func (c carried) payload(e ends) uint64 {
	header := uint64(20)
	if e.local.Addr().Is6() {
		header = 40
	}
	if e.protocol == unix.IPPROTO_UDP {
		header += 8
	}
	return c.bytes - min(c.bytes, c.packets*header)
}

// drop forgets a namespace.
func (t *tracker) drop(netns uint64) {
	for key := range t.waiting {
		if key.netns == netns {
			delete(t.waiting, key)
		}
	}
	for key := range t.tallies {
		if key.netns == netns {
			delete(t.tallies, key)
		}
	}
}
