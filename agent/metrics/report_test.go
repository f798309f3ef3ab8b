package metrics

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"cityward/agent"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func taken() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

// reportOf gives a finished round with some facts.
func reportOf(round uint64, facts *inventory.Facts, policy *configs.Policy) *agent.Report {
	at := taken().Add(time.Duration(round) * time.Minute)
	return &agent.Report{
		Snapshot: inventory.Merge(at, facts),
		Policy:   policy,
		Config:   agent.ConfigState{Valid: true, Loaded: taken()},
		Rounds:   round,
		Duration: 250 * time.Millisecond,
	}
}

// full is a report that has something of everything, so that every metric is on
// its page.
func full() *agent.Report {
	registry := inventory.Execution{PID: 100, Start: 1000}
	shell := inventory.Execution{PID: 200, Start: 2000}
	facts := &inventory.Facts{
		Machine: &inventory.Machine{
			Hostname: "alpha.city.example", OS: "debian", OSVersion: "12", Kernel: "6.1.0-18-amd64", Arch: "x86_64",
			Virtualization: "none", Vendor: "Example Works", Product: "Rack 1", Serial: "S123", UUID: "4c4c4544",
			Addresses: []string{"10.77.0.2"},
		},
		Processes: []inventory.Process{
			{
				ID: registry, Name: "postgres", Executable: "/usr/lib/postgresql/15/bin/postgres", File: inventory.FileID{Device: 1, Inode: 1},
				User: "postgres", Unit: "postgresql@15-main.service",
			},
			{
				ID: shell, Name: "rsync", Executable: "/usr/local/bin/rsync", File: inventory.FileID{Device: 1, Inode: 2},
				User: "alice", Unit: "session-4.scope",
			},
			{ID: inventory.Execution{PID: 2, Start: 1}, Name: "kthreadd", Kernel: true},
		},
		Components: []inventory.Component{
			{Ecosystem: "dpkg", Name: "postgresql-15", PURL: "pkg:deb/debian/postgresql-15", Licence: inventory.Licence{Freedom: inventory.Free}},
			{Ecosystem: "dpkg", Name: "firmware", PURL: "pkg:deb/debian/firmware", Licence: inventory.Licence{Freedom: inventory.NonFree}},
			{Ecosystem: "dpkg", Name: "local", PURL: "pkg:deb/local"},
			{Ecosystem: "dpkg", Name: "bash", PURL: "pkg:deb/debian/bash", Licence: inventory.Licence{Freedom: inventory.Free}},
		},
		Owners: []inventory.Owner{
			{Path: "/usr/lib/postgresql/15/bin/postgres", File: inventory.FileID{Device: 1, Inode: 1}, PURL: "pkg:deb/debian/postgresql-15"},
		},
		Flows: []inventory.Flow{
			{
				Process: registry, Direction: inventory.In, Protocol: "tcp", Zone: inventory.City, Sent: 5000, Received: 700, Connections: 3,
				Local: netip.MustParseAddrPort("10.77.0.2:5432"), Remote: netip.MustParseAddrPort("10.77.0.9:0"), First: taken(),
			},
			{
				Process: registry, Direction: inventory.Out, Protocol: "tcp", Zone: inventory.Outside, Sent: 300, Received: 20, Connections: 1,
				Local: netip.MustParseAddrPort("10.77.0.2:0"), Remote: netip.MustParseAddrPort("203.0.113.7:443"), First: taken(),
			},
			{
				Process: shell, Direction: inventory.Out, Protocol: "tcp", Zone: inventory.Approved, Sent: 90, Connections: 1,
				Local: netip.MustParseAddrPort("10.77.0.2:0"), Remote: netip.MustParseAddrPort("198.51.100.4:443"), First: taken(),
			},
			{
				Direction: inventory.Out, Protocol: "icmp", Zone: inventory.Outside, Sent: 64, Connections: 1,
				Local: netip.MustParseAddrPort("10.77.0.2:0"), Remote: netip.MustParseAddrPort("203.0.113.8:0"), First: taken(),
			},
		},
		Stores: []inventory.DataStore{{
			ID: "civil-registry", Class: configs.ClassCitizen, Medium: inventory.MediumLocal, MediumZone: inventory.Host, Encrypted: inventory.EncryptedYes,
		}},
		Holdings: []inventory.Holding{
			{Store: "civil-registry", Process: registry, How: inventory.HowDirect},
			{Store: "civil-registry", Process: registry, How: inventory.HowService},
			{Store: "civil-registry", Process: shell, How: inventory.HowService},
		},
		Places: []inventory.Place{{Address: netip.MustParseAddr("203.0.113.7"), Country: "US", Operator: "Example Cloud"}},
		Probe:  &inventory.Probe{MemoryBytes: 5_000_000, UnattributedBytes: 74},
		Captures: []inventory.Capture{
			{Name: "flows", Tier: inventory.TierPoll, Events: 12, Lost: 1, Orphans: 2},
			{Name: "opens", Tier: inventory.TierPoll},
			{Name: "processes", Tier: inventory.TierPoll},
		},
		Tables: []inventory.Table{{Name: "clouds", Date: taken().AddDate(0, -1, 0)}},
		Gaps: []inventory.Gap{
			{Kind: inventory.KindPlaces, Reason: "no database"},
			{Kind: inventory.KindFlows, Reason: "permission denied", Lost: 3},
		},
	}
	r := reportOf(1, facts, &configs.Policy{
		Stores:    []configs.DataStore{{ID: "civil-registry", Class: configs.ClassCitizen}},
		Transfers: []configs.Transfer{{ID: "eidas-node", Expires: taken().AddDate(0, 2, 0)}},
		Waivers: []configs.Waiver{
			{Check: "DAT-004", Subject: "civil-registry", Expires: taken().AddDate(0, 1, 0)},
			{Check: "DAT-004", Subject: "archive", Expires: taken().AddDate(0, 3, 0)},
			{Check: "SWF-001", Expires: taken().AddDate(0, 0, -1)},
		},
		WaiverErr: errors.New("on purpose"),
	})
	r.Collectors = []agent.CollectorStat{
		{Name: "process", Success: true, Duration: 15 * time.Millisecond, LastSuccess: taken()},
		{Name: "geo", Duration: time.Millisecond},
	}
	r.Results = []checks.Result{
		{Check: "DAT-001", Severity: finding.Critical, Verdict: finding.Pass},
		{Check: "DAT-004", Severity: finding.High, Verdict: finding.Fail, Disposition: finding.Waived},
		{Check: "HWC-001", Severity: finding.Critical, Verdict: finding.Unknown},
		{Check: "NET-001", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open},
		{Check: "NET-002", Severity: finding.High, Verdict: finding.Review},
		{Check: "NET-014", Severity: finding.High, Verdict: finding.NotApplicable},
		{Check: "SWF-001", Severity: finding.Medium, Verdict: finding.Fail, Disposition: finding.WaiverExpired},
	}
	r.Findings = []finding.Finding{
		{Check: "NET-001", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open, Subject: "a"},
		{Check: "NET-001", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open, Subject: "b"},
		{Check: "DAT-004", Severity: finding.High, Verdict: finding.Fail, Disposition: finding.Waived},
		{Check: "SWF-001", Severity: finding.Medium, Verdict: finding.Fail, Disposition: finding.WaiverExpired},
		{Check: "HWC-001", Severity: finding.Critical, Verdict: finding.Unknown},
		{Check: "NET-002", Severity: finding.High, Verdict: finding.Review, Disposition: finding.Open},
	}
	return r
}

// busy is a report of a machine with much to say and 60 checks, under a policy
// that declares some stores.
func busy(flows, stores int) *agent.Report {
	facts := &inventory.Facts{Machine: &inventory.Machine{OS: "debian"}}
	for i := range flows {
		id := inventory.Execution{PID: i + 1, Start: uint64(i)}
		address := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		facts.Processes = append(facts.Processes, inventory.Process{
			ID: id, Executable: fmt.Sprintf("/opt/app/bin/worker%d", i), File: inventory.FileID{Device: 1, Inode: uint64(i + 1)},
		})
		facts.Flows = append(facts.Flows, inventory.Flow{
			Process: id, Direction: inventory.Out, Protocol: "tcp", Zone: inventory.Zone(i % 4), Sent: uint64(1000 + i), Connections: 1,
			Remote: netip.AddrPortFrom(address, uint16(1000+i)), First: taken(),
		})
		facts.Places = append(facts.Places, inventory.Place{Address: address, Country: "ES", Operator: fmt.Sprintf("Operator %d", i%256)})
	}
	policy := &configs.Policy{}
	for i := range stores {
		store := fmt.Sprintf("store-%d", i)
		policy.Stores = append(policy.Stores, configs.DataStore{ID: store})
		facts.Stores = append(facts.Stores, inventory.DataStore{ID: store, Class: configs.ClassCitizen, Medium: inventory.MediumLocal})
		if i < flows {
			facts.Holdings = append(facts.Holdings, inventory.Holding{Store: store, Process: facts.Processes[i].ID, How: inventory.HowDirect})
		}
	}
	for _, ecosystem := range []string{"dpkg", "rpm", "python", "node", "gobinary", "java", "rust", "ruby", "php", "dotnet", "flatpak", "file", "pacman", "snap"} {
		facts.Components = append(facts.Components, inventory.Component{Ecosystem: ecosystem, PURL: "pkg:" + ecosystem})
	}
	for _, capture := range []string{"flows", "opens", "processes"} {
		facts.Captures = append(facts.Captures, inventory.Capture{Name: capture, Tier: inventory.TierPoll})
	}
	for _, table := range []string{"clouds", "licences", "engines", "country", "asn"} {
		facts.Tables = append(facts.Tables, inventory.Table{Name: table, Date: taken()})
	}
	r := reportOf(1, facts, policy)
	for i := range 12 {
		r.Collectors = append(r.Collectors, agent.CollectorStat{Name: fmt.Sprintf("collector%d", i), Success: true})
	}
	for i := range 60 {
		r.Results = append(r.Results, checks.Result{Check: fmt.Sprintf("NET-%03d", i), Severity: finding.High})
	}
	return r
}
