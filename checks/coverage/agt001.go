// Package coverage judges the agent itself: whether it sees what it claims to
// see, and whether what it judges by is current. A fleet that passes because its
// agents are blind is the worst outcome of all.
package coverage

import (
	"fmt"
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// AGT001 demands that the agent sees all that it should.
func AGT001() finding.Rule {
	return finding.Rule{
		ID:        "AGT-001",
		Title:     "The agent sees what it claims to see",
		Severity:  finding.High,
		Rationale: "A check that found nothing because it could not look is worth less than no check: it is believed.",
		Decides: finding.Decides{
			finding.Pass:    "every capture is complete and no evidence is missing but places of addresses, on which no verdict rests",
			finding.Fail:    "a capture may miss something, or some evidence could not be had",
			finding.Unknown: "nothing says how connections, opened files or programs are watched",
		},
		Remedy:   "Run cityward doctor: it says what this host lets the agent see and what to change. Run the agent as its service unit does.",
		Pitfalls: "In a container the agent sees the container.",
		Maps:     finding.Maps{"nis2": {"21.2.f"}},
	}
}

// JudgeAGT001 gives one finding for each incomplete capture and each kind of
// evidence with gaps, so that either can be waived alone.
func JudgeAGT001(s *inventory.Snapshot, _ *configs.Policy) []finding.Finding {
	var found []finding.Finding
	gaps := slices.Clone(s.Gaps)
	for _, c := range s.Captures {
		if c.Complete {
			continue
		}
		gaps = slices.DeleteFunc(gaps, func(g inventory.Gap) bool { return g.Reason == c.Reason }) // says the same
		found = append(found, finding.Finding{
			Subject: "capture of " + c.Name, Verdict: finding.Fail, Reason: c.Reason,
			Facts: map[string]any{"tier": c.Tier, "events": c.Events, "lost": c.Lost, "unattributed": c.Orphans},
		})
	}
	found = append(found, missing(gaps)...)
	for _, name := range inventory.Captures() {
		if !slices.ContainsFunc(s.Captures, func(c inventory.Capture) bool { return c.Name == name }) {
			found = append(found, finding.Finding{Subject: "capture of " + name, Reason: "nothing says how " + name + " are watched"})
		}
	}
	if len(found) == 0 {
		found = append(found, finding.Finding{Verdict: finding.Pass, Reason: "every capture is complete and no evidence is missing"})
	}
	return found
}

// missing gives one finding for each kind of evidence that has gaps. Gaps come
// sorted by kind.
func missing(gaps []inventory.Gap) []finding.Finding {
	var found []finding.Finding
	for start := 0; start < len(gaps); {
		end := start
		for end < len(gaps) && gaps[end].Kind == gaps[start].Kind {
			end++
		}
		if gaps[start].Kind != inventory.KindPlaces {
			found = append(found, missingKind(gaps[start:end]))
		}
		start = end
	}
	return found
}

// listed is how many gaps a finding tells of.
const listed = 20

func missingKind(gaps []inventory.Gap) finding.Finding {
	var texts []string
	lost := 0
	for i := range gaps {
		g := &gaps[i]
		lost += g.Lost
		if i < listed {
			text := g.Reason
			if g.Subject != "" && g.Subject != g.Kind { // which the finding's own subject names
				text = g.Subject + ": " + text
			}
			texts = append(texts, text)
		}
	}
	f := finding.Finding{
		Subject: "evidence of " + gaps[0].Kind, Verdict: finding.Fail, Reason: texts[0],
		Facts: map[string]any{"gaps": texts, "count": len(gaps), "lost": lost},
	}
	if len(gaps) > 1 {
		f.Reason += fmt.Sprintf(", and %d more", len(gaps)-1)
	}
	return f
}
