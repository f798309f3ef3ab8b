// Package freedom judges the software: whether it is free, and whether anyone
// knows where the programs that run come from.
package freedom

import (
	"fmt"
	"math"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// SWF001 demands a share of free software.
func SWF001() finding.Rule {
	return finding.Rule{
		ID:        "SWF-001",
		Title:     "Enough of the installed software is free",
		Severity:  finding.Medium,
		Rationale: "Free software is what a city may study, repair, and go on using when a maker is gone. The charter asks to prefer it and to know where it is missing.",
		Decides: finding.Decides{
			finding.Pass:    "the share of free components is at least the policy's minimum even if every unknown licence is not free, and few licences are unknown",
			finding.Fail:    "the share is below the minimum even if every unknown licence is free",
			finding.Unknown: "no software was found, too many licences are unknown, or the answer depends on those that are",
		},
		Remedy:   "Replace the components listed as not free, with the substitutes listed where they are known, or lower [software] free_share_minimum knowingly.",
		Pitfalls: "Components count alike, whatever their size. Software that no package system knows counts as one component for each directory that it lies in, by collectors/file, mostly of an unknown licence.",
		Needs:    []string{inventory.KindComponents, inventory.KindLicences},
		Maps:     finding.Maps{"eu_csf": {"SOV-6.2"}},
	}
}

// rounded keeps four digits, enough for a hundredth of a percent.
func rounded(share float64) float64 { return math.Round(1e4*share) / 1e4 }

// JudgeSWF001 gives one finding about the machine.
func JudgeSWF001(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var installed inventory.Share
	var nonfree, instead []string
	for i := range s.Components {
		c := &s.Components[i]
		installed.Add(c.Licence.Freedom)
		if c.Licence.Freedom == inventory.NonFree {
			nonfree = append(nonfree, c.Name)
			if product := productOf(p.Substitutes, c); product != nil {
				instead = append(instead, c.Name+": "+product.Substitutes[0].Describe())
			}
		}
	}
	if installed.Total() == 0 {
		return []finding.Finding{{Reason: "no installed software was found"}}
	}
	f := finding.Finding{Facts: map[string]any{
		"components": installed.Total(), "free": installed.Free, "nonfree": installed.NonFree, "unknown": installed.Unknown,
		"share_low": rounded(installed.Low()), "share_high": rounded(installed.High()),
	}}
	if len(nonfree) > 0 {
		f.Facts["nonfree_components"] = nonfree[:min(len(nonfree), listed)]
	}
	if len(instead) > 0 {
		f.Facts["substitutes"] = names(instead)
	}
	minimum, unknown := p.Software.FreeShareMinimum, installed.High()-installed.Low()
	switch {
	case installed.High() < minimum:
		f.Verdict = finding.Fail
		f.Reason = fmt.Sprintf("at most %.1f %% of %d components are free, the policy asks for %.1f %%", 100*installed.High(), installed.Total(), 100*minimum)
	case unknown > p.Software.UnknownShareMaximum:
		f.Reason = fmt.Sprintf("the licence of %.1f %% of %d components is unknown, the policy bears %.1f %%", 100*unknown, installed.Total(), 100*p.Software.UnknownShareMaximum)
	case installed.Low() < minimum:
		f.Reason = fmt.Sprintf("%.1f to %.1f %% of %d components are free: whether that is %.1f %% depends on unknown licences", 100*installed.Low(), 100*installed.High(), installed.Total(), 100*minimum)
	default:
		f.Verdict = finding.Pass
		f.Reason = fmt.Sprintf("at least %.1f %% of %d components are free", 100*installed.Low(), installed.Total())
	}
	return []finding.Finding{f}
}

// listed is how many components a finding names.
const listed = 50
