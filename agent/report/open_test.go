package report

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"
)

const openDocument = `[
 {"check":"AGT-001","title":"Sees","severity":"high","result":"unknown","disposition":"open","subject":null,"reason":"dark","since":"2026-03-01T12:00:00Z","facts":{"gaps":["a","b"],"lost":1234567,"none":null},"remedy":"look"},
 {"check":"ACC-002","title":"Shut","severity":"critical","result":"fail","disposition":"open","subject":"registry","reason":"open","since":"2026-03-01T12:00:00Z","resolved":"2026-03-02T12:00:00Z","facts":null,"remedy":"shut it"},
 {"check":"NET-001","title":"Stays","severity":"critical","result":"fail","disposition":"open","subject":"registry → 203.0.113.7:443","reason":"sent","since":"2026-03-01T12:00:00Z",
  "facts":{"path":"x","chain":[[{"program":"/usr/bin/postgres","pid":7,"user":"postgres","how":"direct","since":"2026-03-01T11:00:00Z","evidence":"open: /srv"},{"program":"/usr/bin/curl","pid":8}],"odd"]},"remedy":"stop it"},
 {"check":"DAT-008","title":"Backups","severity":"critical","result":"fail","disposition":"waived","subject":"registry, by restic ← 203.0.113.7 on port 22","reason":"sent","since":"2026-03-01T12:00:00Z","facts":{"chain":[[{"program":"restic"}]]},"remedy":"stop it"}
]`

func TestWriteFindings(t *testing.T) {
	found, err := ReadFindings([]byte(openDocument))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := WriteFindings(&table, found, Table, Style{}); err != nil {
		t.Fatal(err)
	}
	want := `NET-001  critical, fail, since 2026-03-01T12:00:00Z  Stays
  registry → 203.0.113.7:443: sent
    registry → /usr/bin/postgres → /usr/bin/curl → 203.0.113.7:443
      /usr/bin/postgres, user postgres: direct, open: /srv, since 2026-03-01T11:00:00Z
  → stop it

AGT-001  high, unknown, since 2026-03-01T12:00:00Z  Sees
  dark
    gaps: a, b
    lost: 1234567

DAT-008  critical, fail, waived, since 2026-03-01T12:00:00Z  Backups
  registry, by restic ← 203.0.113.7 on port 22: sent
    registry → restic → 203.0.113.7 on port 22
  → stop it

ACC-002  critical, fail, 2026-03-01T12:00:00Z to 2026-03-02T12:00:00Z, resolved  Shut
  registry: open
`
	if table.String() != want {
		t.Errorf("shown is\n%s\nwant\n%s", table.String(), want)
	}
	var records strings.Builder
	if err := WriteFindings(&records, found, CSV, Style{}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(records.String())).ReadAll()
	if err != nil || len(rows) != 5 || rows[1][9] != "registry → /usr/bin/postgres → /usr/bin/curl → 203.0.113.7:443" || rows[4][8] != "2026-03-02T12:00:00Z" {
		t.Errorf("%v: %q", err, rows)
	}
	var document strings.Builder
	if err := WriteFindings(&document, found, JSON, Style{}); err != nil {
		t.Fatal(err)
	}
	again, err := ReadFindings([]byte(document.String()))
	if err != nil || len(again) != 4 || again[3].Resolved == nil || strings.Count(document.String(), "resolved") != 1 {
		t.Errorf("%v: %s", err, document.String())
	}
	if _, err := ReadFindings([]byte("{")); err == nil {
		t.Error("half a document is read")
	}
	table.Reset()
	if err := WriteFindings(&table, nil, Table, Style{}); err != nil || table.String() != "no finding is open\n" {
		t.Errorf("%v: %s", err, table.String())
	}
}

func TestWriteCustodyOfThePast(t *testing.T) {
	until := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	held := []Holding{{Store: "registry", How: "direct", Since: until.Add(-time.Hour), Until: &until, Program: &jsonProcess{Executable: known("/usr/bin/postgres")}}}
	for format, want := range map[string]string{
		Table: "registry  /usr/bin/postgres  direct  2026-03-02T11:00:00Z to 2026-03-02T12:00:00Z  none  ",
		CSV:   "registry,/usr/bin/postgres,,,,,,direct,2026-03-02T11:00:00Z,none,,,,,,,,,2026-03-02T12:00:00Z\n",
		JSON:  `"until": "2026-03-02T12:00:00Z"`,
	} {
		var out strings.Builder
		if err := WriteCustody(&out, held, format, Style{}); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v: %s", format, err, out.String())
		}
	}
}
