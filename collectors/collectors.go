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
	"time"

	"cityward/collectors/access"
	"cityward/collectors/custody"
	"cityward/collectors/dpkg"
	"cityward/collectors/engine"
	"cityward/collectors/flow"
	"cityward/collectors/geo"
	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/collectors/machine"
	"cityward/collectors/process"
	"cityward/collectors/storage"
	"cityward/configs"
)

// Collector sees one part of the machine.
type Collector interface {
	// Collect returns what it sees now. seen holds what earlier collectors saw
	// in this round and must not be changed. An error means that nothing could
	// be seen at all; what is only partly missing is a gap among the facts.
	Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error)
}

// Configurer is a collector that heeds the configuration. Configure is called
// between rounds, so that a reload loses none of what was counted.
type Configurer interface {
	Configure(cfg *configs.Config)
}

// Spec is one line of the catalogue.
type Spec struct {
	Name  string
	Kinds []string // of evidence that is missing when it fails altogether
	New   func(h *host.Host, cfg *configs.Config) Collector
}

// All is the catalogue.
func All() []Spec {
	return []Spec{
		{"machine", []string{inventory.KindMachine}, func(h *host.Host, cfg *configs.Config) Collector { return machine.New(h, cfg) }},
		{"process", []string{inventory.KindProcesses}, func(h *host.Host, _ *configs.Config) Collector { return process.New(h) }},
		{"engine", []string{inventory.KindEngines}, func(h *host.Host, cfg *configs.Config) Collector { return engine.New(h, cfg) }},
		{"storage", []string{inventory.KindStorage}, func(h *host.Host, cfg *configs.Config) Collector { return storage.New(h, cfg) }},
		{"access", []string{inventory.KindAccess}, func(h *host.Host, cfg *configs.Config) Collector { return access.New(h, cfg) }},
		{"dpkg", []string{inventory.KindComponents, inventory.KindLicences}, func(h *host.Host, _ *configs.Config) Collector { return dpkg.New(h) }},
		{"flow", []string{inventory.KindFlows, inventory.KindListeners}, func(h *host.Host, cfg *configs.Config) Collector { return flow.New(h, cfg) }},
		{"custody", []string{inventory.KindHoldings}, func(h *host.Host, cfg *configs.Config) Collector { return custody.New(h, cfg) }},
		{"geo", []string{inventory.KindPlaces}, func(h *host.Host, cfg *configs.Config) Collector { return geo.New(h, cfg) }},
	}
}

// Entry is a collector at work.
type Entry struct {
	Name  string
	Kinds []string
	Collector
}

// Configure gives a new configuration to a collector that heeds one. The
// collector must not be at work.
func (e Entry) Configure(cfg *configs.Config) {
	if c, heeds := e.Collector.(Configurer); heeds {
		c.Configure(cfg)
	}
}

// Set is the collectors of one machine.
type Set struct {
	host    *host.Host // nil for a set that Of made
	entries []Entry
}

// Build opens the machine whose files lie below root and makes the collectors
// of the catalogue for it.
func Build(catalogue []Spec, root string, cfg *configs.Config, now func() time.Time) (*Set, error) {
	h, err := host.Open(root, now)
	if err != nil {
		return nil, err
	}
	set := &Set{host: h}
	for _, spec := range catalogue {
		set.entries = append(set.entries, Entry{spec.Name, spec.Kinds, spec.New(h, cfg)})
	}
	return set, nil
}

// Of makes a set of collectors that exist already.
func Of(entries ...Entry) *Set { return &Set{entries: entries} }

// Entries lists the collectors in the order in which they run.
func (s *Set) Entries() []Entry { return s.entries }

// Close releases the machine.
func (s *Set) Close() error {
	if s.host == nil {
		return nil
	}
	return s.host.Close()
}
