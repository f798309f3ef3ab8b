package configs

import (
	"net/netip"
	"slices"
	"time"
)

// lookup finds the networks of a policy that hold an address.
type lookup struct {
	networks  []netip.Prefix // what it was made of
	transfers []Transfer
	city      prefixes
	approved  prefixes // their numbers are those of the transfers
}

func newLookup(p *Policy) *lookup {
	l := &lookup{networks: p.City.Networks, transfers: p.Transfers}
	for i, network := range p.City.Networks {
		l.city.add(network, i)
	}
	for i, t := range p.Transfers {
		for _, network := range t.Networks {
			l.approved.add(network, i)
		}
	}
	return l
}

// find gives the lookup of the policy: the one made when it was read or, for a
// policy that was put together or changed since, a new one.
func (p *Policy) find() *lookup {
	if l := p.lookup; l != nil && same(l.networks, p.City.Networks) && same(l.transfers, p.Transfers) {
		return l
	}
	return newLookup(p)
}

// same reports whether two slices are one.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// prefixes holds numbered networks by length. A policy has few lengths, so an
// address is looked up once for each rather than once for each network.
type prefixes struct {
	lengths [2][]int // of IPv4 and IPv6, longest first
	numbers map[netip.Prefix][]int
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func (t *prefixes) add(p netip.Prefix, number int) {
	if t.numbers == nil {
		t.numbers = make(map[netip.Prefix][]int)
	}
	lengths := &t.lengths[family(p.Addr())]
	if i, found := slices.BinarySearchFunc(*lengths, p.Bits(), func(a, b int) int { return b - a }); !found {
		*lengths = slices.Insert(*lengths, i, p.Bits())
	}
	t.numbers[p.Masked()] = append(t.numbers[p.Masked()], number)
}

// each yields the numbers of the networks that hold an address, the narrowest
// network first.
func (t *prefixes) each(a netip.Addr) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		if !a.IsValid() {
			return
		}
		a = a.Unmap().WithZone("")
		for _, bits := range t.lengths[family(a)] {
			p, _ := a.Prefix(bits)
			for _, number := range t.numbers[p] {
				if !yield(number) {
					return
				}
			}
		}
	}
}

// InCity reports whether an address lies in the city's own networks. IPv4 mapped
// into IPv6 counts as IPv4.
//
// A policy that was read answers from an index. One that is changed by replacing
// its slices is indexed anew at each call; its elements must not be changed.
func (p *Policy) InCity(a netip.Addr) bool {
	for range p.find().city.each(a) {
		return true
	}
	return false
}

// TransferQuery is a flow that may be approved. Store narrows only if it is
// given, At only if it is not zero.
type TransferQuery struct {
	Direction string     // Out, In
	Remote    netip.Addr // the other side
	Port      uint16     // the remote one of an outward flow, the local one of an inward flow
	Program   string     // executable; "" is none that a transfer names
	Store     string     // id of the store whose data may go along
	At        time.Time  // when transfers must be in force
}

// MatchTransfers gives the transfers that approve a flow: for its narrowest
// network first, then in the order of the file.
func (p *Policy) MatchTransfers(q TransferQuery) []Transfer {
	var found []Transfer
	var taken []int
	for i := range p.find().approved.each(q.Remote) {
		if !slices.Contains(taken, i) && p.Transfers[i].approves(&q) {
			taken = append(taken, i)
			found = append(found, p.Transfers[i])
		}
	}
	return found
}

// Approves reports whether a transfer in force covers a flow, whatever program
// and store it is of.
func (p *Policy) Approves(direction string, remote netip.Addr, port uint16, at time.Time) bool {
	q := TransferQuery{Direction: direction, Remote: remote, Port: port, At: at}
	for i := range p.find().approved.each(remote) {
		if p.Transfers[i].inForce(&q) {
			return true
		}
	}
	return false
}

// approves compares all but the network.
func (t *Transfer) approves(q *TransferQuery) bool {
	return t.inForce(q) &&
		(len(t.Programs) == 0 || slices.Contains(t.Programs, q.Program)) &&
		(q.Store == "" || slices.Contains(t.Stores, q.Store))
}

// inForce compares direction, port and time.
func (t *Transfer) inForce(q *TransferQuery) bool {
	return t.Direction == q.Direction && !q.At.After(t.Expires) && (len(t.Ports) == 0 || slices.Contains(t.Ports, q.Port))
}

// Store gives the data store with this id.
func (p *Policy) Store(id string) (DataStore, bool) {
	if i := slices.IndexFunc(p.Stores, func(s DataStore) bool { return s.ID == id }); i >= 0 {
		return p.Stores[i], true
	}
	return DataStore{}, false
}
