package custody

import (
	"slices"
	"time"

	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

// processLinks lead from a program to those that it starts.
func (r *round) processLinks(reading *kernel.Reading) links {
	all := make(links)
	if reading == nil {
		for i := range r.seen.Processes {
			p := &r.seen.Processes[i]
			all.add(r.byPID[p.Parent], link{to: p.ID, how: inventory.HowDescendant, evidence: "started", first: p.Started, last: p.Started})
		}
		return all
	}
	images := make(map[inventory.Execution]bool, len(reading.Programs))
	for i := range reading.Programs {
		images[inventory.Execution(reading.Programs[i].ID)] = true
	}
	for i := range reading.Programs {
		p := &reading.Programs[i]
		way := link{to: inventory.Execution(p.ID), how: inventory.HowDescendant, evidence: "started", first: p.Began, last: p.Began}
		all.add(inventory.Execution(p.Parent), way)
		earlier := way.to
		if earlier.Image = (earlier.Image - 1) & 31; images[earlier] {
			all.add(earlier, way)
		}
	}
	return all
}

// channel names what two programs may both have open.
type channel struct {
	kind uint8
	id   uint64
}

// channelLinks lead from who has a pipe, a socket or a terminal open to write to
// who has its other end open to read.
func (r *round) channelLinks(programs []kernel.Program, all links) {
	readers := make(map[channel][]*kernel.Program)
	for i := range programs {
		for _, c := range programs[i].Channels {
			switch {
			case c.Kind == kernel.ChannelTerminal:
			case c.Kind == kernel.ChannelSocket, c.Reads:
				at := channel{c.Kind, c.ID}
				readers[at] = append(readers[at], &programs[i])
			}
		}
	}
	for i := range programs {
		p := &programs[i]
		for _, c := range p.Channels {
			to := channel{c.Kind, c.ID}
			switch {
			case !c.Writes || c.Kind == kernel.ChannelMaster: // what is typed is no data of a store's
				continue
			case c.Kind == kernel.ChannelTerminal:
				to.kind = kernel.ChannelMaster
			case c.Kind == kernel.ChannelSocket:
				to.id = c.Peer
			}
			for _, reader := range readers[to] {
				if r.hands(reader, p, readers[to]) {
					continue
				}
				all.add(inventory.Execution(p.ID), channelLink(p, reader, c.Kind))
			}
		}
	}
}

// settled is how long after the beginning of a pipeline all of it has begun.
const settled = 50 * time.Millisecond

// hands reports whether a program only made a pipe for one that it starts, or may be
// about to: then it has the end open for a moment.
func (r *round) hands(maker, writer *kernel.Program, readers []*kernel.Program) bool {
	if writer.Parent == maker.ID && r.now.Sub(writer.Began) < settled {
		return true
	}
	return slices.ContainsFunc(readers, func(other *kernel.Program) bool { return other.Parent == maker.ID })
}

func channelLink(from, to *kernel.Program, kind uint8) link {
	way := link{
		to: inventory.Execution(to.ID), how: inventory.HowPipeline, evidence: "a pipe between them",
		first: later(from.Began, to.Began), last: from.Ended,
	}
	switch kind {
	case kernel.ChannelSocket:
		way.evidence = "a pair of sockets between them"
	case kernel.ChannelTerminal:
		way.evidence = "a terminal between them"
	}
	return way
}
