// Package location judges where declared data lies: on the city's disks, on
// another machine's, or where nobody can tell.
//
// A disk is the city's only if the machine is, and a machine is known to be the
// city's own if the city's asset register lists it or, where the city keeps no
// register, if its firmware names a maker and no hypervisor. A virtual disk of an
// unlisted guest may lie anywhere.
package location

import (
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// servicesAlone is the reason why nothing is known of a store without directories.
const servicesAlone = "the store is declared by its services alone: where its files lie is not known"

// part is the answer about one of a store's directories.
type part struct {
	verdict finding.Verdict
	text    string // "/srv/registry: local on sda (sata)"
}

// worst gives the part that outweighs the others.
func worst(parts []part) part {
	return slices.MaxFunc(parts, func(a, b part) int { return a.verdict.Weight() - b.verdict.Weight() })
}

func texts(parts []part) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p.text)
	}
	return all
}

// eachStore asks about every declared store. Public data may lie anywhere, and a
// store that no collector knows of was not looked at.
func eachStore(s *inventory.Snapshot, p *configs.Policy, judge func(*inventory.DataStore) finding.Finding) []finding.Finding {
	var found []finding.Finding
	for i := range p.Stores {
		declared := &p.Stores[i]
		f := finding.Finding{Reason: "the store was not looked at"}
		if declared.Class == configs.ClassPublic {
			f = finding.Finding{Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "the store's data is public"}
		} else if seen, ok := s.DataStore(declared.ID); ok {
			f = judge(seen)
		}
		f.Subject, f.Store = declared.ID, declared.ID
		found = append(found, f)
	}
	return found
}

// peerVerdict judges the machine that a path's data is on, and says why.
func peerVerdict(path *inventory.StorePath, p *configs.Policy) (finding.Verdict, string) {
	if !path.Mount.PeerAddr.IsValid() {
		return finding.Unknown, "on a machine whose address is not known"
	}
	switch path.Mount.PeerZone {
	case inventory.Host:
		return finding.Pass, "on this machine"
	case inventory.City:
		return finding.Pass, "on a machine in the city's networks"
	case inventory.Approved:
		return finding.Review, "on a machine in the network of an approved transfer"
	case inventory.Outside:
	}
	if len(p.City.Networks) == 0 {
		return finding.Review, "on another machine, and the policy names no network of the city"
	}
	return finding.Fail, "on a machine outside the city's networks"
}
