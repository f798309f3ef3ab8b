package location

import (
	"fmt"
	"slices"
	"strings"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// DAT001 demands that declared data lies on the city's disks.
func DAT001() finding.Rule {
	return finding.Rule{
		ID:        "DAT-001",
		Title:     "Declared data stores lie on the city's own disks",
		Severity:  finding.Critical,
		Rationale: "The charter asks for hardware under the city's control. Data on someone else's disk is under someone else's control, whatever the contract says.",
		Decides: finding.Decides{
			finding.Pass:          "every directory of the store ends on fixed disks of a machine that is the city's, or on a server in the city's networks",
			finding.Fail:          "a directory ends on a removable or remote disk, on a server outside the city, on a recognised provider's machine, or is missing while the store's service runs",
			finding.Review:        "whose the server or the machine is cannot be told from the policy or the asset register as they stand",
			finding.Unknown:       "a directory is missing, cannot be followed down to a disk, or ends on a virtual disk or on a machine that is not known to be the city's",
			finding.NotApplicable: "the store's data is public",
		},
		Remedy:   "Move the data to a disk or server of the city. If the machine is the city's own, list it in the asset register ([city] hardware); if the server is, list its network ([city] networks).",
		Pitfalls: "A storage network of the city behind iSCSI or Fibre Channel looks remote: waive it with the evidence. A network server is judged by its address alone. Symbolic links out of the store are looked for among its first 20 000 entries only.",
		Needs:    []string{inventory.KindStorage, inventory.KindMachine},
		Stores:   true,
		Maps: finding.Maps{
			"eu_csf": {"SOV-3.3"}, "c3a": {"SOV-3-01-C1"}, "gdpr": {"IV_32.1.b", "V_44"}, "nis2": {"21.2.i"}, "ens": {"mp.info.1"},
		},
	}
}

// JudgeDAT001 gives one finding a store.
func JudgeDAT001(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	return eachStore(s, p, func(store *inventory.DataStore) finding.Finding {
		if len(store.Paths) == 0 {
			return finding.Finding{Reason: servicesAlone}
		}
		var parts []part
		for i := range store.Paths {
			verdict, text := judgePath(s, p, store, &store.Paths[i])
			parts = append(parts, part{verdict, store.Paths[i].Path + ": " + text})
		}
		decisive := worst(parts)
		return finding.Finding{
			Verdict: decisive.verdict,
			Reason:  decisive.text,
			Facts:   map[string]any{"class": store.Class, "paths": texts(parts), "medium": store.Medium},
		}
	})
}

func judgePath(s *inventory.Snapshot, p *configs.Policy, store *inventory.DataStore, path *inventory.StorePath) (finding.Verdict, string) {
	switch path.Medium {
	case inventory.MediumRemovable:
		return finding.Fail, "on a removable disk, " + disks(path)
	case inventory.MediumNetwork:
		if path.Mount.Network {
			verdict, text := peerVerdict(path, p)
			return verdict, text + " (" + path.Mount.Type + ")"
		}
		return finding.Fail, "on a remote disk, " + disks(path)
	case inventory.MediumMissing:
		if inUse(s, store) {
			return finding.Fail, "missing, though the store's service runs: its files lie elsewhere"
		}
		return finding.Unknown, "the directory is missing"
	case inventory.MediumLocal:
		return judgeDisks(s.Machine, path)
	}
	return finding.Unknown, "could not be followed down to a disk"
}

// judgeDisks judges local disks, which are the city's if the machine is.
func judgeDisks(m *inventory.Machine, path *inventory.StorePath) (finding.Verdict, string) {
	on := "on " + disks(path)
	if slices.ContainsFunc(path.Disks, func(d inventory.Disk) bool { return d.Remote || d.Removable }) {
		return finding.Fail, on + ", of which one is removable or remote"
	}
	virtual := slices.ContainsFunc(path.Disks, func(d inventory.Disk) bool { return d.Virtual })
	switch {
	case len(path.Disks) == 0:
		return finding.Unknown, "could not be followed down to a disk"
	case m == nil:
		return finding.Unknown, on + " of a machine of which nothing is known"
	case m.Platform != "" && m.Registered && !m.SelfHosted:
		return finding.Review, fmt.Sprintf("%s of a machine that looks like %s, though the asset register lists it", on, m.PlatformName)
	case m.Platform != "" && !m.SelfHosted:
		return finding.Fail, fmt.Sprintf("%s of a machine of %s", on, m.PlatformName)
	case m.Registered:
		return finding.Pass, on + " of a machine in the asset register"
	case virtual:
		return finding.Unknown, on + ": a virtual disk, and the asset register does not list this guest"
	case m.Bare() && m.LookedUp:
		return finding.Review, on + " of a physical machine that the asset register does not list: it may be rented"
	case m.Bare():
		return finding.Pass, on + " of a physical machine"
	}
	return finding.Unknown, on + " of a machine that is not known to be the city's"
}

// disks names a path's disks with the way they are attached.
func disks(path *inventory.StorePath) string {
	var names []string
	for _, d := range path.Disks {
		name := d.Name
		if d.Transport != "" {
			name += " (" + d.Transport + ")"
		}
		if d.Peer != "" {
			name += " served by " + d.Peer
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// inUse reports whether a program holds the store or serves it.
func inUse(s *inventory.Snapshot, store *inventory.DataStore) bool {
	if len(s.HoldingsOf(store.ID)) > 0 {
		return true
	}
	for _, l := range s.Listeners {
		for _, service := range store.Services {
			if service == fmt.Sprintf("%s:%d", l.Protocol, l.Local.Port()) || l.Protocol == "unix" && service == "unix:"+l.Path {
				return true
			}
		}
	}
	return false
}
