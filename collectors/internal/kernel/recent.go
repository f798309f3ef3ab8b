package kernel

import "time"

// Recent follows a total of losses. The zero value has seen none.
type Recent struct {
	total uint64
	grown time.Time
}

// patience is how long a loss is held against a capture.
const patience = time.Hour

// Within reports whether the total has grown in the last hour.
func (r *Recent) Within(total uint64, now time.Time) bool {
	if total > r.total {
		r.total, r.grown = total, now
	}
	return !r.grown.IsZero() && now.Sub(r.grown) < patience
}
