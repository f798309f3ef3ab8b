// Package custody finds the programs that hold a data store's data: those with a
// file of the store open or mapped, and those connected to one of its services.
//
// A file is recognised by where it lies, not by the path that led to it: the
// mount that a descriptor was opened through and the path below it give the
// path inside the file system, which is the same through bind mounts, other
// mount namespaces and changed roots. So the store itself is never walked, but
// for one case: a file with several names may have been opened by one outside
// of the store, and is then looked up among the store's files with several
// names. That list is made when it is first needed, within bounds.
//
// An open directory is no hold: whoever lists names has read no data. A hold
// lasts as long as the program runs, since what was read once may stay in its
// memory after the file is closed; Since is the first round that saw it.
//
// What is opened and closed between two rounds is not seen. That is always a
// gap, so no check that rests on the absence of a holder passes by this room
// alone.
//
// Sources: proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_maps(5),
// proc_pid_mountinfo(5).
package custody

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const (
	collector = "custody"
	sampled   = "open files are looked up once a round: what is opened and closed in between is not seen"
	maxText   = 512 // bytes of a path or of evidence
)

// Collector looks for holders. It remembers those it found.
type Collector struct {
	host  *host.Host
	cfg   *configs.Config
	held  map[hold]memory
	names map[string]*linked // by directory of a store
}

// hold is what one execution holds and how.
type hold struct {
	store   string
	process inventory.Execution
	how     string
}

// memory is how a hold was first seen.
type memory struct {
	since    time.Time
	from     inventory.Execution
	evidence string
}

// New makes a collector for one machine and one policy.
func New(h *host.Host, cfg *configs.Config) *Collector {
	return &Collector{host: h, cfg: cfg, held: make(map[hold]memory), names: make(map[string]*linked)}
}

// Configure takes a new policy. Holds of stores that it no longer declares are
// forgotten.
func (c *Collector) Configure(cfg *configs.Config) {
	c.cfg = cfg
	maps.DeleteFunc(c.held, func(h hold, _ memory) bool {
		_, declared := cfg.Store(h.store)
		return !declared
	})
	clear(c.names)
}

// round is the work of one Collect.
type round struct {
	*Collector
	seen  *inventory.Facts
	proc  *host.Proc
	now   time.Time
	gaps  []inventory.Gap
	files *files
}

// Collect lists who holds declared data. Without a declared store there is
// nothing to hold, and it costs nothing.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	facts := inventory.Facts{Captures: []inventory.Capture{
		{Name: inventory.CaptureOpens, Tier: inventory.TierPoll, Reason: sampled},
	}}
	if len(c.cfg.Stores) == 0 {
		return facts, nil
	}
	proc, err := c.host.OpenProc()
	if err != nil {
		return inventory.Facts{}, err
	}
	defer proc.Close()
	c.forget(seen)
	r := &round{Collector: c, seen: seen, proc: proc, now: c.host.Now()}
	r.gap("", inventory.CaptureOpens, sampled, 0)
	r.files = r.newFiles()
	if err := r.direct(ctx); err != nil {
		return inventory.Facts{}, err
	}
	r.services()
	facts.Holdings, facts.Gaps = c.holdings(), r.gaps
	return facts, nil
}

func (r *round) gap(store, subject, reason string, lost int) {
	r.gaps = append(r.gaps, inventory.Gap{
		Collector: collector, Kind: inventory.KindHoldings, Store: store,
		Subject: host.Text(subject, maxText), Reason: host.Text(reason, maxText), Lost: lost,
	})
}

// forget drops the holds of executions that ended and whose connections nobody
// shows any more.
func (c *Collector) forget(seen *inventory.Facts) {
	if len(c.held) == 0 {
		return
	}
	alive := make(map[inventory.Execution]bool, len(seen.Processes))
	for i := range seen.Processes {
		alive[seen.Processes[i].ID] = true
	}
	for i := range seen.Flows {
		alive[seen.Flows[i].Process] = true
	}
	maps.DeleteFunc(c.held, func(h hold, _ memory) bool { return !alive[h.process] })
}

// remember notes a hold, unless it is known.
func (r *round) remember(h hold, from inventory.Execution, evidence string) {
	if _, known := r.held[h]; !known {
		r.held[h] = memory{since: r.now, from: from, evidence: host.Text(evidence, maxText)}
	}
}

func (c *Collector) holdings() []inventory.Holding {
	var rows []inventory.Holding
	for h, m := range c.held {
		rows = append(rows, inventory.Holding{
			Store: h.store, Process: h.process, How: h.how, Since: m.since, From: m.from, Evidence: m.evidence,
		})
	}
	slices.SortFunc(rows, func(a, b inventory.Holding) int {
		return cmp.Or(cmp.Compare(a.Store, b.Store), a.Process.Compare(b.Process), cmp.Compare(a.How, b.How))
	})
	return rows
}

// direct looks into every program but this one.
func (r *round) direct(ctx context.Context) error {
	if len(r.files.places) == 0 {
		return nil
	}
	self := 0
	if r.host.Live() {
		self = os.Getpid()
		if deaf := r.canary(self); deaf != "" {
			r.gap("", "the agent's own file", deaf, 0)
		}
	}
	for i := range r.seen.Processes {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := &r.seen.Processes[i]
		if p.Kernel || p.ID.PID == self || !p.Ended.IsZero() {
			continue
		}
		r.files.look(p)
	}
	r.files.report()
	return nil
}

// canary opens a file of this process and looks for it as for those of others; it
// says what is wrong if it is not found.
func (r *round) canary(pid int) string {
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return err.Error()
	}
	defer own.Close()
	info, err := own.Stat()
	if err != nil {
		return err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "its number is not known"
	}
	fds, err := r.proc.Numbers(pid, "fd", nil)
	if err != nil {
		return err.Error()
	}
	if fd := int(own.Fd()); slices.Contains(fds, fd) {
		file, err := r.proc.Describe(pid, "fd/"+strconv.Itoa(fd))
		if err == nil && file.Device == st.Dev && file.Inode == st.Ino {
			return ""
		}
	}
	return "it is open and was not found, so open files of others may not be either"
}

// place is one directory of a store, by where its files lie.
type place struct {
	store  string
	dir    string // to walk
	mount  uint64 // device of the file system as mount tables and maps have it
	files  uint64 // device as stat(2) has it; 0 unknown
	root   string // the directory's path inside the file system
	walked bool   // its file system answers from this machine
}

// places gives the directories of declared stores, with gaps for those that
// holders cannot be found for.
func (r *round) places() []place {
	var found []place
	for i := range r.cfg.Stores {
		store := &r.cfg.Stores[i]
		at := slices.IndexFunc(r.seen.Stores, func(s inventory.DataStore) bool { return s.ID == store.ID && len(s.Paths) > 0 })
		switch {
		case len(store.Paths) == 0:
			r.gap(store.ID, store.ID, "only services are declared: who opens its files is not known", 0)
			continue
		case at < 0:
			r.gap(store.ID, store.ID, "it is not known where its directories lie", 0)
			continue
		}
		for _, p := range r.seen.Stores[at].Paths {
			if p.Resolved == "" || p.MountRoot == "" {
				r.gap(store.ID, p.Path, "it is "+cmp.Or(p.Medium, inventory.MediumUnknown)+": who has files of it open is not known", 0)
				continue
			}
			if p.Mount.Network {
				r.gap(store.ID, p.Path, "it is on another machine, where others may hold it", 0)
			}
			found = append(found, place{
				store: store.ID, dir: p.Resolved, mount: p.Mount.Device, files: p.File.Device, root: p.MountRoot,
				walked: !p.Mount.Network && p.File != (inventory.FileID{}),
			})
		}
	}
	return found
}

func programOf(p *inventory.Process) string {
	return fmt.Sprintf("%s (%s)", cmp.Or(p.Executable, p.Name), p.ID)
}
