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

	a := Answer{}
	a.Expression, a.Freedom = join(strong(found), words)
	rest := joined(slices.DeleteFunc(slices.Clone(words), func(w word) bool { return covered(w.lo) }))
	switch {
	case clause:
		a.Freedom = inventory.NonFree
		if a.Expression != "" && !strings.Contains(a.Expression, " ") {
			a.Expression += " WITH AdditionRef-Commons-Clause"
		}
	case a.Freedom == inventory.Free && (!every(found) || len(strong(found)) == 0 || strong(found)[0].weak):
		a.Freedom = inventory.FreedomUnknown
	case a.Freedom == inventory.Free && (restricts(rest) || !enough(rest, len(words))):
		a.Freedom = inventory.FreedomUnknown
	case a.Expression == "" && proprietary(rest):
		a.Freedom = inventory.NonFree
	}
	return a
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
	return slices.DeleteFunc(found, func(f find) bool {
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
// choice with it, and permissive texts that stand beside it.
func join(found []find, words []word) (string, inventory.Freedom) {
	if len(found) == 0 {
		return "", inventory.FreedomUnknown
	}
	first := found[0]
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
	if len(alternatives) > 1 {
		expression = strings.Join(alternatives, " OR ")
		return spdx.Expression(expression)
	}
	if spdx.GNU(strings.ToLower(first.id)) == "" && !strings.Contains(first.id, " ") {
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

// exceptionOf names the exception that a GNU licence is granted with: what is said
// of one up to the next licence or a page further on.
func exceptionOf(f find, found []find, words []word) string {
	if !strings.Contains(f.id, "GPL-") {
		return ""
	}
	stop := f.hi + 1500
	for _, next := range found {
		if next.lo >= f.hi && next.id != f.id {
			stop = min(stop, next.lo)
			break
		}
	}
	from, _ := slices.BinarySearchFunc(words, f.lo, func(w word, at int) int { return cmp.Compare(w.lo, at) })
	to, _ := slices.BinarySearchFunc(words, stop, func(w word, at int) int { return cmp.Compare(w.lo, at) })
	said := joined(words[from:max(from, to)])
	second := strings.HasPrefix(f.id, "GPL-2")
	switch {
	case !has(said, "special exception;as an exception;additional permission;with the exception;with exceptions;runtime library exception;following exception"):
		return ""
	case has(said, "openssl"):
		return "AdditionRef-OpenSSL-exception"
	case has(said, "gcc runtime library exception") && !second:
		return "GCC-exception-3.1"
	case has(said, "bison parser;bison generated"):
		return "Bison-exception-2.2"
	case has(said, "configure script;configuration script generated by autoconf;autoconf"):
		if second {
			return "Autoconf-exception-2.0"
		}
		return "Autoconf-exception-3.0"
	case has(said, "libtool"):
		return "Libtool-exception"
	case has(said, "embed this font"):
		return "Font-exception-2.0"
	case has(said, "independent modules") && has(said, "linking this library;linking this code;link this library"):
		return "Classpath-exception-2.0"
	case has(said, "texinfo tex"):
		return "Texinfo-exception"
	}
	return ""
}

// restricts reports whether a text that belongs to no known licence takes back
// what free software must grant.
func restricts(rest string) bool {
	return has(rest, "non commercial;noncommercial;not for commercial;no commercial;commercial use is prohibited;commercial use is not;"+
		"commercial use requires;may not be used commercially;personal use only;for personal use;private use only;research purposes only;"+
		"research use only;educational use only;educational purposes only;academic use only;internal use only;internal business purposes;"+
		"evaluation only;evaluation purposes;for evaluation;trial period;may not be modified;may not modify;not be altered;"+
		"no modification;no modifications;modification is prohibited;modification is not;modifications are not permitted;"+
		"without modification only;unmodified only;may not redistribute;not redistribute;not be redistributed;redistribution is prohibited;"+
		"redistribution is not permitted;redistribution not permitted;no redistribution;may not distribute;not be distributed;may not sell;"+
		"not be sold;shall not be sold;may not resell;sold for profit;derivative works are not;no derivative;no derivatives;"+
		"non production;production use;may only be used;may be used only;use only;only with;for use with;terminates;not authorized;not authorised;customers only;customer;customers;licensee;licensees;subscription;"+
		"you agree;license agreement;licence agreement;proprietary;for a fee;hosted or managed service;competing product;compete with") || proprietary(rest)
}

// proprietary reports words that end users' agreements have and free licences do
// not.
func proprietary(rest string) bool {
	return has(rest, "reverse engineer;reverse engineering;decompile;disassemble;proprietary and confidential;confidential and proprietary;"+
		"trade secret;trade secrets;licensed not sold;license fee;license fees;license key;non transferable;nontransferable;"+
		"unauthorized copying;unauthorised copying;may not copy;end user license agreement;end user licence agreement;"+
		"terms of service;strictly prohibited;may not redistribute;you may not rent;not sublicense")
}
