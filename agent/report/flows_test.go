package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func readBack(t *testing.T) []Flow {
	t.Helper()
	document, err := Document(sample(), Flows)
	if err != nil {
		t.Fatal(err)
	}
	flows, err := ReadFlows(document)
	if err != nil {
		t.Fatal(err)
	}
	return flows
}

func written(t *testing.T, format string, style Style, flows []Flow) string {
	t.Helper()
	var out strings.Builder
	w, err := NewFlowWriter(&out, format, style)
	if err == nil {
		err = w.All(flows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What a command writes of a daemon's document is that document.
func TestFlowsAreReadBack(t *testing.T) {
	document, err := Document(sample(), Flows)
	if err != nil {
		t.Fatal(err)
	}
	if got := written(t, JSON, Style{}, readBack(t)); got != string(document) {
		t.Errorf("read back as\n%s\nwant\n%s", got, document)
	}
	if _, err := ReadFlows([]byte(`{"error":"none"}`)); err == nil {
		t.Error("something else is read as flows")
	}
	if got := written(t, JSON, Style{}, []Flow{}); got != "[]\n" {
		t.Errorf("no flow is written as %q", got)
	}
}

func TestFlowsTable(t *testing.T) {
	got := written(t, Table, Style{}, readBack(t))
	var lines []string
	for line := range strings.Lines(got) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"TIME DIR ZONE PROTO PROGRAM PEER SENT RECEIVED OPEN",
		"2026-01-01T12:00:00Z out outside tcp /usr/bin/postgres 203.0.113.7:443 1.2 kB 5 B 0",
		"2026-01-01T12:00:00Z in city tcp pid 77 10.0.0.2 to port 22 0 B 0 B 0",
		"2026-01-01T12:00:00Z out approved udp unknown 198.51.100.1:53 80 B 0 B 0",
		"2026-01-01T12:00:00Z out outside udp /usr/bin/postgres many, folded 7 B 0 B 0",
		"2026-01-01T12:00:00Z in city tcp /usr/bin/postgres many, folded to port 5432 0 B 9 B 1",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	if len(lines) != 6 {
		t.Errorf("%d lines", len(lines))
	}
	if strings.Contains(got, "\x1b") {
		t.Error("colours in a file")
	}
	coloured := written(t, Table, Style{Colour: true}, readBack(t))
	if n := strings.Count(coloured, "\x1b[31m"); n != 2 {
		t.Errorf("%d red lines, want those of the two flows to the outside", n)
	}
}

func TestFlowsCSV(t *testing.T) {
	records, err := csv.NewReader(strings.NewReader(written(t, CSV, Style{}, readBack(t)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 6 {
		t.Fatalf("%d records, want a heading and 5", len(records))
	}
	at := func(record []string, column string) string { return record[slices.Index(records[0], column)] }
	for _, r := range records[1:] {
		if at(r, "zone") != "outside" || at(r, "protocol") != "tcp" {
			continue
		}
		want := []string{"/usr/bin/postgres", "733", "203.0.113.7", "443", "FR", "1234", "5", "1", "2026-01-01T12:00:00Z"}
		var got []string
		for _, column := range []string{"executable", "pid", "remote_address", "remote_port", "country", "sent_bytes", "received_bytes", "connections", "first"} {
			got = append(got, at(r, column))
		}
		if !slices.Equal(got, want) {
			t.Errorf("record %q, want %q", got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	row := func(pid int, sent uint64, open int, first time.Time) Flow {
		return Flow{
			Program: &jsonProcess{PID: &pid}, Direction: "out", Protocol: "tcp", Zone: "outside", Sent: sent, Received: 2 * sent, Connections: 1,
			Open: open, First: first, Remote: &jsonRemote{jsonEndpoint: jsonEndpoint{"203.0.113.7", 443}},
		}
	}
	foldedIn := func(zone string, sent uint64) Flow { return Flow{Zone: zone, Sent: sent, First: noon()} }
	later := noon().Add(time.Hour)
	tests := []struct {
		name  string
		looks [][]Flow
		want  string // of the last look: what each moved
	}{
		{"nothing before", [][]Flow{{row(1, 10, 1, noon())}}, "[]"},
		{"quiet", [][]Flow{{row(1, 10, 1, noon())}, {row(1, 10, 1, noon())}}, "[]"},
		{"new", [][]Flow{nil, {row(1, 10, 1, noon())}}, "[1: 10 20]"},
		{"new without a byte", [][]Flow{nil, {row(1, 0, 1, noon())}}, "[1: 0 0]"},
		{"moved", [][]Flow{{row(1, 10, 1, noon()), row(2, 5, 1, noon())}, {row(1, 10, 1, noon()), row(2, 8, 1, noon())}}, "[2: 3 6]"},
		{"closed", [][]Flow{{row(1, 10, 1, noon())}, {row(1, 10, 0, noon())}}, "[1: 0 0]"},
		{"gone", [][]Flow{{row(1, 10, 1, noon())}, nil}, "[]"},
		{"another in its place", [][]Flow{{row(1, 10, 1, noon())}, {row(1, 12, 1, later)}}, "[1: 12 24]"},
		{"a smaller one", [][]Flow{{row(1, 10, 1, noon())}, {row(1, 4, 1, noon())}}, "[1: 4 8]"},
		{"in two namespaces", [][]Flow{{row(1, 10, 1, noon()), row(1, 20, 1, noon())}, {row(1, 10, 1, noon()), row(1, 25, 1, noon())}}, "[1: 5 10]"},
		{"folded of two zones", [][]Flow{{foldedIn("city", 5), foldedIn("outside", 9)}, {foldedIn("city", 5), foldedIn("outside", 10)}}, "[0: 1 0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var changes Changes
			var got []string
			for _, look := range tt.looks {
				got = nil
				for _, c := range changes.Next(look) {
					pid := 0
					if c.Program != nil {
						pid = *c.Program.PID
					}
					got = append(got, fmt.Sprintf("%d: %d %d", pid, c.moved.Sent, c.moved.Received))
				}
			}
			if fmt.Sprint(got) != tt.want {
				t.Errorf("changed %v, want %s", got, tt.want)
			}
		})
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestFlowsThatCannotBeWritten(t *testing.T) {
	for _, format := range []string{Table, CSV} {
		if _, err := NewFlowWriter(full{}, format, Style{}); err == nil {
			t.Errorf("%s: the heading is lost in silence", format)
		}
	}
	flows := readBack(t)
	for _, format := range []string{Table, JSON, CSV} {
		w := &FlowWriter{w: full{}, format: format}
		if w.All(flows) == nil || w.Changes([]Change{{Flow: flows[0]}}, noon()) == nil {
			t.Errorf("%s: flows are lost in silence", format)
		}
	}
}
