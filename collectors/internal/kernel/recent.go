package kernel

import "time"

// Recent follows a total of losses. The zero value has seen none.
type Recent struct {
	total uint64
	grown time.Time
}

// patience is how long a loss is held against a capture.
const patience = time.Hour

// Within reports whether the total has grown in the last hour. It may shrink: part
// of what the kernel skipped counts only while there are sockets older than the
// capture.
func (r *Recent) Within(total uint64, now time.Time) bool {
	if total > r.total {
		r.grown = now
	}
	r.total = total
	return !r.grown.IsZero() && now.Sub(r.grown) < patience
}
