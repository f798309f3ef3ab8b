package inventory

import (
	"slices"
	"testing"
	"time"
)

// A component of several images and of the machine is one, and what the machine
// says of it counts.
func TestOneComponentHoweverManyHaveIt(t *testing.T) {
	own := &Facts{Components: []Component{{Name: "libc6", PURL: "pkg:deb/libc6", Licence: Licence{Freedom: Free}}}}
	contained := &Facts{Components: []Component{
		{Name: "libc6", PURL: "pkg:deb/libc6", Contained: true, Images: []string{"b", "a"}, Licence: Licence{Freedom: NonFree}},
		{Name: "musl", PURL: "pkg:apk/musl", Contained: true, Images: []string{"c"}},
		{Name: "musl", PURL: "pkg:apk/musl", Contained: true, Images: []string{"a", "c"}},
	}}
	s := Merge(time.Unix(1, 0), own, contained)
	if len(s.Components) != 2 {
		t.Fatalf("components %+v", s.Components)
	}
	libc, _ := s.Component("pkg:deb/libc6")
	if libc.Contained || libc.Licence.Freedom != Free || !slices.Equal(libc.Images, []string{"a", "b"}) {
		t.Errorf("libc6 %+v", libc)
	}
	musl, _ := s.Component("pkg:apk/musl")
	if !musl.Contained || !slices.Equal(musl.Images, []string{"a", "c"}) {
		t.Errorf("musl %+v", musl)
	}
	if contained.Components[0].Images[0] != "b" {
		t.Error("a collector's facts were changed")
	}
}

// No container makes free what another has by the same name.
func TestNoRowMakesOthersFree(t *testing.T) {
	row := func(contained bool, f Freedom) Component {
		return Component{PURL: "p", Contained: contained, Licence: Licence{Freedom: f}}
	}
	for _, test := range []struct {
		rows []Component
		want Freedom
	}{
		{[]Component{row(true, Free), row(true, NonFree)}, NonFree},
		{[]Component{row(true, NonFree), row(true, Free)}, NonFree},
		{[]Component{row(true, Free), row(true, FreedomUnknown), row(true, Free)}, FreedomUnknown},
		{[]Component{row(true, FreedomUnknown), row(true, NonFree)}, NonFree},
		{[]Component{row(false, Free), row(true, NonFree)}, Free},
		{[]Component{row(false, Free), row(false, NonFree)}, NonFree},
	} {
		if s := Merge(time.Unix(1, 0), &Facts{Components: test.rows}); s.Components[0].Licence.Freedom != test.want {
			t.Errorf("%+v are %s, want %s", test.rows, s.Components[0].Licence.Freedom, test.want)
		}
	}
}

func TestWhichTreeAProcessIsIn(t *testing.T) {
	one, two := FileID{1, 1}, FileID{2, 1}
	s := Merge(time.Unix(1, 0), &Facts{
		Processes: []Process{{ID: Execution{PID: 1}, MountNS: 1, Root: FileID{9, 2}}},
		Containers: []Container{
			{Image: "web", MountNS: 5, Root: one},
			{System: "debian 12", MountNS: 1, Root: two},
			{Image: "a", MountNS: 6, Root: one},
			{Image: "b", MountNS: 6, Root: two},
			{Image: "c", MountNS: 6, Root: FileID{3, 1}},
		},
	})
	for _, test := range []struct {
		process Process
		want    string
	}{
		{Process{MountNS: 5, Root: one}, "web"},
		{Process{MountNS: 5}, "web"}, // it has ended
		{Process{MountNS: 5, Root: two}, ""},
		{Process{MountNS: 1, Root: two}, "file tree of debian 12"},
		{Process{MountNS: 1}, ""}, // one of the machine's that has ended
		{Process{MountNS: 6, Root: two}, "b"},
		{Process{MountNS: 6}, ""}, // of which of the three is not known
	} {
		got := ""
		if c, ok := s.ContainerOf(&test.process); ok {
			got = c.Label()
		}
		if got != test.want {
			t.Errorf("%d %v: %q, want %q", test.process.MountNS, test.process.Root, got, test.want)
		}
	}
}

func TestRunningComponents(t *testing.T) {
	id := Execution{PID: 7}
	s := Merge(time.Unix(1, 0), &Facts{
		Processes: []Process{{ID: id, Executable: "/usr/bin/perl", File: FileID{1, 1}}},
		Scripts:   []Script{{Process: id, Path: "/usr/bin/job", File: FileID{1, 2}}},
		Libraries: []Library{
			{Path: "/usr/lib/libz.so.1", File: FileID{1, 3}, Replaced: true, Users: []Execution{id}},
			{Path: "/srv/own.so", File: FileID{1, 4}, Replaced: true, Users: []Execution{{PID: 8}}},
		},
		Components: []Component{{PURL: "perl"}, {PURL: "job"}, {PURL: "zlib"}, {PURL: "idle"}},
		Owners: []Owner{
			{"/usr/bin/perl", FileID{1, 1}, "perl"},
			{"/usr/bin/job", FileID{1, 2}, "job"},
			{"/usr/lib/libz.so.1", FileID{1, 3}, "zlib"},
			{"/usr/bin/idle", FileID{1, 9}, "idle"},
		},
	})
	if running := s.Running(); !running["perl"] || !running["job"] || !running["zlib"] || running["idle"] {
		t.Errorf("running %v", running)
	}
	if s.ReplacedLibrary(id) != "/usr/lib/libz.so.1" || s.ReplacedLibrary(Execution{PID: 8}) != "" {
		t.Error("which library was replaced")
	}
	programs := s.Programs()
	if len(programs) != 1 || programs[0].Script != "/usr/bin/job" || programs[0].ScriptOf.PURL != "job" || programs[0].Component.PURL != "perl" {
		t.Errorf("programs %+v", programs)
	}
}
