package spdx

import (
	"strings"

	"cityward/collectors/inventory"
)

// Expression reads an SPDX licence expression and spells its ids as the list
// does. It is empty unless every id is known.
func Expression(text string) (string, inventory.Freedom) {
	if len(text) > 1024 || strings.Contains(text, ",") {
		return "", inventory.FreedomUnknown
	}
	p := parser{words: tokens(text), strict: true}
	if len(p.words) == 0 || len(p.words) > 128 {
		return "", inventory.FreedomUnknown
	}
	t := p.list()
	if p.failed || len(p.words) > 0 {
		return "", inventory.FreedomUnknown
	}
	return t.text, t.freedom
}

// identify gives the SPDX id of one name.
func (p *parser) identify(name string) (string, inventory.Freedom) {
	if p.legacy {
		return legacy(name)
	}
	lower := strings.ToLower(name)
	if family, versions := gnuFamily(lower); family != "" {
		for _, version := range versions { // SPDX has no name of the family alone
			if strings.HasPrefix(lower, family+"-"+version) {
				if id := GNU(lower); id != "" {
					return id, freedomOf(listed(id))
				}
			}
		}
	}
	if id, freedom := known(lower); id != "" {
		return id, freedom
	}
	if strings.HasPrefix(name, "LicenseRef-") && name == "LicenseRef-"+reference(name[len("LicenseRef-"):]) {
		return name, freedomOf(name, 0)
	}
	bare, later := strings.CutSuffix(lower, "+")
	id, freedom := known(bare)
	if id != "" && later {
		id += "+"
	}
	return id, freedom
}

// strictException reads the one word after WITH.
func (p *parser) strictException(t *term) {
	if len(p.words) == 0 {
		p.failed = true
		return
	}
	name := p.words[0]
	p.words = p.words[1:]
	id := exception(strings.ToLower(name))
	switch {
	case id != "":
	case strings.EqualFold(name, "Commons-Clause"):
		id = additionsNonFree
	case strings.HasPrefix(name, "AdditionRef-") && name == "AdditionRef-"+reference(name[len("AdditionRef-"):]):
		id = name
		if t.freedom == inventory.Free && !among(additionsFree, id) {
			t.freedom = inventory.FreedomUnknown // an addition may forbid, too
		}
	}
	p.failed = p.failed || !t.add(id)
}

// Named reads what people write in a field for a licence: an expression, else
// one of the usual names. A name that stands for several free texts, as BSD
// does, is free without an expression.
func Named(text string) (string, inventory.Freedom) {
	if expression, freedom := Expression(text); expression != "" {
		return expression, freedom
	}
	if len(text) > 256 {
		return "", inventory.FreedomUnknown
	}
	if strings.HasPrefix(text, "http") {
		return Expression(address(text))
	}
	name := plain(text)
	if expression, freedom := Expression(name); expression != "" {
		return expression, freedom
	}
	if id := usual(name); id != "" {
		return Expression(id)
	}
	switch name { // without a version the licences themselves say that any serves
	case "gnu gpl", "gpl", "gnu general public":
		return Expression("GPL-1.0-or-later")
	case "lgpl", "gnu lgpl", "gnu lesser general public", "gnu lesser", "gnu library or lesser general public":
		return Expression("LGPL-2.0-or-later")
	case "bsd", "bsd-style", "bsd style", "mozilla public", "psf", "python foundation", "public domain", "apache", "zope public",
		"eclipse public", "artistic", "unicode":
		if name == "artistic" { // the first version is free in Perl's wording only
			return "", inventory.FreedomUnknown
		}
		return "", inventory.Free
	}
	return "", inventory.FreedomUnknown
}

// address gives the SPDX expression of the place where a text is published.
func address(url string) string {
	_, place, _ := strings.Cut(strings.ToLower(strings.TrimSpace(url)), "://")
	place = strings.TrimPrefix(place, "www.")
	for _, end := range []string{"/", ".txt", ".html", ".php", "-standalone"} {
		place = strings.TrimSuffix(place, end)
	}
	if id := gnuAddress(place); id != "" {
		return id
	}
	for _, list := range []string{"spdx.org/licenses/", "opensource.org/licenses/", "opensource.org/license/"} {
		if id, ok := strings.CutPrefix(place, list); ok {
			if id == "gpl-license" || id == "lgpl-license" || id == "gpl" || id == "lgpl" {
				id = strings.TrimSuffix(id, "-license")
				return GNU(id)
			}
			if gnu := GNU(id); gnu != "" && list != "spdx.org/licenses/" {
				return gnu
			}
			if known := usual(plain(strings.ReplaceAll(id, "-", " "))); known != "" {
				return known
			}
			return strings.TrimSuffix(id, "-license")
		}
	}
	switch place {
	case "apache.org/licenses/license-2.0", "apache.org/licenses", "apache.org/license":
		return "Apache-2.0"
	case "apache.org/licenses/license-1.1":
		return "Apache-1.1"
	case "eclipse.org/legal/epl-v10", "eclipse.org/org/documents/epl-v10", "eclipse.org/legal/epl-1.0":
		return "EPL-1.0"
	case "eclipse.org/legal/epl-2.0", "eclipse.org/legal/epl-v20", "eclipse.org/org/documents/epl-2.0/epl-2.0", "eclipse.org/org/documents/epl-v20":
		return "EPL-2.0"
	case "eclipse.org/org/documents/edl-v10":
		return "BSD-3-Clause"
	case "mozilla.org/mpl/2.0", "mozilla.org/en-us/mpl/2.0", "mozilla.org/media/mpl/2.0/index":
		return "MPL-2.0"
	case "mozilla.org/mpl/mpl-1.1", "mozilla.org/mpl/1.1":
		return "MPL-1.1"
	case "creativecommons.org/publicdomain/zero/1.0", "creativecommons.org/publicdomain/zero/1.0/legalcode":
		return "CC0-1.0"
	case "glassfish.dev.java.net/public/cddlv1.0", "sun.com/cddl/cddl", "opensource.org/licenses/cddl1":
		return "CDDL-1.0"
	}
	return ""
}

// gnuAddress reads a place of the Free Software Foundation. The file of one version
// without a word of later ones means that version; one without a version is a link
// to the latest, and any serves.
func gnuAddress(place string) string {
	file, ok := strings.CutPrefix(place, "gnu.org/")
	if !ok {
		return ""
	}
	if file == "software/classpath/license" {
		return "GPL-2.0-only WITH Classpath-exception-2.0"
	}
	for _, dir := range []string{"licenses/old-licenses/", "licenses/", "copyleft/"} {
		if name, ok := strings.CutPrefix(file, dir); ok {
			name = strings.TrimSuffix(name, ".en")
			if name == "lesser" {
				name = "lgpl"
			}
			return GNU(name)
		}
	}
	return ""
}

// plain drops what does not tell one name from another: case, articles, the word
// licence, a remark in parentheses at the end.
func plain(text string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	if open := strings.LastIndexByte(text, '('); open > 0 && strings.HasSuffix(text, ")") {
		text = text[:open]
	}
	var words []string
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t\n,;:\"'", r) }) {
		switch word {
		case "the", "a", "license", "licence", "licenses", "licensed", "version", "software", "under", "-", "v":
			continue
		}
		if len(word) > 1 && word[0] == 'v' && word[1] >= '0' && word[1] <= '9' {
			word = word[1:]
		}
		words = append(words, word)
	}
	return strings.TrimSuffix(strings.Join(words, " "), ".")
}

// usual gives the SPDX expression of a usual name as plain leaves it.
func usual(name string) string {
	switch name {
	case "apache 2.0", "apache 2", "apache-2", "apache2", "apache2.0", "asl 2.0", "asl 2", "apache public 2.0", "apache 2.0.txt",
		"apachev2", "apache-license-2.0":
		return "Apache-2.0"
	case "mit/expat", "expat", "mit x11", "mit/x11", "x11/mit", "mit-license", "expat/mit":
		return "MIT"
	case "bsd 3-clause", "3-clause bsd", "new bsd", "modified bsd", "revised bsd", "bsd-3", "bsd 3 clause", "bsd3", "bsd new",
		"bsd-3-clause", "eclipse distribution 1.0", "edl 1.0", "3 clause bsd":
		return "BSD-3-Clause"
	case "bsd 2-clause", "2-clause bsd", "simplified bsd", "freebsd", "bsd-2", "bsd 2 clause", "bsd2":
		return "BSD-2-Clause"
	case "iscl":
		return "ISC"
	case "mpl 2.0", "mozilla public 2.0", "mpl2", "mpl 2", "mpl2.0":
		return "MPL-2.0"
	case "mpl 1.1", "mozilla public 1.1":
		return "MPL-1.1"
	case "eclipse public 1.0", "epl 1.0":
		return "EPL-1.0"
	case "eclipse public 2.0", "epl 2.0":
		return "EPL-2.0"
	case "cddl 1.0", "common development and distribution 1.0":
		return "CDDL-1.0"
	case "cddl 1.1":
		return "CDDL-1.1"
	case "cc0", "cc0 1.0 universal", "cc0 1.0":
		return "CC0-1.0"
	case "boost 1.0", "boost":
		return "BSL-1.0"
	case "python foundation license 2", "psf-2", "psf 2":
		return "PSF-2.0"
	case "zpl 2.1", "zope public 2.1":
		return "ZPL-2.1"
	case "gpl2 w/ cpe", "gpl2 with cpe", "gplv2 with classpath exception", "gpl 2 with classpath exception", "gpl 2 w/ classpath exception",
		"gnu general public 2 with classpath exception", "gnu general public 2.0 with classpath exception", "gpl 2.0 with classpath exception":
		return "GPL-2.0-only WITH Classpath-exception-2.0"
	case "european union public 1.2", "eupl 1.2":
		return "EUPL-1.2"
	case "universal permissive 1.0", "upl 1.0":
		return "UPL-1.0"
	case "business source 1.1", "bsl 1.1":
		return "BUSL-1.1"
	case "server side public 1", "sspl":
		return "SSPL-1.0"
	case "indiana university extreme! lab 1.1.1":
		return "xpp"
	case "historical permission notice and disclaimer":
		return "HPND"
	case "public domain, per creative commons cc0", "public domain per creative commons cc0":
		return "CC0-1.0"
	case "cddl + gplv2 with classpath exception", "cddl/gplv2+ce", "cddl+gpl":
		return "CDDL-1.0 OR GPL-2.0-only WITH Classpath-exception-2.0"
	}
	return usualGNU(name)
}

// usualGNU is usual for the GNU family.
func usualGNU(name string) string {
	name = strings.TrimPrefix(name, "gnu ")
	family := ""
	for _, f := range [][2]string{
		{"affero general public", "AGPL"},
		{"lesser general public", "LGPL"},
		{"library general public", "LGPL"},
		{"general public", "GPL"},
		{"agpl", "AGPL"},
		{"lgpl", "LGPL"},
		{"gpl", "GPL"},
	} {
		if rest, ok := strings.CutPrefix(name, f[0]); ok {
			family, name = f[1], strings.TrimLeft(rest, " -v")
			break
		}
	}
	suffix := "-only"
	for _, later := range []string{"or later", "or newer", "or any later", "+"} {
		if rest, ok := strings.CutSuffix(name, later); ok {
			name, suffix = strings.TrimRight(rest, " ("), "-or-later"
			break
		}
	}
	switch {
	case family == "" || name == "":
		return ""
	case len(name) == 1:
		name += ".0"
	}
	id, _ := Expression(family + "-" + name + suffix)
	return id
}
