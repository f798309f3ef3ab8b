package freedom

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// SWF002 demands that what is not free, or steered by others, is so by decision.
func SWF002() finding.Rule {
	return finding.Rule{
		ID:        "SWF-002",
		Title:     "What is not free, or controlled from outside, is there by decision",
		Severity:  finding.Medium,
		Rationale: "Software that is not free binds a city to its maker, and an agent of a foreign service puts a part of the machine into other hands. Where something free does the same, staying with it should be a decision that somebody made, and made again.",
		Decides: finding.Decides{
			finding.Pass:    "no product of the table of substitutes is installed or runs, nothing else is known not to be free, and few licences are unknown",
			finding.Fail:    "a product that is not free is installed or runs, and free software can take its place",
			finding.Review:  "free software that a service beyond the city controls is there, a product is known by a name that nobody checked, or a component that is not free is in no row of the table",
			finding.Unknown: "whether a product is its free version is not known, too many licences are unknown, a program runs in a container or its file cannot be read, or no software or no program was seen",
		},
		Remedy:   "Plan the move to a substitute that the finding names. Until then record the reason in waivers.toml, with an owner and an end.",
		Pitfalls: "The table knows products by the names of packages, programs and directories: renamed or relocated ones are missed. It names substitutes, and does not know what the city needs of a product. Firmware is listed among what is not free.",
		Needs:    []string{inventory.KindComponents, inventory.KindLicences, inventory.KindProcesses},
		Maps:     finding.Maps{"eu_csf": {"SOV-5.4", "SOV-6.2"}},
	}
}

// JudgeSWF002 gives one finding for each product, one each for what the table
// does not know, what is not known of licences, and what is not known of
// programs, and one for the machine where there is none of these.
func JudgeSWF002(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	if p.Substitutes == nil {
		return []finding.Finding{{Reason: "there is no table of substitutes"}}
	}
	seen := survey(s, p)
	var found []finding.Finding
	for _, id := range slices.Sorted(maps.Keys(seen.products)) {
		found = append(found, seen.products[id].judge())
	}
	found = append(found, seen.rest(s, p)...)
	if len(found) == 0 {
		found = []finding.Finding{{
			Verdict: finding.Pass,
			Reason:  fmt.Sprintf("%d components and %d programs are none of the %d products of the table", len(s.Components), seen.programs, len(p.Substitutes.Products)),
			Facts:   map[string]any{"components": len(s.Components), "programs": seen.programs, "unknown_licences": seen.licences.Unknown},
		}}
	}
	return found
}

// presence is how a product is there.
type presence struct {
	product    *configs.Product
	components []string
	programs   []string
	proven     bool // by a package, a directory, or its licence
	doubtful   bool // it may be the free version
}

// names lists at most as many as a finding may.
func names(list []string) []string {
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), listed)]
}

func (f *presence) judge() finding.Finding {
	p := f.product
	var substitutes []string
	for _, s := range p.Substitutes {
		substitutes = append(substitutes, s.Describe())
	}
	found := finding.Finding{Subject: p.Name, Facts: map[string]any{
		"product": p.ID, "maker": p.Maker, "country": p.Country, "licence": p.Licence, "kind": p.Kind, "running": len(f.programs) > 0,
		"substitutes": substitutes, "effort": p.Effort, "source": p.Source, "checked": p.Checked,
	}}
	if len(f.components) > 0 {
		found.Facts["components"] = names(f.components)
	}
	if len(f.programs) > 0 {
		found.Facts["programs"] = names(f.programs)
	}
	instead := "; instead: " + substitutes[0]
	if n := len(substitutes) - 1; n > 0 {
		instead += fmt.Sprintf(", or %d more", n)
	}
	state := "is installed"
	if len(f.programs) > 0 {
		state = "runs"
	}
	switch {
	case p.Kind == configs.ProductForeign:
		found.Verdict = finding.Review
		found.Reason = fmt.Sprintf("%s, and %s (%s) controls what it belongs to%s", state, p.Maker, p.Country, instead)
	case f.doubtful:
		found.Reason = state + ", and may be its free version: the licence of what was found is not known" + instead
	case p.Checked == configs.CheckedNames:
		found.Verdict, found.Confidence = finding.Review, finding.ConfidenceLow
		found.Reason = fmt.Sprintf("%s by its name, which was not checked, and would not be free (%s)%s", state, p.Licence, instead)
	default:
		found.Verdict = finding.Fail
		found.Reason = fmt.Sprintf("%s and is not free (%s)%s", state, p.Licence, instead)
	}
	if !f.proven {
		found.Confidence = cmp.Or(found.Confidence, finding.ConfidenceMedium)
	}
	return found
}

// rest says what the table of products cannot: which other components are not
// free, and what was not known.
func (v *surveyed) rest(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var found []finding.Finding
	if n := len(v.unlisted); n > 0 {
		found = append(found, finding.Finding{
			Subject: "other components", Verdict: finding.Review,
			Reason: fmt.Sprintf("%d components are not free and in no row of the table of substitutes: %s", n, first(v.unlisted)),
			Facts:  map[string]any{"components": names(v.unlisted), "count": n},
		})
	}
	unknown := v.licences.High() - v.licences.Low()
	switch {
	case len(s.Components) == 0:
		found = append(found, finding.Finding{Subject: "components", Reason: "no installed software was found"})
	case unknown > p.Software.UnknownShareMaximum:
		found = append(found, finding.Finding{
			Subject: "components of unknown licence",
			Reason:  fmt.Sprintf("the licence of %.1f %% of %d components is unknown, the policy bears %.1f %%", 100*unknown, v.licences.Total(), 100*p.Software.UnknownShareMaximum),
			Facts:   map[string]any{"unknown": v.licences.Unknown},
		})
	}
	switch n := len(v.unseen); {
	case len(s.Processes) == 0:
		found = append(found, finding.Finding{Subject: "programs", Reason: "no running program was seen"})
	case n > 0:
		found = append(found, finding.Finding{
			Subject: "programs that cannot be told",
			Reason:  fmt.Sprintf("of %d programs it is not known what they belong to: they run in a container, or their file cannot be read: %s", n, first(v.unseen)),
			Facts:   map[string]any{"programs": names(v.unseen), "count": n},
		})
	}
	return found
}

// first names one of a list, and counts the others.
func first(list []string) string {
	text := slices.Min(list)
	if n := len(list) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}
