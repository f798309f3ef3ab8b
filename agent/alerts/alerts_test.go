package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cityward/agent"
	"cityward/agent/report"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// shelf keeps rows as the ledger does.
type shelf struct {
	mu   sync.Mutex
	rows map[string][]byte
}

func (s *shelf) keep(changes map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, body := range changes {
		if body == nil {
			delete(s.rows, key)
		} else {
			s.rows[key] = body
		}
	}
}

func (s *shelf) all() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.rows)
}

// settings are quick.
func settings(receivers ...configs.Receiver) configs.Alerts {
	return configs.Alerts{Severity: "high", Repeat: time.Minute, Keep: time.Hour, Batch: 500, Rate: 6000, Receivers: receivers}
}

func webhook(url string) configs.Receiver {
	return configs.Receiver{Name: "hook", Kind: configs.Webhook, URL: url}
}

func aHead() *Head {
	return &Head{Row: 7, Hash: "ab", Open: "cd", Time: time.Unix(1, 0).UTC(), Signature: []byte("s")}
}

// open makes a room that the end of the test closes.
func open(t testing.TB, c configs.Alerts, kept *shelf) (*Room, *syncBuffer) {
	t.Helper()
	log := &syncBuffer{}
	o := Options{Config: c, Encode: report.Finding, Head: aHead, Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now}
	if kept != nil {
		o.Kept, o.Keep = kept.all(), kept.keep
	}
	r := New(o)
	t.Cleanup(r.Close)
	return r, log
}

// syncBuffer is a log of several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// fails makes a finding.
func fails(check, subject string, severity finding.Severity) finding.Finding {
	return finding.Finding{
		Check: check, Title: "Nothing is wrong", Severity: severity, Verdict: finding.Fail, Disposition: finding.Open, Subject: subject,
		Reason: "it is", Since: time.Now().Add(-time.Second).UTC().Truncate(time.Second), Facts: map[string]any{"sent_bytes": 7, "program": "/usr/bin/x"},
		Method: finding.Observed, Confidence: finding.ConfidenceHigh, Remedy: "Mend it.", Maps: finding.Maps{"gdpr": {"V_44"}},
	}
}

func reported(findings ...finding.Finding) *agent.Report {
	facts := &inventory.Facts{Machine: &inventory.Machine{Hostname: "db1"}}
	return &agent.Report{Snapshot: inventory.Merge(time.Now(), facts), Findings: findings}
}

// heard is what a webhook was told.
type heard struct {
	Version int
	Test    bool
	Machine struct{ Hostname string }
	Head    *Head `json:"ledger_head"`
	Alerts  []struct {
		Status, Check, Severity, Subject, Remedy string
		Starts                                   time.Time
		Ends                                     *time.Time
		Facts                                    map[string]any
	}
	at   time.Time
	body []byte
}

// words are its alerts in short.
func (h *heard) words() string {
	var words []string
	for _, a := range h.Alerts {
		words = append(words, a.Status+" "+a.Check+" "+a.Subject)
	}
	return strings.Join(words, ", ")
}

// ear is a webhook.
type ear struct {
	heard  chan *heard
	answer func(*heard, *http.Request) int // nil: 200
}

func newEar() *ear { return &ear{heard: make(chan *heard, 1000)} }

func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := &heard{at: time.Now()}
	h.body, _ = io.ReadAll(r.Body)
	if err := json.Unmarshal(h.body, h); err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if e.answer != nil {
		if status := e.answer(h, r); status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
	}
	e.heard <- h
}

func (e *ear) next(t testing.TB) *heard {
	t.Helper()
	select {
	case h := <-e.heard:
		return h
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was heard")
		return nil
	}
}

func (e *ear) silent(t testing.TB, during time.Duration) {
	t.Helper()
	select {
	case h := <-e.heard:
		t.Errorf("heard %s", h.words())
	case <-time.After(during):
	}
}

func listen(t testing.TB, e *ear) string {
	t.Helper()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server.URL
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

func (r *Room) pending() (n int) {
	lines, _ := r.all()
	for _, l := range lines {
		n += l.figures(time.Now()).pending
	}
	return n
}

func TestBeginAndEnd(t *testing.T) {
	e := newEar()
	kept := &shelf{rows: make(map[string][]byte)}
	room, _ := open(t, settings(webhook(listen(t, e))), kept)
	leak := fails("NET-001", "civil-registry → 203.0.113.7:443", finding.Critical)
	waived, low, unknown := fails("DAT-004", "a", finding.High), fails("SWF-001", "", finding.Medium), fails("HWC-001", "", finding.Critical)
	waived.Disposition, unknown.Verdict = finding.Waived, finding.Unknown
	expired := fails("ACC-002", "b", finding.High)
	expired.Disposition = finding.WaiverExpired

	began := time.Now()
	room.Observe(reported(leak, waived, low, unknown, expired))
	got := e.next(t)
	t.Logf("on the wire after %v", got.at.Sub(began))
	if got.at.Sub(began) > time.Second {
		t.Errorf("heard after %v", got.at.Sub(began))
	}
	if got.words() != "firing NET-001 civil-registry → 203.0.113.7:443, firing ACC-002 b" {
		t.Errorf("heard %s", got.words())
	}
	if a := got.Alerts[0]; a.Ends != nil || !a.Starts.Equal(leak.Since) || a.Facts["sent_bytes"] != 7.0 || a.Remedy != "Mend it." {
		t.Errorf("%s", got.body)
	}
	if got.Version != Version || got.Test || got.Machine.Hostname != "db1" || got.Head == nil || got.Head.Row != 7 {
		t.Errorf("%s", got.body)
	}
	room.Observe(reported(leak, expired)) // nothing new
	e.silent(t, 200*time.Millisecond)
	room.Observe(reported(expired))
	got = e.next(t)
	if got.words() != "resolved NET-001 civil-registry → 203.0.113.7:443" || got.Alerts[0].Ends == nil || got.Alerts[0].Ends.Before(began.Truncate(time.Second)) {
		t.Errorf("%s", got.body)
	}
	until(t, "one row is left", func() bool { return len(kept.all()) == 1 })
	room.Observe(reported(leak, expired)) // and again
	if got = e.next(t); !strings.HasPrefix(got.words(), "firing NET-001") {
		t.Errorf("heard %s", got.words())
	}
}

// An Alertmanager knows an alert by its severity, too.
func TestAnotherSeverityIsAnotherAlert(t *testing.T) {
	e := newEar()
	room, _ := open(t, settings(webhook(listen(t, e))), nil)
	room.Observe(reported(fails("NET-002", "x", finding.High)))
	e.next(t)
	room.Observe(reported(fails("NET-002", "x", finding.Critical)))
	var all []string
	for len(all) < 2 {
		for _, a := range e.next(t).Alerts {
			all = append(all, a.Status+" "+a.Severity)
		}
	}
	if slices.Sort(all); fmt.Sprint(all) != "[firing critical resolved high]" {
		t.Errorf("heard %v", all)
	}
}

// A receiver that was not there is told of what began and ended meanwhile.
func TestReceiverComesBack(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	kept := &shelf{rows: make(map[string][]byte)}
	room, log := open(t, settings(webhook("http://"+address)), kept)
	brief, lasts := fails("NET-001", "brief", finding.Critical), fails("DAT-001", "lasts", finding.Critical)
	room.Observe(reported(brief, lasts))
	room.Observe(reported(lasts))
	lines, _ := room.all()
	until(t, "a failure", func() bool { return lines[0].figures(time.Now()).failed > 0 })
	if n := room.pending(); n != 2 {
		t.Errorf("%d alerts wait, want 2", n)
	}
	room.Close()
	if !strings.Contains(log.String(), "connection refused") || strings.Contains(log.String(), "http://") {
		t.Errorf("log: %s", log.String())
	}

	// Another run of the daemon goes on, with a finding gone that was there.
	e := newEar()
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	room, _ = open(t, settings(webhook("http://"+address)), kept)
	var all []string
	for len(all) < 3 {
		all = append(all, strings.Split(e.next(t).words(), ", ")...)
	}
	if fmt.Sprint(all) != "[firing DAT-001 lasts firing NET-001 brief resolved NET-001 brief]" {
		t.Errorf("heard %q", all)
	}
	room.Observe(reported())
	if got := e.next(t).words(); got != "resolved DAT-001 lasts" {
		t.Errorf("heard %s", got)
	}
	until(t, "nothing is kept", func() bool { return len(kept.all()) == 0 })
}

// A receiver that takes its time is nobody else's trouble, and no round's.
func TestSlowReceiver(t *testing.T) {
	slow, quick := newEar(), newEar()
	release := make(chan struct{})
	defer close(release)
	slow.answer = func(*heard, *http.Request) int { <-release; return http.StatusOK }
	late := webhook(listen(t, slow))
	late.Name = "late"
	room, _ := open(t, settings(late, webhook(listen(t, quick))), nil)
	for i := range 20 {
		began := time.Now()
		room.Observe(reported(fails("NET-001", strconv.Itoa(i), finding.Critical)))
		if took := time.Since(began); took > time.Second {
			t.Errorf("a round waits for %v", took)
		}
		for !strings.Contains(quick.next(t).words(), fmt.Sprintf("firing NET-001 %d", i)) {
			continue
		}
	}
	began := time.Now()
	room.Close() // it does not wait for an answer, either
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("to stop takes %v", took)
	}
}

// Many findings of a check make one request, the worst of all come first, and no
// request is longer than is allowed.
func TestGrouping(t *testing.T) {
	e := newEar()
	c := settings(webhook(listen(t, e)))
	c.Batch = 100
	room, _ := open(t, c, nil)
	var findings []finding.Finding
	for i := range 150 {
		findings = append(findings, fails("NET-002", fmt.Sprintf("%03d", i), finding.High))
	}
	for i := range 60 {
		findings = append(findings, fails("NET-001", fmt.Sprintf("%03d", i), finding.Critical))
	}
	room.Observe(reported(findings...))
	var sizes []int
	first := e.next(t)
	sizes = append(sizes, len(first.Alerts))
	for range 2 {
		sizes = append(sizes, len(e.next(t).Alerts))
	}
	if fmt.Sprint(sizes) != "[100 100 10]" || first.Alerts[59].Check != "NET-001" || first.Alerts[60].Check != "NET-002" {
		t.Errorf("requests of %v", sizes)
	}
	e.silent(t, 100*time.Millisecond)
}

func TestGroupWait(t *testing.T) {
	e := newEar()
	c := settings(webhook(listen(t, e)))
	c.GroupWait = 500 * time.Millisecond
	room, _ := open(t, c, nil)
	began := time.Now()
	room.Observe(reported(fails("NET-001", "a", finding.Critical)))
	room.Observe(reported(fails("NET-001", "a", finding.Critical), fails("NET-001", "b", finding.Critical)))
	if got := e.next(t); got.at.Sub(began) < c.GroupWait {
		t.Errorf("heard after %v: %s", got.at.Sub(began), got.words())
	}
}

func TestRateLimit(t *testing.T) {
	e := newEar()
	c := settings(webhook(listen(t, e)))
	c.Rate, c.Batch = 120, 1
	room, _ := open(t, c, nil)
	var findings []finding.Finding
	for i := range burst + 3 {
		findings = append(findings, fails("NET-002", strconv.Itoa(i), finding.High))
	}
	began := time.Now()
	room.Observe(reported(findings...))
	var last time.Time
	for i := range findings {
		last = e.next(t).at
		if i == burst-1 && last.Sub(began) > 400*time.Millisecond {
			t.Errorf("the burst takes %v", last.Sub(began))
		}
	}
	if took := last.Sub(began); took < 1200*time.Millisecond {
		t.Errorf("%d requests at 120 a minute after %v", len(findings), took)
	}
}

// An alert that the receiver does not understand is in nobody's way, and stays.
func TestRefused(t *testing.T) {
	e := newEar()
	e.answer = func(h *heard, _ *http.Request) int {
		if strings.Contains(h.words(), "poison") {
			return http.StatusBadRequest
		}
		return http.StatusOK
	}
	room, log := open(t, settings(webhook(listen(t, e))), nil)
	findings := []finding.Finding{fails("NET-002", "poison", finding.High)}
	for i := range 20 {
		findings = append(findings, fails("NET-002", strconv.Itoa(i), finding.High))
	}
	room.Observe(reported(findings...))
	for n := 0; n < 20; {
		n += len(e.next(t).Alerts)
	}
	until(t, "one alert waits", func() bool { return room.pending() == 1 && strings.Contains(log.String(), "refuses an alert") })
	room.Observe(reported(append(findings, fails("NET-002", "new", finding.High))...))
	if got := e.next(t).words(); got != "firing NET-002 new" {
		t.Errorf("heard %s", got)
	}
}

func TestReconfigure(t *testing.T) {
	one, two := newEar(), newEar()
	first, second := webhook(listen(t, one)), webhook(listen(t, two))
	second.Name = "second"
	kept := &shelf{rows: make(map[string][]byte)}
	room, _ := open(t, settings(first), kept)
	f := fails("NET-001", "a", finding.Critical)
	room.Observe(reported(f))
	one.next(t)
	room.Configure(settings(first, second))
	room.Observe(reported(f))
	two.next(t) // told of what fails already
	until(t, "both are kept", func() bool { return len(kept.all()) == 2 && room.pending() == 0 })
	moved := first
	moved.URL = second.URL
	room.Configure(settings(moved, second)) // the first is elsewhere now, and knows
	room.Observe(reported())
	if a, b := two.next(t).words(), two.next(t).words(); a != "resolved NET-001 a" || b != a {
		t.Errorf("heard %s, %s", a, b)
	}
	room.Observe(reported(f))
	two.next(t)
	two.next(t)
	until(t, "both have taken it", func() bool { return room.pending() == 0 })
	room.Configure(settings())
	room.Observe(reported())
	two.silent(t, 100*time.Millisecond)
	one.silent(t, 0)
	until(t, "nothing is kept", func() bool { return len(kept.all()) == 0 })
}
