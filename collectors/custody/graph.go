package custody

import (
	"slices"
	"time"

	"cityward/collectors/inventory"
)

// link is a way by which what one execution holds comes to another.
type link struct {
	to          inventory.Execution
	how         string
	evidence    string
	store       string    // the only one whose data comes by it; "" any
	but         []string  // stores whose data does not
	first, last time.Time // when it was there; last is zero while it is
}

// links are by who they lead from.
type links map[inventory.Execution][]link

func (l links) add(from inventory.Execution, way link) {
	if from != (inventory.Execution{}) && way.to != (inventory.Execution{}) && from != way.to {
		l[from] = append(l[from], way)
	}
}

// spread follows every holding along the links, as far as they lead.
func (r *round) spread(all links) {
	type holder struct {
		store   string
		process inventory.Execution
	}
	since := make(map[holder]time.Time)
	ranks := make(map[holder]int) // of the strongest way
	var queue []holder
	note := func(h hold, from time.Time) {
		key, rank := holder{h.store, h.process}, slices.Index(inventory.Hows(), h.how)
		if at, known := since[key]; !known || from.Before(at) {
			since[key] = from
		}
		if best, known := ranks[key]; !known || rank < best {
			ranks[key] = rank
		}
	}
	for h, m := range r.held {
		note(h, m.since)
	}
	for key := range since {
		queue = append(queue, key)
	}
	for len(queue) > 0 {
		from := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, way := range all[from.process] {
			if way.store != "" && way.store != from.store || slices.Contains(way.but, from.store) ||
				!way.last.IsZero() && way.last.Before(since[from]) {
				continue
			}
			to := holder{from.store, way.to}
			if best, holds := ranks[to]; holds && best <= slices.Index(inventory.Hows(), way.how) {
				continue // or two that talk to each other would have it from each other
			}
			began := later(since[from], way.first)
			if h := (hold{from.store, way.to, way.how}); r.remember(h, from.process, began, way.evidence) {
				note(h, began)
				queue = append(queue, to)
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// socketLinks lead from program to program over the machine's own addresses: the
// client's flow and the server's are of one port, in one network namespace or with
// the server's own address.
func (r *round) socketLinks(all links) {
	if len(r.held) == 0 {
		return
	}
	type end struct {
		protocol string
		port     uint16
	}
	servers := make(map[end][]*inventory.Flow)
	for i := range r.seen.Flows {
		if f := &r.seen.Flows[i]; f.Direction == inventory.In && f.Zone == inventory.Host && !f.Folded {
			at := end{f.Protocol, f.Local.Port()}
			servers[at] = append(servers[at], f)
		}
	}
	for i := range r.seen.Flows {
		client := &r.seen.Flows[i]
		if client.Direction != inventory.Out || client.Zone != inventory.Host || client.Folded {
			continue
		}
		for _, server := range servers[end{client.Protocol, client.Remote.Port()}] {
			if server.NetNS != client.NetNS && server.Local.Addr().Unmap() != client.Remote.Addr().Unmap() {
				continue
			}
			r.exchange(all, client, server)
		}
	}
}

// tick is how much later than a flow's last moment something may have been sent:
// the kernel reads the clock once a tick.
const tick = 10 * time.Millisecond

// exchange links two ends of connections by what went each way.
func (r *round) exchange(all links, client, server *inventory.Flow) {
	way := link{how: inventory.HowPipeline, evidence: client.Protocol + " to " + client.Remote.String(), first: client.First, last: client.Last.Add(tick)}
	if client.Sent > 0 || server.Received > 0 {
		way.to = server.Process
		all.add(client.Process, way)
	}
	if client.Received > 0 || server.Sent > 0 {
		way.to = client.Process
		way.but = r.servedElsewhere(server)
		all.add(server.Process, way)
	}
}

// servedElsewhere gives the stores of which a program serves the data at ports that
// the policy names: what comes from its other ports is not the store's.
func (r *round) servedElsewhere(server *inventory.Flow) []string {
	var stores []string
	for i := range r.cfg.Stores {
		store := &r.cfg.Stores[i]
		for _, service := range store.Services {
			if service.Protocol != "unix" && r.listens(server.Process, service.Protocol, service.Port) {
				stores = append(stores, store.ID)
				break
			}
		}
	}
	return stores
}

func (r *round) listens(id inventory.Execution, protocol string, port uint16) bool {
	return slices.ContainsFunc(r.seen.Listeners, func(l inventory.Listener) bool {
		return l.Process == id && l.Protocol == protocol && l.Local.Port() == port
	})
}
