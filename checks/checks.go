// Package checks is the catalogue of what is judged, and [Run], which judges.
//
// A check is a [finding.Rule], the same on every machine, and a pure function of
// a snapshot and a policy, so that it can be replayed on a saved snapshot. Three
// decisions are made here, once, so that no check can forget them:
//
//   - Evidence that a gap touches is never enough to pass.
//   - Where no data store is declared, rules about data stores are unknown: that
//     nobody wrote a store down does not mean that there is none.
//   - A waiver excuses a failure and never turns it into a pass.
//
// The last line of defence is here, too: a judge that panics or says nothing
// gives an unknown.
package checks

import (
	"cmp"
	"fmt"
	"slices"

	"cityward/checks/access"
	"cityward/checks/coverage"
	"cityward/checks/custody"
	"cityward/checks/finding"
	"cityward/checks/flows"
	"cityward/checks/freedom"
	"cityward/checks/hardware"
	"cityward/checks/location"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Check is one line of the catalogue.
type Check struct {
	Rule  finding.Rule
	Judge func(*inventory.Snapshot, *configs.Policy) []finding.Finding
}

// All is the catalogue.
func All() []Check {
	return []Check{
		{location.DAT001(), location.JudgeDAT001},
		{location.DAT002(), location.JudgeDAT002},
		{flows.DAT008(), flows.JudgeDAT008},
		{flows.DAT010(), flows.JudgeDAT010},
		{flows.NET001(), flows.JudgeNET001},
		{flows.NET002(), flows.JudgeNET002},
		{flows.NET005(), flows.JudgeNET005},
		{flows.NET014(), flows.JudgeNET014},
		{flows.NET016(), flows.JudgeNET016},
		{hardware.HWC001(), hardware.JudgeHWC001},
		{freedom.SWF001(), freedom.JudgeSWF001},
		{freedom.SWF002(), freedom.JudgeSWF002},
		{freedom.SWF003(), freedom.JudgeSWF003},
		{access.ACC002(), access.JudgeACC002},
		{custody.CUS001(), custody.JudgeCUS001},
		{custody.CUS002(), custody.JudgeCUS002},
		{coverage.AGT001(), coverage.JudgeAGT001},
		{coverage.AGT002(), coverage.JudgeAGT002},
	}
}

// Run judges a snapshot by each check of a catalogue. Every check gives at least
// one finding. Findings are sorted by check, then by subject.
func Run(catalogue []Check, s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var all []finding.Finding
	gaps := evidenceGaps(s)
	for i := range catalogue {
		rule := &catalogue[i].Rule
		for _, f := range judge(&catalogue[i], s, p) {
			complete(&f, rule)
			applyGaps(&f, rule, gaps)
			applyWaiver(&f, s, p)
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b finding.Finding) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Subject, b.Subject))
	})
	return all
}

// judge asks one check. Its answer is never empty.
func judge(c *Check, s *inventory.Snapshot, p *configs.Policy) (found []finding.Finding) {
	defer func() {
		if cause := recover(); cause != nil {
			found = []finding.Finding{{Reason: fmt.Sprintf("the check itself broke, please report it: %v", cause)}}
		}
	}()
	if c.Rule.Stores && len(p.Stores) == 0 {
		return []finding.Finding{nothingDeclared(s, p)}
	}
	found = c.Judge(s, p)
	if len(found) == 0 {
		found = []finding.Finding{{Reason: "the check gave no answer"}}
	}
	return found
}

// nothingDeclared is the answer of every rule about data stores where the policy
// names none.
func nothingDeclared(s *inventory.Snapshot, p *configs.Policy) finding.Finding {
	f := finding.Finding{Method: finding.Declared, Facts: make(map[string]any)}
	var candidates []string
	for _, c := range s.Candidates {
		candidates = append(candidates, fmt.Sprintf("%s (%s)", c.Path, c.Engine))
	}
	if len(candidates) > 0 {
		f.Facts["candidates"] = firstFew(candidates)
	}
	switch {
	case p.City.NoCitizenData:
		f.Verdict = finding.NotApplicable
		f.Reason = "the policy states that no citizen data is on this machine"
	case len(candidates) > 0:
		f.Reason = "no data store is declared, though there are data directories in use: " + candidates[0]
		if n := len(candidates) - 1; n > 0 {
			f.Reason += fmt.Sprintf(", and %d more", n)
		}
	default:
		f.Reason = "no data store is declared"
	}
	return f
}

// complete fills in what a judge leaves to the rule.
func complete(f *finding.Finding, rule *finding.Rule) {
	f.Check, f.Title, f.Remedy, f.Maps = rule.ID, rule.Title, rule.Remedy, rule.Maps
	if f.Severity == finding.Info {
		f.Severity = rule.Severity
	}
	if f.Facts == nil {
		f.Facts = make(map[string]any)
	}
	f.Disposition = cmp.Or(f.Disposition, finding.Open)
	f.Method = cmp.Or(f.Method, finding.Observed)
	f.Confidence = cmp.Or(f.Confidence, finding.ConfidenceHigh)
}

// listed bounds the lists among a finding's facts.
const listed = 20

// firstFew bounds a list, and says in its last line how much it leaves out.
func firstFew(lines []string) []string {
	if len(lines) <= listed {
		return lines
	}
	return append(slices.Clone(lines[:listed]), fmt.Sprintf("and %d more", len(lines)-listed))
}
