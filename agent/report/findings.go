package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cityward/checks/finding"
)

// ShownFindings are the findings a person has to know of: all but passes and
// what does not apply.
func ShownFindings(all []finding.Finding) []finding.Finding {
	var shown []finding.Finding
	for i := range all {
		if v := all[i].Verdict; v != finding.Pass && v != finding.NotApplicable || all[i].Disposition == finding.TransferUsed {
			shown = append(shown, all[i])
		}
	}
	return shown
}

// findings lists each check's once below its name: the remedy is the check's.
func (t *table) findings(limit int) {
	shown := ShownFindings(t.Findings)
	slices.SortStableFunc(shown, func(a, b finding.Finding) int {
		return cmp.Or(-cmp.Compare(urgency(&a), urgency(&b)), -cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Check, b.Check))
	})
	t.printf("\n%s\n", t.paint("1", "FINDINGS"))
	if len(shown) == 0 {
		t.printf("  none\n")
	}
	for i := range shown {
		if limit > 0 && i == limit {
			t.printf("  … %d more: cityward checks run, or --format json\n", len(shown)-limit)
			break
		}
		f := &shown[i]
		if i == 0 || heading(f) != heading(&shown[i-1]) {
			t.printf("  %s\n", heading(f))
		}
		t.printf("      %s\n", strings.TrimPrefix(f.Subject+": "+f.Reason, ": "))
		last := i == len(shown)-1 || limit > 0 && i == limit-1 || heading(f) != heading(&shown[i+1])
		if last && (f.Verdict == finding.Fail || f.Verdict == finding.Review) {
			t.printf("      → %s\n", f.Remedy)
		}
	}
}

func heading(f *finding.Finding) string {
	word := f.Verdict.String()
	if f.Disposition != finding.Open {
		word += ", " + f.Disposition
	}
	return fmt.Sprintf("%s  %s, %s", f.Check, f.Severity, word)
}

func urgency(f *finding.Finding) int {
	switch {
	case f.Verdict == finding.Fail && f.Disposition != finding.Waived:
		return 3
	case f.Verdict == finding.Review:
		return 2
	case f.Verdict == finding.Unknown:
		return 1
	}
	return 0
}
