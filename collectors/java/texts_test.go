package java

import (
	"testing"

	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// texts is for all tests, since to load patterns takes a second.
var texts = licence.New("")

// What an archive declares does not stand against a text in it.
func TestTextAgainstIt(t *testing.T) {
	const (
		clause = "\"Commons Clause\" License Condition v1.0\n\nThe Software is provided to you by the Licensor under the License, as defined below, subject to the following condition.\n"
		mit    = "The MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software\n"
	)
	manifest := func(terms string) string {
		return "Manifest-Version: 1.0\nBundle-SymbolicName: org.example.city\nBundle-Version: 1.0\nBundle-License: " + terms + "\n\n"
	}
	for _, test := range []struct {
		terms, file, text string
		want              inventory.Freedom
	}{
		{"MIT", "LICENSE", mit, inventory.Free},
		{"MIT", "META-INF/LICENSE.txt", clause, inventory.FreedomUnknown},
		{"MIT, Apache-2.0", "LICENSE", clause, inventory.FreedomUnknown},
		{"MIT", "org/example/LICENSE", clause, inventory.Free}, // of a part
	} {
		root := t.TempDir()
		write(t, root, "usr/share/java/city.jar", pack(t, "META-INF/MANIFEST.MF", manifest(test.terms), test.file, test.text))
		facts := collect(t, New(open(t, root), texts), &inventory.Facts{})
		if len(facts.Components) != 1 || facts.Components[0].Licence.Freedom != test.want || len(facts.Gaps) != 0 {
			t.Errorf("%s, %s: got %+v, %+v", test.terms, test.file, facts.Components, facts.Gaps)
		}
	}
}
