package checks_test

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// run puts one check of the catalogue to a machine.
func run(t *testing.T, id string, facts inventory.Facts, policy configs.Policy) []finding.Finding {
	t.Helper()
	catalogue := checks.All()
	i := slices.IndexFunc(catalogue, func(c checks.Check) bool { return c.Rule.ID == id })
	if i < 0 {
		t.Fatalf("no check %s", id)
	}
	return checks.Run(catalogue[i:i+1], inventory.Merge(taken(), &facts), &policy)
}

func TestRulesAreComplete(t *testing.T) {
	kinds := []string{
		inventory.KindMachine, inventory.KindProcesses, inventory.KindComponents, inventory.KindLicences, inventory.KindFlows, inventory.KindListeners,
		inventory.KindStorage, inventory.KindHoldings, inventory.KindAccess, inventory.KindEngines, inventory.KindPlaces, inventory.KindHistory, inventory.KindRunning,
	}
	frameworks := []string{"gdpr", "nis2", "eu_csf", "c3a", "ens"}
	shape := regexp.MustCompile(`^(DAT|CUS|NET|HWC|SWF|STD|ACC|PUB|AGT)-[0-9]{3}$`)
	seen := make(map[string]bool)
	for _, c := range checks.All() {
		r := c.Rule
		if !shape.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("id %q is ill-formed or used twice", r.ID)
		}
		seen[r.ID] = true
		for field, text := range map[string]string{"title": r.Title, "rationale": r.Rationale, "remedy": r.Remedy, "pitfalls": r.Pitfalls} {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: no %s", r.ID, field)
			}
		}
		if r.Severity == finding.Info || len(r.Decides) < 2 || c.Judge == nil {
			t.Errorf("%s: severity %v, %d verdicts", r.ID, r.Severity, len(r.Decides))
		}
		for _, kind := range r.Needs {
			if !slices.Contains(kinds, kind) {
				t.Errorf("%s needs evidence of no known kind: %q", r.ID, kind)
			}
		}
		if _, unknown := r.Decides[finding.Unknown]; !unknown && len(r.Needs) > 0 {
			t.Errorf("%s needs evidence, and does not say what happens without", r.ID)
		}
		for framework, articles := range r.Maps {
			if !slices.Contains(frameworks, framework) || len(articles) == 0 {
				t.Errorf("%s maps to %q %v", r.ID, framework, articles)
			}
		}
	}
}

// A judge must answer whatever it is given, and a machine of which nothing was
// seen passes nothing.
func TestNothingSeenNothingPassed(t *testing.T) {
	var gaps []inventory.Gap
	for _, kind := range []string{inventory.KindMachine, inventory.KindProcesses, inventory.KindComponents, inventory.KindLicences, inventory.KindFlows, inventory.KindListeners, inventory.KindStorage, inventory.KindHoldings, inventory.KindAccess} {
		gaps = append(gaps, inventory.Gap{Kind: kind, Reason: "permission denied"})
	}
	for name, policy := range map[string]configs.Policy{"declared": city(), "undeclared": undeclared(), "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			snapshot := inventory.Merge(taken(), &inventory.Facts{Gaps: gaps})
			found := checks.Run(checks.All(), snapshot, &policy)
			for _, result := range checks.Summary(checks.All(), found) {
				if result.Verdict == finding.Pass || result.Verdict == finding.NotApplicable && result.Check != "NET-014" {
					t.Errorf("%s: %v", result.Check, result.Verdict)
				}
			}
		})
	}
}

// Every trial's pass must fall to a gap in any evidence that its rule needs.
func TestAGapNeverLetsPass(t *testing.T) {
	all := trials()
	for _, c := range checks.All() {
		for _, kind := range c.Rule.Needs {
			for _, trial := range all[c.Rule.ID] {
				facts := plus(trial.facts, inventory.Facts{Gaps: gap(kind, "")})
				for _, f := range checks.Run([]checks.Check{c}, inventory.Merge(taken(), &facts), &trial.policy) {
					if f.Verdict == finding.Pass && f.Disposition != finding.TransferUsed {
						t.Errorf("%s, %s, gap in %s: %q passes", c.Rule.ID, trial.name, kind, f.Subject)
					}
				}
			}
		}
	}
}

func TestJudgesArePure(t *testing.T) {
	all := trials()
	for _, c := range checks.All() {
		for _, trial := range all[c.Rule.ID] {
			snapshot := inventory.Merge(taken(), &trial.facts)
			again := inventory.Merge(taken(), &trial.facts)
			first := checks.Run([]checks.Check{c}, snapshot, &trial.policy)
			second := checks.Run([]checks.Check{c}, snapshot, &trial.policy)
			if !reflect.DeepEqual(first, second) {
				t.Errorf("%s, %s: two answers to one question", c.Rule.ID, trial.name)
			}
			if !reflect.DeepEqual(snapshot, again) {
				t.Errorf("%s, %s: the snapshot was changed", c.Rule.ID, trial.name)
			}
		}
	}
}

// judging is a catalogue of one check that says what the test wants.
func judging(rule finding.Rule, found ...finding.Finding) []checks.Check {
	return []checks.Check{{Rule: rule, Judge: func(*inventory.Snapshot, *configs.Policy) []finding.Finding { return slices.Clone(found) }}}
}

func TestBrokenJudgeIsUnknown(t *testing.T) {
	panics := checks.Check{Rule: finding.Rule{ID: "NET-998"}, Judge: func(*inventory.Snapshot, *configs.Policy) []finding.Finding { panic("index out of range") }}
	silent := judging(finding.Rule{ID: "NET-999"})[0]
	found := checks.Run([]checks.Check{silent, panics}, inventory.Merge(taken()), &configs.Policy{})
	if len(found) != 2 {
		t.Fatalf("%d findings", len(found))
	}
	for i, want := range []string{"the check itself broke, please report it: index out of range", "the check gave no answer"} {
		if found[i].Verdict != finding.Unknown || found[i].Reason != want {
			t.Errorf("%s: %v, %q", found[i].Check, found[i].Verdict, found[i].Reason)
		}
	}
}

func TestFindingsAreCompleted(t *testing.T) {
	rule := finding.Rule{ID: "NET-999", Title: "title", Severity: finding.High, Remedy: "remedy", Maps: finding.Maps{"gdpr": {"V_44"}}}
	found := checks.Run(judging(rule, finding.Finding{Subject: "b"}, finding.Finding{Subject: "a", Severity: finding.Low}), inventory.Merge(taken()), &configs.Policy{})
	want := finding.Finding{
		Check: "NET-999", Title: "title", Severity: finding.Low, Disposition: finding.Open, Subject: "a", Facts: map[string]any{},
		Method: finding.Observed, Confidence: finding.ConfidenceHigh, Remedy: "remedy", Maps: rule.Maps,
	}
	if !reflect.DeepEqual(found[0], want) {
		t.Errorf("got  %+v\nwant %+v", found[0], want)
	}
	if found[1].Severity != finding.High {
		t.Errorf("severity %v", found[1].Severity)
	}
}

func TestWaivers(t *testing.T) {
	waiver := func(expires time.Time) configs.Policy {
		return configs.Policy{Waivers: []configs.Waiver{{Check: "NET-999", Subject: "a*", Owner: "ops", Ticket: "SEC-1", Expires: expires}}}
	}
	soon, late := taken().AddDate(0, 2, 0), taken().AddDate(0, 6, 0)
	for _, test := range []struct {
		name     string
		severity finding.Severity
		finding  finding.Finding
		policy   configs.Policy
		want     string
	}{
		{"in force", finding.High, finding.Finding{Subject: "ab", Verdict: finding.Fail}, waiver(late), finding.Waived},
		{"another subject", finding.High, finding.Finding{Subject: "b", Verdict: finding.Fail}, waiver(late), finding.Open},
		{"expired", finding.High, finding.Finding{Subject: "ab", Verdict: finding.Fail}, waiver(taken().Add(-time.Hour)), finding.WaiverExpired},
		{"critical, soon over", finding.Critical, finding.Finding{Subject: "ab", Verdict: finding.Fail}, waiver(soon), finding.Waived},
		{"critical, too long", finding.Critical, finding.Finding{Subject: "ab", Verdict: finding.Fail}, waiver(late), finding.Open},
		{"no failure", finding.High, finding.Finding{Subject: "ab", Verdict: finding.Review}, waiver(late), finding.Open},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := checks.Run(judging(finding.Rule{ID: "NET-999", Severity: test.severity}, test.finding), inventory.Merge(taken()), &test.policy)
			if f := found[0]; f.Disposition != test.want || f.Verdict != test.finding.Verdict || (f.Waiver == "ops SEC-1") != (test.want == finding.Waived) {
				t.Errorf("%v, %s, waiver %q, want %s", f.Verdict, f.Disposition, f.Waiver, test.want)
			}
		})
	}
}

func TestSummaryIsTheWorst(t *testing.T) {
	answer := func(v finding.Verdict, disposition string) finding.Finding {
		return finding.Finding{Check: "NET-999", Verdict: v, Disposition: disposition}
	}
	pass, unknown := answer(finding.Pass, finding.Open), answer(finding.Unknown, finding.Open)
	review, none := answer(finding.Review, finding.Open), answer(finding.NotApplicable, finding.Open)
	fail, waived := answer(finding.Fail, finding.Open), answer(finding.Fail, finding.Waived)
	catalogue := judging(finding.Rule{ID: "NET-999", Severity: finding.High})
	for name, test := range map[string]struct {
		findings []finding.Finding
		want     finding.Finding
	}{
		"fail over all":            {[]finding.Finding{none, pass, review, unknown, waived, fail}, fail},
		"unknown over review":      {[]finding.Finding{unknown, review, pass}, unknown},
		"unknown over waived":      {[]finding.Finding{waived, unknown}, unknown},
		"waived over review":       {[]finding.Finding{review, waived}, waived},
		"review over pass":         {[]finding.Finding{pass, review}, review},
		"pass over not applicable": {[]finding.Finding{none, pass}, pass},
		"nothing is unknown":       {nil, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			got := checks.Summary(catalogue, test.findings)
			want := []checks.Result{{Check: "NET-999", Severity: finding.High, Verdict: test.want.Verdict, Disposition: test.want.Disposition}}
			if !slices.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestEveryTrialIsOfACheck(t *testing.T) {
	var ids []string
	for _, c := range checks.All() {
		ids = append(ids, c.Rule.ID)
	}
	for id := range maps.Keys(trials()) {
		if !slices.Contains(ids, id) {
			t.Errorf("trials of %s, which is not in the catalogue", id)
		}
	}
}

// A machine of the size that the budget of a round is set for.
func BenchmarkRun(b *testing.B) {
	facts := installed(900, 50, 50)
	for i := range 300 {
		facts.Processes = append(facts.Processes, inventory.Process{ID: execution(i + 1), Executable: fmt.Sprintf("/usr/bin/program%d", i), NetNS: 1, MountNS: 1})
	}
	for i := range 1000 {
		facts.Flows = append(facts.Flows, out(i%300+1, fmt.Sprintf("203.0.%d.7:443", i%250), inventory.Outside))
	}
	facts.Holdings = []inventory.Holding{{Store: "registry", Process: execution(10), How: inventory.HowDirect}}
	snapshot := inventory.Merge(taken(), &facts)
	cfg, err := configs.Parse("bench.toml", []byte("[city]\nnetworks = [\"10.77.0.0/16\"]\n[[data_store]]\nid = \"registry\"\nclass = \"citizen\"\npaths = [\"/srv/registry\"]\n"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		checks.Run(checks.All(), snapshot, &cfg.Policy)
	}
}
