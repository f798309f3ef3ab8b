package process

import (
	"errors"
	"fmt"
	"io/fs"

	"cityward/collectors/inventory"
)

func gap(subject, reason string, lost int) inventory.Gap {
	return inventory.Gap{Collector: collector, Kind: inventory.KindProcesses, Subject: subject, Reason: reason, Lost: lost}
}

// denied counts the processes that could not be read as a whole, with one of
// them as an example.
type denied struct {
	count   int
	example string
	reason  string
}

func (d *denied) add(p inventory.Process, err error) {
	d.count++
	if d.count > 1 {
		return
	}
	d.example = p.ID.String()
	if p.Name != "" {
		d.example += " (" + p.Name + ")"
	}
	d.reason = err.Error()
	if errors.Is(err, fs.ErrPermission) {
		d.reason = "permission denied: the agent needs CAP_SYS_PTRACE and every capability that the process has"
	}
}

// initialPIDs is the inode number of the first PID namespace: PROC_PID_INIT_INO
// of the kernel's proc_ns.h.
const initialPIDs = 4026531836

// gaps says what this round could not see.
func (r *round) gaps(pids []int) []inventory.Gap {
	var gaps []inventory.Gap
	if r.denied.count > 0 {
		gaps = append(gaps, gap(r.denied.example, r.denied.reason, r.denied.count))
	}
	if !r.host.Live() {
		return gaps
	}
	// Every PID namespace has a process 1. Where it is not listed, /proc is
	// mounted with hidepid, and this agent is not among those who may see all.
	// (Milder hidepid lists processes but denies them: they are counted above.)
	if pids[0] != 1 {
		gaps = append(gaps, gap("/proc", "mounted with hidepid: processes of other users are hidden", 0))
	}
	// Threads of the kernel show only in the first namespace, through whichever
	// mount of /proc.
	if link, err := r.host.Readlink("/proc/self/ns/pid"); !r.kernel && (err != nil || link != fmt.Sprintf("pid:[%d]", initialPIDs)) {
		gaps = append(gaps, gap("/proc", "the agent runs in a PID namespace of its own: processes outside of it are not seen", 0))
	}
	return gaps
}
