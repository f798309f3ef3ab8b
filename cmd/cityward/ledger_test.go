package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/agent/report"
)

// recorded runs a daemon with a state directory while it serves a scrape, and gives
// the directory and what the page said.
func recorded(t *testing.T, state string) (page string, daemon *daemonProcess) {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", state)
	dir := t.TempDir()
	config := filepath.Join(dir, "cityward.toml")
	writeFile(t, config, fmt.Sprintf("[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n\n[round]\ninterval = \"1s\"\n\n[capture]\npins = \"\"\ntier = \"poll\"\n", filepath.Join(dir, "admin.sock")))
	daemon = startDaemon(t, os.Args[0], "0", "run", "--config", config)
	return daemon.scrapeUntil(t, `cityward_rounds_total [2-9]`), daemon
}

func (d *daemonProcess) terminate(t *testing.T) {
	t.Helper()
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(); err != nil {
		t.Errorf("SIGTERM ends it with %v\n%s", err, d.log())
	}
}

// said runs a command of this program.
func said(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if got := run(t.Context(), args, &out, &err); got != status {
		t.Errorf("%v ends with %d, want %d\n%s%s", args, got, status, out.String(), err.String())
	}
	return out.String(), err.String()
}

func TestLedger(t *testing.T) {
	state := t.TempDir()
	page, daemon := recorded(t, state)
	for _, name := range []string{"bytes", "writes_failed_total", "rows_total"} {
		if !strings.Contains(page, "\ncityward_ledger_"+name+" ") {
			t.Errorf("the page lacks cityward_ledger_%s", name)
		}
	}
	if strings.Contains(page, "cityward_ledger_rows_total 0\n") || !strings.Contains(page, "cityward_ledger_writes_failed_total 0\n") ||
		!strings.Contains(page, `cityward_gaps{kind="history"} 0`) {
		t.Errorf("it does not write:\n%s\n%s", page, daemon.log())
	}
	out, _ := said(t, exitDone, "ledger", "verify") // while the daemon writes
	key := strings.Fields(out)[len(strings.Fields(out))-1]
	daemon.terminate(t)

	if out, _ := said(t, exitDone, "ledger", "verify", "--key", key); !strings.HasPrefix(out, "verified: rows 1 to ") {
		t.Errorf("verify says %q", out)
	}
	if _, text := said(t, exitUsage, "ledger", "verify", "--key", "none"); strings.Count(text, "\n") != 1 {
		t.Errorf("of a key that is none: %q", text)
	}
	checkQuery(t)
	for _, format := range []string{"table", "json", "csv"} {
		if out, _ := said(t, exitDone, "flows", "--since", "1h", "--format", format); len(out) < 10 {
			t.Errorf("flows as %s: %q", format, out)
		}
	}
	out, _ = said(t, exitDone, "flows", "--since", "1h", "--format", "json")
	if _, err := report.ReadFlows([]byte(out)); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{
		{"flows", "--since", "yesterday"},
		{"flows", "--since", "-1h"},
		{"flows", "--since", "1h", "--follow"},
		{"flows", "--since", "1h", "--zone", "moon"},
		{"ledger", "query", "--kind", "gossip"},
		{"ledger", "query", "--since", "x"},
		{"ledger", "export", "--since", "x"},
		{"ledger", "verify", "--root", state},
	} {
		if _, text := said(t, exitUsage, args...); strings.Count(text, "\n") != 1 {
			t.Errorf("%v: %q, want one line", args, text)
		}
	}
	file := filepath.Join(state, "ledger.db")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(data, []byte(`"event":"found"`), []byte(`"event":"fouud"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, text := said(t, exitFindings, "ledger", "verify"); out != "" || strings.Count(text, "\n") != 1 || !strings.Contains(text, "row ") {
		t.Errorf("of a ledger that was changed: %q, %q", out, text)
	}
}

func checkQuery(t *testing.T) {
	t.Helper()
	out, _ := said(t, exitDone, "ledger", "query", "--kind", "start", "--format", "json")
	var rows []ledgerRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].Seq != 1 || len(rows[0].Hash) != 64 {
		t.Errorf("%v: %s", err, out)
	}
	out, _ = said(t, exitDone, "ledger", "query", "--since", "1h", "--last", "3", "--format", "csv")
	if records, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || len(records) != 4 || records[3][2] != "stop" {
		t.Errorf("%v: %s", err, out)
	}
	if out, _ = said(t, exitDone, "ledger", "query", "--last", "2"); strings.Count(out, "\n") != 3 || !strings.HasPrefix(out, "ROW") {
		t.Errorf("as a table: %s", out)
	}
	if out, _ = said(t, exitDone, "ledger", "query", "--kind", "lost", "--format", "json"); out != "[\n]\n" {
		t.Errorf("no row: %q", out)
	}
	out, _ = said(t, exitDone, "ledger", "export")
	lines := 0
	for line := range strings.Lines(out) {
		var row ledgerRow
		lines++
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Seq != uint64(lines) {
			t.Fatalf("line %d: %v: %s", lines, err, line)
		}
	}
	if lines < 5 {
		t.Errorf("only %d rows are exported", lines)
	}
}

// Another start of the daemon goes on with the chain, and knows since when.
func TestLedgerOutlivesARestart(t *testing.T) {
	state := t.TempDir()
	_, daemon := recorded(t, state)
	daemon.terminate(t)
	began := time.Now()
	page, daemon := recorded(t, state)
	defer daemon.terminate(t)
	if !strings.Contains(page, "cityward_ledger_rows_total ") {
		t.Error("no ledger")
	}
	out, _ := said(t, exitDone, "ledger", "query", "--last", "0", "--kind", "finding", "--format", "json")
	var rows []ledgerRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		var body struct {
			Event string
			Now   struct{ Check, Subject string }
		}
		if err := json.Unmarshal(row.Body, &body); err != nil {
			t.Fatal(err)
		}
		if body.Now.Check == "DAT-001" && body.Event == "opened" && row.Time.After(began) {
			t.Error("what was open before is opened again")
		}
	}
	if out, _ := said(t, exitDone, "ledger", "query", "--last", "0", "--kind", "component"); strings.Count(out, `"removed"`)+strings.Count(out, `"installed"`) > 0 {
		t.Errorf("software came or went by a restart:\n%.2000s", out)
	}
	said(t, exitDone, "ledger", "verify")
}

// Without a state directory the daemon sees all the same, and says what it lacks.
func TestNoStateDirectory(t *testing.T) {
	state := filepath.Join(t.TempDir(), "none")
	page, daemon := recorded(t, state)
	if !strings.Contains(page, `cityward_gaps{kind="history"} 1`) || !strings.Contains(page, `cityward_check_failing{check="AGT-001",severity="high"} 1`) ||
		strings.Contains(page, "cityward_ledger_writes_failed_total 0\n") {
		t.Errorf("the page does not say so:\n%s", page)
	}
	if !strings.Contains(daemon.log(), "the ledger is not written") {
		t.Errorf("the log does not say so:\n%s", daemon.log())
	}
	daemon.terminate(t)
	if _, text := said(t, exitUsage, "flows", "--since", "1h"); !strings.Contains(text, "cityward run") || strings.Count(text, "\n") != 1 {
		t.Errorf("flows: %q", text)
	}
}
