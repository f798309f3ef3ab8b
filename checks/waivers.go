package checks

import (
	"strings"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// applyWaiver notes that a person has excused a failure. The verdict stays. A
// waiver of a critical failure that runs for too long is not honoured, which the
// finding says.
func applyWaiver(f *finding.Finding, s *inventory.Snapshot, p *configs.Policy) {
	if f.Verdict != finding.Fail {
		return
	}
	w, expired, found := p.Waiver(f.Check, f.Subject, s.Taken)
	switch {
	case !found:
	case expired:
		f.Disposition = finding.WaiverExpired
	case w.TooLong(s.Taken, f.Severity == finding.Critical):
		f.Facts["waiver"] = "not honoured: it ends too far ahead for a critical failure"
	default:
		f.Disposition = finding.Waived
		f.Waiver = strings.TrimSpace(w.Owner + " " + w.Ticket)
	}
}
