package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/agent"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func limits() configs.Ledger { return configs.Ledger{Days: 400, MaxSize: 64 << 20} }

func now() time.Time { return time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC) }

// begin starts a ledger that is quick.
func begin(t testing.TB, dir string, bounds configs.Ledger) *Ledger {
	t.Helper()
	l := start(Options{Dir: dir, Limits: bounds, Log: discard(), Now: time.Now}, time.Millisecond)
	t.Cleanup(func() { l.stop(); <-l.done })
	return l
}

// moved makes a report in which programs send to addresses.
func moved(at time.Time, flows int, sent uint64) *agent.Report {
	facts := &inventory.Facts{}
	r := &agent.Report{}
	for i := range flows {
		facts.Flows = append(facts.Flows, inventory.Flow{
			Direction: inventory.Out, Protocol: "tcp", Zone: inventory.Outside,
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 443),
		})
	}
	for i := range flows {
		r.Moved = append(r.Moved, agent.Moved{
			Flow: &facts.Flows[i], Volume: inventory.Volume{Sent: sent, Received: 1, Connections: 1}, PURL: "pkg:deb/debian/curl@1",
			Program: inventory.Process{Executable: fmt.Sprintf("/usr/bin/program%d", i%50), User: "web", Unit: "web.service"},
		})
	}
	r.Snapshot = inventory.Merge(at, facts)
	return r
}

// found makes a report with findings.
func found(at time.Time, findings ...finding.Finding) *agent.Report {
	return &agent.Report{Snapshot: inventory.Merge(at, &inventory.Facts{}), Findings: findings}
}

// seen makes a report of facts.
func seen(at time.Time, facts *inventory.Facts) *agent.Report {
	return &agent.Report{Snapshot: inventory.Merge(at, facts)}
}

func checked(t testing.TB, dir string) (*Summary, error) {
	t.Helper()
	key, err := PublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Verify(t.Context(), key)
}

func sound(t testing.TB, dir string) *Summary {
	t.Helper()
	sum, err := checked(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// rows gives bodies as lines, a kind each or all.
func rows(t testing.TB, dir, kind string) []string {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var lines []string
	if err := r.Rows(t.Context(), Query{Kind: kind}, func(row *Row) error {
		lines = append(lines, row.Kind+" "+string(row.Body))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

func events(t testing.TB, dir, kind string) string {
	t.Helper()
	var names []string
	for _, line := range rows(t, dir, kind) {
		_, name, _ := strings.Cut(line, `"event":"`)
		name, _, _ = strings.Cut(name, `"`)
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

func gapsOf(l *Ledger) string { return fmt.Sprint(l.Gaps()) }

func TestFlowsByTheHour(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, dir, limits())
	for i := range 10 { // at 12:30, 12:40 … 14:00
		l.Observe(moved(now().Add(time.Duration(i)*10*time.Minute), 2, 100))
	}
	until(t, "all is written", func() bool { return len(rows(t, dir, KindFlow)) == 4 })
	l.Close()
	sound(t, dir)
	for i, want := range []uint64{300, 300, 600, 600} {
		f, err := parseFlow([]byte(strings.TrimPrefix(rows(t, dir, KindFlow)[i], "flow ")))
		if err != nil {
			t.Fatal(err)
		}
		if f.Sent != want || *f.Program.Executable == "" || *f.Program.Package != "pkg:deb/debian/curl@1" || f.Hour.Minute() != 0 {
			t.Errorf("row %d: %+v, want %d bytes", i, f, want)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for since, want := range map[time.Time]uint64{{}: 1000, now().Add(time.Hour): 700, now().Add(24 * time.Hour): 0} {
		flows, err := r.Flows(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		sent := uint64(0)
		for _, f := range flows {
			sent += f.Sent
		}
		if sent != 2*want {
			t.Errorf("since %v: %d bytes, want %d", since, sent, 2*want)
		}
	}
}

// Another start finds what the one before had not summed up to the end.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	fail := finding.Finding{Check: "NET-001", Subject: "store → 203.0.113.7:443", Verdict: finding.Fail, Since: now(), Disposition: finding.Open}
	l := begin(t, dir, limits())
	r := moved(now(), 3, 7)
	r.Findings = []finding.Finding{fail}
	l.Observe(r)
	l.Close()
	before := sound(t, dir)

	l = begin(t, dir, limits())
	if since := l.Since()[agent.SinceKey(fail.Key(), "fail")]; !since.Equal(now()) {
		t.Errorf("the finding began at %v, want %v", since, now())
	}
	l.Observe(found(now().Add(time.Minute), fail))
	l.Observe(found(now().Add(2 * time.Minute)))
	l.Close()
	after := sound(t, dir)
	if after.Last <= before.Last || len(rows(t, dir, KindFlow)) != 3 {
		t.Errorf("%d rows after %d, flows: %v", after.Last, before.Last, rows(t, dir, KindFlow))
	}
	if got := events(t, dir, KindFinding); got != "opened resolved" {
		t.Errorf("the finding's life: %s", got)
	}
	if last := rows(t, dir, KindFinding)[1]; !strings.Contains(last, `"last":"2026-03-01T12:31:00Z"`) || !strings.Contains(last, `"first":"2026-03-01T12:30:00Z"`) {
		t.Errorf("the end of the finding: %s", last)
	}
	if got := strings.Join(append(rows(t, dir, KindStart), rows(t, dir, KindStop)...), " "); got != "start {} start {} stop {} stop {}" {
		t.Errorf("the runs: %s", got)
	}
}

func TestFindings(t *testing.T) {
	fail := finding.Finding{Check: "NET-001", Subject: "a", Verdict: finding.Fail, Since: now()}
	waived, blind, pass := fail, fail, fail
	waived.Disposition, blind.Subject, blind.Verdict, pass.Verdict = finding.Waived, "", finding.Unknown, finding.Pass
	for name, tt := range map[string]struct {
		rounds [][]finding.Finding
		want   string
	}{
		"a pass is nothing":          {[][]finding.Finding{{pass}}, ""},
		"stays":                      {[][]finding.Finding{{fail}, {fail}, {fail}}, "opened"},
		"is waived":                  {[][]finding.Finding{{fail}, {waived}}, "opened changed"},
		"is resolved":                {[][]finding.Finding{{fail}, {pass}, {pass}}, "opened resolved"},
		"out of sight":               {[][]finding.Finding{{fail}, {blind}}, "opened opened"},
		"and back":                   {[][]finding.Finding{{fail}, {blind}, {fail}}, "opened opened resolved"},
		"resolved and opened anew":   {[][]finding.Finding{{fail}, {pass}, {fail}}, "opened resolved opened"},
		"of hostile name and reason": {[][]finding.Finding{{{Check: "X", Subject: "\xff\x00\n\"" + strings.Repeat("<", 5000), Verdict: finding.Fail, Reason: strings.Repeat("\x01", 1e5)}}}, "opened"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := begin(t, dir, limits())
			for i, findings := range tt.rounds {
				l.Observe(found(now().Add(time.Duration(i)*time.Minute), findings...))
			}
			l.Close()
			sound(t, dir)
			if got := events(t, dir, KindFinding); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSoftware(t *testing.T) {
	component := func(name, version string) inventory.Component {
		return inventory.Component{Ecosystem: "dpkg", Name: name, Version: version, PURL: "pkg:deb/debian/" + name + "@" + version}
	}
	at, dir := now(), t.TempDir()
	l := begin(t, dir, limits())
	look := func(gap bool, components ...inventory.Component) {
		facts := &inventory.Facts{Components: components}
		if gap {
			facts.Gaps = []inventory.Gap{{Kind: inventory.KindComponents, Reason: "denied"}}
		}
		at = at.Add(time.Minute)
		l.Observe(seen(at, facts))
	}
	look(false, component("bash", "5"), component("linux", "6.1"))
	look(false, component("bash", "5"), component("linux", "6.1"), component("linux", "6.2"))
	look(true) // nothing could be seen: nothing is gone
	look(true)
	look(true)
	look(false, component("bash", "6"), component("curl", "1"), component("linux", "6.2"))
	look(false, component("curl", "1"), component("linux", "6.2"))
	look(false, component("curl", "1"), component("linux", "6.2"))
	l.Close()
	sound(t, dir)
	if got, want := events(t, dir, KindComponent), "found found version version installed version removed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if all := strings.Join(rows(t, dir, KindComponent), "\n"); !strings.Contains(all, `"version":"6.1, 6.2"`) {
		t.Errorf("two versions at once:\n%s", all)
	}
}

func TestProgramsAndHoldings(t *testing.T) {
	id := inventory.Execution{PID: 7, Start: 1}
	facts := &inventory.Facts{
		Processes: []inventory.Process{{ID: id, Executable: "/usr/bin/psql", User: "clerk"}, {ID: inventory.Execution{PID: 2}, Kernel: true}},
		Holdings:  []inventory.Holding{{Store: "registry", Process: id, How: inventory.HowService, Since: now()}},
	}
	dir := t.TempDir()
	l := begin(t, dir, limits())
	for i := range 2 * agent.Patience {
		r := seen(now().Add(time.Duration(i)*time.Minute), &inventory.Facts{})
		if i < 2 {
			r = seen(now().Add(time.Duration(i)*time.Minute), facts)
		}
		l.Observe(r)
	}
	l.Close()
	sound(t, dir)
	if got := events(t, dir, KindHolding); got != "began ended" {
		t.Errorf("the holding: %q", got)
	}
	if got := rows(t, dir, KindHolding)[1]; !strings.Contains(got, `"last":"2026-03-01T12:31:00Z"`) || !strings.Contains(got, `"user":"clerk"`) {
		t.Errorf("its end: %s", got)
	}
	if got := rows(t, dir, KindProgram); len(got) != 1 || !strings.Contains(got[0], `"event":"found"`) || !strings.Contains(got[0], `"user":"clerk"`) {
		t.Errorf("the program: %v", got)
	}
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{"\x00", "\xff\xfe", "'; DROP TABLE log; --", "\u202e", "\n\r\x1b[31m", strings.Repeat("\x01", 1e5), strings.Repeat("é", 1e5), "</script>"} {
		dir := t.TempDir()
		l := begin(t, dir, limits())
		r := moved(now(), 1, 9)
		r.Moved[0].Program = inventory.Process{Executable: name, User: name, Unit: name, Container: name}
		r.Moved[0].PURL = name
		r.Snapshot = inventory.Merge(now(), &inventory.Facts{
			Components: []inventory.Component{{Ecosystem: name, Name: name, Version: name}},
			Processes:  []inventory.Process{{ID: inventory.Execution{PID: 1}, Executable: name, User: name}},
			Holdings:   []inventory.Holding{{Store: name, Process: inventory.Execution{PID: 1}, How: name, Evidence: name}},
		})
		l.Observe(r)
		l.Close()
		sound(t, dir)
		l = begin(t, dir, limits())
		l.Observe(r)
		l.Close()
		sound(t, dir)
		for _, kind := range []string{KindComponent, KindHolding, KindProgram, KindFlow} {
			got := rows(t, dir, kind)
			if want := 1; len(got) != want || strings.Contains(got[0], "dropped") {
				t.Errorf("%.20q: %d rows of %s, want %d; what was read back is another", name, len(got), kind, want)
			}
		}
	}
}

func TestQuery(t *testing.T) {
	dir := written(t)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, tt := range map[string]struct {
		query Query
		want  []uint64
	}{
		"a kind":         {Query{Kind: KindStart}, []uint64{1}},
		"the last":       {Query{Last: 2}, []uint64{17, 18}},
		"more than all":  {Query{Kind: KindStop, Last: 9}, []uint64{18}},
		"since":          {Query{Kind: KindFlow, Since: now().Add(4 * time.Hour)}, []uint64{14, 15, 16, 17}},
		"nothing":        {Query{Kind: "nonsense"}, nil},
		"all since when": {Query{Since: now().Add(1e6 * time.Hour)}, nil},
	} {
		var got []uint64
		if err := r.Rows(t.Context(), tt.query, func(row *Row) error { got = append(got, row.Seq); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	stop := errors.New("stop")
	if err := r.Rows(t.Context(), Query{}, func(*Row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("whoever takes rows cannot stop: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Rows(ctx, Query{}, func(*Row) error { return nil }); err == nil {
		t.Error("a cancelled query gives rows")
	}
	for view, want := range map[string]int{"flows": 16, "findings": 0, "holdings": 0, "components": 0} {
		var n int
		if err := r.db.QueryRow("SELECT count(*) FROM " + view).Scan(&n); err != nil || n != want {
			t.Errorf("view %s: %d rows, %v, want %d", view, n, err, want)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
