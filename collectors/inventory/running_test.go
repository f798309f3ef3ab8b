package inventory

import (
	"cmp"
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

// Where the machine has a component, it lies where the machine says, whoever was
// listed first, and in each container where that one says.
func TestOneComponentLiesInSeveralTrees(t *testing.T) {
	web, mail := Tree{5, FileID{3, 1}}, Tree{6, FileID{4, 1}}
	at := func(tree Tree, path string) []Location { return []Location{{Path: path, Recorded: true, Tree: tree}} }
	rows := []Component{
		{PURL: "p", Contained: true, Images: []string{"web"}, Locations: at(web, "/srv/p")},
		{PURL: "p", Files: []string{"/opt/p.jar"}, Locations: at(Tree{}, "/opt/p")},
		{PURL: "p", Contained: true, Images: []string{"mail"}, Locations: at(mail, "/app/p")},
	}
	want := slices.Concat(at(Tree{}, "/opt/p"), at(web, "/srv/p"), at(mail, "/app/p"))
	for range 3 {
		rows = append(rows[1:], rows[0])
		s := Merge(time.Unix(1, 0), &Facts{Components: rows})
		if len(s.Components) != 1 {
			t.Fatalf("%+v", s.Components)
		}
		c := &s.Components[0]
		if c.Contained || !slices.Equal(c.Files, []string{"/opt/p.jar"}) || !slices.Equal(c.Images, []string{"mail", "web"}) ||
			len(c.Locations) != 3 || c.Locations[0].Tree != (Tree{}) || !containsAll(c.Locations, want) {
			t.Errorf("%+v", c)
		}
	}
}

func containsAll(got, want []Location) bool {
	return !slices.ContainsFunc(want, func(l Location) bool { return !slices.Contains(got, l) })
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
		{[]Component{row(true, NonFree), row(false, Free)}, Free},
		{[]Component{row(true, Free), row(false, NonFree), row(true, Free)}, NonFree},
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
			{Image: "web", Tree: Tree{5, one}},
			{System: "debian 12", Tree: Tree{1, two}},
			{Image: "a", Tree: Tree{6, one}},
			{Image: "b", Tree: Tree{6, two}},
			{Image: "c", Tree: Tree{6, FileID{3, 1}}},
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
			{Path: "/usr/bin/perl", File: FileID{1, 1}, PURL: "perl"},
			{Path: "/usr/bin/job", File: FileID{1, 2}, PURL: "job"},
			{Path: "/usr/lib/libz.so.1", File: FileID{1, 3}, PURL: "zlib"},
			{Path: "/usr/bin/idle", File: FileID{1, 9}, PURL: "idle"},
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

// What one tree calls its own is nothing to another, by whatever path and with
// whatever file.
func TestOwnersAreOfOneTree(t *testing.T) {
	home, web, user := FileID{9, 2}, FileID{1, 1}, FileID{3, 1}
	x, other := FileID{1, 10}, FileID{1, 11}
	s := Merge(time.Unix(1, 0), &Facts{
		Processes:  []Process{{ID: Execution{PID: 1}, MountNS: 1, Root: home}, {ID: Execution{PID: 2}, MountNS: 2, Root: home}},
		Containers: []Container{{Image: "web", Tree: Tree{5, web}}, {Tree: Tree{1, user}}, {Tree: Tree{2, web}}},
		Components: []Component{{PURL: "host"}, {PURL: "web"}, {PURL: "user"}, {PURL: "gone"}},
		Owners: []Owner{
			{Path: "/usr/bin/x", File: x, PURL: "host"},
			{Path: "/usr/bin/y", File: x, PURL: "host"},
			{Tree: Tree{5, web}, Path: "/usr/bin/x", File: x, PURL: "web"},
			{Tree: Tree{5, web}, Path: "/usr/bin/x", File: other, PURL: "web"},
			{Tree: Tree{1, user}, Path: "/usr/bin/x", File: other, PURL: "user"},
			{Tree: Tree{7, web}, Path: "/usr/bin/x", File: x, PURL: "gone"},
		},
		Libraries: []Library{{Path: "/usr/bin/x", File: other}, {Tree: Tree{5, web}, Path: "/usr/bin/y", File: x}, {Tree: Tree{1, user}, Path: "/usr/bin/x", File: other}},
	})
	for _, test := range []struct {
		name    string
		process Process
		want    string
	}{
		{"the machine's", Process{MountNS: 1, Root: home, File: x}, "host"},
		{"the machine's, in a unit's namespace", Process{MountNS: 2, Root: home, File: x}, "host"},
		{"the machine's, of which little is known", Process{File: x}, "host"},
		{"the machine's, which has ended", Process{MountNS: 1, File: x}, "host"},
		{"the same, in a unit's namespace with a jail", Process{MountNS: 2, File: x}, "host"},
		{"the machine's, with a file that others own", Process{MountNS: 1, Root: home, File: other}, ""},
		{"with the machine's file", Process{MountNS: 5, Root: web, File: x}, "web"},
		{"with its own file", Process{MountNS: 5, Root: web, File: other}, "web"},
		{"which has ended", Process{MountNS: 5, File: other}, "web"},
		{"with a path of the machine", Process{Executable: "/usr/bin/y", MountNS: 5, Root: web, File: x}, ""},
		{"a user's, in the machine's namespace", Process{MountNS: 1, Root: user, File: other}, "user"},
		{"the same, with the machine's file", Process{MountNS: 1, Root: user, File: x}, ""},
		{"a tree that was not listed", Process{MountNS: 6, Root: web, File: x}, ""},
		{"a tree that is gone", Process{MountNS: 7, Root: web, File: x}, "gone"},
	} {
		p := test.process
		p.Executable = cmp.Or(p.Executable, "/usr/bin/x")
		got := ""
		if c, ok := s.Owner(&p); ok {
			got = c.PURL
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		script := &Script{Path: p.Executable, File: p.File}
		if c, recorded, ok := s.ScriptSoftware(&p, script); ok != (test.want != "") || ok && (c.PURL != test.want || !recorded) {
			t.Errorf("%s: script of %+v", test.name, c)
		}
	}
	if running := s.Running(); len(running) != 1 || !running["user"] {
		t.Errorf("running %v", running)
	}
}
