package inventory

import (
	"strings"
	"testing"
	"time"
)

func TestWhereComponentsLie(t *testing.T) {
	own, contained := FileID{9, 2}, FileID{2, 1}
	const site = "/srv/venv/lib/python3.11/site-packages"
	s := Merge(time.Unix(1, 0), &Facts{
		Containers: []Container{{System: "debian 12", Tree: Tree{1, contained}}},
		Owners:     []Owner{{Path: "/srv/venv/bin/packaged", File: FileID{1, 1}, PURL: "deb"}},
		Components: []Component{
			{PURL: "deb"},
			{PURL: "tree", Locations: []Location{{Path: "/srv/venv"}, {Path: "/"}, {Path: "relative"}}},
			{PURL: "flask", Locations: []Location{{Path: site + "/flask", Recorded: true}, {Path: "/srv/venv/bin/flask", Recorded: true}, {Path: site + "/shared", Recorded: true}, {Path: "/srv/venv/bin/packaged", Recorded: true}}},
			{PURL: "other", Locations: []Location{{Path: site + "/shared", Recorded: true}, {Path: site + "/shared/other", Recorded: true}}},
			{PURL: "inner", Contained: true, Locations: []Location{{Path: "/srv/venv/bin/flask", Recorded: true, Tree: Tree{1, contained}}}},
			{PURL: "script", Files: []string{"/srv/venv/bin/flask", "/opt/x.jar"}},
		},
	})
	here := Process{ID: Execution{PID: 1}, MountNS: 1, Root: own}
	for _, test := range []struct {
		path     string
		process  Process
		want     string
		recorded bool
	}{
		{"/srv/venv/bin/flask", here, "flask", true},
		{"/srv/venv/bin/packaged", here, "deb", true},
		{"/srv/venv/bin/flasks", here, "tree", false},
		{site + "/flask/__main__.py", here, "flask", true},
		{site + "/flask.py", here, "tree", false},
		{site + "/shared/x.py", here, "", false}, // two say so
		{site + "/shared/other/x.py", here, "other", true},
		{"/opt/x.jar", here, "script", false},
		{"/opt/x.jar/in", here, "script", false},
		{"/opt", here, "", false},
		{"", here, "", false},
		{"/srv/venv/bin/flask/" + strings.Repeat("a/", 2000), here, "flask", true},
		{"/.." + strings.Repeat("/x", 70) + "/../y", here, "", false},
		{"relative", here, "", false},
		{"/srv/venv/bin/flask", Process{Container: "c", MountNS: 1, Root: own}, "", false},
		{"/srv/venv/bin/flask", Process{Foreign: true, MountNS: 1, Root: own}, "", false},
		{"/srv/venv/bin/flask", Process{MountNS: 1, Root: contained}, "inner", true},
		{"/srv/venv/bin/flask", Process{Container: "c", MountNS: 1, Root: contained}, "inner", true},
		{site + "/flask/__main__.py", Process{MountNS: 1, Root: contained}, "", false},
	} {
		got := ""
		c, recorded, ok := s.ScriptSoftware(&test.process, &Script{Path: test.path, File: FileID{1, 1}})
		if ok {
			got = c.PURL
		}
		if got != test.want || recorded != test.recorded {
			t.Errorf("%s: %q %t, want %q %t", test.path, got, recorded, test.want, test.recorded)
		}
		program := test.process
		program.Executable, program.File = test.path, FileID{1, 1}
		if c, ok := s.Software(&program); ok != (test.want != "") || ok && c.PURL != test.want {
			t.Errorf("program %s: %+v", test.path, c)
		}
		if program.Deleted = true; test.want != "deb" {
			if c, ok := s.Software(&program); ok {
				t.Errorf("a deleted program is %+v", c)
			}
		}
	}
}

// The kernel calls the programs of a tree that chroot(2) made by the machine's paths.
func TestWhereProgramsOfAChrootLie(t *testing.T) {
	jail := Tree{1, FileID{2, 1}}
	s := Merge(time.Unix(1, 0), &Facts{
		Containers: []Container{{Tree: jail, Above: "/srv/jail"}},
		Components: []Component{
			{PURL: "gateway", Contained: true, Locations: []Location{{Path: "/opt/gateway", Tree: jail}}},
			{PURL: "site", Contained: true, Locations: []Location{{Path: "/srv", Tree: jail}}},
		},
	})
	for path, want := range map[string]string{"/srv/jail/opt/gateway": "gateway", "/srv/jail/srv/x": "site", "/srv/jail/opt/x": ""} {
		got := ""
		if c, ok := s.Software(&Process{Executable: path, MountNS: 1, Root: jail.Root}); ok {
			got = c.PURL
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// What lies in a component is part of what runs, but not what a container calls so.
func TestRunningWhereItLies(t *testing.T) {
	s := Merge(time.Unix(1, 0), &Facts{
		Processes: []Process{{ID: Execution{PID: 1}, Executable: "/opt/go"}, {ID: Execution{PID: 2}, Executable: "/usr/bin/node"}},
		Scripts:   []Script{{Process: Execution{PID: 2}, Path: "/srv/node_modules/a/index.js"}},
		Libraries: []Library{{Path: "/srv/python/numpy/core.so"}, {Path: "/srv/python/scipy/core.so", Tree: Tree{MountNS: 5}}},
		Components: []Component{
			{PURL: "go", Files: []string{"/opt/go"}},
			{PURL: "node", Locations: []Location{{Path: "/srv/node_modules/a"}}},
			{PURL: "numpy", Locations: []Location{{Path: "/srv/python/numpy"}}},
			{PURL: "scipy", Locations: []Location{{Path: "/srv/python/scipy"}}},
		},
	})
	if running := s.Running(); len(running) != 3 || running["scipy"] {
		t.Errorf("running %v", running)
	}
	for _, p := range s.Programs() {
		if p.Executable == "/opt/go" && p.Component.PURL != "go" || p.Script != "" && p.ScriptOf.PURL != "node" {
			t.Errorf("program %+v", p)
		}
	}
}
