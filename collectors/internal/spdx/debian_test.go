package spdx

import (
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

func TestDebian(t *testing.T) {
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	for _, test := range []struct {
		line, want string
		freedom    inventory.Freedom
	}{
		{"Expat", "MIT", free},
		{"GPL-2+", "GPL-2.0-or-later", free},
		{"GPL-2", "GPL-2.0-only", free},
		{"GPL-2.0+", "GPL-2.0-or-later", free},
		{"GPLv3+", "GPL-3.0-or-later", free},
		{"GPL-3.0-only", "GPL-3.0-only", free},
		{"GPL", "GPL-1.0-or-later", free},
		{"LGPL-2.1+", "LGPL-2.1-or-later", free},
		{"LGPL", "LGPL-2.0-or-later", free},
		{"AGPL-3", "AGPL-3.0-only", free},
		{"GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later", free},
		{"GFDL-1.2", "GFDL-1.2-only", free},
		{"bsd-3-CLAUSE", "BSD-3-Clause", free},
		{"public-domain", "LicenseRef-public-domain", free},
		{"Artistic or GPL-1+", "Artistic-1.0-Perl OR GPL-1.0-or-later", free},
		{"GPL-2+ or Expat and ISC", "GPL-2.0-or-later OR MIT AND ISC", free},
		{"GPL-2+ or Expat, and ISC", "(GPL-2.0-or-later OR MIT) AND ISC", free},
		{"Expat and ISC, or zlib", "MIT AND ISC OR Zlib", free},
		{"(GPL-2 OR Expat) AND CC0-1.0", "(GPL-2.0-only OR MIT) AND CC0-1.0", free},
		{"Expat, ISC", "MIT AND ISC", free},
		{"Expat, ISC or zlib", "", unknown}, // a list of three alternatives, or not
		{"GPL-2+ with Font exception", "GPL-2.0-or-later WITH Font-exception-2.0", free},
		{"GPL-3+ with Bison exception or Expat", "GPL-3.0-or-later WITH Bison-exception-2.2 OR MIT", free},
		{"GPL-2+ with autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-2.0", free},
		{"Apache-2.0 with LLVM exception", "Apache-2.0 WITH LLVM-exception", free},
		{"GPL-2+ with OpenSSL exception", "GPL-2.0-or-later WITH AdditionRef-OpenSSL-exception", free},
		{"GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note", free},
		{"GPL-3+-autoconf-exception", "GPL-3.0-or-later WITH Autoconf-exception-3.0", free},
		{"GPL-3+-WITH-BISON-EXCEPTION", "GPL-3.0-or-later WITH Bison-exception-2.2", free},
		{"APACHE-2-LLVM-EXCEPTIONS", "Apache-2.0 WITH LLVM-exception", free},
		{"GPL-2+ with exceptions", "", unknown},
		{"LGPLv3+_or_GPLv2+", "LGPL-3.0-or-later OR GPL-2.0-or-later", free},
		{"GPL-2+-or-X11", "GPL-2.0-or-later OR X11", free},
		{"Public Domain", "LicenseRef-public-domain", free},
		{"BSD-4-clause-UC", "BSD-4-Clause-UC", free},
		{"Apache-2.0 with Commons-Clause", "Apache-2.0 WITH AdditionRef-Commons-Clause", non},
		{"BSL-1.0", "BSL-1.0", free},
		{"BSL-1.1", "BUSL-1.1", non},
		{"Expat and CC-BY-NC-4.0", "MIT AND CC-BY-NC-4.0", non},
		{"Expat or SSPL-1.0", "MIT OR SSPL-1.0", free},
		{"GFDL-1.2-invariants-only or SSPL-1.0", "GFDL-1.2-invariants-only OR SSPL-1.0", unknown},
		{"Expat and LPGL-2.1+", "MIT AND LGPL-2.1-or-later", free},
		{"MIT/X11", "MIT", free},
		{"BEER-WARE", "Beerware", free},
		{"GPL-2+ with CGAL exception", "GPL-2.0-or-later WITH CGAL-linking-exception", free},
		{"GPL-2.5", "", unknown},
		{"GPL-2+-with-strings", "", unknown},
		{"and", "", unknown},
		{"Expat and", "", unknown},
		{"Expat ISC", "", unknown},
		{"(Expat", "", unknown},
		{"Expat)", "", unknown},
		{strings.Repeat("(", 100) + "Expat" + strings.Repeat(")", 100), "", unknown},
		{strings.Repeat("Expat and ", 200) + "ISC", "", unknown},
		{"", "", unknown},
	} {
		if got, freedom := Debian(test.line); got != test.want || freedom != test.freedom {
			t.Errorf("%q: got %q, %v, want %q, %v", test.line, got, freedom, test.want, test.freedom)
		}
	}
}

func FuzzDebian(f *testing.F) {
	for _, line := range []string{"GPL-2+ or Artistic, and (Expat)", "GPL-2 with Font exception", "GFDL-NIV-1.3+, CC0"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		expression, freedom := Debian(line)
		if expression == "" && freedom != inventory.FreedomUnknown {
			t.Errorf("%v without an expression", freedom)
		}
		if again, _ := Debian(strings.ReplaceAll(line, "  ", " ")); again != expression {
			t.Errorf("white space counts: %q, %q", expression, again)
		}
	})
}
