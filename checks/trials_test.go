package checks_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// trial is one machine and one policy, put to one check as the agent would.
type trial struct {
	name   string
	facts  inventory.Facts
	policy configs.Policy
	want   map[string]finding.Verdict // by subject: every finding, and no other
	check  func(*testing.T, []finding.Finding)
}

// trials holds the cases of every check of the catalogue.
func trials() map[string][]trial {
	all := make(map[string][]trial)
	for _, family := range []map[string][]trial{
		locationTrials(), flowTrials(), hardwareTrials(), freedomTrials(), substituteTrials(), accessTrials(), coverageTrials(), custodyTrials(),
	} {
		maps.Copy(all, family)
	}
	return all
}

func TestChecks(t *testing.T) {
	all := trials()
	for _, c := range checks.All() {
		t.Run(c.Rule.ID, func(t *testing.T) {
			reached := make(map[finding.Verdict]bool)
			for _, trial := range all[c.Rule.ID] {
				t.Run(trial.name, func(t *testing.T) {
					for _, verdict := range try(t, c, trial) {
						reached[verdict] = true
					}
				})
			}
			for _, verdict := range finding.Verdicts() {
				if _, named := c.Rule.Decides[verdict]; named != reached[verdict] {
					t.Errorf("%v: named by the rule %t, reached by a trial %t", verdict, named, reached[verdict])
				}
			}
		})
	}
}

func try(t *testing.T, c checks.Check, trial trial) []finding.Verdict {
	t.Helper()
	snapshot := inventory.Merge(taken(), &trial.facts)
	found := checks.Run([]checks.Check{c}, snapshot, &trial.policy)
	got := make(map[string]finding.Verdict)
	for _, f := range found {
		if _, twice := got[f.Subject]; twice {
			t.Errorf("two findings about %q", f.Subject)
		}
		got[f.Subject] = f.Verdict
		if f.Reason == "" {
			t.Errorf("%q is %v for no reason", f.Subject, f.Verdict)
		}
	}
	if !maps.Equal(got, trial.want) {
		t.Errorf("got %v\nwant %v", got, trial.want)
		for _, f := range found {
			t.Logf("%q: %s", f.Subject, f.Reason)
		}
	}
	if trial.check != nil {
		trial.check(t, found)
	}
	return slices.Collect(maps.Values(got))
}

// taken is the time of every snapshot.
func taken() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) }

// city is a policy with one network and one store of citizen data.
func city() configs.Policy {
	return configs.Policy{
		City: configs.City{
			Name: "Example City", Networks: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")}, Countries: []string{"ES"},
		},
		Software: configs.Software{FreeShareMinimum: 0.9, UnknownShareMaximum: 0.05, LocalPrograms: []string{"/opt/city/portal"}},
		Stores: []configs.DataStore{{
			ID: "registry", Class: configs.ClassCitizen, Paths: []string{"/srv/registry"},
			Services: []configs.Service{{Protocol: "tcp", Port: 5432}, {Protocol: "unix", Path: "/run/registry.sock"}},
		}},
	}
}

func with(p configs.Policy, change func(*configs.Policy)) configs.Policy {
	change(&p)
	return p
}

// undeclared is a policy that names no store.
func undeclared() configs.Policy {
	return with(city(), func(p *configs.Policy) { p.Stores = nil })
}

func public() configs.Policy {
	return with(city(), func(p *configs.Policy) {
		p.Stores = slices.Clone(p.Stores)
		p.Stores[0].Class = configs.ClassPublic
	})
}

// nowhere is a policy that names no network of the city.
func nowhere() configs.Policy {
	return with(city(), func(p *configs.Policy) { p.City.Networks = nil })
}

// transfer approves port 443 of a network for one program and the store.
func transfer() configs.Transfer {
	return configs.Transfer{
		ID: "partner", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28")}, Direction: inventory.Out, Ports: []uint16{443},
		Programs: []string{"/usr/bin/java"}, Stores: []string{"registry"}, Country: "BE", Purpose: "identification across borders",
		LegalBasis: "Regulation (EU) 910/2014", Owner: "registry office", ApprovedBy: "data protection officer",
		Expires: taken().AddDate(0, 6, 0),
	}
}

func approving(transfers ...configs.Transfer) configs.Policy {
	return with(city(), func(p *configs.Policy) { p.Transfers = transfers })
}

func only(subject string, verdict finding.Verdict) map[string]finding.Verdict {
	return map[string]finding.Verdict{subject: verdict}
}

func execution(pid int) inventory.Execution {
	return inventory.Execution{PID: pid, Start: uint64(100 * pid)}
}

func gap(kind, store string) []inventory.Gap {
	return []inventory.Gap{{Collector: "test", Kind: kind, Store: store, Subject: "something", Reason: "permission denied", Lost: 3}}
}
