package main

import (
	"errors"
	"testing"

	"cityward/checks/finding"
)

func TestVerdict(t *testing.T) {
	fail := func(severity finding.Severity, disposition string) finding.Finding {
		return finding.Finding{Verdict: finding.Fail, Severity: severity, Disposition: disposition}
	}
	unknown := finding.Finding{Verdict: finding.Unknown, Severity: finding.High}
	for name, test := range map[string]struct {
		findings []finding.Finding
		want     int
	}{
		"nothing":                     {nil, exitDone},
		"at the threshold":            {[]finding.Finding{unknown, fail(finding.High, finding.Open)}, exitFindings},
		"below it":                    {[]finding.Finding{fail(finding.Medium, finding.Open)}, exitDone},
		"waived":                      {[]finding.Finding{fail(finding.Critical, finding.Waived)}, exitDone},
		"waived once":                 {[]finding.Finding{fail(finding.High, finding.WaiverExpired)}, exitFindings},
		"blind beside a lesser fault": {[]finding.Finding{fail(finding.Medium, finding.Open), unknown}, exitBlind},
		"blind where it matters less": {[]finding.Finding{{Verdict: finding.Unknown, Severity: finding.Medium}}, exitDone},
		"for a person to decide":      {[]finding.Finding{{Verdict: finding.Review, Severity: finding.Critical}}, exitDone},
	} {
		t.Run(name, func(t *testing.T) {
			high, got := finding.High, exitDone
			if status := new(statusError); errors.As(verdict(test.findings, &high), &status) {
				got = status.status
			}
			if got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
			if err := verdict(test.findings, nil); err != nil {
				t.Errorf("without --fail-on: %v", err)
			}
		})
	}
}
