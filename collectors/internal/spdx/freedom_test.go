package spdx

import (
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

func TestDisputed(t *testing.T) {
	for expression, want := range map[string]string{
		"Artistic-1.0 OR (MIT AND NASA-1.3)": "Artistic-1.0, NASA-1.3",
		"JSON AND GPL-1.0-or-later":          "", // the OSI has approved neither
		"":                                   "",
	} {
		if got := Disputed(expression); got != want {
			t.Errorf("%q: got %q, want %q", expression, got, want)
		}
	}
}

// The reviewed lists name licences that there are, and none of both.
func TestLists(t *testing.T) {
	for item := range strings.FieldsSeq(extraFree + " " + nonFree) {
		begin, _, star := strings.Cut(item, "*")
		if id, _ := entry(strings.ToLower(begin)); !star && id != item && !strings.HasPrefix(item, "LicenseRef-") {
			t.Errorf("the SPDX list has no %s", item)
		}
	}
	for item := range strings.FieldsSeq(nonFree) {
		if id := strings.ReplaceAll(item, "*", "x"); among(extraFree, id) {
			t.Errorf("%s is in both lists", id)
		}
		if got := freedomOf(item, 0); got != inventory.NonFree {
			t.Errorf("%s is %v", item, got)
		}
	}
}
