package metrics

import (
	"fmt"
	"time"

	"cityward/agent"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
)

// report shows how the round itself went.
func (p *page) report(f *families, r *agent.Report, took time.Duration) {
	p.counter(f.rounds, r.Rounds)
	p.counter(f.shortRounds, r.Shorts)
	p.gauge(f.roundTimestamp, unix(r.Snapshot.Taken))
	p.gauge(f.roundDuration, took.Seconds())
	p.gauge(f.configValid, number(r.Config.Valid))
	p.gauge(f.configReload, unix(r.Config.Loaded))
	p.gauge(f.waiversValid, number(r.Policy.WaiverErr == nil))
	for _, c := range r.Collectors {
		p.gauge(f.collectorSuccess, number(c.Success), c.Name)
		p.gauge(f.collectorDuration, c.Duration.Seconds(), c.Name)
		p.gauge(f.collectorLastSuccess, unix(c.LastSuccess), c.Name)
	}
	waivers := make(map[string]int)
	for _, w := range r.Policy.Waivers {
		waivers[w.Check]++
		id := w.Check
		if n := waivers[w.Check]; n > 1 {
			id = fmt.Sprintf("%s/%d", w.Check, n)
		}
		p.gauge(f.waiverExpiry, unix(w.Expires), id)
	}
	for _, t := range r.Policy.Transfers {
		p.gauge(f.transferExpiry, unix(t.Expires), t.ID)
	}
}

// machine shows the host and what of it could be seen.
func (p *page) machine(f *families, s *inventory.Snapshot) {
	if m := s.Machine; m != nil {
		platform := m.Platform
		if platform == "" {
			platform = "none"
		}
		p.gauge(f.machineInfo, 1, m.OS, m.OSVersion, m.Kernel, m.Arch, m.Virtualization, platform, m.Vendor, m.Product)
	}
	for _, c := range s.Captures {
		p.gauge(f.captureTier, 1, c.Name, c.Tier)
		p.gauge(f.captureComplete, number(c.Complete), c.Name)
		p.counter(f.events, c.Events, c.Name)
		p.counter(f.eventsLost, c.Lost, c.Name)
		p.counter(f.eventsUnattributed, c.Orphans, c.Name)
	}
	if probe := s.Probe; probe != nil {
		p.gauge(f.kernelMemory, float64(probe.MemoryBytes))
		p.counter(f.unattributed, probe.UnattributedBytes)
	}
	for _, t := range s.Tables {
		p.gauge(f.factsTimestamp, unix(t.Date), t.Name)
	}
	lost := make(map[string]int)
	for _, kind := range kinds() {
		lost[kind] = 0
	}
	for _, g := range s.Gaps {
		lost[g.Kind] += max(g.Lost, 1)
	}
	for kind, n := range lost {
		p.gauge(f.gaps, float64(n), kind)
	}
}

// kinds lists every kind of evidence, so that "no gap" is a 0 and not an
// absence.
func kinds() []string {
	return []string{
		inventory.KindMachine, inventory.KindProcesses, inventory.KindComponents, inventory.KindLicences,
		inventory.KindFlows, inventory.KindListeners, inventory.KindStorage, inventory.KindHoldings,
		inventory.KindAccess, inventory.KindEngines, inventory.KindPlaces,
		inventory.KindHistory, inventory.KindRunning,
	}
}

// checks shows the verdicts.
func (p *page) checks(f *families, r *agent.Report) {
	type group struct{ severity, disposition string }
	counts := make(map[group]int)
	waived := make(map[string]bool) // checks that a waiver names: whether it excuses a failure now
	for _, w := range r.Policy.Waivers {
		waived[w.Check] = false
	}
	for i := range r.Findings {
		found := &r.Findings[i]
		if found.Verdict != finding.Fail {
			continue
		}
		counts[group{found.Severity.String(), found.Disposition}]++
		if found.Disposition == finding.Waived {
			waived[found.Check] = true
		}
	}
	for _, severity := range finding.Severities() {
		for _, disposition := range []string{finding.Open, finding.Waived, finding.WaiverExpired} {
			n := counts[group{severity.String(), disposition}]
			p.gauge(f.findings, float64(n), severity.String(), disposition)
		}
	}
	for _, result := range r.Results {
		severity := result.Severity.String()
		if result.Verdict != finding.NotApplicable {
			failing := result.Verdict == finding.Fail && result.Disposition != finding.Waived
			p.gauge(f.checkFailing, number(failing), result.Check, severity)
		}
		p.gauge(f.checkUnknown, number(result.Verdict == finding.Unknown), result.Check, severity)
		if excused, named := waived[result.Check]; named {
			p.gauge(f.checkWaived, number(excused), result.Check, severity)
		}
	}
}

// software shows what is installed and running, by licence.
func (p *page) software(f *families, s *inventory.Snapshot) {
	var installed, running inventory.Share
	byEcosystem := make(map[string]*inventory.Share)
	for i := range s.Components {
		c := &s.Components[i]
		if byEcosystem[c.Ecosystem] == nil {
			byEcosystem[c.Ecosystem] = &inventory.Share{}
		}
		byEcosystem[c.Ecosystem].Add(c.Licence.Freedom)
		installed.Add(c.Licence.Freedom)
	}
	for ecosystem, share := range byEcosystem {
		for _, freedom := range inventory.Freedoms() {
			p.gauge(f.components, float64(share.Of(freedom)), ecosystem, freedom.String())
		}
	}
	for _, program := range s.Programs() {
		if program.Runs() {
			running.Add(program.Freedom())
		}
	}
	for _, freedom := range inventory.Freedoms() {
		p.gauge(f.runningPrograms, float64(running.Of(freedom)), freedom.String())
	}
	p.ratio(f, "installed", installed)
	p.ratio(f, "running", running)
}

// ratio shows a share as the two ends between which the truth lies. Of nothing
// there is no share.
func (p *page) ratio(f *families, scope string, share inventory.Share) {
	if share.Total() == 0 {
		return
	}
	p.gauge(f.freeRatio, share.Low(), scope, "low")
	p.gauge(f.freeRatio, share.High(), scope, "high")
}

// custody shows where declared data lies and how many programs hold it.
func (p *page) custody(f *families, r *agent.Report) {
	for i := range r.Snapshot.Stores {
		s := &r.Snapshot.Stores[i]
		zone := ""
		if s.ZoneKnown() {
			zone = s.MediumZone.String()
		}
		p.gauge(f.storeInfo, 1, s.ID, s.Class, s.Medium, zone, s.Encrypted)
	}
	for i := range r.Policy.Stores {
		id := r.Policy.Stores[i].ID
		holders := make(map[inventory.Execution]struct{})
		for _, h := range r.Snapshot.HoldingsOf(id) {
			holders[h.Process] = struct{}{}
		}
		p.gauge(f.storeHolders, float64(len(holders)), id)
		opens := uint64(0)
		for _, o := range r.Snapshot.Opens {
			if o.Store == id {
				opens = o.Count
			}
		}
		p.counter(f.storeOpens, opens, id)
	}
}
