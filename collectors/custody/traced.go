package custody

import (
	"fmt"
	"slices"
	"strings"

	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

// ways are the kernel's words for how something is held.
func wayOf(how uint32) string {
	switch how {
	case kernel.HowDirect:
		return inventory.HowDirect
	case kernel.HowService:
		return inventory.HowService
	case kernel.HowDescendant:
		return inventory.HowDescendant
	case kernel.HowPipeline:
		return inventory.HowPipeline
	}
	return inventory.HowDerived
}

// trace tells the kernel what the stores are and gives what it has seen; nil where
// it sees no opens.
func (r *round) trace() (*kernel.Reading, error) {
	if r.kernel.Err() != nil || r.kernel.OpensMechanism() == "" {
		return nil, nil //nolint:nilnil // nothing to read is no error
	}
	if err := r.declare(); err != nil {
		return nil, err
	}
	reading, err := r.kernel.Latest()
	if err != nil {
		return nil, fmt.Errorf("read holders: %w", err)
	}
	return r.withEnded(reading), nil
}

// withEnded adds the programs that had ended in the reading before: what one of them
// held may not have been in it yet, since holds are read first.
func (r *round) withEnded(reading *kernel.Reading) *kernel.Reading {
	now := make(map[kernel.Execution]bool, len(reading.Programs))
	var ended []kernel.Program
	for i := range reading.Programs {
		p := &reading.Programs[i]
		now[p.ID] = true
		if !p.Ended.IsZero() {
			ended = append(ended, *p)
		}
	}
	both := *reading
	both.Programs = slices.Clone(reading.Programs)
	for i := range r.ended {
		if !now[r.ended[i].ID] {
			both.Programs = append(both.Programs, r.ended[i])
		}
	}
	r.ended = ended
	return &both
}

// declare names the stores' directories and sockets to the kernel.
func (r *round) declare() error {
	r.numbers = make(map[string]uint)
	for i := range r.cfg.Stores {
		id := r.cfg.Stores[i].ID
		number, err := r.kernel.StoreNumber(id)
		if err != nil {
			r.gap(id, id, err.Error(), 0)
			continue
		}
		r.numbers[id] = number
	}
	var dirs []kernel.StoreDir
	for _, p := range r.places() {
		number, numbered := r.numbers[p.store]
		if !numbered || p.file.Inode == 0 {
			continue
		}
		if reason := r.unseen(&p); reason != "" {
			r.gap(p.store, p.dir, reason, 0)
		}
		dirs = append(dirs, kernel.StoreDir{Store: number, Device: p.mount, Inode: p.file.Inode})
		if !p.walked {
			continue
		}
		list := r.named(p.dir, maxTraced, tracedFor)
		if list.partial {
			r.gap(p.store, p.dir, "too many files to look for those with several names: whoever opens one by a name elsewhere may go unseen", 0)
		}
		if len(list.inodes) > maxNamed {
			r.gap(p.store, p.dir, "whoever opens a file that has another name elsewhere may go unseen: so many have several", len(list.inodes))
			continue
		}
		for file := range list.inodes {
			dirs = append(dirs, kernel.StoreDir{Store: number, Device: p.mount, Inode: file.Inode})
		}
	}
	if err := r.kernel.SetStores(dirs); err != nil {
		return fmt.Errorf("declare stores to the kernel: %w", err)
	}
	var sockets []kernel.ServiceSocket
	for i := range r.cfg.Stores {
		store := &r.cfg.Stores[i]
		number, numbered := r.numbers[store.ID]
		for _, service := range store.Services {
			if !numbered || service.Protocol != "unix" {
				continue
			}
			if st, err := r.host.Stat(service.Path); err == nil {
				sockets = append(sockets, kernel.ServiceSocket{Stores: 1 << number, Device: st.Dev, Inode: st.Ino})
			}
		}
	}
	if err := r.kernel.SetServices(sockets); err != nil {
		return fmt.Errorf("declare services to the kernel: %w", err)
	}
	return nil
}

// unseen says why the kernel does not see who opens the files of a place; "" it does.
func (r *round) unseen(p *place) string {
	switch {
	case p.kind == "btrfs" && p.files != p.mount:
		return "it is in a subvolume of btrfs, whose number the kernel's files do not have: who opens them is not seen"
	case r.kernel.OpensMechanism() != kernel.OpensByTracepoints:
		return ""
	case p.kind == "tmpfs" || p.kind == "devtmpfs":
		return "it is on " + p.kind + ", where this kernel does not tell of all who read"
	case slices.Contains([]string{"ramfs", "overlay", "zfs", "fuse", "9p"}, p.kind):
		return "it is on " + p.kind + ", where this kernel does not tell who reads"
	}
	return ""
}

// storesOf gives the names of the kernel's bits.
func (r *round) storesOf(bits uint64) []string {
	var ids []string
	for i := range r.cfg.Stores {
		if number, numbered := r.numbers[r.cfg.Stores[i].ID]; numbered && bits&(1<<number) != 0 {
			ids = append(ids, r.cfg.Stores[i].ID)
		}
	}
	return ids
}

// tracedRoots takes over what the kernel saw come out of a store.
func (r *round) tracedRoots(reading *kernel.Reading) {
	times := make(map[opened]uint64)
	for i := range reading.Holds {
		h := &reading.Holds[i]
		if h.How == kernel.HowDirect {
			key := opened{inventory.Execution(h.Owner), h.Stores}
			times[key] = h.Times
			for _, store := range r.storesOf(h.Stores) {
				r.opens[store] += h.Times - min(r.times[key], h.Times)
			}
		}
		how, from := wayOf(h.How), inventory.Execution(h.From)
		if !r.root(how, from) {
			continue
		}
		for _, store := range r.storesOf(h.Stores) {
			r.remember(hold{store, inventory.Execution(h.Owner), how}, from, h.First, evidence(h))
		}
	}
	r.times = times
}

// root reports whether data needs no other holder to have come this way. One that is
// not known any more had it; one that the policy ignores had not.
func (r *round) root(how string, from inventory.Execution) bool {
	if how == inventory.HowDirect || how == inventory.HowService || from == (inventory.Execution{}) {
		return true
	}
	_, refused := r.refused[from]
	if how == inventory.HowDerived && !refused && !r.holds(from) {
		return true // who moved a file did not read it
	}
	return !refused && r.past[from] == nil && r.alive[from] == nil
}

func (r *round) holds(id inventory.Execution) bool {
	for h := range r.held {
		if h.process == id {
			return true
		}
	}
	return false
}

func evidence(h *kernel.Hold) string {
	switch h.How {
	case kernel.HowDirect:
		return "opened " + h.Name
	case kernel.HowService:
		return "sent to " + h.Name
	case kernel.HowDescendant:
		return "started"
	case kernel.HowPipeline:
		if h.Name != "" {
			return "passed through a mount that a program serves (" + h.Name + ")"
		}
		return "received by a Unix socket"
	}
	return "read " + h.Name
}

// tracedLinks adds the ways by which the kernel saw data go on.
func (r *round) tracedLinks(reading *kernel.Reading, all links) {
	for i := range reading.Holds {
		h := &reading.Holds[i]
		if h.How == kernel.HowDirect || h.How == kernel.HowService {
			continue
		}
		for _, store := range r.storesOf(h.Stores) {
			all.add(inventory.Execution(h.From), link{
				to: inventory.Execution(h.Owner), how: wayOf(h.How), evidence: evidence(h), store: store, first: h.First,
			})
		}
	}
	r.channelLinks(reading.Programs, all)
}

// tell names to the kernel the holders that this room found, so that it sees what
// they start, write and send as it happens.
func (r *round) tell() {
	bits := make(map[inventory.Execution]uint64)
	for h := range r.held {
		if number, numbered := r.numbers[h.store]; numbered && r.alive[h.process] != nil && r.alive[h.process].Ended.IsZero() {
			bits[h.process] |= 1 << number
		}
	}
	failed := 0
	for id, stores := range bits {
		if r.marked[id] == stores {
			continue
		}
		if r.kernel.Mark(kernel.Execution(id), stores) != nil {
			failed++
			delete(bits, id)
		}
	}
	r.marked = bits
	for id, p := range r.alive {
		if _, told := r.exempt[id]; told || !slices.Contains(r.cfg.Custody.Relays, p.Executable) || p.Foreign {
			continue
		}
		if r.kernel.Exempt(kernel.Execution(id), true) == nil {
			r.exempt[id] = true
		}
	}
	for id := range r.exempt {
		if r.alive[id] == nil && r.kernel.Exempt(kernel.Execution(id), false) == nil {
			delete(r.exempt, id)
		}
	}
	if failed > 0 {
		r.gap("", "the kernel's table of holders", "found no room: what they start and write is followed by rounds only", failed)
	}
}

// tracedCapture says what the kernel's look at opens misses.
func (r *round) tracedCapture(reading *kernel.Reading) inventory.Capture {
	missed := r.kernel.OpensMisses()
	lost := reading.Counts.Holds + reading.Counts.Derived + reading.Counts.SkippedFiles
	if r.losses.Within(lost, r.now) {
		missed = append(missed, fmt.Sprintf("in the last hour holders found no room: %d in all, %d files that they wrote, and %d looks were skipped",
			reading.Counts.Holds, reading.Counts.Derived, reading.Counts.SkippedFiles))
	}
	if gap := r.kernel.Gap(); gap != "" {
		missed = append(missed, gap)
	}
	if served := r.served(); served != "" {
		missed = append(missed, served)
	}
	for _, reason := range missed {
		r.gap("", inventory.CaptureOpens, reason, 0)
	}
	if len(r.cfg.Stores) > 0 {
		r.beyondFiles()
	}
	var opens uint64
	for _, n := range r.opens {
		opens += n
	}
	return inventory.Capture{
		Name: inventory.CaptureOpens, Tier: inventory.TierBPF, Complete: len(missed) == 0,
		Reason: strings.Join(slices.Compact(missed), "; "), Events: opens, Lost: lost,
	}
}
