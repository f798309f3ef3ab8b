package licence

import (
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// SourceText is the source of a licence that only its text shows.
const SourceText = "text of the licence"

// File reports whether a name is one that files with the terms of software have.
func File(name string) bool {
	name = strings.ToLower(path.Base(name))
	for _, begin := range []string{"license", "licence", "copying", "unlicense", "eula"} {
		if rest, ok := strings.CutPrefix(name, begin); ok && (rest == "" || strings.IndexByte(".-_", rest[0]) >= 0) {
			switch path.Ext(name) {
			case ".js", ".ts", ".py", ".json", ".class", ".html", ".pyc", ".map":
				return false
			}
			return true
		}
	}
	return false
}

// Open reports whether a statement leaves it open what the terms are.
func Open(l inventory.Licence) bool {
	return l.Freedom != inventory.NonFree && (l.Expression == "" || l.Freedom == inventory.FreedomUnknown && strings.HasPrefix(l.Expression, "LicenseRef-"))
}

// Named gives a licence without an expression a reference: what the maker calls
// it, or, where that only points elsewhere, what the software is called.
func Named(l inventory.Licence, software string) inventory.Licence {
	if l.Expression != "" || l == (inventory.Licence{}) {
		return l
	}
	name := l.Declared
	if lower := strings.ToLower(name); name == "" || strings.HasPrefix(lower, "see ") || strings.Contains(lower, "://") && !strings.Contains(name, " ") {
		name = software
	}
	l.Expression = spdx.Reference(name)
	if _, freedom := spdx.Expression(l.Expression); l.Freedom == inventory.FreedomUnknown && freedom == inventory.NonFree {
		l.Freedom = freedom
	}
	return l
}

// contradicted takes back the freedom that a maker's statement claims where a text
// beside it names terms that restrict: what holds then only a person can tell. A
// statement may offer a choice with such terms.
func contradicted(l inventory.Licence, texts ...[]byte) inventory.Licence {
	notFree := func(expression string) bool {
		_, freedom := spdx.Expression(expression)
		return freedom != inventory.Free
	}
	if choice := strings.Split(l.Expression, " OR "); l.Freedom != inventory.Free || len(choice) > 1 && slices.ContainsFunc(choice, notFree) {
		return l
	}
	for _, text := range texts {
		if plain(joined(split(text[:partsFrom(text)]))) {
			l.Freedom = inventory.FreedomUnknown
		}
	}
	return l
}

// Complete answers by texts what the maker's statement leaves open, and heeds what
// they say against it. A text that is not free makes software non-free whatever the
// statement says of a family of licences; of several texts it is not known whether
// they hold together or at will.
func (t *Texts) Complete(l inventory.Licence, texts ...[]byte) inventory.Licence {
	if t != nil && Open(l) {
		l = t.answered(l, texts)
	}
	return contradicted(l, texts...)
}

func (t *Texts) answered(l inventory.Licence, texts [][]byte) inventory.Licence {
	var sum Answer
	for i, text := range texts {
		a := t.Classify(text)
		switch {
		case i == 0:
			sum = a
		case a == sum:
		default:
			sum.Expression = ""
			if a.Freedom != sum.Freedom {
				sum.Freedom = inventory.FreedomUnknown
			}
		}
	}
	if sum == (Answer{}) {
		return l
	}
	if l.Source = SourceText; sum.Expression != "" {
		l.Expression = sum.Expression
	}
	if sum.Freedom != inventory.FreedomUnknown || sum.Expression != "" {
		l.Freedom = sum.Freedom
	}
	return l
}
