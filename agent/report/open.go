package report

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"cityward/checks/finding"
)

// ReadFindings reads the document [Findings] back, for commands that ask a daemon.
func ReadFindings(document []byte) ([]Found, error) {
	var found []Found
	if err := json.Unmarshal(document, &found); err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	return found, nil
}

// WriteFindings writes findings in one format: the open ones first, the worst of
// them first, then what was resolved, the latest first.
func WriteFindings(w io.Writer, found []Found, format string, style Style) error {
	slices.SortStableFunc(found, compareFound)
	switch format {
	case JSON:
		data, err := marshal(found)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	case CSV:
		return findingsCSV(w, found)
	}
	return findingsTable(w, found, style)
}

func compareFound(a, b Found) int {
	if a.Resolved != nil && b.Resolved != nil {
		return b.Resolved.Compare(*a.Resolved)
	}
	return cmp.Or(-cmp.Compare(a.urgency(), b.urgency()), -cmp.Compare(a.weight(), b.weight()),
		cmp.Compare(a.Check, b.Check), cmp.Compare(plain(a.Subject), plain(b.Subject)))
}

// urgency is that of the tables of a round; of what was resolved less than any.
func (f *Found) urgency() int {
	switch {
	case f.Resolved != nil:
		return -1
	case f.Result == finding.Fail.String() && f.Disposition != finding.Waived:
		return 3
	case f.Result == finding.Review.String():
		return 2
	case f.Result == finding.Unknown.String():
		return 1
	}
	return 0
}

func (f *Found) weight() finding.Severity {
	severity, err := finding.ParseSeverity(f.Severity)
	if err != nil {
		return finding.Info // of a version that knew others
	}
	return severity
}

func findingsTable(w io.Writer, found []Found, style Style) error {
	if len(found) == 0 {
		_, err := io.WriteString(w, "no finding is open\n")
		return err
	}
	var b strings.Builder
	for i := range found {
		f := &found[i]
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s  %s\n", style.paint("1", f.heading(style)), f.Title)
		fmt.Fprintf(&b, "  %s\n", strings.Trim(plain(f.Subject)+": "+plain(f.Reason), ": "))
		for _, line := range f.evidence() {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if f.Result != finding.Unknown.String() && f.Resolved == nil && f.Remedy != "" {
			fmt.Fprintf(&b, "  → %s\n", f.Remedy)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Found) heading(style Style) string {
	word := f.Result
	if f.Disposition != finding.Open {
		word += ", " + f.Disposition
	}
	if f.Resolved != nil {
		return fmt.Sprintf("%s  %s, %s, %s to %s, resolved", f.Check, f.Severity, word, style.time(f.Since), style.time(*f.Resolved))
	}
	return fmt.Sprintf("%s  %s, %s, since %s", f.Check, f.Severity, word, style.time(f.Since))
}

// evidence is what was observed: the ways that data went first.
func (f *Found) evidence() []string {
	lines := f.ways()
	for _, key := range slices.Sorted(maps.Keys(f.Facts)) {
		if key == "chain" || key == "path" {
			continue
		}
		if text := factText(f.Facts[key]); text != "" {
			lines = append(lines, strings.ReplaceAll(key, "_", " ")+": "+shorten(text, 200))
		}
	}
	return lines
}

// ways shows each chain from the store to the destination, and how each program of
// it came by the data.
func (f *Found) ways() []string {
	from, to, told := f.ends()
	chains, _ := f.Facts["chain"].([]any)
	if !told {
		return nil
	}
	var lines []string
	for _, chain := range chains {
		steps, _ := chain.([]any)
		if len(steps) == 0 {
			continue
		}
		names, hows := []string{from}, []string(nil)
		for _, at := range steps {
			step, _ := at.(map[string]any)
			names = append(names, word(step, "program"))
			if how := word(step, "how"); how != "" {
				hows = append(hows, fmt.Sprintf("  %s: %s, %s, since %s", who(step), how, word(step, "evidence"), word(step, "since")))
			}
		}
		lines = append(append(lines, strings.Join(append(names, to), " → ")), hows...)
	}
	return lines
}

// ends are the store and the destination that a subject names.
func (f *Found) ends() (store, destination string, told bool) {
	subject := plain(f.Subject)
	for _, arrow := range []string{" → ", " ← "} {
		if store, destination, told = strings.Cut(subject, arrow); told {
			store, _, _ = strings.Cut(store, ", by ")
			return store, destination, true
		}
	}
	return "", "", false
}

// who names the program of a step with what is known of it.
func who(step map[string]any) string {
	names := []string{word(step, "program")}
	for _, key := range []string{"user", "unit", "container"} {
		if value := word(step, key); value != "" {
			names = append(names, key+" "+value)
		}
	}
	return strings.Join(names, ", ")
}

func word(step map[string]any, key string) string {
	text, _ := step[key].(string)
	return text
}

// factText is a fact on one line; what is no list of words and numbers is left to
// JSON.
func factText(fact any) string {
	switch value := fact.(type) {
	case nil, map[string]any:
		return ""
	case []any:
		var parts []string
		for _, part := range value {
			if text := factText(part); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, ", ")
	case float64:
		return fmt.Sprintf("%.15g", value)
	}
	return fmt.Sprint(fact)
}

func findingsCSV(w io.Writer, found []Found) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{
		"check", "title", "severity", "result", "disposition", "subject", "reason", "since", "resolved", "path", "facts", "method", "confidence", "remedy", "waiver",
	})
	for i := range found {
		f := &found[i]
		facts, err := json.Marshal(f.Facts)
		if err != nil {
			return fmt.Errorf("write finding: %w", err)
		}
		resolved, path := "", ""
		if f.Resolved != nil {
			resolved = f.Resolved.UTC().Format(time.RFC3339)
		}
		if ways := f.ways(); len(ways) > 0 {
			path = ways[0]
		}
		_ = out.Write([]string{
			f.Check, f.Title, f.Severity, f.Result, f.Disposition, plain(f.Subject), plain(f.Reason), f.Since.UTC().Format(time.RFC3339), resolved,
			path, string(facts), plain(f.Method), plain(f.Confidence), f.Remedy, plain(f.Waiver),
		})
	}
	out.Flush()
	return out.Error() // of any Write
}
