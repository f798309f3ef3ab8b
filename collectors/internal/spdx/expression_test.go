package spdx

import (
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

func TestExpression(t *testing.T) {
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	for _, test := range []struct {
		text, want string
		freedom    inventory.Freedom
	}{
		{"MIT", "MIT", free},
		{"mit or apache-2.0", "MIT OR Apache-2.0", free},
		{"(MIT OR GPL-3.0-or-later) AND BSD-3-Clause", "(MIT OR GPL-3.0-or-later) AND BSD-3-Clause", free},
		{"GPL-2.0+", "GPL-2.0-or-later", free},
		{"LGPL-2.1", "LGPL-2.1-only", free},
		{"Apache-2.0+", "Apache-2.0+", free},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", free},
		{"Apache-2.0 WITH Commons-Clause", "Apache-2.0 WITH AdditionRef-Commons-Clause", non},
		{"Apache-2.0 WITH Own", "", unknown},
		{"GPL-2.0-only WITH AdditionRef-Own", "GPL-2.0-only WITH AdditionRef-Own", unknown},
		{"GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0", free},
		{"GPL-3.0-only WITH cryptsetup-openssl-exception", "GPL-3.0-only WITH cryptsetup-OpenSSL-exception", free},
		{"Artistic-1.0", "Artistic-1.0", non},
		{"JSON", "JSON", non},
		{"PolyForm-Small-Business-1.0.0", "PolyForm-Small-Business-1.0.0", non},
		{"LicenseRef-RSALv2", "LicenseRef-RSALv2", non},
		{"HPND-sell-variant AND GPL-1.0-or-later AND TCL", "HPND-sell-variant AND GPL-1.0-or-later AND TCL", free},
		{"Parity-7.0.0", "Parity-7.0.0", unknown},
		{"GPL-2.0-only WITH", "", unknown},
		{"BUSL-1.1", "BUSL-1.1", non},
		{"Artistic-1.0-Perl OR GPL-1.0-or-later", "Artistic-1.0-Perl OR GPL-1.0-or-later", free},
		{"Expat", "", unknown},
		{"GPL", "", unknown},
		{"MIT, ISC", "", unknown},
		{"LicenseRef-Own", "LicenseRef-Own", unknown},
		{"SEE LICENSE IN LICENSE.md", "", unknown},
		{strings.Repeat("(", 100) + "MIT" + strings.Repeat(")", 100), "", unknown},
		{"", "", unknown},
	} {
		if got, freedom := Expression(test.text); got != test.want || freedom != test.freedom {
			t.Errorf("%q: got %q, %v, want %q, %v", test.text, got, freedom, test.want, test.freedom)
		}
	}
}

func TestNamed(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License, Version 2.0":              "Apache-2.0",
		"The Apache Software License, Version 2.0": "Apache-2.0",
		"MIT License":           "MIT",
		"The MIT License (MIT)": "MIT",
		"New BSD License":       "BSD-3-Clause",
		"3-Clause BSD License":  "BSD-3-Clause",
		"GNU General Public License v3 or later (GPLv3+)":                    "GPL-3.0-or-later",
		"GNU Lesser General Public License v2.1":                             "LGPL-2.1-only",
		"GPLv2+":                                                             "GPL-2.0-or-later",
		"Mozilla Public License 2.0 (MPL 2.0)":                               "MPL-2.0",
		"Eclipse Public License - v 2.0":                                     "EPL-2.0",
		"Eclipse Public License v2.0":                                        "EPL-2.0",
		"GNU Affero General Public License v3":                               "AGPL-3.0-only",
		"MIT OR Apache-2.0":                                                  "MIT OR Apache-2.0",
		"https://www.apache.org/licenses/LICENSE-2.0.txt":                    "Apache-2.0",
		"http://opensource.org/licenses/MIT":                                 "MIT",
		"https://opensource.org/licenses/mit-license.php":                    "MIT",
		"http://www.eclipse.org/legal/epl-2.0":                               "EPL-2.0",
		"https://www.gnu.org/licenses/lgpl-2.1.html":                         "LGPL-2.1-only",
		"https://www.gnu.org/licenses/gpl.html":                              "GPL-1.0-or-later",
		"https://www.gnu.org/philosophy/":                                    "",
		"https://www.gnu.org/software/classpath/license.html":                "GPL-2.0-only WITH Classpath-exception-2.0",
		"GNU General Public License, version 2 with the Classpath Exception": "GPL-2.0-only WITH Classpath-exception-2.0",
		"MIT/X11": "MIT",
		"https://opensource.org/licenses/LGPL-3.0": "LGPL-3.0-only",
		"http://":     "",
		"Proprietary": "",
		"BSD":         "",
		"Permission is hereby granted, free of charge, to …": "",
	} {
		if got, _ := Named(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if _, freedom := Named("BSD License"); freedom != inventory.Free {
		t.Errorf("BSD is %v", freedom)
	}
	if _, freedom := Named("Artistic"); freedom != inventory.FreedomUnknown {
		t.Errorf("Artistic is %v", freedom)
	}
}

func TestFedora(t *testing.T) {
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	for _, test := range []struct {
		text, want string
		freedom    inventory.Freedom
	}{
		{"GPLv2+", "GPL-2.0-or-later", free},
		{"GPLv3+ and GPLv3+ with exceptions and LGPLv2+ and BSD", "GPL-3.0-or-later AND GPL-3.0-or-later WITH AdditionRef-Callaway-exceptions AND LGPL-2.0-or-later AND LicenseRef-Callaway-BSD", free},
		{"GPL+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl", free},
		{"(GPL+ or Artistic) and BSD", "(GPL-1.0-or-later OR Artistic-1.0-Perl) AND LicenseRef-Callaway-BSD", free},
		{"ASL 2.0", "Apache-2.0", free},
		{"ASL 2.0 and MIT", "Apache-2.0 AND MIT", free},
		{"LGPLv2+ or MPLv1.1", "LGPL-2.0-or-later OR MPL-1.1", free},
		{"zlib and Boost", "Zlib AND BSL-1.0", free},
		{"GPL-2.0-or-later AND MIT", "GPL-2.0-or-later AND MIT", free},
		{"Public Domain", "LicenseRef-Callaway-Public-Domain", free},
		{"MIT AND SUSE-Public-Domain", "MIT AND LicenseRef-SUSE-Public-Domain", free},
		{"Commercial", "LicenseRef-Commercial", non},
		{"Artistic", "LicenseRef-Callaway-Artistic", unknown},
		{"pubkey", "LicenseRef-pubkey", unknown},
		{"MIT and Terms of Acme", "MIT AND LicenseRef-Terms-of-Acme", unknown},
		{"GPLv2 and Redistributable, no modification permitted", "GPL-2.0-only AND LicenseRef-Callaway-Redistributable-no-modification-permitted", non},
		{"and", "", unknown},
		{"", "", unknown},
	} {
		if got, freedom := Fedora(test.text); got != test.want || freedom != test.freedom {
			t.Errorf("%q: got %q, %v, want %q, %v", test.text, got, freedom, test.want, test.freedom)
		}
	}
}

func FuzzNamed(f *testing.F) {
	for _, text := range []string{"MIT OR (ISC AND Zlib)", "Apache License, Version 2.0", "GPLv2+", "GPL-2.0-only WITH Classpath-exception-2.0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		expression, _ := Named(text)
		if again, _ := Expression(expression); again != expression {
			t.Errorf("%q gives %q, which gives %q", text, expression, again)
		}
		if expression, _ = Fedora(text); expression != "" {
			if again, _ := Expression(expression); again != expression {
				t.Errorf("in Fedora's words %q gives %q, which gives %q", text, expression, again)
			}
		}
	})
}
