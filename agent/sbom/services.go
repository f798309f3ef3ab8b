package sbom

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cityward/collectors/inventory"
)

// Bounds of what is listed; what goes beyond is counted in a note.
const (
	mostPeers    = 64 // of one kind of data, each way
	mostServices = 4096
)

// stores lists the declared data stores with who answers for them: the city owns
// the data, it has custody where the medium is its own, and who is named in an
// approved transfer of the store is a steward of it.
func (b *builder) stores() {
	for i := range b.Stores {
		s := &b.Stores[i]
		doc := store{
			Ref: b.ref("store:" + s.ID), ID: cmp.Or(b.clean(s.ID), unnamed), Class: b.clean(s.Class), Medium: b.clean(s.Medium),
			Encrypted: b.clean(s.Encrypted),
		}
		if city := b.bill.Creator.Name; city != "" {
			doc.Owners = []string{city}
			if s.ZoneKnown() && (s.MediumZone == inventory.Host || s.MediumZone == inventory.City) {
				doc.Custodians = []string{city}
			}
		}
		if b.Policy != nil {
			for _, t := range b.Policy.Transfers {
				if owner := b.clean(t.Owner); owner != "" && slices.Contains(t.Stores, s.ID) && !slices.Contains(doc.Stewards, owner) {
					doc.Stewards = append(doc.Stewards, owner)
				}
			}
		}
		b.bill.Stores = append(b.bill.Stores, doc)
	}
}

// services lists the programs that listen, that hold a store's data, or that
// exchange bytes with other machines.
func (b *builder) services() {
	runs := make(map[int]inventory.Execution)
	for i := range b.Processes {
		if p := &b.Processes[i]; p.Ended.IsZero() {
			runs[p.ID.PID] = p.ID
		}
	}
	left, placed := 0, 0
	for _, p := range b.Programs() {
		s := service{Name: cmp.Or(b.clean(p.Unit), b.clean(path.Base(cmp.Or(p.Executable, p.Name))), unnamed)}
		for _, l := range p.Listening {
			if uri := endpoint(l); uri != "" && len(uri) <= longestText {
				s.Endpoints = append(s.Endpoints, uri)
			} else {
				b.note("service %s: an endpoint has no form of a URI: %s", s.Name, l)
			}
		}
		var flows []inventory.Flow
		var held []inventory.Holding
		for _, pid := range p.PIDs {
			flows = append(flows, b.FlowsOf(runs[pid])...)
			held = append(held, b.StoresHeldBy(runs[pid])...)
		}
		placed += len(flows)
		b.data(&s, flows, held)
		if len(s.Endpoints) == 0 && len(s.Data) == 0 {
			continue
		}
		if len(b.bill.Services) == mostServices {
			left++
			continue
		}
		s.Ref = b.ref("service:" + s.Name)
		s.Programs = []string{b.describe(&p)}
		if i, ok := b.owner(&p); ok {
			s.Uses = []string{b.bill.Components[i].Ref}
		}
		b.bill.Services = append(b.bill.Services, s)
	}
	if left > 0 {
		b.note("%d services are not listed: there are more than %d", left, mostServices)
	}
	if n := len(b.Flows) - placed; n > 0 {
		b.note("%d flows belong to no program that runs, so to no service", n)
	}
}

// data says what a service takes in and gives away: the data of each store that
// it holds, then all that it exchanges with other machines, whose kind nobody
// knows.
func (b *builder) data(s *service, flows []inventory.Flow, held []inventory.Holding) {
	zones := make(map[string]bool)
	in, out := newPeers(), newPeers()
	for i := range flows {
		f := &flows[i]
		zones[f.Zone.String()] = true
		in.add(f, f.Received)
		out.add(f, f.Sent)
	}
	s.Zones = slices.Sorted(maps.Keys(zones))
	crosses := zones[inventory.Outside.String()] || zones[inventory.Approved.String()]
	if crosses || len(flows) > 0 && !b.bill.Blind {
		s.Crosses = &crosses
	}
	for _, id := range storesOf(held) {
		s.Data = append(s.Data, b.stored(s, id, flows, held))
	}
	if in.bytes+out.bytes == 0 {
		return
	}
	b.beyond(s, in, out)
	s.Data = append(s.Data, traffic{
		Flow: direction(in.bytes > 0, out.bytes > 0), Class: unnamed, Name: "traffic with other machines",
		Description: fmt.Sprintf("%d bytes received, %d sent: all that was counted, whatever it was", in.bytes, out.bytes),
		Sources:     in.list(), Places: out.list(),
	})
}

// storesOf gives each store once, sorted.
func storesOf(held []inventory.Holding) []string {
	var ids []string
	for _, h := range held {
		ids = append(ids, h.Store)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// stored is a store's data in a service: it came in, and whatever the service sent
// to other machines while it held the data may be of it.
func (b *builder) stored(s *service, id string, flows []inventory.Flow, held []inventory.Holding) traffic {
	out := newPeers()
	hows := make(map[string]bool)
	for i := range held {
		if held[i].Store == id {
			hows[held[i].How] = true
		}
	}
	for i := range flows {
		var sent uint64 // a program may hold a store in several ways
		for j := range held {
			if held[j].Store == id && held[j].Process == flows[i].Process {
				sent = max(sent, held[j].Sent(&flows[i]))
			}
		}
		out.add(&flows[i], sent)
	}
	t := traffic{
		Flow: direction(true, out.bytes > 0), Class: unnamed, Name: b.clean(id), Places: out.list(),
		Description: b.clean(fmt.Sprintf("held: %s; %d bytes sent to other machines meanwhile", strings.Join(slices.Sorted(maps.Keys(hows)), ", "), out.bytes)),
	}
	for i := range b.Stores {
		if b.Stores[i].ID == id {
			t.Store, t.Class = b.bill.Stores[i].Ref, cmp.Or(b.bill.Stores[i].Class, unnamed)
		}
	}
	b.beyond(s, out)
	return t
}

func direction(in, out bool) string {
	switch {
	case in && out:
		return "bi-directional"
	case in:
		return "inbound"
	}
	return "outbound"
}

// peers collects the other machines of one direction.
type peers struct {
	known map[string]uint64 // bytes by URI
	bytes uint64
	dark  int // flows whose peers were not kept
}

func newPeers() *peers { return &peers{known: make(map[string]uint64)} }

func (p *peers) add(f *inventory.Flow, bytes uint64) {
	if bytes == 0 || f.Zone == inventory.Host {
		return
	}
	p.bytes += bytes
	if !f.Remote.IsValid() {
		p.dark++
		return
	}
	uri := endpoint(f.Protocol + ":" + strings.TrimSuffix(f.Remote.String(), ":0")) // the port of who calls varies
	if uri == "" {
		p.dark++
		return
	}
	p.known[uri] += bytes
}

// list gives those with most bytes, sorted by name.
func (p *peers) list() []string {
	all := slices.SortedFunc(maps.Keys(p.known), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.known[b], p.known[a]), cmp.Compare(a, b))
	})
	all = all[:min(len(all), mostPeers)]
	slices.Sort(all)
	return all
}

// beyond notes the peers that a list has no room for.
func (b *builder) beyond(s *service, lists ...*peers) {
	over, dark := 0, 0
	for _, p := range lists {
		over += max(0, len(p.known)-mostPeers)
		dark += p.dark
	}
	if over > 0 {
		b.note("service %s: %d peers with the fewest bytes are not listed", s.Name, over)
	}
	if dark > 0 {
		b.note("service %s: the addresses of %d flows were not kept or have no form of a URI", s.Name, dark)
	}
}
