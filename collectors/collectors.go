// Package collectors is the catalogue of what can be seen. [All] lists the
// collectors in the order in which they run: each is given what those before it
// saw in the same round, so facts flow one way and no collector knows another.
//
// They run one after the other. A round is a few tens of milliseconds of work,
// mostly system calls; running rooms side by side would save no processor time
// and cost the daemon the property that two rounds of a quiet machine are equal.
package collectors

import (
	"context"

	"cityward/collectors/inventory"
)

// Collector sees one part of the machine.
type Collector interface {
	// Collect returns what it sees now. seen holds what earlier collectors saw
	// in this round and must not be changed. An error means that nothing could
	// be seen at all; what is only partly missing is a gap among the facts.
	Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error)
}
