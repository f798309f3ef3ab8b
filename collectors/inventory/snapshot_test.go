package inventory

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestMerge(t *testing.T) {
	shell, db := Execution{PID: 20, Start: 5}, Execution{PID: 3, Start: 9}
	parts := []*Facts{
		{
			Machine:   &Machine{OS: "debian"},
			Processes: []Process{{ID: shell, Executable: "/bin/sh", File: FileID{1, 2}}, {ID: db, Executable: "/bin/sh", File: FileID{9, 9}}},
			Stores:    []DataStore{{ID: "b"}, {ID: "a", Medium: MediumLocal, Paths: []StorePath{{Path: "/srv/a"}}}},
			Flows:     []Flow{{Process: shell, Remote: netip.MustParseAddrPort("203.0.113.7:443")}, {Process: db, Direction: In}},
		},
		{
			Components: []Component{{Name: "dash", PURL: "pkg:deb/debian/dash@1"}},
			Owners:     []Owner{{Path: "/bin/sh", File: FileID{1, 2}, PURL: "pkg:deb/debian/dash@1"}},
			Stores:     []DataStore{{ID: "a", Medium: MediumMissing, Examined: 7, Exposed: []Exposure{{Path: "/srv/a/x"}}}},
			Flows:      []Flow{{Process: shell, Remote: netip.MustParseAddrPort("198.51.100.7:22")}},
			Holdings:   []Holding{{Store: "b", Process: shell, How: HowDirect}, {Store: "a", Process: shell, How: HowService}, {Store: "a", Process: db, How: HowDirect}},
			Places:     []Place{{Address: netip.MustParseAddr("203.0.113.7"), Country: "FR"}},
		},
	}
	s := Merge(time.Unix(100, 0), parts...)

	if got := s.Processes[0].ID; got != db {
		t.Errorf("processes are not sorted: first is %v", got)
	}
	p, ok := s.Process(shell)
	if !ok {
		t.Fatal("process is not found by its execution")
	}
	if owner, ok := s.Owner(p); !ok || owner.Name != "dash" {
		t.Errorf("Owner = %v, %t; want dash", owner, ok)
	}
	same, _ := s.Process(db)
	if owner, ok := s.Owner(same); ok {
		t.Errorf("a file with the same path but another inode is owned by %v", owner)
	}
	a, ok := s.DataStore("a")
	if !ok || a.Medium != MediumLocal || a.Examined != 7 || len(a.Exposed) != 1 || len(a.Paths) != 1 {
		t.Errorf("rows of store a were not joined: %+v", a)
	}
	if got := s.FlowsOf(shell); len(got) != 2 || got[0].Remote.Port() != 22 {
		t.Errorf("FlowsOf(shell) = %v", got)
	}
	if got := s.HoldingsOf("a"); len(got) != 2 || got[0].Process != db {
		t.Errorf("HoldingsOf(a) = %v", got)
	}
	if got := s.StoresHeldBy(shell); len(got) != 2 {
		t.Errorf("StoresHeldBy(shell) = %v", got)
	}
	if place, ok := s.Place(netip.MustParseAddr("::ffff:203.0.113.7")); !ok || place.Country != "FR" {
		t.Errorf("Place of a mapped address = %v, %t", place, ok)
	}
	for _, missing := range []bool{
		func() bool { _, ok := s.Process(Execution{PID: 20}); return ok }(),
		func() bool { _, ok := s.Component("pkg:deb/debian/none"); return ok }(),
		func() bool { _, ok := s.DataStore("none"); return ok }(),
		func() bool { _, ok := s.Place(netip.MustParseAddr("::1")); return ok }(),
	} {
		if missing {
			t.Error("something was found that is not there")
		}
	}
}

// The order in which parts arrive must not show.
func TestMergeIsDeterministic(t *testing.T) {
	a := &Facts{Gaps: []Gap{{Kind: KindFlows, Reason: "x"}}, Tables: []Table{{Name: "t"}}, Listeners: []Listener{{Protocol: "udp"}}}
	b := &Facts{Gaps: []Gap{{Kind: KindAccess, Reason: "y"}}, Tables: []Table{{Name: "s"}}, Listeners: []Listener{{Protocol: "tcp"}}}
	now := time.Unix(1, 0)
	if one, two := Merge(now, a, b), Merge(now, b, a); !reflect.DeepEqual(one, two) {
		t.Errorf("Merge(a, b) = %+v, Merge(b, a) = %+v", one, two)
	}
}

// A language package that a system package owns is one component with two names.
func TestIdentities(t *testing.T) {
	system := Facts{Components: []Component{
		{Ecosystem: "dpkg", Name: "libruby3.1", Arch: "amd64", PURL: "pkg:deb/debian/libruby3.1"},
		{Ecosystem: "dpkg", Name: "python3-yaml", Arch: "amd64", PURL: "pkg:deb/debian/python3-yaml"},
		{Ecosystem: "rpm", Name: "python3-yaml", PURL: "pkg:rpm/fedora/python3-yaml"},
	}}
	language := Facts{Identities: []Identity{
		{"dpkg", "libruby3.1:amd64", "pkg:gem/json@2"},
		{"dpkg", "libruby3.1:amd64", "pkg:gem/csv@3"},
		{"dpkg", "libruby3.1:i386", "pkg:gem/other@1"},
		{"dpkg", "python3-yaml", "pkg:pypi/pyyaml@6"},
		{"dpkg", "python3-yaml", "pkg:pypi/pyyaml@6"},
		{"dpkg", "none", "pkg:pypi/none@1"},
	}}
	want := [][]string{{"pkg:gem/csv@3", "pkg:gem/json@2"}, {"pkg:pypi/pyyaml@6"}, nil}
	for range 2 { // the parts may serve another round
		s := Merge(time.Now(), &system, &language)
		for i, c := range s.Components {
			if !slices.Equal(c.Also, want[i]) || system.Components[i].Also != nil {
				t.Errorf("%s is also %q, want %q", c.PURL, c.Also, want[i])
			}
		}
	}
}
