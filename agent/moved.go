package agent

import (
	"maps"
	"slices"
	"time"

	"cityward/collectors/inventory"
)

// Patience is how many full rounds a vanished row is remembered. A namespace that
// cannot be read for one round hides its rows; counted anew when they come back,
// old bytes would look like new ones.
const Patience = 10

// Moved is what one flow moved since the report before.
type Moved struct {
	Flow *inventory.Flow
	inventory.Volume
	Program inventory.Process   // names only: executable, user, unit, container; zero where never known
	PURL    string              // of the component that the program belongs to; "" unknown
	Holds   []inventory.Holding // what the program held when it was last seen
}

// Growth tells what flows moved from report to report. Whatever must count bytes
// once takes them from here, so that metrics and the ledger cannot part.
type Growth struct {
	round uint64
	rows  map[rowKey]*row
}

// rowKey names a flow from round to round.
type rowKey struct {
	process inventory.Execution
	inventory.FlowKey
}

// row is what was known of a flow the last time it was seen.
type row struct {
	inventory.Volume
	first time.Time
	began time.Duration
	round uint64
	owner *owner
}

// owner is whose flow it is. The rows of one program share it.
type owner struct {
	program inventory.Process
	purl    string
	holds   []inventory.Holding
}

// NewGrowth has seen no report yet.
func NewGrowth() *Growth { return &Growth{rows: make(map[rowKey]*row)} }

// Next takes the next snapshot and gives the flows that moved, in its order. Of a
// flow seen for the first time that is all it ever moved, but for what an earlier
// run of the daemon has reported: bytes that left before the daemon started have
// left, too.
func (g *Growth) Next(s *inventory.Snapshot, short bool) []Moved {
	if !short {
		g.round++
	}
	var moved []Moved
	owners := make(map[inventory.Execution]*owner)
	for i := range s.Flows {
		flow := &s.Flows[i]
		known, grown := g.advance(flow)
		known.attribute(s, flow.Process, owners)
		if grown != (inventory.Volume{}) {
			moved = append(moved, Moved{flow, grown, known.owner.program, known.owner.purl, known.owner.holds})
		}
	}
	maps.DeleteFunc(g.rows, func(_ rowKey, r *row) bool { return g.round-r.round > Patience })
	return moved
}

// advance finds what is remembered of a flow and how much it grew. A row that
// began at another time, or shrank, is a new one. One of the kernel's has a name of
// its own, and shrinks for a moment where a segment is sent again.
func (g *Growth) advance(flow *inventory.Flow) (*row, inventory.Volume) {
	now := inventory.Volume{Sent: flow.Sent, Received: flow.Received, Connections: flow.Connections}
	key := rowKey{flow.Process, flow.Key()}
	known := g.rows[key]
	switch {
	case known == nil || known.began != flow.Began:
		known = nil
	case flow.Began != 0:
		now.Sent, now.Received = max(now.Sent, known.Sent), max(now.Received, known.Received)
		now.Connections = max(now.Connections, known.Connections)
	case !known.first.Equal(flow.First) ||
		now.Sent < known.Sent || now.Received < known.Received || now.Connections < known.Connections:
		known = nil
	}
	if known == nil {
		known = &row{first: flow.First, began: flow.Began, owner: &owner{}, Volume: inventory.Volume{
			Sent: min(flow.Reported.Sent, now.Sent), Received: min(flow.Reported.Received, now.Received),
			Connections: min(flow.Reported.Connections, now.Connections),
		}}
		g.rows[key] = known
	}
	grown := inventory.Volume{Sent: now.Sent - known.Sent, Received: now.Received - known.Received, Connections: now.Connections - known.Connections}
	known.Volume, known.round = now, g.round
	return known, grown
}

// attribute remembers whose flow it is. The last bytes of a program that has
// ended are still its own, and still the store's.
func (r *row) attribute(s *inventory.Snapshot, id inventory.Execution, owners map[inventory.Execution]*owner) {
	process, runs := s.Process(id)
	if !runs {
		return
	}
	if owners[id] == nil {
		o := &owner{holds: slices.Clone(s.StoresHeldBy(id)), program: inventory.Process{
			Name: process.Name, Executable: process.Executable, User: process.User, Unit: process.Unit, Container: process.Container,
		}}
		if component, owned := s.Owner(process); owned {
			o.purl = component.PURL
		}
		owners[id] = o
	}
	r.owner = owners[id]
}
