package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

// source is where flows come from; each tier is one. It is opened once, keeps
// what it needs between rounds, and is not for concurrent use.
type source interface {
	// collect gives listeners, flows with their zones, connected Unix sockets,
	// one capture, and a gap for all that this source misses. The reason of the
	// capture is also that of one gap among flows, so that no check on flows
	// passes.
	collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error)
	close() error
}

// configurer is a source that heeds the policy.
type configurer interface{ configure() }

// surroundings is what a source works with.
type surroundings struct {
	host *host.Host
	zone func(f *inventory.Flow, own bool) inventory.Zone // by the policy in force; own: the remote address is this machine's
	city func() []netip.Prefix                            // its networks, by the policy in force
}

// tier is one way of seeing flows.
type tier struct {
	name string // one of the Tier constants
	open func(*surroundings) (source, error)
}

// tiers lists them in the order in which they are tried. What cannot be opened
// here gives an error that says why, for people.
func tiers(k *kernel.Kernel) []tier {
	return []tier{
		{inventory.TierBPF, openTraced(k)},
		{inventory.TierEvents, openEvents},
		{inventory.TierPoll, openPoll},
		{inventory.TierGopsutil, openGopsutil},
	}
}

// choose opens the best source not above a tier. declined says why it is none of
// those above it.
func choose(best string, all []tier, s *surroundings) (chosen source, declined string, err error) {
	var reasons []string
	if at := slices.IndexFunc(all, func(t tier) bool { return t.name == best }); at > 0 {
		reasons = append(reasons, fmt.Sprintf("capture.tier = %q permits no better", best))
		all = all[at:]
	}
	for _, t := range all {
		if chosen, err = t.open(s); err == nil {
			return chosen, strings.Join(reasons, "; "), nil
		}
		reasons = append(reasons, t.name+": "+explain(err))
	}
	return nil, "", errors.New("open a capture of flows: " + strings.Join(reasons, "; "))
}
