package configs

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/software.md gives figures of the table, and an own row that is read.
func TestSoftwareDocs(t *testing.T) {
	data, err := os.ReadFile("../docs/software.md")
	if err != nil {
		t.Fatal(err)
	}
	docs, table := string(data), shippedSubstitutes(t)
	makers, checked := make(map[string]bool), make(map[string]int)
	for _, p := range table.Products {
		makers[p.Maker] = true
		checked[p.Checked]++
	}
	want := []string{fmt.Sprintf("%d products of %d makers, reviewed on %s", len(table.Products), len(makers), table.Date.Format("2006-01-02"))}
	for how, n := range checked {
		want = append(want, fmt.Sprintf("| %s | %d |", how, n))
	}
	for _, text := range want {
		if !strings.Contains(docs, text) {
			t.Errorf("it does not say %q", text)
		}
	}
	_, own, _ := strings.Cut(docs, "table = \"substitutes\"")
	own, _, _ = strings.Cut(own, "```")
	if _, err := ParseSubstitutes("software.md", []byte("table = \"substitutes\""+own), table); err != nil {
		t.Error(err)
	}
}
