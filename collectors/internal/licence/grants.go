package licence

import (
	"slices"
	"strings"

	"cityward/collectors/internal/spdx"
)

// find is a licence that a text has or refers to.
type find struct {
	id     string // SPDX id or expression
	lo, hi int    // of the text, in bytes
	weak   bool   // a reference only
	bare   bool   // a name without a version
}

// Grant gives the version of a licence of the GNU family that a text grants first,
// without a look at the patterns; "" if none is.
func Grant(text []byte) string {
	if len(text) > MostText {
		return ""
	}
	for _, f := range grants(split(text), func(int) bool { return false }) {
		if !f.weak && !f.bare {
			return f.id
		}
	}
	return ""
}

// Exception gives the exception that a text adds to a licence of the GNU family, ""
// if it has none.
func Exception(id string, text []byte) string {
	if len(text) > MostText || !strings.Contains(id, "GPL-") {
		return ""
	}
	return exception(id, joined(split(text)))
}

// grants looks for what people write in place of a licence's text: that the terms
// are those of the GNU family or of Perl, or that there are none. covered reports
// words that belong to a pattern that was found already.
func grants(words []word, covered func(lo int) bool) []find {
	var found []find
	for i := 0; i < len(words); i++ {
		if covered(words[i].lo) {
			continue
		}
		f, end := gnu(words, i)
		if f.id == "" {
			f, end = phrase(words, i)
		}
		if f.id == "" {
			continue
		}
		found = append(found, f)
		i = max(i, end-1)
	}
	return found
}

// phrase reads a grant that is no name of a licence, and a reference to a text of
// Debian's that is none of the GNU family.
func phrase(words []word, i int) (find, int) {
	for _, p := range [][2]string{
		{"same terms as perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"},
		{"same terms as the perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"},
		{"terms of the apache license version 2.0", "Apache-2.0"},
		{"under the apache license version 2.0", "Apache-2.0"},
		{"under the apache 2.0 license", "Apache-2.0"},
		{"under the mozilla public license version 2.0", "MPL-2.0"},
		{"of the eclipse public license version 1.0", "EPL-1.0"},
		{"of the eclipse public license v1.0", "EPL-1.0"},
		{"of the eclipse public license v 1.0", "EPL-1.0"},
		{"of the eclipse public license version 2.0", "EPL-2.0"},
		{"of the eclipse public license v2.0", "EPL-2.0"},
		{"of the eclipse public license v 2.0", "EPL-2.0"},
		{"server side public license v 1", "SSPL-1.0"},
		{"elastic license 2.0", "Elastic-2.0"},
		{"mozilla public license mpl version 1.1", "MPL-1.1"},
		{"mozilla public license version 1.1", "MPL-1.1"},
		{"licenses by nc nd 4.0", "CC-BY-NC-ND-4.0"},
		{"in the public domain", "LicenseRef-public-domain"},
		{"into the public domain", "LicenseRef-public-domain"},
		{"is public domain", "LicenseRef-public-domain"},
		{"license public domain", "LicenseRef-public-domain"},
	} {
		if end := at(words, i, p[0]); end > 0 {
			return find{id: p[1], lo: words[i].lo, hi: words[end-1].hi}, end
		}
	}
	end := at(words, i, "common licenses")
	if end == 0 || end >= len(words) {
		return find{}, 0
	}
	name, last := words[end].text, end+1
	if end+1 < len(words) && digit(words[end+1].text[0]) {
		name, last = name+"-"+words[end+1].text, end+2
	}
	id, _ := spdx.Debian(name)
	switch {
	case name == "bsd":
		id = "BSD-3-Clause"
	case spdx.GNU(name) != "":
		id = "" // read with the grant, or by reference
	}
	return find{id: id, lo: words[i].lo, hi: words[last-1].hi, weak: true}, last
}

// at gives the index after a phrase that begins at a word, 0 if it does not.
func at(words []word, i int, phrase string) int {
	for want := range strings.FieldsSeq(phrase) {
		if i >= len(words) || words[i].text != want {
			return 0
		}
		i++
	}
	return i
}

// gnu reads a grant of the GNU family whose name begins at a word, with the
// version that stands after or just before it.
func gnu(words []word, i int) (find, int) {
	family, version, end := gnuName(words, i)
	if family == "" {
		return find{}, 0
	}
	if end < len(words) && words[end].text == "compatible" {
		return find{}, 0
	}
	if !granting(words, i) {
		return reference(words, i)
	}
	stop := min(end+28, len(words))
	later := strings.HasSuffix(version, "+")
	version = strings.TrimSuffix(version, "+")
	referred := ""
	last := end
	for j := end; j < stop; j++ {
		if name, also, after := gnuName(words, j); name != "" {
			if reference := j >= 2 && words[j-1].text == "licenses" && words[j-2].text == "common"; reference {
				referred, last = also, after
				break
			}
			if version != "" || j-i >= 8 { // but for "GNU General Public License (GPL)"
				break
			}
			j = after - 1
			continue
		}
		text := words[j].text
		switch {
		case version == "" && versionWord(words, j):
			version, last = strings.TrimPrefix(text, "v"), j+1
			later = later || strings.HasSuffix(version, "+")
			version = strings.TrimSuffix(version, "+")
		case j > 0 && (text == "later" || text == "newer" || text == "higher" || text == "above" && (words[j-1].text == "or" || words[j-1].text == "and")) && j <= last+12:
			later, last = true, j+1
		}
	}
	if version == "" && i >= 2 { // "version 2 or later of the GNU General Public License"
		for j := max(0, i-9); j < i; j++ {
			if versionWord(words, j) && j > 0 && (words[j-1].text == "version" || words[j-1].text == "v") {
				version = words[j].text
			}
			later = later || version != "" && words[j].text == "later"
		}
	}
	if version == "" {
		version = referred
	}
	name := family
	if version != "" {
		name += "-" + version
	}
	if later && version != "" {
		name += "+"
	}
	return find{id: spdx.GNU(name), lo: words[i].lo, hi: words[last-1].hi, bare: version == ""}, last
}

// reference reads the name of a file in /usr/share/common-licenses. Those without a
// version are links to the latest, so they say nothing about which is meant.
func reference(words []word, i int) (find, int) {
	family, version, end := gnuName(words, i)
	if i < 2 || words[i-1].text != "licenses" || words[i-2].text != "common" || version == "" {
		return find{}, 0
	}
	name := family + "-" + strings.TrimSuffix(version, "+")
	if has(joined(words[max(0, i-80):i]), "later version;later versions;or later;any later") {
		name += "+"
	}
	return find{id: spdx.GNU(name), lo: words[i].lo, hi: words[end-1].hi, weak: true}, end
}

// versionWord reports whether a word is a version number: after "version" or as
// part of a name.
func versionWord(words []word, j int) bool {
	text := strings.TrimSuffix(strings.TrimPrefix(words[j].text, "v"), "+")
	switch text {
	case "1", "1.0", "2", "2.0", "2.1", "3", "3.0", "1.1", "1.2", "1.3":
	default:
		return false
	}
	if j == 0 {
		return false
	}
	before := words[j-1].text
	return before == "version" || before == "v" || before == "versions" || strings.HasPrefix(words[j].text, "v") ||
		slices.Contains([]string{"license", "licence", "gpl", "lgpl", "agpl", "gfdl"}, before)
}

// gnuName reads a name of the GNU family: in words, or short, perhaps with its
// version. It gives the index after it.
func gnuName(words []word, i int) (family, version string, end int) {
	text := words[i].text
	for _, short := range []string{"lgpl", "agpl", "gpl", "gfdl"} {
		rest, ok := strings.CutPrefix(text, short)
		if !ok {
			continue
		}
		rest = strings.TrimPrefix(rest, "v")
		if rest == "" && i+1 < len(words) && versionWord(words, i+1) {
			return short, strings.TrimPrefix(words[i+1].text, "v"), i + 2
		}
		if rest == "" || spdx.GNU(short+"-"+rest) != "" {
			return short, rest, i + 1
		}
		return "", "", 0
	}
	j := i
	switch text {
	case "gnu":
		j++
	case "affero", "lesser", "library", "general":
		if i > 0 && (words[i-1].text == "gnu" || slices.Contains([]string{"affero", "lesser", "library", "or"}, words[i-1].text)) {
			return "", "", 0 // a name that was read before
		}
	default:
		return "", "", 0
	}
	family = "gpl"
	for ; j < len(words) && j < i+6; j++ {
		switch words[j].text {
		case "affero":
			family = "agpl"
		case "lesser", "library":
			family = "lgpl"
		case "or", "gnu", "general", "public":
		case "free":
			if at(words, j, "free documentation license") > 0 {
				return "gfdl", "", j + 3
			}
			return "", "", 0
		case "license", "licence", "licenses":
			if j > 0 && words[j-1].text == "public" {
				return family, "", j + 1
			}
			return "", "", 0
		case "gpl", "lgpl", "agpl":
			return gnuName(words, j)
		default:
			return "", "", 0
		}
	}
	return "", "", 0
}

// granting reports whether what stands before a name grants its terms, rather
// than saying where their text is or that a copy should be there.
func granting(words []word, i int) bool {
	before := joined(words[max(0, i-5):i])
	if has(before, "copy of;text of;version of;texts of;details;common licenses;file;not;compatible with;see the;incompatible with") {
		return false
	}
	before = joined(words[max(0, i-14):i])
	return has(before, "under;subject to;terms;licensed;licenced;license;licence;released;covered;redistribute;distributable;licensed by;licenses;is")
}
