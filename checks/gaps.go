package checks

import (
	"fmt"
	"slices"
	"strings"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
)

// evidenceGaps are the gaps of a snapshot and, with them, its captures that may
// have missed something: a collector need not say the same thing twice.
func evidenceGaps(s *inventory.Snapshot) []inventory.Gap {
	gaps := slices.Clone(s.Gaps)
	for _, c := range s.Captures {
		kind := capturedKind(c.Name)
		said := slices.ContainsFunc(s.Gaps, func(g inventory.Gap) bool { return g.Kind == kind && g.Store == "" && g.Reason == c.Reason })
		if !c.Complete && kind != "" && !said {
			gaps = append(gaps, inventory.Gap{Kind: kind, Subject: "capture of " + c.Name, Reason: c.Reason, Lost: int(min(c.Lost, 1<<31))})
		}
	}
	return gaps
}

// capturedKind is the evidence that a capture gathers over time. Programs are
// not among it: rules about programs judge those that run at the time of the
// snapshot, and [coverage.AGT001] fails where short-lived ones may be missed.
func capturedKind(capture string) string {
	switch capture {
	case inventory.CaptureFlows:
		return inventory.KindFlows
	case inventory.CaptureOpens:
		return inventory.KindHoldings
	}
	return ""
}

// applyGaps makes a pass unknown where a gap touches its evidence. A failure
// stays: what was seen was seen. So does traffic under an approved transfer.
func applyGaps(f *finding.Finding, rule *finding.Rule, gaps []inventory.Gap) {
	if f.Disposition == finding.TransferUsed || !restsOnAbsence(f) {
		return
	}
	var reasons []string
	for i := range gaps {
		if touches(&gaps[i], f, rule) {
			reasons = append(reasons, describe(&gaps[i]))
		}
	}
	if len(reasons) == 0 {
		return
	}
	f.Verdict = finding.Unknown
	f.Reason = "not enough could be seen: " + reasons[0]
	if len(reasons) > 1 {
		f.Reason += fmt.Sprintf(", and %d more", len(reasons)-1)
	}
	f.Facts["gaps"] = firstFew(reasons)
}

// restsOnAbsence reports whether a verdict could be another had more been seen.
// What the policy alone decides could not.
func restsOnAbsence(f *finding.Finding) bool {
	return f.Verdict == finding.Pass || f.Verdict == finding.NotApplicable && f.Method != finding.Declared
}

// touches reports whether a gap is in the evidence of a finding. A gap about one
// data store leaves findings about another alone.
func touches(g *inventory.Gap, f *finding.Finding, rule *finding.Rule) bool {
	return slices.Contains(rule.Needs, g.Kind) && (g.Store == "" || f.Store == "" || g.Store == f.Store)
}

func describe(g *inventory.Gap) string {
	var parts []string
	for _, part := range []string{g.Subject, g.Reason} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	text := strings.Join(parts, ": ")
	if g.Lost > 1 {
		text += fmt.Sprintf(" (%d in all)", g.Lost)
	}
	return text
}
