package licence

import (
	"strings"

	"github.com/google/licensecheck"
)

// newScanner compiles licensecheck's patterns and those that it lacks.
func newScanner() (*licensecheck.Scanner, error) {
	all := licensecheck.BuiltinLicenses()
	mit, sell := "", ""
	for i := range all {
		if all[i].ID == "MIT" || all[i].ID == "MIT-NoAd" { // names of makers are longer
			all[i].LRE = strings.ReplaceAll(all[i].LRE, "__5__ BE LIABLE", "__12__ BE LIABLE")
		}
		switch {
		case all[i].ID == "MIT" && all[i].LRE != "":
			mit = all[i].LRE
		case all[i].ID == "HPND-sell-variant" && all[i].LRE != "":
			sell = all[i].LRE
		}
	}
	all = append(all,
		licensecheck.License{ID: "X11", LRE: mit + "\n" + noAdvertising},
		licensecheck.License{ID: "MIT-Click", LRE: strings.Replace(mit, "((DISCLAIMER))??", noPublicity+"\n((DISCLAIMER))??", 1)},
		licensecheck.License{ID: "X11-distribute-modifications-variant", LRE: withModifications(mit) + "\n" + noAdvertising},
		licensecheck.License{ID: "MIT-open-group", LRE: sell + "\n" + afterMIT(mit) + "\n" + noAdvertising},
	)
	for i := range all {
		switch {
		case all[i].ID == "MIT-CMU": // its words run together, and names are longer
			all[i].LRE = strings.NewReplacer("modifyand", "modify and", "copiesand", "copies and", "specificwritten", "specific\n((written || written prior))\n",
				"__5__", "__10__").Replace(all[i].LRE)
		case strings.HasPrefix(all[i].ID, "CC-BY-"): // what precedes the title varies
			all[i].LRE = strings.Replace(all[i].LRE, "\n\nCreative Commons\n\n", "\n\nCreative Commons\n((Legal Code))??\n", 1)
		}
	}
	for _, wording := range wordings() {
		all = append(all, licensecheck.License{ID: wording[0], LRE: wording[1]})
	}
	for id, phrases := range ownPatterns() {
		for _, phrase := range phrases {
			all = append(all, licensecheck.License{ID: id, LRE: phrase})
		}
	}
	return licensecheck.NewScanner(all)
}

// noAdvertising is what the X11 family adds to another permission.
const noAdvertising = `Except as contained in this notice, the
((name || names))
__15__
shall not be used in advertising or otherwise to promote the sale, use or other dealings
in this Software without prior written authorization`

// noPublicity is what the Click licence has before the disclaimer of MIT's.
const noPublicity = `
The name and trademarks of copyright holders may NOT be used in advertising or publicity pertaining to the Software without
specific, written prior permission. Title to copyright in this Software and any associated documentation will at all times
remain with copyright holders.`

// afterMIT gives the conditions and the disclaimer of the MIT pattern, which come
// after its permission.
func afterMIT(mit string) string {
	_, rest, _ := strings.Cut(mit, "conditions:\n")
	return rest
}

// withModifications adds to the MIT pattern the words of ncurses.
func withModifications(mit string) string {
	return strings.Replace(mit, "merge, publish, distribute,", "merge, publish, distribute, distribute with modifications,", 1)
}

// ownPatterns lists, by id, words that only this licence has: of its title, or of
// the clause that makes it what it is. They show that the terms are there, not
// that the text is whole.
func ownPatterns() map[string][]string {
	return map[string][]string{
		"BUSL-1.1":                           {"make non-production use of the Licensed Work", "Business Source License 1.1 Parameters"},
		"SSPL-1.0":                           {"Server Side Public License VERSION 1"},
		"Elastic-2.0":                        {"Elastic License 2.0 __12__ Acceptance", "may not provide the software to third parties as a hosted or managed service"},
		"LicenseRef-Elastic-1.0":             {"read carefully this Elastic License Agreement"},
		"PolyForm-Noncommercial-1.0.0":       {"PolyForm Noncommercial License 1.0.0"},
		"PolyForm-Small-Business-1.0.0":      {"PolyForm Small Business License 1.0.0"},
		"LicenseRef-PolyForm-Shield":         {"PolyForm Shield License 1.0.0"},
		"LicenseRef-PolyForm-Perimeter":      {"PolyForm Perimeter License 1.0.0"},
		"LicenseRef-PolyForm-Strict":         {"PolyForm Strict License 1.0.0"},
		"LicenseRef-PolyForm-Internal-Use":   {"PolyForm Internal Use License 1.0.0"},
		"LicenseRef-PolyForm-Free-Trial":     {"PolyForm Free Trial License 1.0.0"},
		commonsClause:                        {"Commons Clause License Condition", "the grant of rights under the License will not include, and the License does not grant to you, the right to Sell the Software"},
		"LicenseRef-Confluent-Community-1.0": {"Confluent Community License Agreement"},
		"LicenseRef-RSALv2":                  {"Redis Source Available License 2.0", "Redis Source Available License 2.0 RSALv2 Agreement"},
		"LicenseRef-RSALv1":                  {"Redis Source Available License Agreement"},
		"LicenseRef-Timescale":               {"Timescale License Agreement"},
		"FSL-1.1-MIT":                        {"Functional Source License Version 1.1 MIT Future License"},
		"FSL-1.1-ALv2":                       {"Functional Source License Version 1.1 ALv2 Future License", "Functional Source License Version 1.1 Apache 2.0 Future License"},
		"SUL-1.0":                            {"Sustainable Use License Version 1.0"},
		"LicenseRef-NVIDIA":                  {"License for customer use of NVIDIA software", "NVIDIA Software License Agreement", "NVIDIA Driver License Agreement", "License Agreement for NVIDIA Software Development Kits"},
		"LicenseRef-Oracle":                  {"Oracle Technology Network License Agreement", "Oracle Binary Code License Agreement", "Oracle No-Fee Terms and Conditions", "Oracle Free Use Terms and Conditions"},
		"LicenseRef-Microsoft":               {"Microsoft Software License Terms", "Microsoft Software Supplemental License Terms", "MICROSOFT SOFTWARE END USER LICENSE"},
		"Aladdin":                            {"Aladdin Free Public License Version 8", "Aladdin Free Public License Version 9"},
		"Boehm-GC":                           {"Permission to modify the code and to distribute modified code is granted, provided the above notices are retained, and a notice that the code was modified is included with the above copyright notice"},
		"Sendmail-Open-Source-1.1":           {"SENDMAIL OPEN SOURCE LICENSE The following license terms and conditions apply to this open source software"},
		"Vixie-Cron":                         {"Distribute freely, except don't remove my name from the source or documentation"},
		"Info-ZIP":                           {"Info-ZIP is defined as the following set of individuals"},
		"BSD-4.3RENO":                        {"source distributions retain this entire copyright notice and comment, and 2 distributions including binaries display the following acknowledgement"},
		"BSD-4.3TAHOE":                       {"provided that the above copyright notice and this paragraph are duplicated in all such forms and that any documentation, advertising materials, and other materials related to such distribution and use acknowledge"},
		"FDK-AAC":                            {"Software License for The Fraunhofer FDK AAC Codec Library for Android", "The Fraunhofer FDK AAC Codec Library for Android FDK AAC Codec is software that implements"},
		"PSF-2.0":                            {"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"},
		"Python-2.0.1":                       {"Python 1.6.1 is made available subject to the terms and conditions in CNRI's License Agreement"},
		"Ubuntu-font-1.0":                    {"UBUNTU FONT LICENCE Version 1.0"},
		"PCRE2-exception":                    {"EXEMPTION FOR BINARY LIBRARY-LIKE PACKAGES"},
		"LicenseRef-EULA":                    {"END USER LICENSE AGREEMENT", "END USER LICENCE AGREEMENT", "END USER SOFTWARE LICENSE AGREEMENT", "Software License Agreement __3__ not sold"},
		"UnRAR":                              {"develop RAR WinRAR compatible archiver", "develop a RAR WinRAR compatible archiver", "re-create the RAR compression algorithm"},
	}
}

const commonsClause = "CommonsClause" // as licensecheck names it

// spdxID gives the id of a pattern, "" for one that is no licence by itself.
func spdxID(pattern string) string {
	switch pattern {
	case "Anti996", "GooglePatentClause", "GooglePatentsFile", "PCRE2-exception", commonsClause:
		return ""
	case "Aladdin-9":
		return "Aladdin"
	case "BSD-1-Clause-Clear":
		return "BSD-3-Clause-Clear"
	case "BSD-3-Clause-NoTrademark":
		return "LicenseRef-BSD-3-Clause-NoTrademark"
	case "CC-BY-NC-SA-3.0-US":
		return "CC-BY-NC-SA-3.0"
	case "GPL-2.0-or-3.0":
		return "GPL-2.0-only OR GPL-3.0-only"
	case "MIT-NoAd":
		return "X11-swapped"
	case "Prosperity-3.0.0":
		return "LicenseRef-Prosperity-3.0.0"
	}
	return pattern
}
