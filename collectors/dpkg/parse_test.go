package dpkg

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

func reader(text string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(text), sizeLine) }

func TestParseCopyright(t *testing.T) {
	const format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
	for _, test := range []struct {
		name, text string
		want       inventory.Licence
	}{
		{"later stanza overrules", format + "\nFiles: *\nLicense: Expat\n\nFiles:\n *\n doc/*\nLicense: ISC\n text\n", inventory.Licence{Declared: "ISC", Expression: "ISC", Source: sourceStanza, Freedom: inventory.Free}},
		{"no stanza for all", format + "\nFiles: src/*\nLicense: GPL-2 or Expat\n\nFiles: lib/*\nLicense: ISC\n\nFiles: debian/*\nLicense: GPL-3\n", inventory.Licence{Declared: "GPL-2 or Expat, and ISC", Expression: "(GPL-2.0-only OR MIT) AND ISC", Source: sourceStanza, Freedom: inventory.Free}},
		{"header alone", format + "License: MPL-2.0\n", inventory.Licence{Declared: "MPL-2.0", Expression: "MPL-2.0", Source: sourceStanza, Freedom: inventory.Free}},
		{"packaging alone", format + "\nFiles: debian/*\nLicense: GPL-3\n", inventory.Licence{}},
		{"own name", format + "\nFiles: *\nLicense: acme-1\n", inventory.Licence{Declared: "acme-1", Expression: "LicenseRef-acme-1", Source: sourceStanza}},
		{"name missing", format + "\nFiles: *\nLicense:\n Permission is granted\n", inventory.Licence{}},
		{"control characters", format + "\nFiles: *\nLicense: a\x1b[2Jb\n", inventory.Licence{Declared: "a\ufffd[2Jb", Expression: "LicenseRef-a-2Jb", Source: sourceStanza}},
		{"old format", "Format-Specification: http://dep.debian.net/deps/dep5\n\nFiles: *\nLicense: GPL-3+\n", inventory.Licence{Declared: "GPL-3+", Expression: "GPL-3.0-or-later", Source: sourceStanza, Freedom: inventory.Free}},
		{"mention", "See `/usr/share/common-licenses/Apache-2.0'.\n", inventory.Licence{Expression: "Apache-2.0", Source: sourceText}},
		{"mention of a version", "version 2.1\nSee /usr/share/common-licenses/LGPL-2.1.", inventory.Licence{Expression: "LGPL-2.1-only", Source: sourceText}},
		{"mention of later versions", "or any later version\nSee /usr/share/common-licenses/GPL-2.", inventory.Licence{Expression: "GPL-2.0-or-later", Source: sourceText}},
		{"mention without version", "/usr/share/common-licenses/GPL", inventory.Licence{}},
		{"two mentions", "/usr/share/common-licenses/GPL-2 or /usr/share/common-licenses/Artistic", inventory.Licence{Expression: "GPL-2.0-only OR Artistic-1.0-Perl", Source: sourceText}},
		{"prose", "You may not use this.", inventory.Licence{}},
		{"empty", "", inventory.Licence{}},
		{"header for the whole", format + "License: GPL-2+ with OpenSSL exception\n\nFiles: src/*\nLicense: GPL-2+\n\nFiles: lib/*\nLicense: Expat\n", inventory.Licence{Declared: "GPL-2+ with OpenSSL exception", Expression: "GPL-2.0-or-later WITH AdditionRef-OpenSSL-exception", Source: sourceStanza, Freedom: inventory.Free}},
		{"no format", "It was downloaded from https://acme.example/\n\nFiles: *\nCopyright: Acme\nLicense: CC-BY-SA-3.0 or LGPL-3\n", inventory.Licence{Declared: "CC-BY-SA-3.0 or LGPL-3", Expression: "CC-BY-SA-3.0 OR LGPL-3.0-only", Source: sourceStanza, Freedom: inventory.Free}},
		{"slashes", "License:\n\n  MPL 1.1 / GPLv3+ / LGPLv3+\n", inventory.Licence{Expression: "MPL-1.1 OR GPL-3.0-or-later OR LGPL-3.0-or-later", Source: sourceText, Freedom: inventory.Free}},
		{"slashes and more", "License: MIT / GPLv3+\n\nOnly for non-commercial use.\n", inventory.Licence{Expression: "MIT OR GPL-3.0-or-later", Source: sourceText}},
		{"own words", "It is freely available, with an obligation to give credit.\n", inventory.Licence{Expression: "LicenseRef-acme", Source: sourceText}},
		{"two texts without a name", format + "\nFiles: *\nLicense:\n It is under the GPL version 2.\n\nFiles: x/*\nLicense:\n Ask the maker.\n", inventory.Licence{Expression: "GPL-2.0-only", Source: sourceText, Freedom: inventory.Free}},
		{"exception below a name", format + "\nFiles: *\nLicense: GPL-2+-openssl\n It is under the GNU GPL, either version 2 or (at your option) any later version. In addition, as a special exception, the copyright holder of stunnel gives you permission to combine stunnel with free software.\n", inventory.Licence{Declared: "GPL-2+-openssl", Expression: "GPL-2.0-or-later WITH stunnel-exception", Source: sourceStanza, Freedom: inventory.Free}},
		{"cover texts", format + "\nFiles: *\nLicense: GFDL-NIV-1.3+\n with no Invariant Sections, with the Front-Cover\n Texts being \"A Manual\"\n", inventory.Licence{Declared: "GFDL-NIV-1.3+", Expression: "GFDL-1.3-or-later", Source: sourceStanza, Freedom: inventory.Free}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseCopyright(reader(test.text), &record{name: "acme"}, texts, nil)
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

// The stanza of what a package has speaks for it.
func TestChosenStanza(t *testing.T) {
	const (
		format   = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
		manual   = format + "\nFiles: *\nLicense: GPL-3+\n\nFiles: doc/*.texi\nLicense: GFDL-1.3+\n"
		programs = format + "\nFiles: *\nLicense: GFDL-NIV-1.3+\n\nFiles: lib/*\nLicense: LGPL-3+\n\nFiles: acme/*\nLicense: GPL-3+\n"
	)
	for _, test := range []struct {
		name, text, pkg, section string
		list                     []string
		want                     string
		freedom                  inventory.Freedom
	}{
		{"manual", manual, "acme-doc", "doc", []string{"/usr/share/info/acme.info.gz"}, "GFDL-1.3-or-later", inventory.Free},
		{"program beside its manual", manual, "acme", "utils", []string{"/usr/bin/acme", "/usr/share/info/acme.info.gz"}, "GPL-3.0-or-later", inventory.Free},
		{"nothing but news", manual, "acme", "utils", []string{"/usr/share/doc/acme/NEWS.gz", "/usr/share/doc/acme/copyright"}, "GPL-3.0-or-later", inventory.Free},
		{"program of a source that is a manual", programs, "acme", "utils", []string{"/usr/bin/acme"}, "GPL-3.0-or-later", inventory.Free},
		{"not free in a part", format + "\nFiles: *\nLicense: GPL-2\n\nFiles: fw/*\nLicense: Acme\n You may not reverse engineer it.\n", "acme", "non-free/misc", nil, "LicenseRef-Acme", inventory.NonFree},
		{"directory in the name", format + "\nFiles: *\nLicense: GPL-2\n\nFiles: dictionaries/pt_BR/*\nLicense: LGPL-3\n", "words-pt-br", "text", nil, "LGPL-3.0-only", inventory.Free},
		{"library below src", format + "\nFiles: *\nLicense: GPL-2\n\nFiles:\n src/libAcme/*\nLicense: BSD-3-clause\n", "libacme12", "libs", nil, "BSD-3-Clause", inventory.Free},
		{"most files", format + "\nFiles: *\nLicense: MPL-2.0 and ISC\nComment:\n The majority of the files are under MPL-2.0.\n", "acme", "net", nil, "MPL-2.0", inventory.Free},
		{"exception in a comment", format + "\nFiles: *\nLicense: GPL-2+\nComment:\n An OpenSSL exception is there: linking with OpenSSL is allowed.\n", "acme", "net", nil, "GPL-2.0-or-later WITH AdditionRef-OpenSSL-exception", inventory.Free},
		{"exception in many words", format + "\nFiles: *\nLicense: LGPL-3+ with special exception of the copyright holders\n", "acme", "net", nil, "LGPL-3.0-or-later WITH AdditionRef-special-exception-of-the-copyright-holders", inventory.FreedomUnknown},
		{"version of the grant", format + "\nFiles: *\nLicense: LGPL-2+\n It is licensed under the GNU LGPL, either version 2.1 or (at your option) any later version.\n", "acme", "net", nil, "LGPL-2.1-or-later", inventory.Free},
		{"most files, and others that are not free", format + "\nFiles: *\nLicense: MPL-2.0 and BUSL-1.1\nComment:\n The majority of the files are under MPL-2.0.\n", "acme", "net", nil, "MPL-2.0", inventory.NonFree},
		{"few files that are not free", format + "\nFiles: " + strings.Repeat("a ", 40) + "\nLicense: ISC\n\nFiles: b\nLicense: BUSL-1.1\n", "acme", "net", nil, "ISC", inventory.NonFree},
		{"few files", format + "\nFiles: " + strings.Repeat("a ", 40) + "\nLicense: ISC\n\nFiles: b\nLicense: Expat\n", "acme", "net", nil, "ISC", inventory.Free},
		{"page of a manual", format + "\nFiles: *\nLicense: GPL-3+\n\nFiles: a.texi\nLicense: GFDL-NIV-1.3+\n\nFiles: doc/acmego.texi\nLicense: GFDL-1.3+\n", "acmego-12-doc", "doc", []string{"/usr/share/info/acmego-12.info.gz", "/usr/share/man/man1/acmego.1.gz", "/usr/share/lintian/overrides/acmego-12-doc"}, "GFDL-1.3-or-later", inventory.Free},
		{"packaging alone, in contrib", format + "\nFiles: debian/*\nLicense: GPL-3+\n", "acme", "contrib/net", nil, "GPL-3.0-or-later", inventory.Free},
		{"library of a source", "acme is under the GPL version 2.\nlibacme is under the GNU Lesser General Public License, v2.1.\n", "libacme1", "libs", nil, "LGPL-2.1-only", inventory.Free},
		{"program beside its library", "acme is under the GPL version 2.\nlibacme is under the GNU Lesser General Public License, v2.1.\n", "acme", "net", nil, "GPL-2.0-only", inventory.Free},
		{"cover texts of what is not free", "Copied under the terms of the GNU Free Documentation License, Version 1.1 or any later version; with the Front-Cover Texts being \"Acme\".\n", "acme", "non-free/text", nil, "GFDL-1.1-or-later", inventory.NonFree},
		{"own words that are not free", "Do what you like on Sundays.\n", "acme", "non-free/net", nil, "LicenseRef-acme", inventory.NonFree},
	} {
		r := &record{name: test.pkg, source: "source", section: test.section}
		l, err := parseCopyright(reader(test.text), r, texts, func() []string { return test.list })
		if err != nil || l.Expression != test.want || l.Freedom != test.freedom {
			t.Errorf("%s: got %+v, %v, want %s", test.name, l, err, test.want)
		}
	}
}

func TestScanner(t *testing.T) {
	text := "\n \n\npackage:  one \r\nJunk: x\n more\nFiles: a\n\tb\n  c\n\n\nPackage: two\nno colon\n\nPackage: three"
	s := newScanner(reader(text), field{name: "Package"}, field{name: "Files", lines: true})
	type row struct {
		name, files string
		bad, torn   bool
	}
	var got []row
	for s.next() {
		got = append(got, row{string(s.values[0]), string(s.values[1]), s.bad, s.torn})
	}
	want := []row{{"one", "a\nb\nc", false, false}, {"two", "", true, false}, {"three", "", false, true}}
	if !slices.Equal(got, want) || s.err != nil {
		t.Errorf("got %+v, %v", got, s.err)
	}
}

func TestOfDebian(t *testing.T) {
	for maintainer, want := range map[string]bool{
		"A <a@debian.org>":                                 true,
		"Team <team+postgresql@tracker.debian.org>":        true,
		"Team <x@alioth-lists.debian.net>":                 true,
		"A <a@notdebian.org>":                              false,
		"A <a@debian.org.example>":                         false,
		"A <a@debian.org> B <b@acme.example>":              false,
		"Authors <https://code.example/p/debian.org>":      false,
		"a@debian.org":                                     false,
		"Ubuntu Developers <x@lists.ubuntu.com>":           false,
		"":                                                 false,
		"Confused <debian.org>":                            false,
		"Upper <A@Lists.Debian.ORG>":                       true,
		"Two at <debian@debian.org@acme.example>":          false,
		"Private maintainer <jrnieder@gmail.com>":          false,
		"Help <https://user@debian.org.acme.example/path>": false,
	} {
		if got := ofDebian(maintainer); got != want {
			t.Errorf("%q: got %v", maintainer, got)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"Origin: Debian\nMD5Sum:\n": "Debian",
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: Debian\nSHA256:\n Origin: x\n": "Debian",
		"Origin: Debian\nOrigin: Acme\n": "",
		"SHA256:\n a\nOrigin: Debian\n":  "",
		"Label: Debian\n":                "",
		"":                               "",
	} {
		if got := parseOrigin(reader(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// seeds adds the fixture's files below dir to the corpus.
func seeds(f *testing.F, dir string) {
	f.Helper()
	if err := filepath.WalkDir("testdata/debian/"+dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		f.Add(string(data))
		return err
	}); err != nil {
		f.Fatal(err)
	}
}

func FuzzStatus(f *testing.F) {
	seeds(f, "var/lib/dpkg")
	f.Fuzz(func(t *testing.T, text string) {
		read := func(image bool) (records []record, lost int) {
			lost, err := parseStatus(t.Context(), reader(text), image, func(r record) { records = append(records, r) })
			if err != nil {
				t.Fatal(err)
			}
			return records, lost
		}
		records, lost := read(false)
		for _, r := range records {
			url := purl("debian", &r)
			if !validName(r.name) || !validArch(r.arch) || strings.Count(url, "/") != 2 || strings.ContainsAny(url, " \x00\n") {
				t.Errorf("unsound %+v %s", r, url)
			}
		}
		image, lostImage := read(true)
		if len(image) < len(records) || len(image)+lostImage != len(records)+lost {
			t.Errorf("%d records and %d lost, as an image's %d and %d", len(records), lost, len(image), lostImage)
		}
	})
}

func FuzzCopyright(f *testing.F) {
	seeds(f, "usr/share/doc")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseCopyright(reader(text), &record{name: "acme"}, texts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.Source == "" && l != (inventory.Licence{}) || l.Expression == "" && l.Freedom == inventory.Free {
			t.Errorf("an answer from nothing: %+v", l)
		}
	})
}

func FuzzDiversions(f *testing.F) {
	seeds(f, "var/lib/dpkg")
	f.Fuzz(func(t *testing.T, text string) {
		diversions, err := parseDiversions(text)
		if err == nil && 3*len(diversions) > strings.Count(text, "\n")+1 {
			t.Errorf("%d diversions", len(diversions))
		}
		for from, d := range diversions {
			if from[0] != '/' || d.to[0] != '/' || d.by == "" {
				t.Errorf("unsound %q %+v", from, d)
			}
		}
	})
}

func FuzzList(f *testing.F) {
	seeds(f, "var/lib/dpkg/info")
	f.Fuzz(func(t *testing.T, text string) {
		var got []string
		if err := parseList(bufio.NewReaderSize(strings.NewReader(text), 16), func(line []byte) {
			got = append(got, string(line))
		}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(text) {
			if len(line) <= 16 && (len(line) < 16 || strings.HasSuffix(line, "\n")) {
				want = append(want, strings.TrimSuffix(line, "\n"))
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	seeds(f, "var/lib/apt")
	f.Fuzz(func(t *testing.T, text string) {
		if origin := parseOrigin(reader(text)); !strings.Contains(text, origin) {
			t.Errorf("%q is not there", origin)
		}
	})
}
