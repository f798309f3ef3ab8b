package custody

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"cityward/collectors/inventory"
)

// A holder that has ended is remembered for a day: what it wrote may be read later,
// and whoever reads that wants to know where it comes from.
const (
	pastFor  = 24 * time.Hour
	mostPast = 4096
)

// past is what is known of a holder, also after its end.
type past struct {
	process inventory.Process
	owner   *inventory.Owner
	seen    time.Time // when it was last among the processes, or had flows
	round   uint64    // likewise, by the number of the round
}

// keep notes what a program is while it can be seen.
func (r *round) keep(id inventory.Execution) {
	p := r.past[id]
	if p == nil {
		p = &past{process: inventory.Process{ID: id}}
		r.past[id] = p
		r.sighted(p)
	}
	if process := r.alive[id]; process != nil {
		p.process = *process
		r.sighted(p)
		p.process.Arguments = nil // they may hold secrets, and are long
		at := r.trees.Of(process)
		p.process.Root = cmp.Or(process.Root, at.Root) // of an ended one nothing shows it once the tree is gone
		if owner := r.owner[inventory.OwnerKey{Tree: at, Path: process.Executable, File: process.File}]; owner != nil {
			p.owner = owner
		}
	}
}

func (r *round) sighted(p *past) { p.seen, p.round = r.now, r.rounds }

// forget drops holders that ended long ago, the longest first.
func (r *round) forget() {
	for i := range r.seen.Flows {
		if p := r.past[r.seen.Flows[i].Process]; p != nil {
			r.sighted(p)
		}
	}
	for id := range r.past {
		r.keep(id)
	}
	var ended []inventory.Execution
	for id, p := range r.past {
		if p.round != r.rounds {
			ended = append(ended, id)
		}
	}
	slices.SortFunc(ended, func(a, b inventory.Execution) int { return r.past[b].seen.Compare(r.past[a].seen) })
	for i, id := range ended {
		if i >= mostPast || r.now.Sub(r.past[id].seen) > pastFor {
			delete(r.past, id)
		}
	}
	maps.DeleteFunc(r.held, func(h hold, _ *memory) bool { return r.past[h.process] == nil })
	maps.DeleteFunc(r.refused, func(_ inventory.Execution, at time.Time) bool { return r.now.Sub(at) > pastFor })
}

// former is what is told of the programs that no longer run and that a holding came
// from.
type former struct {
	processes []inventory.Process
	owners    []inventory.Owner
	holdings  []inventory.Holding
}

// former follows holdings back to where they came from.
func (r *round) former(rows []inventory.Holding) former {
	var f former
	listed := make(map[hold]bool)
	named := make(map[inventory.Execution]bool)
	for _, h := range rows {
		listed[hold{h.Store, h.Process, ""}] = true
		r.nameFormer(h.Process, named, &f)
	}
	for _, h := range rows {
		for from, steps := h.From, 0; steps < maxChain && !listed[hold{h.Store, from, ""}]; steps++ {
			how, m := r.source(h.Store, from)
			if m == nil {
				r.nameFormer(from, named, &f)
				break
			}
			listed[hold{h.Store, from, ""}] = true
			r.nameFormer(from, named, &f)
			f.holdings = append(f.holdings, inventory.Holding{
				Store: h.Store, Process: from, How: how, Since: m.since, From: m.from, Evidence: m.evidence,
			})
			from = m.from
		}
	}
	slices.SortFunc(f.processes, func(a, b inventory.Process) int { return a.ID.Compare(b.ID) })
	return f
}

func (r *round) nameFormer(id inventory.Execution, named map[inventory.Execution]bool, f *former) {
	p := r.past[id]
	if p == nil || named[id] || r.alive[id] != nil {
		return
	}
	named[id] = true
	f.processes = append(f.processes, p.process)
	if p.owner != nil && r.owner[p.owner.Key()] == nil {
		f.owners = append(f.owners, *p.owner)
	}
}

// maxChain bounds how many programs data is followed back through.
const maxChain = 32

// source gives the strongest way in which a program holds a store's data; nil none.
func (r *round) source(store string, id inventory.Execution) (string, *memory) {
	for _, how := range inventory.Hows() {
		if m := r.held[hold{store, id, how}]; m != nil {
			return how, m
		}
	}
	return "", nil
}
