package report

import (
	"time"

	"cityward/collectors/inventory"
)

// Changes compares looks at flows. The first look is what was there before: nothing
// of it is new.
type Changes struct {
	before map[flowKey]inventory.Volume
	open   map[flowKey]int
}

// Change is a flow that is new or moved, and what it moved since the look before.
type Change struct {
	Flow
	moved inventory.Volume
}

// flowKey names a flow from look to look. The document does not tell network
// namespaces apart, so equal ones are numbered, in its order.
type flowKey struct {
	pid                 int
	direction, protocol string
	local               jsonEndpoint
	remote              jsonEndpoint
	folded              string // zone of many flows in one
	first               time.Time
	number              int
}

func keyOf(f *Flow) flowKey {
	k := flowKey{direction: f.Direction, protocol: f.Protocol, first: f.First.UTC()}
	if f.Program != nil && f.Program.PID != nil {
		k.pid = *f.Program.PID
	}
	if f.Local != nil {
		k.local = *f.Local
	}
	if f.Remote != nil {
		k.remote = f.Remote.jsonEndpoint
	} else {
		k.folded = f.Zone
	}
	return k
}

// Next takes the next look and gives what changed, in its order.
func (c *Changes) Next(flows []Flow) []Change {
	var changed []Change
	now, open := make(map[flowKey]inventory.Volume, len(flows)), make(map[flowKey]int, len(flows))
	for i := range flows {
		f := &flows[i]
		key := keyOf(f)
		for _, taken := now[key]; taken; _, taken = now[key] {
			key.number++
		}
		v := inventory.Volume{Sent: f.Sent, Received: f.Received, Connections: f.Connections}
		now[key], open[key] = v, f.Open
		old := c.before[key]
		if v.Sent < old.Sent || v.Received < old.Received || v.Connections < old.Connections {
			old = inventory.Volume{} // another that took its place
		}
		if _, known := c.before[key]; known && v == old && f.Open == c.open[key] {
			continue
		}
		moved := inventory.Volume{Sent: v.Sent - old.Sent, Received: v.Received - old.Received, Connections: v.Connections - old.Connections}
		changed = append(changed, Change{*f, moved})
	}
	first := c.before == nil
	c.before, c.open = now, open
	if first {
		return nil
	}
	return changed
}
