package custody

import (
	"maps"
	"time"

	"cityward/collectors/inventory"
)

// flowID names a flow from round to round.
type flowID struct {
	process inventory.Execution
	inventory.FlowKey
}

func beyond(f *inventory.Flow) bool {
	return f.Sent > 0 && (f.Zone == inventory.Outside || f.Zone == inventory.Approved)
}

// before gives what the flows of a program had sent beyond this machine before it
// held anything. What went between the last round and that moment cannot be told
// apart and counts as sent after it, unless nothing was sent since.
func (r *round) before(id inventory.Execution, since time.Time) map[inventory.FlowKey]uint64 {
	var before map[inventory.FlowKey]uint64
	for i := range r.seen.Flows {
		f := &r.seen.Flows[i]
		if f.Process != id || !beyond(f) || !f.First.Before(since) {
			continue
		}
		sent := r.sent[flowID{id, f.Key()}]
		if last := f.LastSent; !last.IsZero() && last.Before(since) {
			sent = f.Sent
		}
		if sent > 0 {
			if before == nil {
				before = make(map[inventory.FlowKey]uint64)
			}
			before[f.Key()] = sent
		}
	}
	return before
}

// measure notes what flows have sent so far, for holds that begin later.
func (r *round) measure() {
	sent := make(map[flowID]uint64, len(r.sent))
	for i := range r.seen.Flows {
		if f := &r.seen.Flows[i]; beyond(f) {
			sent[flowID{f.Process, f.Key()}] = f.Sent
		}
	}
	r.sent = sent
	for h, m := range r.held { // what a flow that is gone had sent is of no use
		maps.DeleteFunc(m.before, func(key inventory.FlowKey, _ uint64) bool {
			_, there := sent[flowID{h.process, key}]
			return !there
		})
	}
}
