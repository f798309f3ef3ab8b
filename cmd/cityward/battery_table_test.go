package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

const batteryDocs = "../../docs/custody.md"

// checkTableOf compares the table of the documentation with the scenarios.
func checkTableOf(t *testing.T, leaks, harmless []*scenario) {
	t.Helper()
	data, err := os.ReadFile(batteryDocs)
	if err != nil {
		t.Error(err)
		return
	}
	var want strings.Builder
	want.WriteString("<!-- battery -->\n| leak | store | carried by | held |\n| --- | --- | --- | --- |\n")
	for _, s := range leaks {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", strings.ReplaceAll(s.name, "|", `\|`), s.store, s.carrier, s.how)
	}
	want.WriteString("\n| harmless |\n| --- |\n")
	for _, s := range harmless {
		fmt.Fprintf(&want, "| %s |\n", strings.ReplaceAll(s.name, "|", `\|`))
	}
	want.WriteString("<!-- /battery -->")
	table := regexp.MustCompile(`(?s)<!-- battery -->.*<!-- /battery -->`)
	if *update {
		renewed := table.ReplaceAllLiteral(data, []byte(want.String()))
		if err := os.WriteFile(batteryDocs, renewed, 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	if got := table.FindString(string(data)); got != want.String() {
		t.Errorf("%s has another table than the scenarios give: go test -run LeakBattery ./cmd/cityward -update", batteryDocs)
	}
}

// results is the table with what was measured.
func results(leaks []*scenario) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LEAK\tSTORE\tCARRIED BY\tHELD\tBYTES\tAFTER")
	for _, s := range leaks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%v\n", s.name, s.store, s.carrier, strings.Join(s.seen.sent.How, ", "), s.seen.sent.Sent,
			s.took.Round(10*time.Millisecond))
	}
	w.Flush()
	return text.String()
}
