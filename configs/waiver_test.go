package configs

import (
	"strings"
	"testing"
	"time"
)

func TestWaiver(t *testing.T) {
	expires := func(month time.Month, d int) time.Time { return endOf(2026, month, d) }
	p := Policy{Waivers: []Waiver{
		{Check: "DAT-004", Subject: "registry", Owner: "old", Expires: expires(time.June, 1)},
		{Check: "DAT-004", Subject: "reg*", Owner: "new", Expires: expires(time.November, 24)},
		{Check: "NET-001", Subject: "* → [2001:db8::1]:443", Owner: "net", Expires: expires(time.June, 1)},
	}}
	tests := []struct {
		check, subject string
		at             time.Time
		owner          string
		expired        bool
	}{
		{"DAT-004", "registry", today(), "new", false},
		{"DAT-004", "regional", today(), "new", false},
		{"DAT-004", "Registry", today(), "", false},
		{"DAT-001", "registry", today(), "", false},
		{"DAT-004", "registry", time.Date(2026, 11, 24, 23, 59, 59, 0, time.UTC), "new", false},
		{"DAT-004", "registry", time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), "new", true},
		{"NET-001", "a/b → [2001:db8::1]:443", today(), "net", true},
		{"NET-001", "a/b → [2001:db8::2]:443", today(), "", false},
	}
	for _, tt := range tests {
		w, expired, ok := p.Waiver(tt.check, tt.subject, tt.at)
		if w.Owner != tt.owner || expired != tt.expired || ok != (tt.owner != "") {
			t.Errorf("%s %s: %q, %v, %v", tt.check, tt.subject, w.Owner, expired, ok)
		}
	}
}

func TestTooLong(t *testing.T) {
	tests := []struct {
		expires        time.Time
		long, critical bool
	}{
		{endOf(2025, time.January, 1), false, false},
		{endOf(2027, time.February, 24), false, false},
		{endOf(2027, time.February, 25), false, true},
		{endOf(2027, time.November, 24), false, true},
		{endOf(2027, time.November, 25), true, true},
	}
	for _, tt := range tests {
		w := Waiver{Expires: tt.expires}
		if w.TooLong(today(), false) != tt.long || w.TooLong(today(), true) != tt.critical {
			t.Errorf("%s: %v, critical %v", tt.expires, w.TooLong(today(), false), w.TooLong(today(), true))
		}
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"", "", true},
		{"*", "", true},
		{"*", "a/b → c", true},
		{"a*", "a", true},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"*b*", "abc", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*c*b*c", "a-b-c", false},
		{"ab*ba", "aba", false},
		{"**", "x", true},
		{"a?", "ab", false},
		{"[a]", "[a]", true},
		{`\*`, `\x`, true},
	}
	for _, tt := range tests {
		if got := matches(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q, %q: %v", tt.pattern, tt.s, got)
		}
	}
	// A pattern that makes backtracking matchers run for ever.
	if matches(strings.Repeat("a*", 1000)+"b", strings.Repeat("a", 100_000)) {
		t.Error("matches")
	}
}
