package licence

import (
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

// What a GNU licence is granted with is told by words that no other has.
func TestExceptions(t *testing.T) {
	const grant = "It is under the GNU GPL, either version 2 or (at your option) any later version. As a special exception, "
	for said, want := range map[string]string{
		"you may combine it with nothing.":                                                               "",
		"the holder gives you permission to combine stunnel with OpenSSL.":                               "stunnel-exception",
		"you have permission to link this program with the CGAL library.":                                "CGAL-linking-exception",
		"linking of vsftpd with OpenSSL: you have the right to link vsftpd.":                             "vsftpd-openssl-exception",
		"you may link it with OpenSSL.":                                                                  "AdditionRef-OpenSSL-exception",
		"you may distribute binary object code versions of works based on the Library.":                  "WxWindows-exception-3.1",
		"if other files instantiate generics from this unit, they are not covered.":                      "GNAT-exception",
		"you may use this file as part of a free software library without restriction.":                  "mif-exception",
		"you may create a larger work that contains part of the Bison parser skeleton.":                  "Bison-exception-2.2",
		"you may compile a font, and embed this font into a document.":                                   "Font-exception-2.0",
		"linking this library with independent modules to produce an executable is permitted.":           "Classpath-exception-2.0",
		"this exception relieves you of any obligations under sections 4 and 5 for independent modules.": "Independent-modules-exception",
	} {
		got := shared.Classify([]byte(grant + said)).Expression
		if wanted := strings.TrimSuffix("GPL-2.0-or-later WITH "+want, " WITH "); got != wanted {
			t.Errorf("%s: got %s, want %s", said, got, wanted)
		}
	}
	if got := Exception("ISC", []byte(grant)); got != "" {
		t.Errorf("of a licence that is not GNU's: %s", got)
	}
}

// Of several grants in a text the one that is for the work counts.
func TestWhichOfSeveral(t *testing.T) {
	const free, unknown = inventory.Free, inventory.FreedomUnknown
	about := func(version string) string {
		return `The Eclipse Foundation makes available all content in this plug-in ("Content"). Unless otherwise indicated below, the Content
is provided to you under the terms and conditions of the Eclipse Public License ` + version + ` ("EPL"). A copy of the EPL is available at
http://www.eclipse.org/legal/. For purposes of the EPL, "Program" will mean the Content. If you did not receive this Content directly
from the Eclipse Foundation, the Content is being redistributed by another party ("Redistributor") and different terms and conditions
may apply to your use of any object code in the Content. Check the Redistributor's license that was provided with the Content. If no
such license exists, contact the Redistributor. Unless otherwise indicated below, the terms and conditions of the EPL still apply to
any source code in the Content.`
	}
	for _, test := range []struct {
		name, text, want string
		freedom          inventory.Freedom
	}{
		{"rest", "Files of the library: " + isc + "\nThe rest of the software: you may share it under the terms of the GNU GPL, version 2 or later.", "GPL-2.0-or-later", free},
		{"not mentioned above", "a.c is under the terms of the GNU GPL, version 2.\n\nAll files not mentioned above are under the terms of the GNU LGPL, version 2.1.", "LGPL-2.1-only", free},
		{"specific portions", isc + "\nSome specific portions are covered by other terms: b.c is in the public domain.", "ISC", free},
		{"subcomponents", "Licensed under the Apache License, Version 2.0.\n\nACME SUBCOMPONENTS:\n\n" + isc, "Apache-2.0", free},
		{"about a plug-in", about("Version 2.0"), "EPL-2.0", free},
		{"about an old plug-in", about("v1.0"), "EPL-1.0", free},
		{"about a plug-in, and more", about("v2.0") + "\nYou may not redistribute it.", "EPL-2.0", unknown},
		{"grant of the EPL", "made available under the terms of the Eclipse Public License v. 2.0", "EPL-2.0", free},
		{"Boehm", "Permission is hereby granted to use or copy this program for any purpose, provided the above notices are retained on all copies. " +
			"Permission to modify the code and to distribute modified code is granted, provided the above notices are retained, and a notice that the code was modified is included with the above copyright notice.", "Boehm-GC", free},
	} {
		if got := shared.Classify([]byte(test.text)); got != (Answer{test.want, test.freedom}) {
			t.Errorf("%s: got %+v, want %s, %s", test.name, got, test.want, test.freedom)
		}
	}
}

// What a text takes back of its own portions still counts against a statement.
func TestPortionsRestrict(t *testing.T) {
	stated := inventory.Licence{Declared: "MIT", Expression: "MIT", Freedom: inventory.Free}
	text := []byte("MIT License\n\nCertain portions of this software are for personal use only.")
	if got := shared.Complete(stated, text); got.Freedom != inventory.FreedomUnknown {
		t.Errorf("got %+v", got)
	}
}

// A file with one licence and the whole GPL after it is a choice; the same without
// the GPL's text is not.
func TestPublishedChoice(t *testing.T) {
	const long = 20 << 10
	words := split([]byte(strings.Repeat("x ", 2*long) + "CLASSPATH EXCEPTION"))
	cddl := find{id: "CDDL-1.1", lo: 0, hi: long}
	for _, test := range []struct {
		found []find
		want  string
	}{
		{[]find{cddl, {id: "GPL-2.0-only", lo: long, hi: 2 * long}}, "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0"},
		{[]find{cddl, {id: "GPL-2.0-only", lo: long, hi: long + 20}}, ""},
		{[]find{{id: "MIT", lo: 0, hi: long}, {id: "GPL-2.0-only", lo: long, hi: 2 * long}}, ""},
		{[]find{cddl}, ""},
	} {
		if got := published(test.found, words); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.found, got, test.want)
		}
	}
	if got := published([]find{cddl, {id: "GPL-2.0-only", lo: long, hi: 2 * long}}, words[:len(words)-2]); got != "CDDL-1.1 OR GPL-2.0-only" {
		t.Errorf("without the exception: %q", got)
	}
}
