package flows

import (
	"fmt"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// NET001 demands that no holder of declared data speaks with machines beyond the
// city.
func NET001() finding.Rule {
	return finding.Rule{
		ID:        "NET-001",
		Title:     "No program that holds declared data is connected beyond the city",
		Severity:  finding.Critical,
		Rationale: "A program that can read citizens' data and can speak with the outside can carry the data there. This is where data leaves the city's hardware.",
		Decides: finding.Decides{
			finding.Pass:          "no holder of the store's data was connected beyond the city, but for approved transfers, which are listed",
			finding.Fail:          "a holder was connected beyond the city, in either direction, under no approved transfer that names the store",
			finding.Review:        "a holder only tried to connect, or the policy names no network of the city",
			finding.Unknown:       "connections or holders may have gone unseen, or a connection beyond the city belongs to no known program",
			finding.NotApplicable: "no program holds the store's data, or the data is public",
		},
		Remedy:   "Stop the connection, or separate the program from the data. If the exchange is lawful and wanted, record it as a [[transfer]] that names the store.",
		Pitfalls: "Backup and indexing agents hold all that they read. A second hop (a relay, a message queue, a copied file) is seen only if its program holds the data itself. A file that is opened and closed between two rounds is not seen; what was seen open counts until its program ends.",
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
	hows := make(map[inventory.Execution]string)
	for _, h := range s.HoldingsOf(store) {
		if _, known := hows[h.Process]; known {
			continue // sorted by how: direct comes first
		}
		hows[h.Process] = h.How
		flows := s.FlowsOf(h.Process)
		for i := range flows {
			if f := &flows[i]; beyond(f) {
				exchanged.exchange(store+endpoint(f)).add(f, program(s, f.Process), h.How, covering(s, p, f, store))
			}
		}
	}
	return len(hows), exchanged
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
