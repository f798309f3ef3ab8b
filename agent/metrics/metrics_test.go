package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"cityward/agent"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

var update = flag.Bool("update", false, "write golden files anew")

// follower is given reports as the agent gives them, with what moved.
type follower struct {
	*Metrics
	growth *agent.Growth
}

// Observe shadows that of the metrics.
func (f *follower) Observe(r *agent.Report) {
	full := *r
	full.Moved = f.growth.Next(r.Snapshot, r.Short)
	f.Metrics.Observe(&full)
}

func observed(reports ...*agent.Report) *follower {
	m := &follower{New("1.2.3", "abcdef0", "go1.26.0"), agent.NewGrowth()}
	for _, r := range reports {
		m.Observe(r)
	}
	return m
}

// ours gathers what this room exports, without the Go runtime and the process.
func ours(t testing.TB, m *follower) prometheus.Gatherer {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	return registry
}

func pageText(t testing.TB, g prometheus.Gatherer) string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// value gives one series of the page.
func value(t *testing.T, m *follower, series string) string {
	t.Helper()
	for line := range strings.Lines(pageText(t, ours(t, m))) {
		if v, found := strings.CutPrefix(line, series+" "); found {
			return strings.TrimSpace(v)
		}
	}
	return "absent"
}

func TestPage(t *testing.T) {
	const golden = "testdata/metrics.txt"
	got := pageText(t, ours(t, observed(full())))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the page differs from %s; run with -update and read the difference. Page:\n%s", golden, got)
	}
}

func TestPageBeforeTheFirstRound(t *testing.T) {
	got := pageText(t, ours(t, observed()))
	want := "# HELP cityward_build_info The running Cityward. Always 1.\n# TYPE cityward_build_info gauge\n" +
		"cityward_build_info{goversion=\"go1.26.0\",revision=\"abcdef0\",version=\"1.2.3\"} 1\n"
	if got != want {
		t.Errorf("page:\n%s\nwant:\n%s", got, want)
	}
}

func TestEveryFamilyIsOnAFullPage(t *testing.T) {
	page := pageText(t, ours(t, observed(full())))
	name := regexp.MustCompile(`fqName: "(\w+)"`)
	for _, desc := range newFamilies().all {
		if family := name.FindStringSubmatch(desc.String())[1]; !strings.Contains(page, "\n"+family) {
			t.Errorf("%s is described but not shown", family)
		}
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(observed(full()).Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestGoAndProcessAreThere(t *testing.T) {
	page := pageText(t, observed().Registry())
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(page, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestVerdictsOnThePage(t *testing.T) {
	m := observed(full())
	tests := []struct{ check, severity, failing, unknown, waived string }{
		{"DAT-001", "critical", "0", "0", "absent"},
		{"DAT-004", "high", "0", "0", "1"},
		{"HWC-001", "critical", "0", "1", "absent"},
		{"NET-001", "critical", "1", "0", "absent"},
		{"NET-002", "high", "0", "0", "absent"},
		{"NET-014", "high", "absent", "0", "absent"},
		{"SWF-001", "medium", "1", "0", "0"},
	}
	for _, tt := range tests {
		labels := fmt.Sprintf("{check=%q,severity=%q}", tt.check, tt.severity)
		for name, want := range map[string]string{"failing": tt.failing, "unknown": tt.unknown, "waived": tt.waived} {
			if got := value(t, m, "cityward_check_"+name+labels); got != want {
				t.Errorf("%s %s is %s, want %s", tt.check, name, got, want)
			}
		}
	}
}

// closed lists the label sets that may hold nothing else.
func closed() map[string][]string {
	severities := make([]string, 0, 5)
	for _, s := range finding.Severities() {
		severities = append(severities, s.String())
	}
	return map[string][]string{
		"direction":   {"in", "out"},
		"protocol":    {"tcp", "udp", "other"},
		"peer_zone":   {"host", "city", "approved", "outside"},
		"medium_zone": {"host", "city", "approved", "outside"},
		"capture":     {"flows", "opens", "processes"},
		"tier":        {"bpf", "events", "poll"},
		"medium":      {"local", "network", "removable", "missing", "unknown"},
		"encrypted":   {"yes", "no", "unknown"},
		"class":       {"citizen", "confidential", "public"},
		"how":         {"direct", "service", "descendant", "pipeline", "derived"},
		"severity":    severities,
		"disposition": {"open", "waived", "waiver_expired"},
		"freedom":     {"free", "nonfree", "unknown"},
		"scope":       {"installed", "running"},
		"bound":       {"low", "high"},
		"kind":        kinds(),
	}
}

func TestLabelValuesAreClosedSets(t *testing.T) {
	families, err := ours(t, observed(full(), busy(300, 20))).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				set, isClosed := closed()[pair.GetName()]
				if isClosed && !slices.Contains(set, pair.GetValue()) {
					t.Errorf("%s{%s=%q} is none of %q", family.GetName(), pair.GetName(), pair.GetValue(), set)
				}
			}
		}
	}
}

// What a person or another machine could be recognised by stays off the page.
func TestLabelsTellNothingPersonal(t *testing.T) {
	page := pageText(t, ours(t, observed(full())))
	secrets := []string{
		"alpha", "city.example", "203.0.113", "198.51.100", "10.77", "5432", "443", "alice", "/usr", "postgres\"", "15-main",
		"session-4", "S123", "4c4c4544", "on purpose",
	}
	for _, secret := range secrets {
		for line := range strings.Lines(page) {
			if !strings.HasPrefix(line, "#") && strings.Contains(line[:strings.LastIndex(line, " ")], secret) {
				t.Errorf("the page tells %q: %s", secret, line)
			}
		}
	}
}

func TestSeriesBudget(t *testing.T) {
	const budget = 500
	r := busy(300, 0)
	r.Policy = &configs.Default().Policy
	n, err := testutil.GatherAndCount(observed(r).Registry())
	if err != nil {
		t.Fatal(err)
	}
	if n > budget {
		t.Errorf("%d series with the default policy, at most %d", n, budget)
	}
	t.Logf("%d series with the default policy, 60 checks and 300 flows", n)
}

func TestHostileNamesDoNotBreakThePage(t *testing.T) {
	long := strings.Repeat("é", 100)
	r := full()
	facts := r.Snapshot.Facts
	facts.Machine.Vendor = "Example\x00\n\"} 1\xff"
	facts.Tables = []inventory.Table{{Name: long + "a", Date: taken()}, {Name: long + "b", Date: taken()}, {}}
	facts.Processes = []inventory.Process{
		{ID: inventory.Execution{PID: 100, Start: 1000}, Executable: "/tmp/evil\n# TYPE x counter\x1b[31m"},
		{ID: inventory.Execution{PID: 200, Start: 2000}, Executable: "/tmp/other"},
	}
	r.Snapshot = inventory.Merge(taken(), &facts)
	page := pageText(t, ours(t, observed(r)))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(page)); err != nil {
		t.Fatalf("the page cannot be read: %v", err)
	}
	for _, want := range []string{
		`vendor="Example__\"} 1_"`,
		`cityward_program_outside_sent_bytes_total{program="evil_# TYPE x counter_[31m"} 300`,
		`cityward_facts_timestamp_seconds{table="` + strings.Repeat("é", 32) + `"}`,
		`cityward_facts_timestamp_seconds{table="unknown"} 0`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// A scrape sees one round, whole.
func TestScrapeSeesOneRound(t *testing.T) {
	m := observed()
	registry := ours(t, m)
	var rounds sync.WaitGroup
	rounds.Go(func() {
		for n := range uint64(500) {
			r := reportOf(n, &inventory.Facts{}, &configs.Policy{})
			r.Duration = time.Duration(n) * time.Second
			m.Observe(r)
		}
	})
	counted := regexp.MustCompile(`cityward_rounds_total (\d+)`)
	took := regexp.MustCompile(`cityward_round_duration_seconds (\d+)`)
	for range 200 {
		page := pageText(t, registry)
		a, b := counted.FindStringSubmatch(page), took.FindStringSubmatch(page)
		if (a == nil) != (b == nil) || a != nil && a[1] != b[1] {
			t.Fatalf("a page of two rounds: %v and %v", a, b)
		}
	}
	rounds.Wait()
}

func TestStoreOfThePolicyIsCountedBeforeItIsSeen(t *testing.T) {
	m := observed(reportOf(1, &inventory.Facts{}, &configs.Policy{Stores: []configs.DataStore{{ID: "s"}}}))
	for _, series := range []string{
		`cityward_data_store_holders{store="s"}`,
		`cityward_data_store_sent_bytes_total{how="direct",peer_zone="outside",store="s"}`,
	} {
		if got := value(t, m, series); got != "0" {
			t.Errorf("%s is %s, want 0", series, got)
		}
	}
}

func FuzzLabel(f *testing.F) {
	for _, seed := range []string{"", "dpkg", "a\nb", "\xff", strings.Repeat("é", 40), "\u202e", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := label(text)
		if got == "" || len(got) > maxLabel || strings.ContainsAny(got, "\n\x00\x1b") || strings.ToValidUTF8(got, "") != got {
			t.Errorf("label(%q) = %q", text, got)
		}
		if label(got) != got {
			t.Errorf("label(%q) = %q is not stable", text, got)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	m := observed(busy(300, 20))
	handler := promhttp.HandlerFor(m.Registry(), promhttp.HandlerOpts{EnableOpenMetrics: true})
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
}

func BenchmarkObserve(b *testing.B) {
	m, r := observed(), busy(1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(r)
	}
}

// flow gives one row of the table below.
func flow(pid int, zone inventory.Zone, sent, connections uint64, first time.Time) inventory.Flow {
	return inventory.Flow{
		Process: inventory.Execution{PID: pid, Start: 1}, Direction: inventory.Out, Protocol: "tcp", Zone: zone,
		Sent: sent, Received: 2 * sent, Connections: connections, First: first,
		Local: netip.MustParseAddrPort("10.77.0.2:0"), Remote: netip.MustParseAddrPort("203.0.113.7:443"),
	}
}
