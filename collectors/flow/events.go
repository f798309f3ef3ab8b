package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cityward/collectors/inventory"
)

// events is the source that looks at the sockets of each round and is told in
// between of those that end, see sock_diag(7), and of connections that a
// firewall tracks. Neither tells a program. That of a connection which no round
// saw is known only where it came in by a listener that one program alone has,
// and that program has made no other process which could have taken it over.
type events struct {
	*poll
	queue    queue
	streams  map[uint64]*streams // by namespace
	tracker  tracker
	forks    *forks // nil where it cannot be had
	noForks  error  // why
	rounds   uint64
	sure     uint64 // the round from which on forks are known again
	lost     uint64
	lostNow  int
	told     []news // of ended sockets, in this round
	tracked  []news
	nameless int
	refused  map[string]int // namespaces without streams, by the reason
}

const sampledAndTold = "sampled every round, and told of sockets that end in between: the program of a connection that no round saw is known only where it alone serves the port; " +
	"datagrams sent without a connection, refused connections and protocols other than TCP and UDP are seen where a firewall tracks connections, else not; raw and packet sockets are not seen"

func openEvents(s *surroundings) (source, error) {
	own, err := ownNamespace(s.host)
	if err != nil {
		return nil, err
	}
	e := &events{poll: newPoll(s), streams: make(map[uint64]*streams), tracker: newTracker()}
	if e.streams[own], err = e.queue.listen(own, ownBuffer); err != nil {
		return nil, fmt.Errorf("listen to sockets that end: %w", err)
	}
	if e.forks, e.noForks = openForks(); e.noForks != nil {
		e.forks = nil
	}
	return e, nil
}

func (e *events) close() error {
	var errs []error
	for id, st := range e.streams {
		errs = append(errs, st.close())
		delete(e.streams, id)
	}
	if e.forks != nil {
		errs = append(errs, e.forks.stream.Close())
	}
	return errors.Join(errs...)
}

func (e *events) collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	e.rounds++
	e.lostNow, e.nameless, e.refused = 0, 0, make(map[string]int)
	if e.forks != nil && e.forks.missed() {
		e.holders.forget()
		e.sure = e.rounds + 2
	}
	capture := inventory.Capture{Tier: inventory.TierEvents, Reason: sampledAndTold, Lost: e.lost}
	facts, err := e.round(ctx, seen, capture, beside{enter: e.enter, read: e.drain, add: e.add})
	for i := range facts.Captures {
		facts.Captures[i].Lost += uint64(e.lostNow)
	}
	e.lost += uint64(e.lostNow)
	return facts, err
}

// enter opens the streams of a namespace before its sockets are listed, so that
// none falls in between.
func (e *events) enter(n *namespace, v *view) {
	st := e.streams[n.id]
	if st == nil {
		if len(e.streams) >= maxStreams {
			e.refused[fmt.Sprintf("more than %d network namespaces", maxStreams)]++
			return
		}
		var err error
		if st, err = e.queue.listen(n.id, foreignBuffer); err != nil {
			e.refused[explain(err)]++
			return
		}
		e.streams[n.id] = st
	}
	st.found = e.rounds
	v.covered = !st.fresh
	if count, err := e.host.ReadLine("/proc/sys/net/netfilter/nf_conntrack_count"); err == nil && count != "0" {
		st.tracks = true
	}
	accounting, err := e.host.ReadLine("/proc/sys/net/netfilter/nf_conntrack_acct")
	st.counts = err == nil && accounting != "0"
}

// drain takes what was told. That comes after the sockets were listed, so what
// was told of one that is in a list is its end.
func (e *events) drain(views []view) {
	ended, tracked, dropped := e.queue.take()
	if len(e.told)+len(e.tracked) > 2*maxWaiting { // rounds that were broken off
		dropped += len(e.told) + len(e.tracked)
		e.told, e.tracked = nil, nil
	}
	e.told, e.tracked = append(e.told, ended...), append(e.tracked, tracked...)
	e.lostNow += dropped
	for i := range views {
		v := &views[i]
		if st := e.streams[v.id]; st == nil || !st.fresh {
			continue
		}
		v.ended = make(map[ends]bool)
		for j := range e.told {
			if n := &e.told[j]; n.netns == v.id {
				v.ended[n.ends()] = true
			}
		}
	}
}

// add takes in what happened since the last round.
func (e *events) add(views []view, now time.Time, gaps *gaps) {
	places := e.places(views)
	e.tracker.begin(e.rounds)
	for i := range e.tracked {
		n := &e.tracked[i]
		if p := places[n.netns]; p != nil {
			e.streams[n.netns].tracks = true
			e.lostNow += e.tracker.note(p, &n.track, e.sole)
		}
	}
	for i := range e.told {
		n := &e.told[i]
		if p := places[n.netns]; p != nil && n.listened() {
			s := n.socket
			s.state = stateListen
			p.stopped = append(p.stopped, s)
		}
	}
	waiting := make(map[uint64]listeners)
	for i := range e.told {
		n := &e.told[i]
		p := places[n.netns]
		if p == nil {
			continue
		}
		if waiting[n.netns] == nil {
			waiting[n.netns] = p.waiting()
		}
		if n.reset {
			e.tracker.complete(n.netns, &n.socket)
		}
		if e.table.finish(p, waiting[n.netns], &n.socket, e.sole, now) {
			e.nameless++
		}
	}
	e.nameless += e.tracker.resolve(e.table, places, now)
	e.told, e.tracked = nil, nil
	e.settle(views, places)
	e.admit(gaps)
}

// places joins each namespace with what the last round knew of it.
func (e *events) places(views []view) map[uint64]*place {
	places := make(map[uint64]*place, len(e.streams))
	for id, st := range e.streams { // one that vanished meanwhile is as it was
		places[id] = &place{view: st.last, before: st.last.sockets}
		places[id].id = id
	}
	for i := range views {
		if p := places[views[i].id]; p != nil {
			p.view = views[i]
		}
	}
	return places
}

// sole names the program of a connection by its listener, if that is sure.
func (e *events) sole(inode uint64) inventory.Execution {
	id, one := e.holders.sole(inode)
	if !one || e.forks == nil || e.rounds < e.sure || e.forks.did(id.PID) {
		return inventory.Execution{}
	}
	return id
}

// settle keeps what the next round needs, and lets go of namespaces that nothing
// else keeps and of streams that broke.
func (e *events) settle(views []view, places map[uint64]*place) {
	for id, st := range e.streams {
		e.lostNow += st.lost()
		if st.found != e.rounds || st.ended.Err() != nil {
			e.tracker.drop(id)
			_ = st.close() // what it told is taken
			delete(e.streams, id)
			continue
		}
		p := places[id]
		st.last = view{id: id, sockets: listening(p.sockets), addresses: p.addresses}
		st.fresh = false
	}
	for i := range views {
		if views[i].fromProc {
			e.refused["its network namespace cannot be entered"]++
		}
	}
}

// admit says what was missed.
func (e *events) admit(gaps *gaps) {
	if e.lostNow > 0 {
		gaps.add("streams", "the kernel told more than could be taken in", e.lostNow, inventory.KindFlows)
	}
	if e.nameless > 0 {
		gaps.add("connections", "they ended before their program could be found", e.nameless, inventory.KindFlows)
	}
	for reason, count := range e.refused {
		gaps.add("network namespaces", "not told of sockets that end there: "+reason, count, inventory.KindFlows)
	}
	if e.noForks != nil {
		gaps.add("processes", "no program is named for connections that no round saw: "+explain(e.noForks), 0, inventory.KindFlows)
	}
	for id, st := range e.streams {
		space := (&namespace{id: id}).String()
		switch {
		case st.refused != nil:
			gaps.add(space, "conntrack tells nothing there: "+explain(st.refused), 1, inventory.KindFlows)
		case !st.tracks:
			gaps.add(space, "no firewall tracks connections there: datagrams sent without a connection and the ports of refused connections are not seen", 1, inventory.KindFlows)
		case !st.counts:
			gaps.add(space, "conntrack counts no bytes there (net.netfilter.nf_conntrack_acct is 0): those of datagrams are not known", 1, inventory.KindFlows)
		}
	}
}
