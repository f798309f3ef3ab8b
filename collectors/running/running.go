// Package running finds, for programs that run from this machine's own files, the
// scripts that interpreters were told to run and the libraries that are mapped; see
// package loaded for how, and package container for other file trees.
//
// It runs before the rooms that know packages, which then name the owners of what
// it found as they do for executables.
package running

import (
	"context"
	"fmt"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/loaded"
	"cityward/collectors/inventory"
)

const name = "running"

// Collector finds scripts and libraries. It is not safe for concurrent use.
type Collector struct {
	host   *host.Host
	loaded loaded.Reader
}

// New returns a collector of what runs from h's files.
func New(h *host.Host) *Collector { return &Collector{host: h} }

// Collect looks at the processes among seen.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	if len(seen.Processes) == 0 {
		return inventory.Facts{}, nil // which another room says
	}
	proc, err := c.host.OpenProc()
	if err != nil {
		return inventory.Facts{}, fmt.Errorf("read what programs have loaded: %w", err)
	}
	defer proc.Close()
	var ns uint64
	if first := seen.First(); first != nil {
		ns = first.MountNS
	}
	var root inventory.FileID
	if at, err := c.host.Find("/"); err == nil {
		root = inventory.FileID{Device: at.Device, Inode: at.Inode}
	}
	var own []*inventory.Process
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if !p.Kernel && !p.Foreign && p.Container == "" && (p.Root == root || p.Root == inventory.FileID{}) {
			own = append(own, p)
		}
	}
	found, err := c.loaded.Read(ctx, c.host, proc, ns, own)
	if err != nil {
		return inventory.Facts{}, err
	}
	gaps := found.Unknown.Gap(nil, name, "interpreters whose script was not found")
	gaps = found.Denied.Gap(gaps, name, "which libraries programs have mapped cannot be read")
	gaps = found.Over.Gap(gaps, name, "too many libraries")
	for i := range gaps {
		gaps[i].Kind = inventory.KindRunning
	}
	return inventory.Facts{Scripts: found.Scripts, Libraries: found.Libraries, Gaps: gaps}, nil
}
