package flows

import (
	"fmt"
	"net/netip"
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// NET002 demands that every destination beyond the city is in the register of
// transfers.
func NET002() finding.Rule {
	return finding.Rule{
		ID:        "NET-002",
		Title:     "Every destination beyond the city is in the register of transfers",
		Severity:  finding.High,
		Rationale: "A city that knows exactly what its machines do knows whom they speak with. What nobody wrote down, nobody decided.",
		Decides: finding.Decides{
			finding.Pass:    "every destination beyond the city is covered by an approved transfer, and each of these is listed",
			finding.Fail:    "a program was connected to a destination beyond the city that no transfer covers",
			finding.Review:  "a program only tried to connect, or the policy names no network of the city",
			finding.Unknown: "connections may have gone unseen, or one to a network that is approved for some programs belongs to no known program",
		},
		Remedy:   "Record the destination as a [[transfer]] with purpose, legal basis and end, or stop the program from connecting.",
		Pitfalls: "Mirrors, time servers and content networks change addresses: approve their networks, or better a mirror of the city.",
		Needs:    []string{inventory.KindFlows},
		Maps:     finding.Maps{"eu_csf": {"SOV-6.3"}, "c3a": {"SOV-4-08"}, "ens": {"mp.com.1"}},
	}
}

// JudgeNET002 gives one finding for each program, network and port. The severity
// is lower for a destination in a country that the policy names.
func JudgeNET002(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var destinations ledger
	nameless := 0
	for i := range s.Flows {
		f := &s.Flows[i]
		if f.Direction != inventory.Out || !beyond(f) {
			continue
		}
		transfers := covering(s, p, f, "")
		if len(transfers) == 0 && f.Zone == inventory.Approved && f.Process == (inventory.Execution{}) {
			nameless++
			continue
		}
		who := program(s, f.Process)
		subject := who + endpoint(f)
		if !f.Folded {
			subject = fmt.Sprintf("%s → %s port %d", who, network(f.Remote.Addr()), f.Remote.Port())
		}
		destinations.exchange(subject).add(f, who, "", transfers)
	}
	found := destinations.findings(s, p, "other destinations")
	for i := range found {
		if home(&found[i], p) {
			found[i].Severity = finding.Medium
		}
	}
	if nameless > 0 {
		found = append(found, finding.Finding{
			Subject: unknown + " → networks approved for others", Facts: map[string]any{"destinations": nameless},
			Reason: fmt.Sprintf("connections to %d approved destinations belong to no known program, and the transfers name programs", nameless),
		})
	}
	if settled(found) {
		found = append(found, finding.Finding{
			Verdict: finding.Pass,
			Reason:  fmt.Sprintf("%d destinations beyond the city, all of them approved", len(found)),
			Facts:   map[string]any{"destinations": len(found)},
		})
	}
	return found
}

// network is the neighbourhood of an address that counts as one destination:
// services answer from many addresses, which are seldom far apart.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, _ := addr.WithZone("").Prefix(bits)
	return prefix
}

// home reports whether all places of a finding are known and in the countries of
// the policy.
func home(f *finding.Finding, p *configs.Policy) bool {
	countries, _ := f.Facts["countries"].([]string)
	return len(countries) > 0 && !slices.ContainsFunc(countries, func(c string) bool { return !slices.Contains(p.City.Countries, c) })
}
