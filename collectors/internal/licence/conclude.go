package licence

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/licensecheck"

	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// mostMain is how many licences that stand side by side are taken for the terms of
// one work. Of more, the first are its own and the rest those of parts.
const mostMain = 3

// conclude joins what was found in a text.
func conclude(text []byte, matches []licensecheck.Match) Answer {
	words := split(text)
	var found []find
	clause := false
	for _, m := range matches {
		clause = clause || m.ID == commonsClause
		id := spdxID(m.ID)
		switch { // the bare text of a GNU licence names no later version
		case id != "" && spdx.GNU(strings.ToLower(id)) != "":
			id = spdx.GNU(strings.ToLower(id))
		case m.ID == "GPL":
			id = "GPL-1.0-or-later"
		case id == "BSD-2-Clause" && has(joined(split(text[m.Start:m.End])), "immediately at the beginning of the file"):
			id = "BSD-2-Clause-Darwin"
		}
		found = append(found, find{id: id, lo: m.Start, hi: m.End, weak: m.IsURL})
	}
	covered := func(lo int) bool {
		return slices.ContainsFunc(found, func(f find) bool { return !f.weak && f.lo <= lo && lo < f.hi })
	}
	found = append(found, grants(words, covered)...)
	found = slices.DeleteFunc(found, func(f find) bool { return f.id == "" })
	found = precise(found)
	slices.SortStableFunc(found, func(a, b find) int { return cmp.Compare(a.lo, b.lo) })

	parts := portionsFrom(text)
	main := slices.DeleteFunc(slices.Clone(found), func(f find) bool { return f.lo >= parts })
	if len(main) == 0 {
		if own := before(words, parts); parts < len(text) && restricts(own) {
			return ownTerms(text, own)
		}
		main = found
	}
	main = others(main, words)
	rest := joined(slices.DeleteFunc(slices.Clone(words), func(w word) bool { return covered(w.lo) }))
	a := Answer{}
	a.Expression, a.Freedom = join(strong(main), main, words)
	switch {
	case clause:
		a.Freedom = inventory.NonFree
		if a.Expression != "" && !strings.Contains(a.Expression, " ") {
			a.Expression += " WITH AdditionRef-Commons-Clause"
		}
	case a.Freedom == inventory.Free && (!every(found) || len(strong(found)) == 0 || strong(found)[0].weak):
		a.Freedom = inventory.FreedomUnknown
	case a.Freedom == inventory.Free && !enough(rest, len(words)):
		a.Freedom = inventory.FreedomUnknown
	case a.Expression == "" && restricts(rest):
		return ownTerms(text, rest)
	}
	return a
}

// before gives the words that stand before a place in the text.
func before(words []word, at int) string {
	end, _ := slices.BinarySearchFunc(words, at, func(w word, at int) int { return cmp.Compare(w.lo, at) })
	return joined(words[:end])
}

// precise leaves out names of the GNU family without a version where the version is
// said elsewhere.
func precise(found []find) []find {
	versioned := func(family string) bool {
		return slices.ContainsFunc(found, func(f find) bool {
			return strings.HasPrefix(f.id, family) && f.id != "GPL-1.0-or-later" && f.id != "LGPL-2.0-or-later"
		})
	}
	gpl, lgpl := versioned("GPL-"), versioned("LGPL-")
	stack := slices.IndexFunc(found, func(f find) bool { return f.id == "Python-2.0.1" })
	return slices.DeleteFunc(found, func(f find) bool {
		if f.bare && stack >= 0 { // it says with what its releases go together
			return true
		}
		switch f.id { // Python's has those of all its former makers
		case "PSF-2.0", "Python-2.0", "CNRI-Python", "CNRI-Python-GPL-Compatible":
			if stack >= 0 {
				return true
			}
		}
		return f.bare && (gpl && f.id == "GPL-1.0-or-later" || lgpl && f.id == "LGPL-2.0-or-later")
	})
}

// enough reports whether what belongs to no licence is little and demands nothing:
// names, years, where it came from. More may be terms that no phrase here knows.
func enough(rest string, words int) bool {
	n := strings.Count(rest, " ") - 1
	return (n <= 80 || n <= words/4) && !demands(rest)
}

// strong leaves out mere references where there is anything else.
func strong(found []find) []find {
	if slices.ContainsFunc(found, func(f find) bool { return !f.weak }) {
		return slices.DeleteFunc(slices.Clone(found), func(f find) bool { return f.weak })
	}
	return found
}

// every reports whether all licences that were found are free, those of parts, too.
func every(found []find) bool {
	for _, f := range found {
		if _, freedom := spdx.Expression(f.id); freedom != inventory.Free {
			return false
		}
	}
	return true
}

// join makes the expression of the main licence: the first, what is offered at
// choice with it, and permissive texts that stand beside it. weak has references,
// too.
func join(found, weak []find, words []word) (string, inventory.Freedom) {
	if len(found) == 0 {
		return "", inventory.FreedomUnknown
	}
	if offered := atChoice(weak, words); offered != "" {
		return spdx.Expression(offered)
	}
	first := found[0]
	if i := either(found, words); i > 0 {
		first, found = found[i], found[i:]
	}
	expression := first.id
	if addition := exceptionOf(first, found, words); addition != "" && !strings.Contains(expression, " ") {
		expression += " WITH " + addition
	}
	seen := []string{first.id}
	end := first.hi
	alternatives := []string{expression}
	for _, f := range found[1:] {
		if slices.Contains(seen, f.id) {
			end = f.hi
			continue
		}
		if !choice(words, end, f.lo) {
			break
		}
		seen, end = append(seen, f.id), f.hi
		alternatives = append(alternatives, f.id)
	}
	if paid(words, first.hi) {
		alternatives = append(alternatives, commercial)
	}
	if len(alternatives) > 1 {
		expression = strings.Join(alternatives, " OR ")
		return spdx.Expression(expression)
	}
	if _, freedom := spdx.Expression(first.id); freedom == inventory.NonFree {
		return spdx.Expression(expression) // an agreement names the terms of parts
	}
	if spdx.GNU(strings.ToLower(first.id)) == "" && first.id != "Python-2.0.1" && !strings.Contains(first.id, " ") {
		beside := distinct(found)
		if len(beside) <= mostMain {
			expression = "(" + strings.Join(beside, ") AND (") + ")"
		}
	}
	return spdx.Expression(expression)
}

// distinct gives the ids of permissive texts.
func distinct(found []find) []string {
	var ids []string
	for _, f := range found { // of the GNU family are parts of another maker's
		if !slices.Contains(ids, f.id) && spdx.GNU(strings.ToLower(f.id)) == "" {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// choice reports whether what stands between two licences offers one or the other.
func choice(words []word, lo, hi int) bool {
	from, _ := slices.BinarySearchFunc(words, lo, func(w word, at int) int { return cmp.Compare(w.lo, at) })
	to, _ := slices.BinarySearchFunc(words, hi, func(w word, at int) int { return cmp.Compare(w.lo, at) })
	if to < from || to-from > 14 {
		return false
	}
	between := joined(words[from:to])
	return has(between, "or") && !has(between, "and;or later")
}
