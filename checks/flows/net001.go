package flows

import (
	"fmt"
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// NET001 demands that no holder of declared data speaks with machines beyond the
// city.
func NET001() finding.Rule {
	return finding.Rule{
		ID:        "NET-001",
		Title:     "No program that holds declared data sends beyond the city",
		Severity:  finding.Critical,
		Rationale: "A program that can read citizens' data and can speak with the outside can carry the data there. This is where data leaves the city's hardware.",
		Decides: finding.Decides{
			finding.Pass:          "no holder of the store's data was connected beyond the city, but for approved transfers, which are listed",
			finding.Fail:          "while it held the data, a program sent as many bytes beyond the city as custody.alert_bytes names for how it held it (the first one, if the policy does not say otherwise), on a connection in either direction, under no approved transfer that names the store; where bytes are not counted, a connection is enough",
			finding.Review:        "a holder was connected, or tried to be, and sent less than that; or the policy names no network of the city",
			finding.Unknown:       "connections or holders may have gone unseen, or a connection beyond the city belongs to no known program",
			finding.NotApplicable: "no program holds the store's data, or the data is public",
		},
		Remedy:   "Stop the connection, or separate the program from the data. If the exchange is lawful and wanted, record it as a [[transfer]] that names the store.",
		Pitfalls: "What was sent is not looked at: a holder may have sent something else. A hold counts until its program ends. Backup and indexing agents hold all that they read; programs that all others talk to (custody.relays) are not made holders by that. Below tier bpf, files that are opened and closed between two rounds are not seen, nor are copies.",
		Needs:    []string{inventory.KindFlows, inventory.KindHoldings, inventory.KindProcesses},
		Stores:   true,
		Maps: finding.Maps{
			"eu_csf": {"SOV-3.3"}, "c3a": {"SOV-4-07"}, "gdpr": {"V_44"}, "nis2": {"21.2.a"},
		},
	}
}

// JudgeNET001 gives one finding for each peer of a store's holders, and one for
// the store where all of these are approved.
func JudgeNET001(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	orphans := orphans(s)
	var found []finding.Finding
	for i := range p.Stores {
		store := &p.Stores[i]
		if store.Class == configs.ClassPublic {
			found = append(found, finding.Finding{
				Subject: store.ID, Store: store.ID, Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "the store's data is public",
			})
			continue
		}
		holders, exchanged := exchangesOfHolders(s, p, store.ID)
		of := exchanged.findings(s, p, store.ID+" → others")
		for j := range of {
			of[j].Store = store.ID
		}
		found = append(found, of...)
		if settled(of) {
			found = append(found, quiet(store.ID, holders, len(of), orphans))
		}
	}
	return found
}

// exchangesOfHolders adds up what a store's holders exchanged beyond the city.
func exchangesOfHolders(s *inventory.Snapshot, p *configs.Policy, store string) (holders int, exchanged ledger) {
	counted := countsBytes(s)
	for _, holds := range byProcess(s.HoldingsOf(store)) {
		holders++
		strongest := &holds[0]
		flows := s.FlowsOf(strongest.Process)
		for i := range flows {
			f := &flows[i]
			if !beyond(f) {
				continue
			}
			e := exchanged.exchange(store + endpoint(f))
			e.addHeld(s, holds, f, covering(s, p, f, store), counted)
		}
	}
	return holders, exchanged
}

// byProcess parts the holdings of one store, which are sorted: the strongest of each
// program comes first.
func byProcess(all []inventory.Holding) [][]inventory.Holding {
	var parts [][]inventory.Holding
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].Process == all[from].Process {
			to++
		}
		parts = append(parts, all[from:to])
		from = to
	}
	return parts
}

// countsBytes reports whether a flow without bytes is known to have carried none.
func countsBytes(s *inventory.Snapshot) bool {
	return slices.ContainsFunc(s.Captures, func(c inventory.Capture) bool {
		return c.Name == inventory.CaptureFlows && c.Tier == inventory.TierBPF
	})
}

// quiet is the finding for a store whose holders did nothing that is not
// approved.
func quiet(store string, holders, approved, orphans int) finding.Finding {
	f := finding.Finding{Subject: store, Store: store, Facts: map[string]any{"holders": holders, "approved": approved}}
	switch {
	case orphans > 0:
		f.Reason = fmt.Sprintf("%d connections beyond the city belong to no known program", orphans)
		f.Facts["unattributed"] = orphans
	case holders == 0:
		f.Verdict, f.Reason = finding.NotApplicable, "no program holds the store's data"
	case approved > 0:
		f.Verdict, f.Reason = finding.Pass, fmt.Sprintf("nothing but %d approved exchanges beyond the city", approved)
	default:
		f.Verdict, f.Reason = finding.Pass, "no holder was connected beyond the city"
	}
	return f
}

// orphans counts the flows beyond the city that no program is known for: any of
// them may be a holder's.
func orphans(s *inventory.Snapshot) int {
	n := 0
	for i := range s.Flows {
		if f := &s.Flows[i]; f.Process == (inventory.Execution{}) && beyond(f) && carried(f) {
			n++
		}
	}
	return n
}
