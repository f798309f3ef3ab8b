package inventory

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Snapshot is everything one round saw: sorted, indexed, and never changed once
// made, so that checks, metrics and reports may share it.
type Snapshot struct {
	Facts
	Taken time.Time

	processes  map[Execution]int
	former     map[Execution]int
	components map[string]int
	owners     map[OwnerKey]string
	stores     map[string]int
	places     map[netip.Addr]int
	holdings   map[Execution][]Holding
	passed     map[Execution][]Holding
	trees      Trees
	scripts    map[Execution]int
	replaced   map[Execution]string
	locations  map[place]located
}

// Merge joins what the collectors of one round saw. Rows about the same data
// store become one: each later row fills what the earlier ones left empty.
func Merge(taken time.Time, parts ...*Facts) *Snapshot {
	s := &Snapshot{Taken: taken}
	for _, part := range parts {
		s.Append(part)
	}
	s.Stores = mergeStores(s.Stores)
	s.Candidates = mergeCandidates(s.Candidates)
	s.Components = mergeComponents(s.Components)
	s.sort()
	s.identify()
	s.index()
	return s
}

// identify gives each component the identities that language packages have of it.
// The components are this snapshot's own copies.
func (s *Snapshot) identify() {
	if len(s.Identities) == 0 {
		return
	}
	also := make(map[Identity][]string) // by package
	for _, i := range s.Identities {
		key := Identity{Ecosystem: i.Ecosystem, Package: i.Package}
		also[key] = append(also[key], i.PURL)
	}
	for i := range s.Components {
		c := &s.Components[i]
		key := Identity{Ecosystem: c.Ecosystem, Package: c.Name}
		names := also[key]
		key.Package += ":" + c.Arch
		if names = slices.Concat(names, also[key]); len(names) > 0 {
			slices.Sort(names)
			c.Also = slices.Clip(slices.Compact(names))
		}
	}
	s.Identities = nil
}

func mergeStores(rows []DataStore) []DataStore {
	var merged []DataStore
	at := make(map[string]int)
	for _, row := range rows {
		i, known := at[row.ID]
		if !known {
			at[row.ID] = len(merged)
			merged = append(merged, row)
			continue
		}
		completeStore(&merged[i], &row)
	}
	return merged
}

func completeStore(store, more *DataStore) {
	if len(store.Paths) == 0 {
		store.Paths = more.Paths
	}
	if len(store.Services) == 0 {
		store.Services = more.Services
	}
	store.Class = cmp.Or(store.Class, more.Class)
	store.Medium = cmp.Or(store.Medium, more.Medium)
	store.MediumZone = cmp.Or(store.MediumZone, more.MediumZone)
	store.Peer = cmp.Or(store.Peer, more.Peer)
	store.Encrypted = cmp.Or(store.Encrypted, more.Encrypted)
	store.Exposed = slices.Concat(store.Exposed, more.Exposed) // rows may serve another round
	store.Examined += more.Examined
}

// mergeCandidates keeps the last row about each directory: the room that follows
// it to its disks repeats what the room that found it said.
func mergeCandidates(rows []Candidate) []Candidate {
	type key struct {
		engine, path string
		process      Execution // two containers may use the same path
	}
	at := make(map[key]int)
	var merged []Candidate
	for _, row := range rows {
		k := key{row.Engine, row.Path, row.Process}
		if i, known := at[k]; known {
			merged[i] = row
			continue
		}
		at[k] = len(merged)
		merged = append(merged, row)
	}
	return merged
}

func (s *Snapshot) sort() {
	slices.SortStableFunc(s.Processes, func(a, b Process) int { return a.ID.Compare(b.ID) })
	slices.SortStableFunc(s.Components, func(a, b Component) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Version, b.Version), cmp.Compare(a.PURL, b.PURL))
	})
	slices.SortStableFunc(s.Owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.File.Device, b.File.Device), cmp.Compare(a.File.Inode, b.File.Inode), a.Tree.Compare(b.Tree))
	})
	slices.SortStableFunc(s.Scripts, func(a, b Script) int { return cmp.Or(a.Process.Compare(b.Process), cmp.Compare(a.Path, b.Path)) })
	slices.SortStableFunc(s.Libraries, func(a, b Library) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.File.Device, b.File.Device), cmp.Compare(a.File.Inode, b.File.Inode), a.Tree.Compare(b.Tree))
	})
	slices.SortStableFunc(s.Containers, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.ID, b.ID), a.Compare(b.Tree))
	})
	slices.SortStableFunc(s.Listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Protocol, b.Protocol), a.Local.Compare(b.Local),
			cmp.Compare(a.Path, b.Path), a.Process.Compare(b.Process))
	})
	slices.SortStableFunc(s.Flows, func(a, b Flow) int {
		return cmp.Or(a.Process.Compare(b.Process), cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Direction, b.Direction),
			cmp.Compare(a.Protocol, b.Protocol), a.Remote.Compare(b.Remote), a.Local.Compare(b.Local), cmp.Compare(a.Zone, b.Zone))
	})
	slices.SortStableFunc(s.Locals, func(a, b LocalConnection) int {
		return cmp.Or(a.Process.Compare(b.Process), cmp.Compare(a.Path, b.Path), a.Peer.Compare(b.Peer))
	})
	slices.SortStableFunc(s.Mounts, func(a, b Mount) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Source, b.Source))
	})
	slices.SortStableFunc(s.Stores, func(a, b DataStore) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(s.Candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Engine, b.Engine))
	})
	slices.SortStableFunc(s.Holdings, func(a, b Holding) int {
		return cmp.Or(cmp.Compare(a.Store, b.Store), a.Process.Compare(b.Process), cmp.Compare(rank(a.How), rank(b.How)))
	})
	slices.SortStableFunc(s.Places, func(a, b Place) int { return a.Address.Compare(b.Address) })
	slices.SortStableFunc(s.Captures, func(a, b Capture) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Tables, func(a, b Table) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Collector, b.Collector), cmp.Compare(a.Store, b.Store),
			cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Reason, b.Reason))
	})
}

func (s *Snapshot) index() {
	s.processes = make(map[Execution]int, len(s.Processes))
	for i := range s.Processes {
		s.processes[s.Processes[i].ID] = i
	}
	s.former = make(map[Execution]int, len(s.Former))
	for i := range s.Former {
		s.former[s.Former[i].ID] = i
	}
	s.components = make(map[string]int, len(s.Components))
	for i := range s.Components {
		s.components[s.Components[i].PURL] = i
	}
	s.owners = make(map[OwnerKey]string, len(s.Owners))
	for _, o := range s.Owners {
		s.owners[o.Key()] = o.PURL
	}
	s.locate()
	s.trees = s.Trees()
	s.scripts = make(map[Execution]int, len(s.Scripts))
	for i := range s.Scripts {
		s.scripts[s.Scripts[i].Process] = i
	}
	s.replaced = make(map[Execution]string)
	for i := range s.Libraries {
		if !s.upgraded(&s.Libraries[i]) {
			continue
		}
		for _, id := range s.Libraries[i].Users {
			s.replaced[id] = cmp.Or(s.replaced[id], s.Libraries[i].Path)
		}
	}
	s.stores = make(map[string]int, len(s.Stores))
	for i := range s.Stores {
		s.stores[s.Stores[i].ID] = i
	}
	s.places = make(map[netip.Addr]int, len(s.Places))
	for i := range s.Places {
		s.places[s.Places[i].Address] = i
	}
	s.passed = make(map[Execution][]Holding)
	for _, h := range s.Passed {
		s.passed[h.Process] = append(s.passed[h.Process], h)
	}
	s.holdings = make(map[Execution][]Holding)
	for _, h := range s.Holdings {
		s.holdings[h.Process] = append(s.holdings[h.Process], h)
	}
}

// span gives the rows of a sorted slice that compare equal to the key.
func span[T, K any](rows []T, key K, compare func(T, K) int) []T {
	from, _ := slices.BinarySearchFunc(rows, key, compare)
	to := from
	for to < len(rows) && compare(rows[to], key) == 0 {
		to++
	}
	return rows[from:to:to]
}

// rank is 0 for the strongest way of holding.
func rank(how string) int { return slices.Index(Hows(), how) }

// Process gives the process of an execution, which may be a former one.
func (s *Snapshot) Process(id Execution) (*Process, bool) {
	if i, ok := s.processes[id]; ok {
		return &s.Processes[i], true
	}
	if i, ok := s.former[id]; ok {
		return &s.Former[i], true
	}
	return nil, false
}

// Executable gives the path of what an execution runs, as policies name
// programs; "" where it is not known or not to be believed.
func (s *Snapshot) Executable(id Execution) string {
	if p, ok := s.Process(id); ok && !p.Foreign {
		return p.Executable
	}
	return ""
}

// Component gives the component with a package URL.
func (s *Snapshot) Component(purl string) (*Component, bool) {
	i, ok := s.components[purl]
	if !ok {
		return nil, false
	}
	return &s.Components[i], true
}

// Owner gives the component that a process's executable belongs to.
func (s *Snapshot) Owner(p *Process) (*Component, bool) {
	return s.FileOwner(p, p.Executable, p.File)
}

// DataStore gives the declared store with an id.
func (s *Snapshot) DataStore(id string) (*DataStore, bool) {
	i, ok := s.stores[id]
	if !ok {
		return nil, false
	}
	return &s.Stores[i], true
}

// HoldingsOf lists who holds a store's data.
func (s *Snapshot) HoldingsOf(store string) []Holding {
	return span(s.Holdings, store, func(h Holding, id string) int { return cmp.Compare(h.Store, id) })
}

// StoresHeldBy lists what an execution holds.
func (s *Snapshot) StoresHeldBy(id Execution) []Holding { return s.holdings[id] }

// Source gives the strongest holding by which an execution has or had a store's
// data, from which others may have it; nil where it is not known.
func (s *Snapshot) Source(store string, id Execution) *Holding {
	for _, list := range [][]Holding{s.holdings[id], s.passed[id]} {
		for i := range list {
			if list[i].Store == store {
				return &list[i]
			}
		}
	}
	return nil
}

// FlowsOf lists the flows of an execution.
func (s *Snapshot) FlowsOf(id Execution) []Flow {
	return span(s.Flows, id, func(f Flow, id Execution) int { return f.Process.Compare(id) })
}

// Place gives what is known of where an address is.
func (s *Snapshot) Place(addr netip.Addr) (Place, bool) {
	i, ok := s.places[addr.Unmap()]
	if !ok {
		return Place{Address: addr}, false
	}
	return s.Places[i], true
}
