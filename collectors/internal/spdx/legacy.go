package spdx

import (
	"strings"

	"cityward/collectors/inventory"
)

// Fedora reads the licence of an RPM package: an SPDX expression, or the names
// that Fedora and its kin used before. There, BSD, MIT with additions and others
// stood for many texts that are free alike; as Fedora's own converter does, they
// become LicenseRef-Callaway-NAME. A name that is not known becomes a reference,
// too, whose freedom is unknown.
func Fedora(text string) (string, inventory.Freedom) {
	if expression, freedom := Named(text); expression != "" && !strings.HasPrefix(expression, "LicenseRef-") {
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
	// Beside the GPL of any version, Artistic is in Perl's wording.
	perl := strings.NewReplacer("GPL-1.0-or-later OR "+artistic, "GPL-1.0-or-later OR Artistic-1.0-Perl",
		artistic+" OR GPL-1.0-or-later", "Artistic-1.0-Perl OR GPL-1.0-or-later")
	return Expression(perl.Replace(t.text))
}

const (
	callaway = "LicenseRef-Callaway-"
	artistic = callaway + "Artistic"
)

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
func legacy(written string) (string, inventory.Freedom) {
	name := strings.ToLower(written)
	switch name {
	case "bsd", "bsd with advertising", "mit with advertising", "public domain", "copyright only", "python", "epl", "mplv1.1+", "cc-by",
		"cc-by-sa", "afl", "ucd", "unicode", "lppl", "mpl", "artistic", "redistributable , no modification permitted":
		return Expression(callaway + reference(written))
	case "gpl+":
		return "GPL-1.0-or-later", inventory.Free
	}
	if base, ok := strings.CutSuffix(name, " with exceptions"); ok {
		if id := GNU(base); id != "" {
			return Expression(id + " WITH AdditionRef-Callaway-exceptions")
		}
	}
	if id := usualFedora(name); id != "" {
		return Expression(id)
	}
	if expression, freedom := Expression(name); expression != "" {
		return expression, freedom
	}
	if id := usual(plain(name)); id != "" {
		return Expression(id)
	}
	return Expression(Reference(written))
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
	case "lgplv2":
		return "LGPL-2.0-only"
	case "lgplv2+": // a version of 2 stands for the library licence, 2.0
		return "LGPL-2.0-or-later"
	case "sleepycat":
		return "Sleepycat"
	}
	return ""
}
