package dpkg

import (
	"maps"
	"slices"
	"strings"

	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// conclude reads a License line. What a name of the packager's own means, its
// text says; without one that is known it is a reference.
//
// Terms that the answer leaves out count for its freedom: all must be free.
func (t *terms) conclude(st stanza, texts *licence.Texts) (string, inventory.Freedom) {
	line := effective(st)
	expression, freedom := t.read(line, st.comment, texts)
	for _, whole := range []string{st.line, st.whole} {
		if whole == "" || whole == line || freedom != inventory.Free {
			continue
		}
		_, freedom = t.read(whole, "", texts)
	}
	return expression, freedom
}

// read reads a License line, with the comment of its stanza.
func (t *terms) read(line, comment string, texts *licence.Texts) (string, inventory.Freedom) {
	resolve := func(name string) (string, inventory.Freedom) {
		return t.resolve(name, texts)
	}
	if text, ok := t.texts[textKey(line)]; ok && prose(line) {
		a := texts.Classify(text)
		return a.Expression, a.Freedom
	}
	if expression, freedom := spdx.DebianText(line, resolve); expression != "" {
		return t.exact(line, expression, freedom, comment)
	}
	if base, addition, ok := strings.Cut(line, " with "); ok { // an exception in many words
		if expression, freedom := spdx.DebianText(base, nil); expression != "" && !strings.Contains(expression, " ") {
			if exact, free := t.exact(line, expression, freedom, comment); strings.Contains(exact, " WITH ") {
				return exact, free
			}
			if own, ok := strings.CutPrefix(spdx.Reference(addition), "LicenseRef-"); ok {
				return expression + " WITH AdditionRef-" + own, inventory.FreedomUnknown
			}
		}
	}
	if prose(line) {
		return "", inventory.FreedomUnknown
	}
	return resolve(line)
}

func (t *terms) resolve(name string, texts *licence.Texts) (string, inventory.Freedom) {
	a := licence.Answer{}
	if text := t.textOf(name); text != nil {
		a = texts.Classify(text)
	}
	// The words of a free licence with more that is not: these are terms of their own,
	// but for an exception, which permits more, and a manual's cover texts.
	_, known := spdx.Expression(a.Expression)
	own := a.Freedom == inventory.FreedomUnknown && known == inventory.Free &&
		!strings.Contains(a.Expression, " WITH ") && !strings.HasPrefix(a.Expression, "GFDL-")
	if !strings.HasPrefix(name, nameless) && (a.Expression == "" || own) {
		a.Expression = spdx.Reference(name)
	}
	return a.Expression, a.Freedom
}

// textOf gives the text of a name, or of the name with its exception.
func (t *terms) textOf(name string) []byte {
	k := textKey(name)
	if text, ok := t.texts[k]; ok {
		return text
	}
	for _, full := range slices.Sorted(maps.Keys(t.texts)) {
		if strings.HasPrefix(full, k+"-with-") {
			return t.texts[full]
		}
	}
	return nil
}

// exact corrects a name of the GNU family by the grant below it, of which the name
// is only a summary, and adds the exception that the grant or a comment has.
func (t *terms) exact(line, expression string, freedom inventory.Freedom, comment string) (string, inventory.Freedom) {
	base, addition, with := strings.Cut(expression, " WITH ")
	if spdx.GNU(strings.ToLower(base)) != base || freedom == inventory.NonFree {
		return expression, freedom
	}
	text := t.textOf(line)
	family, _, _ := strings.Cut(base, "-")
	if grant := licence.Grant(text); strings.HasPrefix(grant, family+"-") && strings.HasSuffix(grant, "-or-later") && !strings.HasPrefix(grant, "GFDL") {
		base = grant
	}
	base = invariants(base, text)
	said := licence.Exception(base, append([]byte(comment+"\n"), text...))
	switch {
	case with && strings.HasPrefix(addition, "AdditionRef-") && said != "":
		addition = said
	case !with && said != "" && !ofHelpers(said):
		addition = said
	case !with:
		return spdx.Expression(base)
	}
	return spdx.Expression(base + " WITH " + addition)
}

// invariants corrects the name of a manual's licence by its text: only one that
// excludes cover texts, too, leaves all of it to change.
func invariants(id string, text []byte) string {
	const without = "-no-invariants-"
	if strings.HasPrefix(id, "GFDL-") && strings.Contains(strings.Join(strings.Fields(strings.ToLower(string(text))), " "), "with the front-cover texts being") {
		return strings.Replace(id, without, "-", 1)
	}
	return id
}

// ofHelpers reports exceptions for what programs generate and packages copy: those
// are for files of a source, not for its work, unless the name says so.
func ofHelpers(addition string) bool {
	for _, begin := range []string{"Autoconf-", "Libtool-", "Bison-", "Texinfo-"} {
		if strings.HasPrefix(addition, begin) {
			return true
		}
	}
	return false
}

// effective gives the terms of a stanza that count: where its comment names those of
// most files, these; of many that are joined, those that reach what they are joined
// with, for the others are notices of snippets.
func effective(st stanza) string {
	const mostJoined = 4
	said := strings.ToLower(strings.Join(strings.Fields(st.comment), " "))
	var parts []string
	for _, joint := range []string{", and ", " and "} {
		if parts = strings.Split(st.line, joint); len(parts) > 1 {
			break
		}
	}
	if len(parts) < 2 || strings.ContainsAny(st.line, "()") {
		return st.line
	}
	for _, begin := range []string{"effective license", "effective licence", "majority of the files", "most of the files", "most files", "majority of the code"} {
		if _, after, ok := strings.Cut(said, begin); ok {
			if sentence, _, ok := strings.Cut(after, ". "); ok {
				after = sentence
			}
			for _, part := range parts {
				if strings.Contains(after, strings.ToLower(part)) {
					return part
				}
			}
		}
	}
	if len(parts) > mostJoined && !strings.Contains(st.line, " or ") {
		reach := slices.DeleteFunc(slices.Clone(parts), func(name string) bool { return !copyleft(name) })
		if len(reach) > 0 {
			return strings.Join(reach, " and ")
		}
	}
	return st.line
}

// copyleft reports whether a name is of a licence that reaches the work as a whole.
func copyleft(name string) bool {
	id, _ := spdx.Debian(name)
	for _, family := range []string{"GPL-", "LGPL-", "AGPL-", "MPL-", "EPL-", "CDDL-", "EUPL-"} {
		if strings.HasPrefix(id, family) {
			return true
		}
	}
	return false
}
