package installed

import (
	"cmp"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Parts gathers what a room found in one round; its zero value is empty.
type Parts struct {
	components map[string]inventory.Component // by package URL
	identities map[inventory.Identity]bool
}

// Add takes a language package: a component of its own, or, where a system
// package owns it, another identity of that one. What is added again is one, with
// the files and locations of all and the licence that promises least.
func (p *Parts) Add(owner Package, c inventory.Component) {
	if owner.None() {
		if p.components == nil {
			p.components = make(map[string]inventory.Component)
		}
		if before, again := p.components[c.PURL]; again {
			c.Files = append(slices.Clip(before.Files), c.Files...)
			c.Locations = append(slices.Clip(before.Locations), c.Locations...)
			c.Licence = inventory.LessFree(before.Licence, c.Licence)
		}
		p.components[c.PURL] = c
		return
	}
	if p.identities == nil {
		p.identities = make(map[inventory.Identity]bool)
	}
	p.identities[inventory.Identity{Ecosystem: owner.Ecosystem, Package: host.Text(owner.Name, 256), PURL: c.PURL}] = true
}

// Facts gives what was found, sorted.
func (p *Parts) Facts(gaps []inventory.Gap) inventory.Facts {
	facts := inventory.Facts{Components: Sorted(p.components), Gaps: gaps}
	for identity := range p.identities {
		facts.Identities = append(facts.Identities, identity)
	}
	slices.SortFunc(facts.Identities, func(a, b inventory.Identity) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Package, b.Package), cmp.Compare(a.PURL, b.PURL))
	})
	return facts
}
