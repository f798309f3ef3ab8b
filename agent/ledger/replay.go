package ledger

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"cityward/collectors/inventory"
	"cityward/configs"
)

// Past is what was recorded since a time, from which [Past.Snapshot] makes what a
// round would have seen of it under another policy.
type Past struct {
	Since, Until time.Time
	Flows        int // that were summed up
	Folded       int // of these, many in one, whose addresses were not recorded
	Holdings     int

	programs []*inventory.Process
	owners   map[programKey]*inventory.Process
	flows    []*pastFlow
	of       map[inventory.Execution][]*pastFlow
	at       map[pastKey]*pastFlow
	holdings []*Holding
	places   map[netip.Addr]inventory.Place
}

// pastFlow is all that one program exchanged with one peer.
type pastFlow struct {
	inventory.Flow
	held map[string]uint64 // of the bytes sent, those while the program held a store's data
}

type pastKey struct {
	process inventory.Execution
	inventory.FlowKey
	host bool
}

// Past reads all that was recorded since a time.
func (r *Reader) Past(ctx context.Context, since time.Time) (*Past, error) {
	until, err := r.End(ctx)
	if err != nil {
		return nil, err
	}
	p := &Past{
		Since: since, Until: until, owners: make(map[programKey]*inventory.Process),
		at: make(map[pastKey]*pastFlow), of: make(map[inventory.Execution][]*pastFlow), places: make(map[netip.Addr]inventory.Place),
	}
	if err := r.Hours(ctx, since, p.add); err != nil {
		return nil, err
	}
	if p.holdings, err = r.Holdings(ctx, since); err != nil {
		return nil, err
	}
	for _, h := range p.holdings {
		p.owner(h.Program)
		p.owner(h.From)
	}
	p.Flows, p.Holdings = len(p.flows), len(p.holdings)
	return p, nil
}

// owner gives a program an execution to be known by; of none the zero one.
func (p *Past) owner(program *Program) inventory.Execution {
	key := program.key()
	if key == (programKey{}) {
		return inventory.Execution{}
	}
	if known := p.owners[key]; known != nil {
		return known.ID
	}
	process := &inventory.Process{
		ID:  inventory.Execution{PID: len(p.programs) + 2, Start: 1}, // no first process: its namespaces were not recorded
		UID: -1, User: key.User, Executable: key.Executable, Unit: key.Unit, Container: key.Container,
	}
	p.owners[key] = process
	p.programs = append(p.programs, process)
	return process.ID
}

// add adds an hour of a flow.
func (p *Past) add(hour *Flow) {
	f := inventory.Flow{
		Process: p.owner(hour.Program), Direction: hour.Direction, Protocol: hour.Protocol, Local: addrPort(hour.Local), Zone: zone(hour.Zone),
		Sent: hour.Sent, Received: hour.Received, Connections: hour.Connections, First: hour.First, Last: hour.Last,
	}
	if hour.Remote != nil {
		f.Remote = addrPort(&hour.Remote.Endpoint)
		place := inventory.Place{Address: f.Remote.Addr().Unmap(), Country: plain(hour.Remote.Country), Operator: plain(hour.Remote.Operator)}
		if place.Country != "" || place.Operator != "" {
			p.places[place.Address] = place
		}
	}
	f.Folded = !f.Remote.IsValid()
	key := pastKey{f.Process, f.Key(), f.Zone == inventory.Host}
	sum := p.at[key]
	if sum == nil {
		sum = &pastFlow{f, make(map[string]uint64)}
		p.at[key] = sum
		p.flows = append(p.flows, sum)
		p.of[f.Process] = append(p.of[f.Process], sum)
		if f.Folded {
			p.Folded++
		}
	} else {
		sum.Sent += f.Sent
		sum.Received += f.Received
		sum.Connections += f.Connections
		sum.First, sum.Last = earlier(sum.First, f.First), later(sum.Last, f.Last)
	}
	for _, store := range hour.Stores {
		sum.held[store] += hour.Sent
	}
}

// Snapshot is what was recorded, seen under a policy: the zones of addresses are
// its own, and what it ignores holds nothing. Zones of this machine's own addresses
// and of what has none stay as recorded.
func (p *Past) Snapshot(policy *configs.Policy, at time.Time) *inventory.Snapshot {
	facts := &inventory.Facts{}
	for _, process := range p.programs {
		facts.Processes = append(facts.Processes, *process)
	}
	for _, flow := range p.flows {
		f := flow.Flow
		if f.Zone != inventory.Host && !f.Folded {
			f.Zone = zoneUnder(policy, &f, at)
		}
		facts.Flows = append(facts.Flows, f)
	}
	for _, place := range p.places {
		facts.Places = append(facts.Places, place)
	}
	for i := range policy.Stores {
		facts.Stores = append(facts.Stores, inventory.DataStore{ID: policy.Stores[i].ID, Class: policy.Stores[i].Class})
	}
	for _, h := range p.holdings {
		if held, counts := p.holding(h, policy); counts {
			facts.Holdings = append(facts.Holdings, held)
		}
	}
	return inventory.Merge(at, facts)
}

// holding is one under a policy. Bytes that were sent while it did not last are
// those before it.
func (p *Past) holding(h *Holding, policy *configs.Policy) (inventory.Holding, bool) {
	id := p.owner(h.Program)
	if id == (inventory.Execution{}) || policy.Custody.Ignores(plain(h.Program.Executable), h.How, h.Store) {
		return inventory.Holding{}, false
	}
	held := inventory.Holding{
		Store: h.Store, Process: id, How: h.How, Since: h.Since, From: p.owner(h.From), Evidence: plain(h.Evidence), Before: make(map[inventory.FlowKey]uint64),
	}
	for _, f := range p.of[id] {
		held.Before[f.Key()] = f.Sent - f.held[h.Store]
	}
	return held, true
}

func zoneUnder(policy *configs.Policy, f *inventory.Flow, at time.Time) inventory.Zone {
	switch {
	case policy.InCity(f.Remote.Addr()):
		return inventory.City
	case policy.Approves(f.Direction, f.Remote.Addr(), f.Port(), at):
		return inventory.Approved
	}
	return inventory.Outside
}

// Unheld are the stores of a policy of whose data nothing was recorded.
func (p *Past) Unheld(policy *configs.Policy) []string {
	var ids []string
	for i := range policy.Stores {
		id := policy.Stores[i].ID
		if !slices.ContainsFunc(p.holdings, func(h *Holding) bool { return h.Store == id }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// addrPort gives the zero one where it does not parse.
func addrPort(e *Endpoint) netip.AddrPort {
	if e == nil {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(e.Address)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, e.Port)
}

// zone reads its name; what is not known is outside.
func zone(name string) inventory.Zone {
	for _, z := range []inventory.Zone{inventory.Host, inventory.City, inventory.Approved} {
		if z.String() == name {
			return z
		}
	}
	return inventory.Outside
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
