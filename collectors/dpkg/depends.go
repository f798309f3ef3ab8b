package dpkg

import (
	"strings"
)

// sizeDepends bounds what is kept of each of these fields; the longest of Debian
// has 8 KB.
const sizeDepends = 32 << 10

// depends tells each component which others here its package says it needs, as
// deb-control(5) has Depends, Pre-Depends and Provides. Of alternatives the first
// that is here counts; what is not here is left out. Packages that every system
// has need not be named (Debian Policy, section 3.5), so no list is ever whole.
func (db *database) depends(there []*record) {
	here := make(map[string][]int) // by name, or by what is provided
	for i, r := range there {
		here[r.name] = append(here[r.name], i)
	}
	for i, r := range there {
		for part := range strings.SplitSeq(r.provides, ",") {
			if name := packageName(part); name != "" && name != r.name {
				here[name] = append(here[name], i)
			}
		}
	}
	for i, r := range there {
		c := &db.components[i]
		c.Depends = []string{}
		known := map[int]bool{i: true}
		for group := range strings.SplitSeq(r.depends, ",") {
			for alternative := range strings.SplitSeq(group, "|") {
				j, ok := nearest(there, here[packageName(alternative)], r.arch)
				if !ok {
					continue
				}
				if !known[j] {
					known[j] = true
					c.Depends = append(c.Depends, db.components[j].PURL)
				}
				break
			}
		}
		c.Depends = append(make([]string, 0, len(c.Depends)), c.Depends...) // no room to grow
	}
}

// packageName is the name of one relation: "libc6:any (>= 2.36)".
func packageName(relation string) string {
	relation = strings.TrimSpace(relation)
	if end := strings.IndexAny(relation, " (:["); end >= 0 {
		relation = relation[:end]
	}
	return relation
}

// nearest prefers a package of the same architecture.
func nearest(there []*record, found []int, arch string) (int, bool) {
	for _, i := range found {
		if there[i].arch == arch {
			return i, true
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	return found[0], true
}
