package storage

import (
	"fmt"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// candidate follows the directory of an engine; that of one in a container
// through its own root and mount table. The candidate is part of no store, so
// what cannot be told about it is in its row and is no gap: the engines' room
// has said already that it could not look into the container.
func (r *round) candidate(seen *inventory.Facts, c inventory.Candidate) inventory.Candidate {
	gaps := len(r.facts.Gaps)
	defer func() { r.facts.Gaps = r.facts.Gaps[:gaps] }()
	v := r.machine
	at := slices.IndexFunc(seen.Processes, func(p inventory.Process) bool { return p.ID == c.Process })
	if at >= 0 && seen.Processes[at].Contained(seen.First()) {
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
