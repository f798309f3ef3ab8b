package process

import (
	"fmt"
	"strings"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

// traced is told by the kernel of every program that starts, and of what it was
// also after its end.
type traced struct {
	kernel *kernel.Kernel
	recent kernel.Recent
	opened time.Time
	counts kernel.Counts
	short  bool   // something was lost in the last hour
	nobody uint64 // executions listed without a name
}

func (t *traced) totals() totals {
	c := &t.counts
	return totals{events: c.Executions, lost: c.Programs + c.Unlisted, orphans: t.nobody}
}

func (t *traced) Close() error { return nil } // the kernel is not this room's

// missed says what is missing; "" nothing.
func (t *traced) missed() string {
	var reasons []string
	if gap := t.kernel.Gap(); gap != "" && time.Since(t.opened) < time.Hour {
		reasons = append(reasons, gap)
	}
	if t.short {
		reasons = append(reasons, fmt.Sprintf(
			"in the last hour programs found no room: %d in all when they started, %d that ended before they were read, %d names (capture.programs bounds them)",
			t.counts.Programs, t.counts.Unlisted, t.counts.Images))
	}
	return strings.Join(reasons, "; ")
}

// follow completes what /proc shows: each process is told which of its programs it
// is, and those that have ended, or that started since /proc was read, are added.
func (t *traced) follow(r *round, began time.Time, facts *inventory.Facts) error {
	reading, err := t.kernel.Read()
	if err != nil {
		return err
	}
	t.counts = reading.Counts
	t.short = t.recent.Within(t.counts.Programs+t.counts.Unlisted+t.counts.Images, r.host.Now())
	of := make(map[inventory.Execution][]int, len(reading.Programs))
	for i := range reading.Programs {
		id := &reading.Programs[i].ID
		key := inventory.Execution{PID: id.PID, Start: id.Start}
		of[key] = append(of[key], i)
	}
	taken := make([]bool, len(reading.Programs))
	for i := range facts.Processes {
		p := &facts.Processes[i]
		if at := which(reading.Programs, of[p.ID], p.File.Inode, began); at >= 0 {
			taken[at] = true
			p.ID.Image = reading.Programs[at].ID.Image
		}
	}
	nobody := 0
	for i := range reading.Programs {
		if taken[i] {
			continue
		}
		p := r.processOf(&reading.Programs[i])
		if p.Executable == "" || reading.Programs[i].Truncated {
			nobody++
		}
		facts.Processes = append(facts.Processes, p)
	}
	t.nobody += uint64(nobody)
	if nobody > 0 {
		facts.Gaps = append(facts.Gaps, gap("programs that ended", "their executables' names found no room in the kernel", nobody))
	}
	return nil
}

// which picks, of the programs of one process, the one that /proc showed; -1 none.
// The last one, unless it started after /proc was read, which its file may tell.
func which(programs []kernel.Program, of []int, inode uint64, began time.Time) int {
	last, before := -1, -1
	for _, i := range of {
		switch p := &programs[i]; {
		case p.Ended.IsZero():
			last = i
		case before < 0 || p.Ended.After(programs[before].Ended):
			before = i
		}
	}
	if last < 0 || before < 0 || programs[last].Began.Before(began) || programs[last].Inode == inode {
		return max(last, -1)
	}
	return before
}

// processOf makes a process of what the kernel remembers.
func (r *round) processOf(p *kernel.Program) inventory.Process {
	group := parseCgroup([]byte("0::" + p.Group + "\n"))
	process := inventory.Process{
		ID:         inventory.Execution{PID: p.ID.PID, Start: p.ID.Start, Image: p.ID.Image},
		Parent:     p.Parent.PID,
		Started:    p.Began,
		Ended:      p.Ended,
		Name:       host.Text(p.Name, nameLimit),
		Executable: host.Text(p.Path, pathLimit),
		File:       inventory.FileID{Device: p.Device, Inode: p.Inode},
		Memory:     p.Unlinked && strings.HasPrefix(p.Path, "/memfd:"),
		Arguments:  parseArguments(p.Arguments),
		UID:        int(p.UID),
		User:       r.users.of(int(p.UID)),
		Group:      r.groups.of(int(p.GID)),
		Unit:       host.Text(group.unit, pathLimit),
		Container:  host.Text(group.container, pathLimit),
		MountNS:    p.MntNS, NetNS: p.NetNS, PIDNS: p.PIDNS, UserNS: p.UserNS,
	}
	process.Deleted = p.Unlinked && !process.Memory
	return process
}
