package dpkg

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// parseProse reads a copyright file in free words. What it says of the packaging,
// which often has another licence, counts only where nothing else is said.
func parseProse(in *bufio.Reader, r *record, texts *licence.Texts) (inventory.Licence, error) {
	text, err := io.ReadAll(io.LimitReader(in, licence.MostText+1))
	if err != nil {
		return inventory.Licence{}, err
	}
	a := texts.Classify(before(text, ofPackaging))
	if a == (licence.Answer{}) {
		a = texts.Classify(without(text, ofPackaging))
	}
	if a == (licence.Answer{}) { // what was made for Debian has no other terms than the package's
		a = texts.Classify(without(text, ofPackagingAlone))
		a.Freedom = inventory.FreedomUnknown
	}
	if a == (licence.Answer{}) && area(r, false) == areaContrib { // scripts that fetch what is not free are all that there is
		a = texts.Classify(text)
		a.Freedom = inventory.FreedomUnknown
	}
	if own := ofLibrary(text, r); strings.HasPrefix(a.Expression, "GPL-") && len(own) > 0 {
		if of := texts.Classify(own); strings.HasPrefix(of.Expression, "LGPL-") {
			a.Expression = of.Expression
		}
	}
	if choice := stated(text); strings.Contains(choice, " ") || a.Expression == "" && choice != "" {
		a.Expression = choice // whether the rest takes anything back is as before
	}
	if section := area(r, false); section == areaNonFree || section == areaFirmware {
		a = notFree(a, r, text)
	}
	if a.Expression == "" && permits(text) { // in its maker's own words
		a.Expression = spdx.Reference(r.name)
	}
	if a == (licence.Answer{}) {
		return inventory.Licence{}, nil
	}
	return inventory.Licence{Expression: a.Expression, Source: sourceText, Freedom: a.Freedom}, nil
}

// ofLibrary gives what a text says from where it names the library of a package and
// its terms: those of a source's programs may be others. nil for all other packages.
func ofLibrary(text []byte, r *record) []byte {
	const near = 200
	stem := strings.TrimRight(strings.TrimSuffix(r.name, "-dev"), "0123456789.-")
	if !strings.HasPrefix(stem, "lib") || len(stem) < 5 {
		return nil
	}
	for at := 0; ; {
		i := bytes.Index(text[at:], []byte(stem))
		if i < 0 {
			return nil
		}
		at += i
		said := bytes.ToLower(text[at:min(at+near, len(text))])
		for _, word := range []string{"lgpl", "lesser general", "library general"} {
			if bytes.Contains(said, []byte(word)) {
				return text[at:]
			}
		}
		at += len(stem)
	}
}

// stated gives the expression that a line after "License:" is, which has nothing
// but names; slashes between them part a choice. "" for all other texts.
func stated(text []byte) string {
	const mostWords = 8
	after := false
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if rest, ok := bytes.CutPrefix(line, []byte("License:")); ok {
			line, after = bytes.TrimSpace(rest), true
		}
		if !after || len(line) == 0 {
			continue
		}
		if len(bytes.Fields(line)) > mostWords {
			return ""
		}
		var names []string
		for name := range strings.SplitSeq(string(line), " / ") {
			expression, _ := spdx.Named(name)
			if expression == "" {
				return ""
			}
			names = append(names, expression)
		}
		return strings.Join(names, " OR ")
	}
	return ""
}

// permits reports words that grant something.
func permits(text []byte) bool {
	lower := bytes.ToLower(text)
	for _, word := range []string{"permission", "permitted", "freely"} {
		if bytes.Contains(lower, []byte(word)) {
			return true
		}
	}
	return false
}

// before gives the paragraphs before the first of a kind.
func before(text []byte, kind func(paragraph []byte) bool) []byte {
	end := 0
	for paragraph := range bytes.SplitAfterSeq(text, []byte("\n\n")) {
		if kind(paragraph) {
			return text[:end]
		}
		end += len(paragraph)
	}
	return text
}

// without gives the paragraphs that are not of a kind.
func without(text []byte, kind func(paragraph []byte) bool) []byte {
	var rest []byte
	for paragraph := range bytes.SplitAfterSeq(text, []byte("\n\n")) {
		if !kind(paragraph) {
			rest = append(rest, paragraph...)
		}
	}
	return rest
}

// ofPackaging reports whether a paragraph speaks of the packaging, which often has
// another licence than what is packed.
func ofPackaging(paragraph []byte) bool {
	lower := bytes.ToLower(paragraph)
	return ofPackagingAlone(paragraph) || bytes.Contains(lower, []byte("debian package is")) ||
		bytes.Contains(lower, []byte("files in the debian directory"))
}

func ofPackagingAlone(paragraph []byte) bool {
	lower := bytes.ToLower(paragraph)
	return bytes.Contains(lower, []byte("packaging")) || bytes.Contains(lower, []byte("debian/*"))
}

// notFree completes the answer for a package that is not free: words that no licence
// has, alone or beside one that is free, are named after the package.
func notFree(a licence.Answer, r *record, text []byte) licence.Answer {
	own := spdx.Reference(r.name)
	switch {
	case own == "", withInvariants(a.Expression): // which is why
	case a.Expression == "", bytes.Contains(text, []byte("additional restrictions")):
		a.Expression = own
	default:
		if joined, freedom := spdx.Expression("(" + a.Expression + ") AND " + own); a.Freedom != inventory.NonFree && freedom == inventory.FreedomUnknown && free(a.Expression) {
			a.Expression = joined
		}
	}
	a.Freedom = inventory.NonFree
	return a
}

func free(expression string) bool {
	_, freedom := spdx.Expression(expression)
	return freedom == inventory.Free
}

// withInvariants reports a manual's licence that may forbid the change of parts.
func withInvariants(expression string) bool {
	return strings.HasPrefix(expression, "GFDL-") && !strings.Contains(expression, "-no-invariants-")
}
