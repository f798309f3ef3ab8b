package ledger

import (
	"context"
	"net/netip"
	"slices"
	"strings"
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

	programs []inventory.Process
	owners   map[ownerKey]inventory.Execution
	holders  map[holderKey][]inventory.Execution
	flows    []*inventory.Flow
	at       map[pastKey]*inventory.Flow
	holdings []*Holding
	places   map[netip.Addr]inventory.Place
}

// ownerKey parts a program by what it held: what it sent while it held nothing is
// no store's data.
type ownerKey struct {
	programKey
	stores string
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
		Since: since, Until: until, owners: make(map[ownerKey]inventory.Execution), holders: make(map[holderKey][]inventory.Execution),
		at: make(map[pastKey]*inventory.Flow), places: make(map[netip.Addr]inventory.Place),
	}
	if err := r.Hours(ctx, since, p.add); err != nil {
		return nil, err
	}
	if p.holdings, err = r.Holdings(ctx, since); err != nil {
		return nil, err
	}
	for _, h := range p.holdings {
		p.holder(h.Store, h.Program)
		p.holder(h.Store, h.From)
	}
	p.Flows, p.Holdings = len(p.flows), len(p.holdings)
	return p, nil
}

// owner gives a program with what it held an execution to be known by; of none the
// zero one.
func (p *Past) owner(program *Program, stores []string) inventory.Execution {
	key := ownerKey{program.key(), strings.Join(stores, " ")} // an id has no blank
	if key.programKey == (programKey{}) {
		return inventory.Execution{}
	}
	if id, known := p.owners[key]; known {
		return id
	}
	id := inventory.Execution{PID: len(p.programs) + 2, Start: 1} // none is the first process: its namespaces were not recorded
	p.owners[key] = id
	p.programs = append(p.programs, inventory.Process{
		ID: id, UID: -1, User: key.User, Executable: key.Executable, Unit: key.Unit, Container: key.Container,
	})
	for _, store := range stores {
		held := holderKey{store, key.programKey}
		p.holders[held] = append(p.holders[held], id)
	}
	return id
}

// holder makes an execution of a program that held a store's data and was not
// connected meanwhile.
func (p *Past) holder(store string, program *Program) {
	if len(p.holders[holderKey{store, program.key()}]) == 0 {
		p.owner(program, []string{store})
	}
}

// add adds an hour of a flow.
func (p *Past) add(hour *Flow) {
	f := inventory.Flow{
		Process: p.owner(hour.Program, hour.Stores), Direction: hour.Direction, Protocol: hour.Protocol, Local: addrPort(hour.Local), Zone: zone(hour.Zone),
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
		p.at[key] = &f
		p.flows = append(p.flows, &f)
		if f.Folded {
			p.Folded++
		}
		return
	}
	sum.Sent += f.Sent
	sum.Received += f.Received
	sum.Connections += f.Connections
	sum.First, sum.Last = earlier(sum.First, f.First), later(sum.Last, f.Last)
}

// Snapshot is what was recorded, seen under a policy: the zones of addresses are
// its own, and what it ignores holds nothing. Zones of this machine's own addresses
// and of what has none stay as recorded.
func (p *Past) Snapshot(policy *configs.Policy, at time.Time) *inventory.Snapshot {
	facts := &inventory.Facts{Processes: slices.Clone(p.programs)}
	for _, flow := range p.flows {
		f := *flow
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
		facts.Holdings = append(facts.Holdings, p.held(h, policy)...)
	}
	return inventory.Merge(at, facts)
}

// held gives a holding under a policy, one for each execution of its program.
func (p *Past) held(h *Holding, policy *configs.Policy) []inventory.Holding {
	if h.Program == nil || policy.Custody.Ignores(plain(h.Program.Executable), h.How, h.Store) {
		return nil
	}
	var from inventory.Execution
	if sources := p.holders[holderKey{h.Store, h.From.key()}]; len(sources) > 0 {
		from = sources[0]
	}
	var held []inventory.Holding
	for _, id := range p.holders[holderKey{h.Store, h.Program.key()}] {
		held = append(held, inventory.Holding{Store: h.Store, Process: id, How: h.How, Since: h.Since, From: from, Evidence: plain(h.Evidence)})
	}
	return held
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
