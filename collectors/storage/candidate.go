package storage

import (
	"fmt"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// containersOf tells which executions have a file tree that is not the
// machine's: those in a container, by its name or by process ids of their own.
func containersOf(seen *inventory.Facts) map[inventory.Execution]bool {
	containers := make(map[inventory.Execution]bool)
	first := slices.IndexFunc(seen.Processes, func(p inventory.Process) bool { return p.ID.PID == 1 })
	for i := range seen.Processes {
		p := &seen.Processes[i]
		apart := first >= 0 && p.PIDNS != 0 && seen.Processes[first].PIDNS != 0 && p.PIDNS != seen.Processes[first].PIDNS
		if p.Container != "" || apart {
			containers[p.ID] = true
		}
	}
	return containers
}

// candidate follows the directory of an engine; that of one in a container
// through its own root and mount table. The candidate is part of no store, so
// what cannot be told about it is in its row and is no gap: the engines' room
// has said already that it could not look into the container.
func (r *round) candidate(c inventory.Candidate, containers map[inventory.Execution]bool) inventory.Candidate {
	gaps := len(r.facts.Gaps)
	defer func() { r.facts.Gaps = r.facts.Gaps[:gaps] }()
	v := r.machine
	if containers[c.Process] {
		inside, err := r.openProcess(c.Process.PID)
		if err != nil {
			c.Storage = inventory.StorePath{Path: c.Path, Medium: inventory.MediumUnknown, Encrypted: inventory.EncryptedUnknown}
			return c
		}
		defer inside.files.Close()
		v = inside
	}
	c.Storage, _ = r.follow(v, "", c.Path)
	return c
}

// openProcess gives the view of a process: its root and its mounts.
func (r *round) openProcess(pid int) (*view, error) {
	mounts, err := r.readTable(r.host, fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	root, err := host.Open(strings.TrimSuffix(r.host.Root(), "/")+fmt.Sprintf("/proc/%d/root", pid), r.host.Now)
	if err != nil {
		return nil, err
	}
	return &view{root, mounts}, nil
}
