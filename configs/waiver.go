package configs

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// How long a waiver may run, in months from now.
const (
	waiverMonths         = 12
	waiverMonthsCritical = 3
)

// minJustification is the least length of a justification, in characters: it
// refuses "ok" and "see mail".
const minJustification = 20

// ParseWaivers reads a file of waivers. One mistake and none is honoured, so
// that a slip never excuses more than was meant. A waiver that has expired is no
// mistake: its findings are told as waiver_expired.
func ParseWaivers(name string, data []byte, now time.Time) ([]Waiver, error) {
	t, err := open(name, data)
	if err != nil {
		return nil, err
	}
	var waivers []Waiver
	for _, row := range t.rows("waiver") {
		var w Waiver
		need(row, "check", &w.Check, parsed(parseCheck))
		need(row, "subject", &w.Subject, parsed(parseWords))
		need(row, "justification", &w.Justification, parsed(parseJustification))
		need(row, "owner", &w.Owner, parsed(parseWords))
		need(row, "approved_by", &w.ApprovedBy, parsed(parseWords))
		set(row, "ticket", &w.Ticket, text)
		need(row, "expires", &w.Expires, lastDay)
		row.close()
		twoPeople(row, w.Owner, w.ApprovedBy)
		if w.TooLong(now, false) {
			row.fail("expires", "is more than %d months away, want %s at the latest", waiverMonths, lastOf(now, waiverMonths).Format(time.DateOnly))
		}
		waivers = append(waivers, w)
	}
	t.close()
	if err := t.doc.errs.sorted(); err != nil {
		return nil, err
	}
	return waivers, nil
}

// parseCheck reads the id of a check. Which checks there are is not known here.
func parseCheck(s string) (string, error) {
	if !regexp.MustCompile(`^[A-Z]{3}-[0-9]{3}$`).MatchString(s) {
		return "", fmt.Errorf("%s is no check, want an id such as \"DAT-004\"", quote(s))
	}
	return s, nil
}

func parseJustification(s string) (string, error) {
	if n := utf8.RuneCountInString(strings.TrimSpace(s)); n < minJustification {
		return "", fmt.Errorf("has %d characters, want a sentence of at least %d", n, minJustification)
	}
	return s, nil
}

// TooLong reports whether the waiver runs longer than one may, seen from this
// time: 12 months, 3 for a critical check. Reading a file refuses the first;
// severities are known only to whoever judges, who asks for the second and does
// not honour such a waiver.
func (w Waiver) TooLong(now time.Time, critical bool) bool {
	months := waiverMonths
	if critical {
		months = waiverMonthsCritical
	}
	return w.Expires.After(lastOf(now, months))
}

// lastOf is the end of the day some months later.
func lastOf(now time.Time, months int) time.Time {
	return endOf(now.UTC().AddDate(0, months, 0).Date())
}

// Waiver gives the waiver for a finding, and whether it has expired. Of several
// it gives the one that lasts longest, so one in force if there is any.
func (p *Policy) Waiver(check, subject string, at time.Time) (w Waiver, expired, ok bool) {
	for _, candidate := range p.Waivers {
		if candidate.Check == check && matches(candidate.Subject, subject) && (!ok || candidate.Expires.After(w.Expires)) {
			w, ok = candidate, true
		}
	}
	return w, ok && at.After(w.Expires), ok
}

// matches compares with a pattern in which * stands for any characters. Nothing
// else is special: subjects hold brackets and slashes.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(s, part)
		if !found {
			return false
		}
		s = after
	}
	return true
}
