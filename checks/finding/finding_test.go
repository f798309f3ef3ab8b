package finding

import (
	"slices"
	"strings"
	"testing"
)

func TestSeverityReadsBack(t *testing.T) {
	for _, s := range Severities() {
		if got, err := ParseSeverity(s.String()); err != nil || got != s {
			t.Errorf("%v reads back as %v, %v", s, got, err)
		}
	}
	if _, err := ParseSeverity("Critical"); err == nil || !strings.Contains(err.Error(), "info, low, medium, high, critical") {
		t.Errorf("an unknown word gives %v", err)
	}
	if !slices.IsSorted(Severities()) {
		t.Error("severities do not ascend")
	}
}

// What was never filled in must not look good.
func TestZeroIsUnknown(t *testing.T) {
	var f Finding
	if f.Verdict != Unknown || f.Verdict.String() != "unknown" {
		t.Errorf("zero verdict is %v", f.Verdict)
	}
}

func TestVerdictsAreToldApart(t *testing.T) {
	words := make(map[string]bool)
	for _, v := range Verdicts() {
		words[v.String()] = true
	}
	if len(words) != 5 || Verdict(99).String() != Unknown.String() {
		t.Errorf("words %v", words)
	}
}

func TestDecidesInOrder(t *testing.T) {
	d := Decides{Fail: "bad", Pass: "good", NotApplicable: "nothing"}
	if got, want := d.String(), "not_applicable: nothing\npass: good\nfail: bad"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeyTellsSubjectsApart(t *testing.T) {
	a, b := Finding{Check: "NET-001", Subject: "x"}, Finding{Check: "NET-001", Subject: "y"}
	if a.Key() == b.Key() {
		t.Error("two subjects, one key")
	}
}
