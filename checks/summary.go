package checks

import "cityward/checks/finding"

// Result is what one check comes to on this machine: its worst finding. Its
// severity is the rule's, so that it may be a label.
type Result struct {
	Check       string
	Title       string
	Severity    finding.Severity
	Verdict     finding.Verdict
	Disposition string // of the worst finding
}

// Summary gives one result for each check of the catalogue that the findings
// come from, in its order. A waived failure weighs less than an unknown, lest an
// excuse for one subject hide that another could not be seen.
func Summary(catalogue []Check, findings []finding.Finding) []Result {
	worst := make(map[string]*finding.Finding)
	for i := range findings {
		f := &findings[i]
		if before := worst[f.Check]; before == nil || weight(f) > weight(before) {
			worst[f.Check] = f
		}
	}
	results := make([]Result, 0, len(catalogue))
	for i := range catalogue {
		rule := &catalogue[i].Rule
		result := Result{Check: rule.ID, Title: rule.Title, Severity: rule.Severity, Disposition: finding.Open}
		if f := worst[result.Check]; f != nil {
			result.Verdict, result.Disposition = f.Verdict, f.Disposition
		}
		results = append(results, result)
	}
	return results
}

// weight orders findings within a check: by verdict, where a waived failure
// comes just below an unknown.
func weight(f *finding.Finding) int {
	if f.Verdict == finding.Fail && f.Disposition == finding.Waived {
		return 2*finding.Unknown.Weight() - 1
	}
	return 2 * f.Verdict.Weight()
}
