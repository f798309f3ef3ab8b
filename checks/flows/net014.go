package flows

import (
	"strings"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// NET014 demands that the register of transfers is complete and in date.
func NET014() finding.Rule {
	return finding.Rule{
		ID:        "NET-014",
		Title:     "Approved transfers are complete and in date",
		Severity:  finding.High,
		Rationale: "An approval without purpose, legal basis or end is a hole in the policy. The register is the record that GDPR article 30(1)(e) asks for.",
		Decides: finding.Decides{
			finding.Pass:          "the transfer has recipient, purpose, legal basis, owner, another person's approval, and an end within 12 months",
			finding.Fail:          "one of these is missing, or the transfer has expired",
			finding.Review:        "the recipient is in the United States and the legal basis does not say whether it is certified under the Data Privacy Framework",
			finding.NotApplicable: "the register has no transfers",
		},
		Remedy:   "Complete the [[transfer]] entry or have it approved anew; remove it if the exchange has ended.",
		Pitfalls: "Whether the legal basis holds is for a lawyer. A transfer that is no longer used is not noticed.",
		Maps:     finding.Maps{"gdpr": {"IV_30.1.e", "V_44", "V_46"}, "c3a": {"SOV-4-08"}},
	}
}

// longest is how far ahead a transfer may end: 12 months and a day, for leap
// years.
const longest = 367 * 24 * time.Hour

// JudgeNET014 gives one finding a transfer.
func JudgeNET014(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	if len(p.Transfers) == 0 {
		return []finding.Finding{{Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "the register has no transfers"}}
	}
	var found []finding.Finding
	for i := range p.Transfers {
		t := &p.Transfers[i]
		f := finding.Finding{Subject: t.ID, Verdict: finding.Pass, Method: finding.Declared, Reason: "complete and in date"}
		f.Facts = map[string]any{"owner": t.Owner, "approved_by": t.ApprovedBy, "country": t.Country, "expires": t.Expires.UTC().Format(time.DateOnly)}
		wrong := defects(t, s.Taken)
		switch {
		case len(wrong) > 0:
			f.Verdict, f.Reason = finding.Fail, strings.Join(wrong, ", ")
		case t.Country == "US" && !namesFramework(t.LegalBasis):
			f.Verdict = finding.Review
			f.Reason = "the recipient is in the United States: say in legal_basis whether it is certified under the Data Privacy Framework"
		}
		found = append(found, f)
	}
	return found
}

func defects(t *configs.Transfer, now time.Time) []string {
	var wrong []string
	for _, field := range []struct{ name, value string }{
		{"country", t.Country},
		{"purpose", t.Purpose},
		{"legal_basis", t.LegalBasis},
		{"owner", t.Owner},
		{"approved_by", t.ApprovedBy},
	} {
		if strings.TrimSpace(field.value) == "" {
			wrong = append(wrong, field.name+" is missing")
		}
	}
	if t.Owner != "" && strings.EqualFold(t.Owner, t.ApprovedBy) {
		wrong = append(wrong, "its owner approved it")
	}
	switch {
	case t.Expires.IsZero():
		wrong = append(wrong, "expires is missing")
	case now.After(t.Expires):
		wrong = append(wrong, "expired on "+t.Expires.UTC().Format(time.DateOnly))
	case t.Expires.Sub(now) > longest:
		wrong = append(wrong, "expires more than 12 months ahead")
	}
	if len(t.Networks) == 0 {
		wrong = append(wrong, "networks is missing")
	}
	return wrong
}

// namesFramework reports whether a legal basis speaks of the EU-US Data Privacy
// Framework, Decision (EU) 2023/1795, on either side.
func namesFramework(basis string) bool {
	basis = strings.ToLower(basis)
	for _, name := range []string{"dpf", "data privacy framework", "2023/1795"} {
		if strings.Contains(basis, name) {
			return true
		}
	}
	return false
}
