package alerts

import (
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.yaml.in/yaml/v3"

	"cityward/agent/report"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/configs"
)

var update = flag.Bool("update", false, "write golden files anew")

// Routes and silences serve the rules for Prometheus and pushed alerts alike, so
// both must give the same names.
func TestNamesAreThoseOfTheRules(t *testing.T) {
	data, err := os.ReadFile("../../configs/prometheus/cityward.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	named := make(map[string]string)
	failing := regexp.MustCompile(`cityward_check_failing\{check=~?"([^"]+)"`)
	others := ""
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if m := failing.FindStringSubmatch(rule.Expr); m != nil {
				for check := range strings.SplitSeq(m[1], "|") {
					named[check] = rule.Alert
				}
			} else if strings.Contains(rule.Expr, "cityward_check_failing") {
				others = rule.Alert
			}
		}
	}
	if len(named) == 0 || others == "" {
		t.Fatal("the rules are about no check")
	}
	for _, check := range checks.All() {
		want := others
		if name := named[check.Rule.ID]; name != "" {
			want = name
		}
		if got := AlertName(check.Rule.ID); got != want {
			t.Errorf("%s is pushed as %s, the rules call it %s", check.Rule.ID, got, want)
		}
	}
}

// The document of a webhook is a promise, which docs/alerts.md shows.
func TestDocumentedExample(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	f := finding.Finding{
		Check: "NET-001", Title: "No program that holds declared data is connected beyond the city", Severity: finding.Critical,
		Verdict: finding.Fail, Disposition: finding.Open, Subject: "civil-registry → 203.0.113.7:443",
		Reason: "a program that holds its data is connected beyond the city", Since: at, Facts: map[string]any{"program": "/usr/bin/curl", "sent_bytes": 4096},
		Method: finding.Observed, Confidence: finding.ConfidenceHigh, Remedy: "Stop the program.", Maps: finding.Maps{"gdpr": {"V_44"}},
	}
	body, err := report.Finding(&f)
	if err != nil {
		t.Fatal(err)
	}
	a := &alert{instance: "db1", starts: at, finding: body}
	head := &Head{Row: 4711, Hash: strings.Repeat("ab", 32), Open: strings.Repeat("cd", 32), Time: at, Signature: []byte("64 bytes of an Ed25519 signature")}
	message := []message{{key: keyOf(&f), alert: a, ended: at.Add(90 * time.Second)}}
	webhook, err := webhookBody(message, at.Add(91*time.Second), "db1", head)
	if err != nil {
		t.Fatal(err)
	}
	message[0].ended = time.Time{}
	manager, err := alertmanagerBody(message, at.Add(time.Second), time.Minute, head)
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/alerts.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n.*?```")
	want := [][]byte{webhook, manager}
	n := 0
	got := blocks.ReplaceAllStringFunc(string(text), func(string) string {
		var v any
		if n >= len(want) || json.Unmarshal(want[n], &v) != nil {
			return ""
		}
		n++
		var out strings.Builder
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		_ = enc.Encode(v)
		return "```json\n" + out.String() + "```"
	})
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) || n != len(want) {
		t.Errorf("the examples of %s are not what is sent; run with -update and read the difference", file)
	}
}

func TestMetrics(t *testing.T) {
	e := newEar()
	down := webhook("http://127.0.0.1:1/secret")
	down.Name = "down"
	room, _ := open(t, settings(webhook(listen(t, e)), down), nil)
	room.Observe(reported(fails("NET-001", "a", finding.Critical), fails("NET-001", "b", finding.Critical)))
	e.next(t)
	lines, _ := room.all()
	until(t, "a failure and a success", func() bool { return lines[1].figures(time.Now()).failed == 1 && lines[0].figures(time.Now()).sent == 2 })
	want := `# HELP cityward_alerts_dropped_total Alerts that the receiver was never told of: too many, or waiting for too long.
# TYPE cityward_alerts_dropped_total counter
cityward_alerts_dropped_total{receiver="down"} 0
cityward_alerts_dropped_total{receiver="hook"} 0
# HELP cityward_alerts_failed_total Requests to the receiver that failed; what they held waits and is sent again.
# TYPE cityward_alerts_failed_total counter
cityward_alerts_failed_total{receiver="down"} 1
cityward_alerts_failed_total{receiver="hook"} 0
# HELP cityward_alerts_pending Alerts that wait for the receiver to take them.
# TYPE cityward_alerts_pending gauge
cityward_alerts_pending{receiver="down"} 2
cityward_alerts_pending{receiver="hook"} 0
# HELP cityward_alerts_sent_total Alerts that the receiver took, begins and ends of findings; repeats do not count.
# TYPE cityward_alerts_sent_total counter
cityward_alerts_sent_total{receiver="down"} 0
cityward_alerts_sent_total{receiver="hook"} 2
`
	names := []string{"cityward_alerts_dropped_total", "cityward_alerts_failed_total", "cityward_alerts_pending", "cityward_alerts_sent_total"}
	if err := testutil.CollectAndCompare(room, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(room)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v: %v", problems, err)
	}
	if n := testutil.CollectAndCount(room); n != 10 {
		t.Errorf("%d series, want 5 a receiver", n)
	}
}

// Of more than can be told the newest are, once, and the rest is counted.
func TestTooMany(t *testing.T) {
	room, log := open(t, settings(webhook("http://127.0.0.1:1")), nil)
	var findings []finding.Finding
	for i := range maxOpen + 5 {
		f := fails("NET-002", strconv.Itoa(i), finding.High)
		f.Since = time.Unix(int64(i), 0)
		findings = append(findings, f)
	}
	room.Observe(reported(findings...))
	room.Observe(reported(findings...))
	lines, over := room.all()
	if n := len(lines[0].entries); n != maxOpen || over != 5 || strings.Count(log.String(), "dropped=5") != 1 {
		t.Errorf("%d are told, %d dropped; log: %.500s", n, over, log.String())
	}
	if lines[0].entries[keyOf(&findings[4])] != nil || lines[0].entries[keyOf(&findings[maxOpen+4])] == nil {
		t.Error("not the newest are told")
	}
}

// An end that waits for too long, or is one of too many, is dropped, the oldest
// first.
func TestDropped(t *testing.T) {
	now := time.Now()
	kept := &shelf{rows: make(map[string][]byte)}
	limits := settings(webhook("http://127.0.0.1:1"))
	l := newLine(limits.Receivers[0], &limits, nil, kept.keep)
	a := &alert{instance: "db1", starts: now, finding: json.RawMessage(`{"check":"A","severity":"high"}`)}
	open := make(map[string]*alert)
	for i := range maxOpen {
		open[strconv.Itoa(i)] = a
	}
	l.observe(open, now)
	if n := l.observe(nil, now.Add(time.Second)); n != 0 {
		t.Errorf("%d dropped", n)
	}
	if n := l.observe(map[string]*alert{"x": a}, now.Add(2*time.Second)) + l.observe(nil, now.Add(3*time.Second)); n != 1 || l.entries["x"] == nil {
		t.Errorf("%d dropped, want the oldest", n)
	}
	if n := l.observe(nil, now.Add(limits.Keep+2*time.Second)); n != maxOpen-1 || len(l.entries) != 1 || len(kept.all()) != 1 {
		t.Errorf("%d dropped, %d left, %d kept", n, len(l.entries), len(kept.all()))
	}
}

// What cannot be told whole is told without its facts.
func TestLargeFinding(t *testing.T) {
	e := newEar()
	room, _ := open(t, settings(webhook(listen(t, e))), nil)
	f := fails("NET-002", "a", finding.High)
	f.Facts = map[string]any{"all": strings.Repeat("x", maxFinding)}
	room.Observe(reported(f))
	if got := e.next(t); len(got.body) > 2000 || got.Alerts[0].Facts["facts"] == nil {
		t.Errorf("%.300s", got.body)
	}
}

func FuzzRestore(f *testing.F) {
	e := &entry{alert: &alert{instance: "db1", starts: time.Now(), finding: json.RawMessage(`{"check":"A","severity":"high","facts":{"a":[1]}}`)}, queued: time.Now()}
	f.Add(e.row("hook", "key\x00high"))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"receiver":"hook","key":"","instance":"x","starts":"2026-01-01T00:00:00Z","finding":{"check":"A","severity":"low","subject":"\u0000"}}`))
	f.Add([]byte("{\"finding\":null}\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := readRow(body)
		if err != nil {
			return
		}
		name := rowKey(r.Receiver, r.Key)
		entries, broken := restore(map[string][]byte{name: body, "alert/x": body, "other": body})
		e := entries[r.Receiver][r.Key]
		if e == nil || len(broken) != 1 {
			t.Fatalf("%q is not restored", body)
		}
		messages := []message{{key: r.Key, alert: e.alert, ended: e.ended, news: true}}
		_ = rank(&messages[0])
		for _, make := range []func() ([]byte, error){
			func() ([]byte, error) { return webhookBody(messages, time.Now(), "db1", nil) },
			func() ([]byte, error) { return alertmanagerBody(messages, time.Now(), time.Minute, aHead()) },
		} {
			if out, err := make(); err != nil || !json.Valid(out) {
				t.Errorf("%q gives %q: %v", body, out, err)
			}
		}
	})
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "db1", "\xff\n", strings.Repeat("é", maxLabel), "\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		if len(got) > maxLabel || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\x00\x1b") || clean(got) != got {
			t.Errorf("%q gives %q", text, got)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "120", "-1", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := pauseAfter(1, retryAfter(text)); got <= 0 || got > 5*pauseMost {
			t.Errorf("%q: %v", text, got)
		}
	})
}

// BenchmarkObserve publishes 10 000 findings: all new, and the same again as most
// rounds do.
func BenchmarkObserve(b *testing.B) {
	var findings []finding.Finding
	for i := range 10_000 {
		findings = append(findings, fails("NET-002", strconv.Itoa(i), finding.High))
	}
	r := reported(findings...)
	o := Options{
		Config: settings(webhook("http://127.0.0.1:1")), Encode: report.Finding, Keep: func(map[string][]byte) {},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			room := New(o)
			room.Observe(r)
			room.Close()
		}
	})
	b.Run("known", func(b *testing.B) {
		room := New(o)
		defer room.Close()
		room.Observe(r)
		b.ReportAllocs()
		for b.Loop() {
			room.Observe(r)
		}
	})
	b.Run("none", func(b *testing.B) { // as on most machines
		o.Config.Receivers = nil
		room := New(o)
		b.ReportAllocs()
		for b.Loop() {
			room.Observe(r)
		}
	})
}

// BenchmarkDeliver is from the publication of 10 000 new findings to the last that
// a webhook took.
func BenchmarkDeliver(b *testing.B) {
	e := newEar()
	c := settings(webhook(listen(b, e)))
	var findings []finding.Finding
	for i := range 10_000 {
		findings = append(findings, fails("NET-002", strconv.Itoa(i), finding.High))
	}
	r := reported(findings...)
	for b.Loop() {
		room, _ := open(b, configs.Alerts{Severity: "high", Keep: time.Hour, Batch: 5000, Rate: 6000, Receivers: c.Receivers}, nil)
		room.Observe(r)
		for n := 0; n < len(findings); {
			n += len(e.next(b).Alerts)
		}
		room.Close()
	}
}
