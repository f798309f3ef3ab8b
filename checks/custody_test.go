package checks_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// chained is a machine where cat took a file of the store, curl (pid 11) got it by a
// pipe and cat has ended.
func chained(flows ...inventory.Flow) inventory.Facts {
	facts := holding(flows...)
	facts.Former = []inventory.Process{{ID: execution(20), Executable: "/usr/bin/cat", User: "mallory", File: inventory.FileID{Device: 1, Inode: 20}}}
	facts.Owners = []inventory.Owner{{Path: "/usr/bin/cat", File: inventory.FileID{Device: 1, Inode: 20}, PURL: "pkg:deb/debian/coreutils@9"}}
	facts.Components = []inventory.Component{{Name: "coreutils", PURL: "pkg:deb/debian/coreutils@9", Licence: inventory.Licence{Expression: "GPL-3.0-or-later"}}}
	facts.Holdings = []inventory.Holding{{
		Store: "registry", Process: execution(11), How: inventory.HowPipeline, From: execution(20), Since: taken().Add(-time.Minute), Evidence: "a pipe between them",
	}}
	return facts
}

// as is a machine where pid 30 holds the store's data.
func as(executable, user, group, how string, flows ...inventory.Flow) inventory.Facts {
	facts := holding(flows...)
	facts.Processes = append(facts.Processes, inventory.Process{ID: execution(30), Executable: executable, User: user, Group: group, NetNS: 1, MountNS: 1})
	facts.Holdings = []inventory.Holding{{Store: "registry", Process: execution(30), How: how, Evidence: "opened records"}}
	return facts
}

func reading(readers ...string) configs.Policy {
	return with(city(), func(p *configs.Policy) { p.Stores[0].Readers = readers })
}

func sharing() configs.Policy {
	return with(city(), func(p *configs.Policy) { p.Custody.HolderMaximum = 0.5 })
}

// spread is a machine with many programs, some of which hold the store's data.
func spread(running, holders int) inventory.Facts {
	facts := inventory.Facts{Processes: []inventory.Process{{ID: execution(2), Name: "kthreadd", Kernel: true}}}
	for i := range running {
		facts.Processes = append(facts.Processes, inventory.Process{ID: execution(100 + i), Executable: "/usr/bin/worker"})
	}
	for i := range holders {
		facts.Holdings = append(facts.Holdings, inventory.Holding{Store: "registry", Process: execution(100 + i), How: inventory.HowPipeline, From: execution(100)})
	}
	return facts
}

func carrierTrials(program string, outside func(pid int) inventory.Flow) []trial {
	carried := func(flows ...inventory.Flow) inventory.Facts {
		return as(program, "root", "root", inventory.HowDirect, flows...)
	}
	name := program[strings.LastIndex(program, "/")+1:]
	lawful := of(execution(30), out(30, "198.51.100.1:443", inventory.Approved))
	return []trial{
		{"carries it out", carried(outside(30)), city(), only("registry, by "+name+" → 203.0.113.7:443", finding.Fail), nil},
		{"tries", carried(attempt(outside(30))), city(), only("registry, by "+name+" → 203.0.113.7:443", finding.Review), nil},
		{"no city network", carried(outside(30)), nowhere(), only("registry, by "+name+" → 203.0.113.7:443", finding.Review), nil},
		{"to the city", carried(out(30, "10.77.0.9:22", inventory.City)), city(), only("registry", finding.Pass), nil},
		{"approved", carried(lawful), with(approving(transfer()), func(p *configs.Policy) { p.Transfers[0].Programs = nil }), map[string]finding.Verdict{
			"registry": finding.Pass, "registry, by " + name + " → 198.51.100.1:443": finding.Pass,
		}, nil},
		{"another holder", holding(out(10, "203.0.113.7:443", inventory.Outside)), city(), only("registry", finding.NotApplicable), nil},
		{"public", carried(outside(30)), public(), only("registry", finding.NotApplicable), nil},
		{"a gap", plus(carried(), inventory.Facts{Gaps: gap(inventory.KindHoldings, "registry")}), city(), only("registry", finding.Unknown), nil},
	}
}

func custodyTrials() map[string][]trial {
	outside := func(pid int) inventory.Flow { return out(pid, "203.0.113.7:443", inventory.Outside) }
	return map[string][]trial{
		"DAT-008": carrierTrials("/usr/bin/restic", outside),
		"DAT-010": carrierTrials("/usr/bin/rsync", outside),
		"CUS-001": {
			{"a declared user", as("/usr/bin/psql", "postgres", "postgres", inventory.HowService), reading("postgres"), only("registry", finding.Pass), nil},
			{"a declared group", as("/usr/bin/psql", "ana", "registry", inventory.HowDirect), reading("postgres", "group:registry"), only("registry", finding.Pass), nil},
			{"another user", as("/usr/bin/cat", "mallory", "users", inventory.HowDirect), reading("postgres", "group:registry"), only("registry ← /usr/bin/cat as mallory", finding.Fail), nil},
			{"has it from a reader", as("/usr/bin/cat", "mallory", "users", inventory.HowPipeline), reading("postgres"), only("registry", finding.NotApplicable), nil},
			{"a user that is not known", as("/usr/bin/cat", "", "", inventory.HowDirect), reading("postgres"), only("registry ← pid 30", finding.Unknown), nil},
			{"no readers declared", as("/usr/bin/cat", "ana", "users", inventory.HowDirect), city(), only("registry", finding.Unknown), nil},
			{"public", as("/usr/bin/cat", "ana", "users", inventory.HowDirect), public(), only("registry", finding.NotApplicable), nil},
			{"a gap", plus(as("/usr/bin/psql", "postgres", "postgres", inventory.HowDirect), inventory.Facts{Gaps: gap(inventory.KindHoldings, "registry")}), reading("postgres"), only("registry", finding.Unknown), nil},
		},
		"CUS-002": {
			{"few", spread(100, 20), sharing(), only("", finding.Pass), nil},
			{"most", spread(100, 60), sharing(), only("", finding.Fail), func(t *testing.T, found []finding.Finding) {
				if want := "60 of 100 programs hold declared data, most of them from /usr/bin/worker"; found[0].Reason != want {
					t.Errorf("%q, want %q", found[0].Reason, want)
				}
			}},
			{"most of a handful", spread(6, 5), sharing(), only("", finding.Pass), nil},
			{"none", spread(6, 0), sharing(), only("", finding.NotApplicable), nil},
			{"a gap", plus(spread(100, 20), inventory.Facts{Gaps: gap(inventory.KindProcesses, "")}), sharing(), only("", finding.Unknown), nil},
		},
	}
}

// What went before the data was held is not what was held.
func TestBytesBeforeTheHolding(t *testing.T) {
	flow := out(11, "203.0.113.7:443", inventory.Outside)
	for name, test := range map[string]struct {
		change func(*inventory.Flow, *inventory.Holding)
		policy configs.Policy
		want   finding.Verdict
		bytes  uint64
	}{
		"all after": {func(*inventory.Flow, *inventory.Holding) {}, city(), finding.Fail, 100},
		"some after": {func(f *inventory.Flow, h *inventory.Holding) {
			h.Before = map[inventory.FlowKey]uint64{f.Key(): 99}
		}, city(), finding.Fail, 1},
		"none after": {func(f *inventory.Flow, h *inventory.Holding) {
			h.Before = map[inventory.FlowKey]uint64{f.Key(): 100}
		}, city(), finding.Review, 0},
		"the last before": {func(f *inventory.Flow, h *inventory.Holding) { f.LastSent = h.Since.Add(-time.Nanosecond) }, city(), finding.Review, 0},
		"the last after":  {func(f *inventory.Flow, h *inventory.Holding) { f.LastSent = h.Since }, city(), finding.Fail, 100},
		"less than the policy alerts on": {func(*inventory.Flow, *inventory.Holding) {}, with(city(), func(p *configs.Policy) {
			p.Custody.AlertBytes = map[string]uint64{inventory.HowPipeline: 101}
		}), finding.Review, 100},
	} {
		t.Run(name, func(t *testing.T) {
			facts := chained(flow)
			facts.Captures = []inventory.Capture{{Name: inventory.CaptureFlows, Tier: inventory.TierBPF, Complete: true}}
			test.change(&facts.Flows[0], &facts.Holdings[0])
			found := run(t, "NET-001", facts, test.policy)
			if len(found) != 1 || found[0].Verdict != test.want || found[0].Facts["sent_bytes"] != test.bytes {
				t.Errorf("%+v", found)
			}
		})
	}
}

// A finding tells the whole way, with what each program is.
func TestChainIsTold(t *testing.T) {
	f := run(t, "NET-001", chained(out(11, "203.0.113.7:443", inventory.Outside)), city())[0]
	if want := "sent beyond the city under no approved transfer, 100 bytes: /usr/bin/cat → /usr/bin/curl"; f.Reason != want {
		t.Errorf("reason %q, want %q", f.Reason, want)
	}
	got := fmt.Sprint(f.Facts["chain"])
	for _, part := range []string{"program:/usr/bin/cat", "user:mallory", "package:pkg:deb/debian/coreutils@9", "licence:GPL-3.0-or-later", "how:pipeline", "evidence:a pipe between them"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not told in %s", part, got)
		}
	}
}

// Two that have it from each other, which no graph should hold, end the chain.
func TestChainEnds(t *testing.T) {
	facts := chained(out(11, "203.0.113.7:443", inventory.Outside))
	facts.Holdings = append(facts.Holdings, inventory.Holding{Store: "registry", Process: execution(20), How: inventory.HowPipeline, From: execution(11)})
	if f := run(t, "NET-001", facts, city())[0]; f.Verdict != finding.Fail {
		t.Errorf("%+v", f)
	}
}
