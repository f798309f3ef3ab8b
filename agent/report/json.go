package report

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// known gives nil for "": an absent fact is null, never an empty string.
func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	utc := t.UTC()
	return &utc
}

func (d documenter) scan() jsonScan {
	return jsonScan{
		Taken:      d.Taken.UTC(),
		Machine:    d.machine(),
		Capture:    d.capture(),
		Inventory:  d.inventory(false),
		DataStores: d.stores(),
		Candidates: d.candidates(),
		Flows:      d.flows(),
		Custody:    d.custody(),
		Checks:     d.checks(),
		Findings:   d.findings(),
		Gaps:       d.gaps(),
	}
}

func (d documenter) machine() jsonMachine {
	m := d.Machine
	if m == nil {
		return jsonMachine{}
	}
	return jsonMachine{
		Hostname: known(m.Hostname), OS: known(m.OS), OSVersion: known(m.OSVersion), Kernel: known(m.Kernel), Arch: known(m.Arch),
		Booted: instant(m.Booted), CPUs: m.CPUs, MemoryBytes: m.MemoryBytes,
		Virtualization: known(m.Virtualization), Platform: known(m.Platform), Vendor: known(m.Vendor), Product: known(m.Product),
	}
}

func (d documenter) capture() map[string]jsonCapture {
	captures := make(map[string]jsonCapture)
	for _, c := range d.Captures {
		captures[c.Name] = jsonCapture{c.Tier, c.Complete, known(c.Reason), c.Events, c.Lost, c.Orphans}
	}
	return captures
}

func (d documenter) inventory(running bool) jsonInventory {
	programs := d.Programs()
	inUse := d.Running()
	doc := jsonInventory{Components: []jsonComponent{}, Programs: []jsonProgram{}, Containers: d.containers(), Gaps: d.gaps()}
	for _, p := range programs {
		doc.Programs = append(doc.Programs, program(&p))
	}
	for i := range d.Components {
		c := &d.Components[i]
		if running && !inUse[c.PURL] {
			continue
		}
		doc.Components = append(doc.Components, jsonComponent{
			c.Ecosystem, c.Name, c.Version, c.PURL, list(c.Also), known(c.Supplier), known(c.Area), known(c.Origin), licence(c.Licence), inUse[c.PURL],
			list(c.Images), !c.Contained,
		})
	}
	return doc
}

// list gives an empty list for none.
func list(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

func (d documenter) containers() []jsonContainer {
	docs := []jsonContainer{}
	for i := range d.Containers {
		c := &d.Containers[i]
		docs = append(docs, jsonContainer{
			known(c.ID), known(c.Name), known(c.Runtime), known(c.Image), known(c.Digest), known(c.System), c.Packages, known(c.Unread),
		})
	}
	return docs
}

func licence(l inventory.Licence) jsonLicence {
	return jsonLicence{known(l.Declared), known(l.Expression), known(l.Source), l.Freedom.String(), known(l.Disputed)}
}

func program(p *inventory.Program) jsonProgram {
	doc := jsonProgram{
		Executable: known(p.Executable), PIDs: p.PIDs, User: known(p.User), Unit: known(p.Unit), Container: known(p.Container),
		Image: known(p.Image), Package: known(p.Component.PURL), Licence: licence(p.Component.Licence),
		Script: known(p.Script), ScriptPackage: known(p.ScriptOf.PURL), Listening: p.Listening,
	}
	if doc.Listening == nil {
		doc.Listening = []string{}
	}
	return doc
}

// process names an execution; nil where none could be found.
func (d documenter) process(id inventory.Execution) *jsonProcess {
	if id.PID == 0 {
		return nil
	}
	doc := &jsonProcess{PID: &id.PID}
	p, ok := d.Process(id)
	if !ok {
		return doc
	}
	doc.Executable, doc.User, doc.Unit, doc.Container = known(p.Executable), known(p.User), known(p.Unit), known(p.Container)
	if owner, ok := d.Owner(p); ok {
		doc.Package = known(owner.PURL)
	}
	return doc
}

// endpoint gives nil where the address is not known.
func endpoint(a netip.AddrPort) *jsonEndpoint {
	if !a.IsValid() {
		return nil
	}
	return &jsonEndpoint{a.Addr().String(), a.Port()}
}

func (d documenter) flows() []Flow {
	docs := []Flow{}
	for i := range d.Flows {
		f := &d.Flows[i]
		doc := Flow{
			Program: d.process(f.Process), Direction: f.Direction, Protocol: f.Protocol, Local: endpoint(f.Local),
			Zone: f.Zone.String(), Sent: f.Sent, Received: f.Received, Connections: f.Connections, Open: f.Open,
			First: f.First.UTC(), Last: f.Last.UTC(),
		}
		if remote := endpoint(f.Remote); remote != nil {
			place, _ := d.Place(f.Remote.Addr())
			doc.Remote = &jsonRemote{*remote, []string{}, known(place.Country), known(place.Operator)}
		}
		docs = append(docs, doc)
	}
	return docs
}

func (d documenter) custody() []Holding {
	docs := []Holding{}
	for _, h := range d.Holdings {
		docs = append(docs, Holding{
			Store: h.Store, Program: d.process(h.Process), How: h.How, Since: h.Since.UTC(), From: d.process(h.From),
			Evidence: known(h.Evidence), Destinations: d.destinations(h),
		})
	}
	return docs
}

func (d documenter) destinations(h inventory.Holding) []jsonDestination {
	docs := []jsonDestination{}
	for _, f := range d.FlowsOf(h.Process) {
		doc := jsonDestination{Zone: f.Zone.String(), Sent: h.Sent(&f), First: f.First.UTC(), Last: f.Last.UTC()}
		if remote := endpoint(f.Remote); remote != nil {
			doc.Address, doc.Port = &remote.Address, &remote.Port
		}
		transfers := d.Policy.MatchTransfers(configs.TransferQuery{
			Direction: f.Direction, Remote: f.Remote.Addr(), Port: f.Port(), Program: d.Executable(f.Process), Store: h.Store, At: d.Taken,
		})
		if len(transfers) > 0 {
			doc.Transfer = known(transfers[0].ID)
		}
		docs = append(docs, doc)
	}
	return docs
}

func (d documenter) stores() []jsonStore {
	docs := []jsonStore{}
	for _, s := range d.Stores {
		doc := jsonStore{
			ID: s.ID, Class: s.Class, Paths: []string{}, Services: append([]string{}, s.Services...), Medium: s.Medium,
			Peer: known(s.Peer), Encrypted: s.Encrypted, Disks: []string{}, Holders: len(d.HoldingsOf(s.ID)),
		}
		if s.ZoneKnown() {
			doc.MediumZone = known(s.MediumZone.String())
		}
		for _, p := range s.Paths {
			doc.Paths = append(doc.Paths, p.Path)
			for _, disk := range p.Disks {
				if !slices.Contains(doc.Disks, disk.Name) {
					doc.Disks = append(doc.Disks, disk.Name)
				}
			}
		}
		docs = append(docs, doc)
	}
	return docs
}

func (d documenter) candidates() []jsonCandidate {
	docs := []jsonCandidate{}
	for _, c := range d.Candidates {
		docs = append(docs, jsonCandidate{c.Engine, c.Path, d.process(c.Process), c.Reason})
	}
	return docs
}

func (d documenter) checks() []jsonCheck {
	docs := []jsonCheck{}
	for _, r := range d.Results {
		docs = append(docs, jsonCheck{r.Check, r.Title, r.Verdict.String(), r.Severity.String()})
	}
	return docs
}

func (d documenter) findings() []Found {
	docs := []Found{}
	shown := ShownFindings(d.Findings)
	for i := range shown {
		docs = append(docs, findingOf(&shown[i]))
	}
	return docs
}

func findingOf(f *finding.Finding) Found {
	return Found{
		f.Check, f.Title, f.Severity.String(), f.Verdict.String(), f.Disposition, known(f.Subject), known(f.Reason), f.Since.UTC(),
		f.Facts, known(f.Method), known(f.Confidence), f.Remedy, known(f.Waiver), f.Maps, nil,
	}
}

// Finding gives one finding in the form that it has in documents, on one line.
func Finding(f *finding.Finding) ([]byte, error) {
	data, err := json.Marshal(findingOf(f))
	if err != nil {
		return nil, fmt.Errorf("write finding: %w", err)
	}
	return data, nil
}

func (d documenter) gaps() []jsonGap {
	docs := []jsonGap{}
	for _, g := range d.Gaps {
		docs = append(docs, jsonGap{g.Collector, g.Kind, known(g.Store), known(g.Subject), g.Reason, g.Lost})
	}
	return docs
}

func (d documenter) status() jsonStatus {
	doc := jsonStatus{
		Taken: d.Taken.UTC(), Rounds: d.Rounds, Shorts: d.Shorts, Duration: d.Duration.Seconds(), Capture: d.capture(),
		Config:     jsonConfigState{d.Config.Valid, d.Config.Loaded.UTC(), known(d.Config.Err)},
		Collectors: []jsonCollector{}, Gaps: d.gaps(),
	}
	for _, c := range d.Collectors {
		doc.Collectors = append(doc.Collectors, jsonCollector{c.Name, c.Success, c.Duration.Seconds(), instant(c.LastSuccess), known(c.Err)})
	}
	return doc
}
