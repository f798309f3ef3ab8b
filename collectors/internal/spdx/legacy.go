package spdx

import (
	"strings"

	"cityward/collectors/inventory"
)

// Fedora reads the licence of an RPM package: an SPDX expression, or one of the
// names that Fedora and its kin used before. There, BSD, MIT with additions and
// others stood for many texts that are free alike: such an answer has no
// expression.
func Fedora(text string) (string, inventory.Freedom) {
	if expression, freedom := Named(text); expression != "" {
		return expression, freedom
	}
	if len(text) > 1024 {
		return "", inventory.FreedomUnknown
	}
	p := parser{words: phrases(text), legacy: true}
	if len(p.words) == 0 || len(p.words) > 128 {
		return "", inventory.FreedomUnknown
	}
	t := p.list()
	if p.failed || len(p.words) > 0 {
		return "", inventory.FreedomUnknown
	}
	if strings.Contains(t.text, nameless) {
		t.text = ""
	}
	return t.text, t.freedom
}

// nameless stands for terms that have no id.
const nameless = "?"

// phrases splits a text into names of several words, operators and parentheses.
func phrases(text string) []string {
	var all, phrase []string
	end := func() {
		if len(phrase) > 0 {
			all = append(all, strings.Join(phrase, " "))
			phrase = nil
		}
	}
	for _, word := range tokens(text) {
		switch strings.ToLower(word) {
		case "and", "or", "(", ")":
			end()
			all = append(all, word)
		default:
			phrase = append(phrase, word)
		}
	}
	end()
	return all
}

// legacy gives the id of one name of Fedora's.
func legacy(name string) (string, inventory.Freedom) {
	name = strings.ToLower(name)
	switch name {
	case "bsd", "bsd with advertising", "mit with advertising", "public domain", "gplv2+ with exceptions", "gplv2 with exceptions",
		"gplv3+ with exceptions", "gplv3 with exceptions", "lgplv2+ with exceptions", "lgplv2 with exceptions", "lgplv3+ with exceptions",
		"lgplv2", "copyright only", "python", "epl", "mplv1.1+", "cc-by", "cc-by-sa", "afl", "ucd", "unicode", "lppl", "mpl":
		return nameless, inventory.Free
	case "redistributable , no modification permitted", "proprietary", "commercial":
		return nameless, inventory.NonFree
	case "gpl+":
		return "GPL-1.0-or-later", inventory.Free
	case "artistic": // Perl's wording, of which the other term must make it free
		return nameless, inventory.FreedomUnknown
	}
	if id := usualFedora(name); id != "" {
		return Expression(id)
	}
	if expression, freedom := Expression(name); expression != "" {
		return expression, freedom
	}
	plained := plain(name)
	if id := usual(plained); id != "" {
		return Expression(id)
	}
	return "", inventory.FreedomUnknown
}

// usualFedora gives ids of short names that only Fedora has.
func usualFedora(name string) string {
	switch name {
	case "asl 1.1":
		return "Apache-1.1"
	case "artistic 2.0":
		return "Artistic-2.0"
	case "mplv1.0":
		return "MPL-1.0"
	case "mplv1.1":
		return "MPL-1.1"
	case "mplv2.0":
		return "MPL-2.0"
	case "ofl":
		return "OFL-1.1"
	case "php":
		return "PHP-3.01"
	case "cpl":
		return "CPL-1.0"
	case "cddl":
		return "CDDL-1.0"
	case "qpl":
		return "QPL-1.0"
	case "openldap":
		return "OLDAP-2.8"
	case "zplv2.1":
		return "ZPL-2.1"
	case "zplv2.0":
		return "ZPL-2.0"
	case "ecl 2.0":
		return "ECL-2.0"
	case "upl":
		return "UPL-1.0"
	case "lgplv2+": // a version of 2 stands for the library licence, 2.0
		return "LGPL-2.0-or-later"
	case "sleepycat":
		return "Sleepycat"
	}
	return ""
}
