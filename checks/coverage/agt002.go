package coverage

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// AGT002 demands that what the agent judges by is current.
func AGT002() finding.Rule {
	return finding.Rule{
		ID:        "AGT-002",
		Title:     "Facts and policy are current",
		Severity:  finding.Medium,
		Rationale: "Networks move, clouds are renamed, waivers end. Judging by last year's facts gives last year's verdicts.",
		Decides: finding.Decides{
			finding.Pass:    "every table of facts is young enough, the waiver file and facts.d are sound and no waiver has expired",
			finding.Fail:    "a geo database is older than [geo] max_age, another table than 180 days, the waiver file or a file of facts.d is broken, or a waiver has expired",
			finding.Unknown: "the date of a table is not known, lies in the future, or no table was read",
		},
		Remedy:   "Renew the database or the program, correct waivers.toml or facts.d, and decide anew on what was waived.",
		Pitfalls: "The clock of the machine is taken as right. Expired transfers are reported by NET-014.",
		Maps:     finding.Maps{"gdpr": {"II_5.2"}},
	}
}

const (
	day      = 24 * time.Hour
	tableAge = 180 * day // of the tables that ship with the program
)

// JudgeAGT002 gives one finding for each table and waiver that is out of date,
// and one for the machine where there is none.
func JudgeAGT002(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var found []finding.Finding
	for _, t := range s.Tables {
		if f := judgeTable(&t, s.Taken); f.Verdict != finding.Pass {
			found = append(found, f)
		}
	}
	if len(s.Tables) == 0 {
		found = append(found, finding.Finding{Subject: "tables", Reason: "no table of facts was read"})
	}
	if p.WaiverErr != nil {
		found = append(found, finding.Finding{
			Subject: "waivers", Method: finding.Config, Verdict: finding.Fail,
			Reason: "no waiver is honoured: " + strings.ReplaceAll(p.WaiverErr.Error(), "\n", "; "),
		})
	}
	if p.FactsErr != nil {
		found = append(found, finding.Finding{
			Subject: "facts.d", Method: finding.Config, Verdict: finding.Fail,
			Reason: "tables of facts are not used: " + strings.ReplaceAll(p.FactsErr.Error(), "\n", "; "),
		})
	}
	for i := range p.Waivers {
		w := &p.Waivers[i]
		if !s.Taken.After(w.Expires) {
			continue
		}
		found = append(found, finding.Finding{
			Subject: strings.TrimSpace("waiver of " + w.Check + " " + w.Subject), Method: finding.Declared, Verdict: finding.Fail,
			Reason: "expired on " + w.Expires.UTC().Format(time.DateOnly),
			Facts:  map[string]any{"owner": w.Owner, "ticket": w.Ticket},
		})
	}
	if len(found) == 0 {
		found = append(found, finding.Finding{
			Verdict: finding.Pass, Reason: fmt.Sprintf("%d tables and %d waivers are current", len(s.Tables), len(p.Waivers)),
		})
	}
	return found
}

func judgeTable(t *inventory.Table, now time.Time) finding.Finding {
	f := finding.Finding{Subject: "table " + t.Name}
	limit := cmp.Or(t.MaxAge, tableAge)
	switch age := now.Sub(t.Date); {
	case t.Date.IsZero():
		f.Reason = "its date is not known"
	case age < -day:
		f.Reason = "its date lies in the future: the machine's clock may be wrong"
	case age > limit:
		f.Verdict = finding.Fail
		f.Reason = fmt.Sprintf("%d days old, more than %d", age/day, limit/day)
	default:
		f.Verdict = finding.Pass
	}
	f.Facts = map[string]any{"date": t.Date.UTC().Format(time.DateOnly)}
	return f
}
