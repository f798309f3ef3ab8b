// Package process lists the programs that run, from /proc, and counts those that
// start in between as far as the machine tells; see tiers.
//
// An execution is a process id together with its start time, since ids are used
// again. A round costs a few system calls for each process; what is costly and
// cannot change while a program image stays (its arguments) is kept between
// rounds, all else is read again, because credentials, control groups,
// namespaces and even the executable (exec keeps id and start time) can change
// at any time.
//
// A process that ends while it is read is left out: its end was observed. One
// that cannot be read stays in with what is known, and a gap counts it.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const collector = "process"

// Bounds of what is kept of one process.
const (
	argumentsLimit = 4 << 10
	pathLimit      = 4 << 10
	nameLimit      = 64 // the kernel's workers have longer names than programs
)

// ticks is USER_HZ, the unit of times in /proc, on all platforms that Go knows.
const ticks = 100

// Collector lists processes. It keeps what it needs to make the next round
// cheap, so it is not for concurrent use.
type Collector struct {
	host   *host.Host
	users  names
	groups names
	known  map[inventory.Execution]image
	events uint64
	begun  uint64 // that ran before any was told of
	tier   tier
	watch  watch // nil where nothing is seen between the rounds
	err    error // why there is no tier
}

// image is what cannot change until the process executes another program.
type image struct {
	address   uint64 // host.Stat.Image
	file      inventory.FileID
	arguments []string
}

// New returns a collector of the processes of h, and begins to watch for programs
// that start: by k, or by something less where that was refused.
func New(h *host.Host, cfg *configs.Config, k *kernel.Kernel) *Collector {
	c := &Collector{
		host:   h,
		users:  names{path: "/etc/passwd"},
		groups: names{path: "/etc/group"},
	}
	best := cfg.Capture.Tier
	if !h.Live() { // another machine's tree tells nothing of its own accord
		best = inventory.TierPoll
	}
	c.tier, c.watch, c.err = choose(best, tiers(k), h)
	return c
}

// round is what one reading of /proc works with.
type round struct {
	*Collector
	proc   *host.Proc
	boot   time.Time
	images map[inventory.Execution]image
	kernel bool   // a thread of the kernel was seen
	denied denied // what could not be read
}

// list reads /proc.
func (c *Collector) list(ctx context.Context) (inventory.Facts, error) {
	pids, err := c.host.PIDs()
	switch {
	case !c.host.Live() && (len(pids) == 0 || host.Gone(err)):
		return inventory.Facts{Gaps: []inventory.Gap{gap("/proc", "another machine's file tree: nothing runs in it", 0)}}, nil
	case err != nil:
		return inventory.Facts{}, fmt.Errorf("list processes: %w", err)
	case len(pids) == 0:
		return inventory.Facts{}, errors.New("list processes: /proc is empty")
	}
	began := time.Now()
	r := round{Collector: c, images: make(map[inventory.Execution]image, len(pids))}
	if r.proc, err = c.host.OpenProc(); err != nil {
		return inventory.Facts{}, fmt.Errorf("list processes: %w", err)
	}
	defer r.proc.Close()

	var facts inventory.Facts
	for _, names := range []*names{&c.users, &c.groups} {
		if err := names.refresh(c.host); err != nil {
			facts.Gaps = append(facts.Gaps, gap(names.path, err.Error(), 0))
		}
	}
	if r.boot, err = c.host.Booted(); err != nil {
		facts.Gaps = append(facts.Gaps, gap("/proc/stat", err.Error(), 0))
	}
	facts.Processes = make([]inventory.Process, 0, len(pids))
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return inventory.Facts{}, err
		}
		if p, ok := r.read(pid); ok {
			facts.Processes = append(facts.Processes, p)
		}
	}
	if f, follows := c.watch.(follower); follows {
		if err := f.follow(&r, began, &facts); err != nil {
			facts.Gaps = append(facts.Gaps, gap("programs that ended", err.Error(), 0))
		}
		if missed := f.missed(); missed != "" {
			facts.Gaps = append(facts.Gaps, gap("programs that started", missed, 0))
		}
	}
	if c.host.Live() {
		r.completeNetworks(facts.Processes)
		r.markForeign(facts.Processes)
	}
	c.known = r.images
	facts.Gaps = append(facts.Gaps, r.gaps(pids)...)
	facts.Captures = []inventory.Capture{c.capture()}
	return facts, nil
}

// read gives one process; false if there is none any more.
func (r *round) read(pid int) (inventory.Process, bool) {
	stat, err := r.proc.ReadStat(pid)
	if err != nil {
		if !host.Gone(err) {
			r.denied.add(inventory.Process{ID: inventory.Execution{PID: pid}}, err)
		}
		return inventory.Process{}, false
	}
	from := pid // whose entries show the program
	if stat.Dead() {
		if stat.Threads <= 1 {
			return inventory.Process{}, false
		}
		from = r.proc.LiveThread(pid)
	}
	p := inventory.Process{
		ID:     inventory.Execution{PID: pid, Start: stat.Start},
		Parent: stat.Parent,
		Name:   host.Text(stat.Name, nameLimit),
		Kernel: stat.Kernel(),
	}
	if !r.boot.IsZero() {
		p.Started = r.boot.Add(time.Duration(min(stat.Start, 1<<39)) * (time.Second / ticks)) // 174 years; no overflow
	}
	if p.Kernel {
		r.kernel = true
		p.User, p.Group = r.users.of(0), r.groups.of(0)
		r.keep(p.ID, image{})
		return p, true
	}
	if ended := r.fill(&p, from, stat.Image); ended {
		return p, false
	}
	return p, true
}

// keep remembers an execution for the next round.
func (r *round) keep(id inventory.Execution, i image) {
	r.images[id] = i
	if _, old := r.known[id]; !old {
		r.events++
	}
}

// fill reads what has a file of its own. Errors of one part leave the others.
func (r *round) fill(p *inventory.Process, from int, address uint64) (ended bool) {
	var denied error
	note := func(err error) {
		if err != nil && denied == nil {
			denied = err
		}
	}
	note(r.executable(p, from))
	note(r.root(p, from))
	note(r.credentials(p, from))
	if data, err := r.proc.Read(from, "cgroup", 1<<16); err != nil {
		note(err)
	} else {
		s := parseCgroup(data)
		p.Unit, p.Container = host.Text(s.unit, pathLimit), host.Text(s.container, pathLimit)
	}
	note(r.namespaces(p, from))
	i, err := r.arguments(p, from, address)
	note(err)
	if denied != nil {
		// Whatever the error: a process that is about to end has lost its files
		// and namespaces already.
		if r.gone(p.ID) {
			return true
		}
		r.denied.add(*p, denied)
	}
	r.keep(p.ID, i)
	return false
}

// gone reports whether an execution has ended or is about to.
func (r *round) gone(id inventory.Execution) bool {
	stat, err := r.proc.ReadStat(id.PID)
	return host.Gone(err) || err == nil && (stat.Start != id.Start || (stat.Dead() || stat.Exiting()) && stat.Threads <= 1)
}

// arguments takes /proc/PID/cmdline from the last round where the program image
// is the same one. Who shows none may not have begun yet, and is asked again.
func (r *round) arguments(p *inventory.Process, from int, address uint64) (image, error) {
	old := r.known[p.ID]
	if address != 0 && old.address == address && old.file == p.File && len(old.arguments) > 0 {
		p.Arguments = old.arguments
		return old, nil
	}
	data, err := r.proc.Read(from, "cmdline", argumentsLimit)
	if err != nil {
		return image{}, err
	}
	p.Arguments = parseArguments(data)
	return image{address: address, file: p.File, arguments: p.Arguments}, nil
}

// parseArguments splits at NUL. Programs may overwrite their arguments with
// anything.
func parseArguments(data []byte) []string {
	data = bytes.TrimRight(data, "\x00")
	if len(data) == 0 {
		return nil
	}
	var arguments []string
	for word := range bytes.SplitSeq(data, []byte{0}) {
		arguments = append(arguments, host.Text(string(word), argumentsLimit))
	}
	return arguments
}
