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
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cityward/collectors/access"
	"cityward/collectors/apk"
	"cityward/collectors/container"
	"cityward/collectors/custody"
	"cityward/collectors/dotnet"
	"cityward/collectors/dpkg"
	"cityward/collectors/engine"
	"cityward/collectors/file"
	"cityward/collectors/flatpak"
	"cityward/collectors/flow"
	"cityward/collectors/geo"
	"cityward/collectors/gobinary"
	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
	"cityward/collectors/java"
	"cityward/collectors/machine"
	"cityward/collectors/node"
	"cityward/collectors/pacman"
	"cityward/collectors/php"
	"cityward/collectors/process"
	"cityward/collectors/python"
	"cityward/collectors/rpm"
	"cityward/collectors/ruby"
	"cityward/collectors/running"
	"cityward/collectors/rust"
	"cityward/collectors/snap"
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

// A collector that holds something beyond memory, as what the kernel tells of its
// own accord, is an [io.Closer]; [Set.Close] closes it.

// Spec is one line of the catalogue.
type Spec struct {
	Name  string
	Kinds []string // of evidence that is missing when it fails altogether
	// Prompt collectors see what must not wait: a wake-up from the kernel asks them
	// again, and all others only each full round.
	Prompt bool
	New    func(m *Machine) Collector
}

// Machine is what collectors are made from.
type Machine struct {
	Host   *host.Host
	Config *configs.Config

	kernel *kernel.Kernel   // the one capture in the kernel, or why there is none
	local  *installed.Local // the one walk through what was put past the package system
	texts  *licence.Texts   // reads the texts of licences, for all
}

// All is the catalogue.
func All() []Spec {
	return []Spec{
		{"machine", []string{inventory.KindMachine}, false, func(m *Machine) Collector { return machine.New(m.Host, m.Config) }},
		{"process", []string{inventory.KindProcesses}, true, func(m *Machine) Collector { return process.New(m.Host, m.Config, m.kernel) }},
		{"engine", []string{inventory.KindEngines}, false, func(m *Machine) Collector { return engine.New(m.Host, m.Config) }},
		{"storage", []string{inventory.KindStorage}, false, func(m *Machine) Collector { return storage.New(m.Host, m.Config) }},
		{"access", []string{inventory.KindAccess}, false, func(m *Machine) Collector { return access.New(m.Host, m.Config) }},
		{"running", []string{inventory.KindRunning}, true, func(m *Machine) Collector { return running.New(m.Host) }},
		{"dpkg", []string{inventory.KindComponents, inventory.KindLicences}, true, func(m *Machine) Collector { return dpkg.New(m.Host, m.texts) }},
		{"apk", []string{inventory.KindComponents, inventory.KindLicences}, true, func(m *Machine) Collector { return apk.New(m.Host) }},
		{"rpm", []string{inventory.KindComponents, inventory.KindLicences}, true, func(m *Machine) Collector { return rpm.New(m.Host) }},
		{"pacman", []string{inventory.KindComponents, inventory.KindLicences}, true, func(m *Machine) Collector { return pacman.New(m.Host) }},
		{"snap", []string{inventory.KindComponents, inventory.KindLicences}, true, func(m *Machine) Collector { return snap.New(m.Host) }},
		{"container", []string{inventory.KindComponents, inventory.KindLicences, inventory.KindRunning}, true, func(m *Machine) Collector { return container.New(m.Host, m.packages, m.languages) }},
		{"python", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return python.New(m.Host, m.texts) }},
		{"node", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return node.New(m.Host, m.texts) }},
		{"gobinary", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return gobinary.New(m.Host, m.local) }},
		{"java", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return java.New(m.Host, m.texts) }},
		{"rust", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return rust.New(m.Host, m.local) }},
		{"ruby", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return ruby.New(m.Host, m.local, m.texts) }},
		{"php", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return php.New(m.Host, m.local, m.texts) }},
		{"dotnet", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return dotnet.New(m.Host, m.local, m.texts) }},
		{"flatpak", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return flatpak.New(m.Host) }},
		{"file", []string{inventory.KindComponents, inventory.KindLicences}, false, func(m *Machine) Collector { return file.New(m.Host, m.local, m.texts) }},
		{"flow", []string{inventory.KindFlows, inventory.KindListeners}, true, func(m *Machine) Collector { return flow.New(m.Host, m.Config, m.kernel) }},
		{"custody", []string{inventory.KindHoldings}, true, func(m *Machine) Collector { return custody.New(m.Host, m.Config, m.kernel) }},
		{"geo", []string{inventory.KindPlaces}, true, func(m *Machine) Collector { return geo.New(m.Host, m.Config) }},
	}
}

// packages makes the readers of the package databases below another root.
func (m *Machine) packages(h *host.Host) []container.Reader {
	return []container.Reader{dpkg.New(h, m.texts), apk.New(h), rpm.New(h)}
}

// languages makes the rooms that look for packages of languages below another root.
func (m *Machine) languages(h *host.Host) []container.Language {
	return []container.Language{python.New(h, m.texts), node.New(h, m.texts), java.New(h, m.texts), gobinary.New(h, nil)}
}

// Entry is a collector at work.
type Entry struct {
	Name   string
	Kinds  []string
	Prompt bool
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
	kernel  *kernel.Kernel
	texts   *licence.Texts // nil likewise
	entries []Entry
	waker   *waker // nil before the first call of Wake

	unpinned error
}

// Build opens the machine whose files lie below root and makes the collectors
// of the catalogue for it.
func Build(catalogue []Spec, root string, cfg *configs.Config, now func() time.Time) (*Set, error) {
	h, err := host.Open(root, now)
	if err != nil {
		return nil, err
	}
	m := &Machine{Host: h, Config: cfg, local: installed.NewLocal(h), texts: licence.New(cfg.State)}
	m.kernel = capture(h, cfg.Capture)
	set := &Set{host: h, kernel: m.kernel, texts: m.texts}
	if err := m.kernel.Err(); errors.Is(err, kernel.ErrPins) {
		set.unpinned = err
		unpinned := cfg.Capture
		unpinned.Pins = ""
		m.kernel = capture(h, unpinned)
		set.kernel = m.kernel
	}
	for _, spec := range catalogue {
		collector := spec.New(m)
		if slices.Contains(spec.Kinds, inventory.KindLicences) {
			collector = &stated{Collector: collector, name: spec.Name, cfg: cfg}
		}
		set.entries = append(set.entries, Entry{spec.Name, spec.Kinds, spec.Prompt, collector})
	}
	return set, nil
}

// capture opens the capture in the kernel, or says why there is none.
func capture(h *host.Host, cfg configs.Capture) *kernel.Kernel {
	if !h.Live() {
		return kernel.Refused(errors.New("another machine's file tree has no kernel"))
	}
	if cfg.Tier != "auto" && cfg.Tier != inventory.TierBPF {
		return kernel.Refused(fmt.Errorf("capture.tier is %s", cfg.Tier))
	}
	k, err := kernel.Open(kernel.Options{Flows: uint32(cfg.Flows), Programs: uint32(cfg.Programs), Pins: cfg.Pins})
	if err != nil {
		return kernel.Refused(err)
	}
	return k
}

// Unpin ends a capture that outlives the daemon and removes what pins it.
func Unpin(cfg *configs.Config) error {
	if cfg.Capture.Pins == "" {
		return nil
	}
	return kernel.Unpin(cfg.Capture.Pins)
}

// KernelTier reports whether tier bpf is compiled in.
func KernelTier() bool { return kernel.Available }

// Unpinned says why the capture in the kernel ends with this process, although the
// configuration wants it to go on; nil if it does.
func (s *Set) Unpinned() error { return s.unpinned }

// Refused says why nothing is captured in the kernel; nil if it is.
func (s *Set) Refused() error { return s.kernel.Err() }

// Of makes a set of collectors that exist already.
func Of(entries ...Entry) *Set { return &Set{entries: entries} }

// Entries lists the collectors in the order in which they run.
func (s *Set) Entries() []Entry { return s.entries }

// Rest is called after a round: what only a round needs is freed. An error is for
// the log; it costs time at the next start.
func (s *Set) Rest() error {
	if s.texts == nil {
		return nil
	}
	return s.texts.Rest()
}

// Close ends what collectors hold and releases the machine, once.
func (s *Set) Close() error {
	if s.waker != nil {
		s.waker.close()
	}
	var errs []error
	for _, entry := range s.entries {
		if c, holds := entry.Collector.(io.Closer); holds {
			errs = append(errs, c.Close())
		}
	}
	if s.kernel != nil {
		errs = append(errs, s.kernel.Close())
	}
	if s.host != nil {
		errs = append(errs, s.host.Close())
	}
	s.entries, s.waker, s.kernel, s.host = nil, nil, nil, nil
	return errors.Join(errs...)
}
