package licence

import (
	"cmp"
	"slices"
	"strings"

	"cityward/collectors/internal/spdx"
)

// commercial stands for terms that are sold.
const commercial = "LicenseRef-Commercial"

// place gives the index of the first word at or after a place of the text.
func place(words []word, at int) int {
	i, _ := slices.BinarySearchFunc(words, at, func(w word, at int) int { return cmp.Compare(w.lo, at) })
	return i
}

// atChoice gives the licences of a text that says, about where it names the first,
// that one of several may be taken; "" for others.
func atChoice(found []find, words []word) string {
	if len(found) == 0 {
		return ""
	}
	if choice := published(found, words); choice != "" {
		return choice
	}
	i := place(words, found[0].lo)
	near := joined(words[max(0, i-60):min(len(words), i+24)])
	if !has(near, "dual licensed;dual license;dually licensed;tri licensed;triple licensed;choose one of;dual licence;dual licenced") {
		return ""
	}
	var ids []string
	for _, f := range found {
		if !slices.Contains(ids, f.id) && (spdx.GNU(strings.ToLower(f.id)) == "" || !f.weak || len(ids) == 0) {
			ids = append(ids, f.id)
		}
	}
	offered := 2
	if has(near, "tri licensed;triple licensed;choose one of") {
		offered = 3
	}
	if has(near, "commercial;commercial license") {
		offered--
		ids = append(ids[:min(len(ids), offered)], commercial)
	} else {
		ids = ids[:min(len(ids), offered)]
	}
	if len(ids) < 2 {
		return ""
	}
	return strings.Join(ids, " OR ")
}

// either gives the index of the grant that offers "either" of two licences: it
// speaks for the whole where a notice before it does not. -1 without one.
func either(found []find, words []word) int {
	for i := range found[:len(found)-1] {
		at := place(words, found[i].lo)
		if has(joined(words[max(0, at-6):at]), "either") && choice(words, found[i].hi, found[i+1].lo) {
			return i
		}
	}
	return -1
}

// paid reports whether the words after a grant offer terms that are sold.
func paid(words []word, after int) bool {
	from := place(words, after)
	next := words[from:min(len(words), from+36)]
	or := slices.IndexFunc(next[:min(len(next), 14)], func(w word) bool { return w.text == "or" })
	return or >= 0 && has(joined(next[or:min(len(next), or+20)]), "commercial license;commercial licence;commercial terms;a commercial;terms conditions of use;license agreement;proprietary license")
}

// others puts first what a text grants for all that it has not named before: "the
// rest of the software".
func others(found []find, words []word) []find {
	const near = 40
	for i := 1; i < len(found); i++ {
		at := place(words, found[i].lo)
		before := joined(words[min(at, max(0, at-near, place(words, found[i-1].hi))):at])
		if !found[i].weak && has(before, "the rest of the software;the rest of the package;the rest of the code;everything else;all other files;all other code;not mentioned above;not listed above") {
			return append(slices.Clone(found[i:]), found[:i]...)
		}
	}
	return found
}

// published gives the choice that a file stands for in which makers of Java publish
// one licence and after it the whole GPL with the exception for class paths; "" for
// others.
func published(found []find, words []word) string {
	const whole = 10 << 10
	ids := slices.DeleteFunc(slices.Clone(found), func(f find) bool { return f.hi-f.lo < whole })
	if len(ids) < 2 || ids[1].id != "GPL-2.0-only" || !strings.HasPrefix(ids[0].id, "CDDL-") && ids[0].id != "EPL-2.0" {
		return ""
	}
	if !has(joined(words[place(words, ids[1].hi):]), "classpath exception") {
		return ids[0].id + " OR GPL-2.0-only"
	}
	return ids[0].id + " OR GPL-2.0-only WITH Classpath-exception-2.0"
}
