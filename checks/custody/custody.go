// Package custody judges who holds declared data: only those whom the policy
// names, and not so many that the word means nothing.
package custody

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// CUS001 demands that only declared readers open a store.
func CUS001() finding.Rule {
	return finding.Rule{
		ID:        "CUS-001",
		Title:     "Only declared readers take data out of a store",
		Severity:  finding.High,
		Rationale: "File permissions say who may read; this says who did. Reading by others is where a leak begins, long before anything is sent.",
		Decides: finding.Decides{
			finding.Pass:          "every program that opened a file of the store or was connected to its services ran as a declared reader",
			finding.Fail:          "a program of another user or group did",
			finding.Unknown:       "the store declares no readers, opens or connections may have gone unseen, or the user of a program is not known",
			finding.NotApplicable: "nobody opened the store, or its data is public",
		},
		Remedy:   "Find out what the program is for. If it may read the data, add its user to the store's readers; if not, take away its permission.",
		Pitfalls: "root reads everything and has to be declared, too, where backups or administrators run as root. Users are those of the machine: what happens behind one account of a database is not seen.",
		Needs:    []string{inventory.KindHoldings, inventory.KindProcesses},
		Stores:   true,
		Maps:     finding.Maps{"gdpr": {"IV_32.1.b", "II_5.1.f"}, "nis2": {"21.2.i"}, "ens": {"op.acc.4"}},
	}
}

// most findings of a store that are told one by one.
const most = 200

// JudgeCUS001 gives one finding for each user and program.
func JudgeCUS001(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var found []finding.Finding
	for i := range p.Stores {
		of := judgeReaders(s, &p.Stores[i])
		for j := range of {
			of[j].Store = p.Stores[i].ID
		}
		found = append(found, of...)
	}
	return found
}

func judgeReaders(s *inventory.Snapshot, store *configs.DataStore) []finding.Finding {
	if store.Class == configs.ClassPublic {
		return []finding.Finding{{Subject: store.ID, Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "the store's data is public"}}
	}
	holders := takers(s, store.ID)
	switch {
	case len(holders) == 0:
		return []finding.Finding{{Subject: store.ID, Verdict: finding.NotApplicable, Reason: "nobody took data out of the store"}}
	case len(store.Readers) == 0:
		return []finding.Finding{{Subject: store.ID, Reason: fmt.Sprintf("the store declares no readers, and %d programs hold its data", len(holders))}}
	}
	var found []finding.Finding
	at := make(map[string]bool)
	for i := range holders {
		f, ok := judgeReader(s, store, &holders[i])
		if ok || at[f.Subject] {
			continue
		}
		at[f.Subject] = true
		if len(found) == most {
			f.Subject, f.Reason = store.ID+" ← others", "more programs that are not listed one by one: "+f.Reason
			return append(found, f)
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		found = append(found, finding.Finding{
			Subject: store.ID, Verdict: finding.Pass, Reason: "only declared readers took data out of the store", Facts: map[string]any{"programs": len(holders)},
		})
	}
	return found
}

// takers are those who have the data from the store itself.
func takers(s *inventory.Snapshot, store string) []inventory.Holding {
	return slices.DeleteFunc(slices.Clone(s.HoldingsOf(store)), func(h inventory.Holding) bool {
		return h.How != inventory.HowDirect && h.How != inventory.HowService
	})
}

func judgeReader(s *inventory.Snapshot, store *configs.DataStore, h *inventory.Holding) (finding.Finding, bool) {
	p, known := s.Process(h.Process)
	if !known || p.User == "" {
		return finding.Finding{Subject: fmt.Sprintf("%s ← %s", store.ID, h.Process), Reason: "a program whose user is not known holds the data"}, false
	}
	if reads(store.Readers, p) {
		return finding.Finding{}, true
	}
	name := cmp.Or(p.Executable, p.Program())
	f := finding.Finding{
		Subject: fmt.Sprintf("%s ← %s as %s", store.ID, name, p.User), Verdict: finding.Fail,
		Reason: fmt.Sprintf("%s, as %s, %s, and is no declared reader", name, p.User, h.Evidence),
		Facts: map[string]any{
			"program": name, "user": p.User, "group": p.Group, "how": h.How, "evidence": h.Evidence,
			"since": h.Since.UTC().Format(time.RFC3339), "unit": p.Unit, "container": p.Container,
		},
	}
	if owner, owned := s.Owner(p); owned {
		f.Facts["package"], f.Facts["licence"] = owner.PURL, owner.Licence.Expression
	}
	return f, false
}

// reads reports whether a process runs as one of those who may read.
func reads(readers []string, p *inventory.Process) bool {
	return slices.ContainsFunc(readers, func(reader string) bool {
		group, isGroup := strings.CutPrefix(reader, "group:")
		if !isGroup {
			return reader == p.User
		}
		return group == p.Group || slices.Contains(p.Groups, group)
	})
}

// CUS002 demands that holders stay the exception.
func CUS002() finding.Rule {
	return finding.Rule{
		ID:        "CUS-002",
		Title:     "Few programs hold declared data",
		Severity:  finding.Medium,
		Rationale: "Where most programs hold citizens' data, either it is spread too widely, or something that everything talks to was taken for a holder and the alerts on holders say little.",
		Decides: finding.Decides{
			finding.Pass:          "of the programs that run, no larger share holds declared data than custody.holder_maximum",
			finding.Fail:          "a larger share does",
			finding.Unknown:       "programs or holders may have gone unseen",
			finding.NotApplicable: "no program runs, or none holds declared data",
		},
		Remedy:   "Look at cityward custody for the program that most holders have the data from. If it only relays (a log, a bus, a resolver), name it in custody.relays; if not, part the programs that need the data from those that do not.",
		Pitfalls: "A machine that does nothing but serve one database has few other programs.",
		Needs:    []string{inventory.KindHoldings, inventory.KindProcesses},
		Stores:   true,
		Maps:     finding.Maps{"gdpr": {"II_5.1.c", "IV_25.2"}},
	}
}

// few programs say nothing by their share.
const few = 10

// JudgeCUS002 compares programs that hold with programs that run.
func JudgeCUS002(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	running, holding := 0, 0
	from := make(map[inventory.Execution]int)
	for i := range s.Processes {
		process := &s.Processes[i]
		if process.Kernel || !process.Ended.IsZero() {
			continue
		}
		running++
		if holds := s.StoresHeldBy(process.ID); len(holds) > 0 {
			holding++
			from[holds[0].From]++
		}
	}
	f := finding.Finding{Facts: map[string]any{"running": running, "holding": holding, "maximum": p.Custody.HolderMaximum}}
	switch share := float64(holding) / float64(max(running, 1)); {
	case holding == 0:
		f.Verdict, f.Reason = finding.NotApplicable, "no program that runs holds declared data"
	case share <= p.Custody.HolderMaximum || holding < few:
		f.Verdict, f.Reason = finding.Pass, fmt.Sprintf("%d of %d programs hold declared data", holding, running)
	default:
		f.Verdict, f.Reason = finding.Fail, fmt.Sprintf("%d of %d programs hold declared data", holding, running)
		if source := commonest(s, from); source != "" {
			f.Reason += ", most of them from " + source
		}
	}
	return []finding.Finding{f}
}

// commonest names the program that most holders have the data from.
func commonest(s *inventory.Snapshot, from map[inventory.Execution]int) string {
	name, n := "", 0
	for id, count := range from {
		p, known := s.Process(id)
		if !known {
			continue
		}
		if program := cmp.Or(p.Executable, p.Program()); count > n || count == n && program < name {
			name, n = program, count
		}
	}
	return name
}
