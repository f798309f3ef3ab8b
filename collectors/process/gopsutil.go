package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	gohost "github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/process"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// listPortably lists the processes by gopsutil, for systems that have nothing
// better. Of each it knows the program, its arguments, its user, and when it began
// to the second.
func (c *Collector) listPortably(ctx context.Context) (inventory.Facts, error) {
	all, err := process.ProcessesWithContext(ctx)
	if ctx.Err() != nil {
		return inventory.Facts{}, ctx.Err()
	}
	if err != nil {
		return inventory.Facts{}, fmt.Errorf("list processes by gopsutil: %w", err)
	}
	booted, err := gohost.BootTimeWithContext(ctx)
	if err != nil {
		return inventory.Facts{}, fmt.Errorf("ask gopsutil when this machine was started: %w", err)
	}
	var facts inventory.Facts
	var denied denied
	known := make(map[inventory.Execution]image, len(all))
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return inventory.Facts{}, err
		}
		created, err := p.CreateTimeWithContext(ctx) // in milliseconds
		if err != nil {
			continue // it has ended: what began can be read by anybody
		}
		row, err := portable(ctx, p)
		if err != nil {
			if runs, _ := process.PidExistsWithContext(ctx, p.Pid); !runs {
				continue
			}
			denied.add(row, err)
		}
		row.Started = time.UnixMilli(created)
		row.ID.Start = uint64(max(created-int64(booted)*1000, 0)) * ticks / 1000
		if _, old := c.known[row.ID]; !old {
			c.events++
		}
		known[row.ID] = image{}
		facts.Processes = append(facts.Processes, row)
	}
	c.known = known
	facts.Gaps = append(facts.Gaps, gap("processes", c.tier.reason, 0))
	if denied.count > 0 {
		facts.Gaps = append(facts.Gaps, gap(denied.example, denied.reason, denied.count))
	}
	facts.Captures = []inventory.Capture{c.capture()}
	return facts, nil
}

// portable reads one process.
func portable(ctx context.Context, p *process.Process) (inventory.Process, error) {
	row := inventory.Process{ID: inventory.Execution{PID: int(p.Pid)}, UID: -1}
	parent, err := p.PpidWithContext(ctx)
	row.Parent = int(parent)
	name, errName := p.NameWithContext(ctx)
	row.Name = host.Text(name, nameLimit)
	path, errPath := p.ExeWithContext(ctx)
	row.Executable = host.Text(path, pathLimit)
	user, errUser := p.UsernameWithContext(ctx)
	row.User = host.Text(user, nameLimit)
	ids, errIDs := p.UidsWithContext(ctx)
	if len(ids) > 1 {
		row.UID = int(ids[1]) // effective
	}
	words, errWords := p.CmdlineSliceWithContext(ctx)
	for _, word := range words {
		row.Arguments = append(row.Arguments, host.Text(word, argumentsLimit))
	}
	row.Kernel = parent == kernelParent || p.Pid == kernelParent
	if row.Kernel {
		errPath = nil
	}
	return row, errors.Join(err, errName, errPath, errUser, errIDs, errWords)
}

// kernelParent is the process id that the threads of the kernel hang below.
const kernelParent = 2
