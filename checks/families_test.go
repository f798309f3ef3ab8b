package checks_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func hardwareTrials() map[string][]trial {
	machine := func(m *inventory.Machine) inventory.Facts { return inventory.Facts{Machine: m} }
	container := bare()
	container.Virtualization, container.Container = "docker", "docker"
	return map[string][]trial{"HWC-001": {
		{"physical", machine(bare()), city(), only("", finding.Pass), nil},
		{"container on a physical machine", machine(container), city(), only("", finding.Pass), nil},
		{"registered guest", machine(registered(guest())), city(), only("", finding.Pass), nil},
		{"registered board without firmware tables", machine(registered(&inventory.Machine{})), city(), only("", finding.Pass), nil},
		{"cloud", machine(cloud()), city(), only("", finding.Fail), nil},
		{"registered cloud", machine(registered(cloud())), city(), only("", finding.Review), nil},
		{"registered guest of software that a city may run", machine(registered(selfHosted())), city(), only("", finding.Pass), nil},
		{"guest of software that a city may run", machine(selfHosted()), city(), only("", finding.Unknown), nil},
		{"physical, not in the register", machine(unlisted(bare())), city(), only("", finding.Review), nil},
		{"some guest", machine(guest()), city(), only("", finding.Unknown), nil},
		{"some guest, not in the register", machine(unlisted(guest())), city(), only("", finding.Unknown), nil},
		{"no firmware tables", machine(&inventory.Machine{Virtualization: "none"}), city(), only("", finding.Unknown), nil},
		{"hypervisor not ruled out", machine(&inventory.Machine{DMI: true, Vendor: "Dell Inc."}), city(), only("", finding.Unknown), nil},
		{"machine not known", machine(nil), city(), only("", finding.Unknown), nil},
		{"a gap", plus(machine(bare()), inventory.Facts{Gaps: gap(inventory.KindMachine, "")}), city(), only("", finding.Unknown), nil},
	}}
}

// installed is a machine with so many components of each kind.
func installed(free, nonfree, unknown int) inventory.Facts {
	var f inventory.Facts
	for freedom, n := range map[inventory.Freedom]int{inventory.Free: free, inventory.NonFree: nonfree, inventory.FreedomUnknown: unknown} {
		for i := range n {
			f.Components = append(f.Components, inventory.Component{
				Ecosystem: "dpkg", Name: fmt.Sprintf("%v-%d", freedom, i), PURL: fmt.Sprintf("pkg:deb/%v-%d", freedom, i), Licence: inventory.Licence{Freedom: freedom},
			})
		}
	}
	return f
}

// running is a machine with one package, which owns /usr/bin/owned, and with
// the first process and these.
func running(processes ...inventory.Process) inventory.Facts {
	file := inventory.FileID{Device: 1, Inode: 7}
	f := inventory.Facts{
		Components: []inventory.Component{{Ecosystem: "dpkg", Name: "owned", PURL: "pkg:deb/owned"}},
		Owners:     []inventory.Owner{{Path: "/usr/bin/owned", File: file, PURL: "pkg:deb/owned"}},
		Processes:  []inventory.Process{{ID: execution(1), Executable: "/usr/bin/owned", File: file, MountNS: 1}, {ID: execution(2), Name: "kthreadd", Kernel: true}},
	}
	for i, p := range processes {
		p.ID = execution(100 + i)
		if p.MountNS == 0 {
			p.MountNS = 1
		}
		if p.Executable == "/usr/bin/owned" {
			p.File = file
		}
		f.Processes = append(f.Processes, p)
	}
	return f
}

// inside is a container's program that no package of the machine owns.
func inside(c inventory.Container) inventory.Facts {
	c.Tree = jail()
	return plus(running(inventory.Process{Executable: "/app/x", Container: "0123456789abcdef", MountNS: 9, Root: c.Root}),
		inventory.Facts{Containers: []inventory.Container{c}})
}

// jail is a file tree that is not the machine's.
func jail() inventory.Tree {
	return inventory.Tree{MountNS: 9, Root: inventory.FileID{Device: 9, Inode: 9}}
}

// jailed is a program in the jail, which the packages of a tree own.
func jailed(by inventory.Tree) inventory.Facts {
	at, file := jail(), inventory.FileID{Device: 9, Inode: 10}
	return plus(running(inventory.Process{Executable: "/usr/bin/jailed", File: file, MountNS: at.MountNS, Root: at.Root}), inventory.Facts{
		Containers: []inventory.Container{{Tree: at, Packages: 1}},
		Owners:     []inventory.Owner{{Tree: by, Path: "/usr/bin/jailed", File: file, PURL: "pkg:deb/owned"}},
	})
}

// serving is an interpreter that the jail's packages own, with a script in a package of
// its language.
func serving(script string, guarded, recorded bool) inventory.Facts {
	f := jailed(jail())
	f.Scripts = []inventory.Script{{Process: f.Processes[len(f.Processes)-1].ID, Path: script, Guarded: guarded}}
	f.Components = append(f.Components, inventory.Component{
		Name: "flask", PURL: "pkg:pypi/flask@3", Contained: true, Locations: []inventory.Location{{Path: "/srv/flask", Recorded: recorded, Tree: jail()}},
	})
	return f
}

// claimed has the last owner in another tree.
func claimed(f inventory.Facts) inventory.Facts {
	f.Owners[len(f.Owners)-1].Tree = jail()
	return f
}

// scripted is an interpreter of a package that runs a script.
func scripted(path string, owned bool) inventory.Facts {
	f := running(inventory.Process{Executable: "/usr/bin/owned"})
	f.Scripts = []inventory.Script{{Process: f.Processes[len(f.Processes)-1].ID, Path: path}}
	if owned {
		f.Owners = append(f.Owners, inventory.Owner{Path: path, PURL: f.Owners[0].PURL})
	}
	return f
}

// lying is scripted where the script lies in a component of the machine.
func lying(script string, guarded bool, at inventory.Component) inventory.Facts {
	f := scripted(script, false)
	f.Scripts[0].Guarded = guarded
	f.Components = append(f.Components, at)
	return f
}

// flask is a package that an installer put into a directory.
func flask(dir string, recorded bool) inventory.Component {
	return inventory.Component{Name: "flask", PURL: "pkg:pypi/flask@3", Locations: []inventory.Location{{Path: dir, Recorded: recorded}}}
}

// replaced is a program of a package with a library that lost its path.
func replaced(path string) inventory.Facts {
	f := running(inventory.Process{Executable: "/usr/bin/owned"})
	f.Libraries = []inventory.Library{{Path: path, Replaced: true, Users: []inventory.Execution{f.Processes[len(f.Processes)-1].ID}}}
	return f
}

// says demands a reason.
func says(reason string) func(*testing.T, []finding.Finding) {
	return func(t *testing.T, found []finding.Finding) {
		if found[0].Reason != reason {
			t.Errorf("reason %q, want %q", found[0].Reason, reason)
		}
	}
}

func freedomTrials() map[string][]trial {
	hidden := running(inventory.Process{Executable: "/usr/local/bin/x"})
	hidden.Processes[0].MountNS = 0
	unread := running()
	unread.Components = nil
	cut := inventory.Facts{Gaps: []inventory.Gap{{Collector: "dpkg", Kind: inventory.KindComponents, Reason: "timed out"}}}
	damaged := inventory.Facts{Gaps: []inventory.Gap{{Collector: "dpkg", Kind: inventory.KindComponents, Reason: "damaged", Lost: 2}}}
	still := running()
	still.Processes = nil
	return map[string][]trial{
		"SWF-001": {
			{"all free", installed(100, 0, 0), city(), only("", finding.Pass), nil},
			{"free enough", installed(92, 5, 3), city(), only("", finding.Pass), nil},
			{"not free enough", installed(80, 20, 0), city(), only("", finding.Fail), func(t *testing.T, found []finding.Finding) {
				if f := found[0].Facts; f["share_low"] != 0.8 || f["nonfree"] != 20 {
					t.Errorf("facts %v", f)
				}
			}},
			{"not free enough whatever is unknown", installed(10, 80, 10), city(), only("", finding.Fail), nil},
			{"too much unknown", installed(92, 0, 8), city(), only("", finding.Unknown), nil},
			{"unknown licences decide", installed(88, 8, 4), city(), only("", finding.Unknown), nil},
			{"nothing installed", inventory.Facts{}, city(), only("", finding.Unknown), nil},
			{"a gap", plus(installed(100, 0, 0), inventory.Facts{Gaps: gap(inventory.KindLicences, "")}), city(), only("", finding.Unknown), nil},
		},
		"SWF-003": {
			{"all owned", running(inventory.Process{Executable: "/usr/bin/owned"}), city(), only("", finding.Pass), nil},
			{"owned in a unit's own file tree", running(inventory.Process{Executable: "/usr/bin/owned", MountNS: 9}), city(), only("", finding.Pass), nil},
			{"owned by the packages of its file tree", jailed(jail()), city(), only("", finding.Pass), nil},
			{"owned by the machine's packages, in another file tree", jailed(inventory.Tree{}), city(), only("/usr/bin/jailed", finding.Review), says("belongs to no package of file tree")},
			{"owned by the packages of another file tree", jailed(inventory.Tree{MountNS: 8}), city(), only("/usr/bin/jailed", finding.Review), says("belongs to no package of file tree")},
			{"the machine's program, owned by the packages of another file tree", claimed(running()), city(), only("/usr/bin/owned", finding.Review), says("belongs to no package")},
			{"local program", running(inventory.Process{Executable: "/opt/city/portal"}), city(), only("", finding.Pass), nil},
			{"a local program's path, borrowed", running(inventory.Process{Executable: "/opt/city/portal", MountNS: 9, Foreign: true}), city(), only("/opt/city/portal", finding.Unknown), nil},
			{"from memory", running(inventory.Process{Executable: "/memfd:x", Memory: true, Name: "x"}), city(), only("/memfd:x", finding.Fail), nil},
			{"deleted", running(inventory.Process{Executable: "/opt/x", Deleted: true}), city(), only("/opt/x", finding.Fail), nil},
			{"upgraded", running(inventory.Process{Executable: "/usr/bin/owned", Deleted: true}), city(), only("/usr/bin/owned", finding.Review), nil},
			{"temporary directory", running(inventory.Process{Executable: "/tmp/x"}), city(), only("/tmp/x", finding.Fail), nil},
			{"home directory", running(inventory.Process{Executable: "/home/a/x"}, inventory.Process{Executable: "/home/a/x"}), city(), only("/home/a/x", finding.Fail), func(t *testing.T, found []finding.Finding) {
				if found[0].Facts["processes"] != 2 {
					t.Errorf("facts %v", found[0].Facts)
				}
			}},
			{"no package's", running(inventory.Process{Executable: "/usr/local/bin/x"}), city(), only("/usr/local/bin/x", finding.Review), nil},
			{"container", running(inventory.Process{Executable: "/app/x", Container: "0123456789abcdef", MountNS: 9}), city(), only("/app/x in container 0123456789ab", finding.Unknown), nil},
			{"container without packages", inside(inventory.Container{Image: "city/app:1"}), city(), only("/app/x in container 0123456789ab", finding.Review), says("belongs to no package: city/app:1 has none")},
			{"container's own program", inside(inventory.Container{Image: "city/app:1", Packages: 3}), city(), only("/app/x in container 0123456789ab", finding.Review), says("belongs to no package of city/app:1")},
			{"container that does not answer", inside(inventory.Container{Image: "city/app:1", Unread: "no answer"}), city(), only("/app/x in container 0123456789ab", finding.Unknown), says("the packages of city/app:1 cannot be read: no answer")},
			{"container's package", plus(inside(inventory.Container{Image: "city/app:1", Packages: 3}), inventory.Facts{
				Components: []inventory.Component{{PURL: "pkg:apk/x", Contained: true}}, Owners: []inventory.Owner{{Tree: jail(), Path: "/app/x", PURL: "pkg:apk/x"}},
			}), city(), only("", finding.Pass), nil},
			{"a local program's path in a container", running(inventory.Process{Executable: "/opt/city/portal", Container: "0123456789abcdef", MountNS: 9}), city(), only("/opt/city/portal in container 0123456789ab", finding.Unknown), nil},
			{"container's script of a language's package", serving("/srv/flask/run.py", true, true), city(), only("", finding.Pass), nil},
			{"the same, and a user may change it", serving("/srv/flask/run.py", false, true), city(), only("/usr/bin/jailed", finding.Review), says("runs a script of flask that others than root may change: /srv/flask/run.py")},
			{"container's script that only names itself", serving("/srv/flask/run.js", true, false), city(), only("/usr/bin/jailed", finding.Review), says("runs what calls itself flask and no package system of file tree accounts for: /srv/flask/run.js")},
			{"container's script of no package", serving("/srv/run.py", true, true), city(), only("/usr/bin/jailed", finding.Review), says("runs a script that belongs to no package of file tree: /srv/run.py")},
			{"container's script from a temporary directory", serving("/tmp/run.py", true, true), city(), only("/usr/bin/jailed", finding.Fail), nil},
			{"a local program's path, as a container's script", serving("/opt/city/portal", true, true), city(), only("/usr/bin/jailed", finding.Review), nil},
			{"script of a package", scripted("/usr/bin/backup", true), city(), only("", finding.Pass), nil},
			{"script that the packages of another file tree own", claimed(scripted("/opt/acme/run.py", true)), city(), only("/usr/bin/owned", finding.Review), says("runs a script that belongs to no package: /opt/acme/run.py")},
			{"script of no package", scripted("/opt/acme/run.py", false), city(), only("/usr/bin/owned", finding.Review), says("runs a script that belongs to no package: /opt/acme/run.py")},
			{"script from a temporary directory", scripted("/tmp/run.py", false), city(), only("/usr/bin/owned", finding.Fail), nil},
			{"script that the city answers for", scripted("/opt/city/portal", false), city(), only("", finding.Pass), nil},
			{"script of a language's package", lying("/srv/site/flask/run.py", true, flask("/srv/site/flask", true)), city(), only("", finding.Pass), nil},
			{"the same, and a user may change it", lying("/srv/site/flask/run.py", false, flask("/srv/site/flask", true)), city(), only("/usr/bin/owned", finding.Review), says("runs a script of flask that others than root may change: /srv/site/flask/run.py")},
			{"the same, where users put things", lying("/home/eva/flask/run.py", true, flask("/home/eva/flask", true)), city(), only("/usr/bin/owned", finding.Fail), nil},
			{"script that only names itself", lying("/srv/flask/run.js", true, flask("/srv/flask", false)), city(), only("/usr/bin/owned", finding.Review), says("runs what calls itself flask and no package system accounts for: /srv/flask/run.js")},
			{"archive that only names itself", lying("/opt/rts.jar", true, inventory.Component{Name: "rts", PURL: "pkg:maven/rts", Files: []string{"/opt/rts.jar"}}), city(), only("/usr/bin/owned", finding.Review), says("runs what calls itself rts and no package system accounts for: /opt/rts.jar")},
			{"program that only names itself", plus(running(inventory.Process{Executable: "/opt/rts"}), inventory.Facts{Components: []inventory.Component{{PURL: "pkg:golang/rts", Files: []string{"/opt/rts"}}}}), city(), only("/opt/rts", finding.Review), says("belongs to no package")},
			{"library upgraded", replaced("/usr/lib/x86_64-linux-gnu/libz.so.1.2.13"), city(), only("/usr/bin/owned", finding.Review), says("a library was upgraded while it ran: the old version of /usr/lib/x86_64-linux-gnu/libz.so.1.2.13 is still at work")},
			{"its own file, removed", replaced("/tmp/jna123.so"), city(), only("", finding.Pass), nil},
			{"another file tree", running(inventory.Process{Executable: "/app/x", MountNS: 9}), city(), only("/app/x", finding.Unknown), nil},
			{"the machine's file tree is not known", hidden, city(), only("/usr/local/bin/x", finding.Unknown), nil},
			{"not readable", running(inventory.Process{Name: "x"}), city(), only("[x]", finding.Unknown), nil},
			{"no packages", unread, city(), only("", finding.Unknown), nil},
			{"no processes", still, city(), only("", finding.Unknown), nil},
			{"of no package, of those that could be read", plus(running(inventory.Process{Executable: "/opt/x"}), cut), city(), only("/opt/x", finding.Unknown), says("belongs to no package, as far as packages could be read (dpkg: timed out)")},
			{"of no package, while a few are damaged", plus(running(inventory.Process{Executable: "/opt/x"}), damaged), city(), only("/opt/x", finding.Review), nil},
			{"deleted, while packages could not be read", plus(running(inventory.Process{Executable: "/opt/x", Deleted: true}), cut), city(), only("/opt/x", finding.Unknown), nil},
			{"script of no package, of those that could be read", plus(scripted("/opt/acme/run.py", false), cut), city(), only("/usr/bin/owned", finding.Unknown), nil},
			{"from memory, while packages could not be read", plus(running(inventory.Process{Memory: true, Name: "x"}), cut), city(), only("[x]", finding.Fail), nil},
			{"a gap", plus(running(), inventory.Facts{Gaps: gap(inventory.KindProcesses, "")}), city(), only("", finding.Unknown), nil},
		},
	}
}

func accessTrials() map[string][]trial {
	store := func(examined int, exposed ...inventory.Exposure) inventory.Facts {
		return inventory.Facts{Stores: []inventory.DataStore{{ID: "registry", Examined: examined, Exposed: exposed}}}
	}
	readable := inventory.Exposure{Path: "/srv/registry/a", Mode: 0o644}
	writable := inventory.Exposure{Path: "/srv/registry/b", Mode: 0o666, Writable: true}
	return map[string][]trial{"ACC-002": {
		{"closed", store(10), city(), only("registry", finding.Pass), nil},
		{"readable", store(10, readable), city(), only("registry", finding.Fail), func(t *testing.T, found []finding.Finding) {
			if got := fmt.Sprint(found[0].Facts["paths"]); got != "[/srv/registry/a (0644)]" {
				t.Errorf("paths %s", got)
			}
		}},
		{"readable public data", store(10, readable), public(), only("registry", finding.Pass), nil},
		{"writable public data", store(10, readable, writable), public(), only("registry", finding.Fail), nil},
		{"a failure is seen through a gap", plus(store(10, readable), inventory.Facts{Gaps: gap(inventory.KindAccess, "registry")}), city(), only("registry", finding.Fail), nil},
		{"not looked at", store(0), city(), only("registry", finding.Unknown), nil},
		{"not known", inventory.Facts{}, city(), only("registry", finding.Unknown), nil},
		{"walk cut short", plus(store(10), inventory.Facts{Gaps: gap(inventory.KindAccess, "registry")}), city(), only("registry", finding.Unknown), nil},
		{"services alone", store(0), with(city(), func(p *configs.Policy) { p.Stores = []configs.DataStore{{ID: "registry"}} }), only("registry", finding.Unknown), nil},
		{"nothing declared", store(10), undeclared(), only("", finding.Unknown), nil},
	}}
}

func coverageTrials() map[string][]trial {
	captured := func(complete bool) inventory.Facts {
		return inventory.Facts{Captures: []inventory.Capture{
			{Name: inventory.CaptureFlows, Tier: inventory.TierBPF, Complete: complete, Reason: "lost events"},
			{Name: inventory.CaptureOpens, Tier: inventory.TierBPF, Complete: true},
			{Name: inventory.CaptureProcesses, Tier: inventory.TierBPF, Complete: true},
		}}
	}
	table := func(name string, age int) inventory.Facts {
		return inventory.Facts{Tables: []inventory.Table{{Name: name, Date: taken().AddDate(0, 0, -age)}}}
	}
	waiver := func(expires time.Time) configs.Policy {
		return with(city(), func(p *configs.Policy) {
			p.Waivers = []configs.Waiver{{Check: "DAT-004", Subject: "registry", Expires: expires}}
		})
	}
	unwatched := captured(true)
	unwatched.Captures = slices.Delete(unwatched.Captures, 1, 2)
	old := table("geo-country", 100)
	old.Tables[0].MaxAge = 90 * 24 * time.Hour
	return map[string][]trial{
		"AGT-001": {
			{"all seen", captured(true), city(), only("", finding.Pass), nil},
			{"only places missing", plus(captured(true), inventory.Facts{Gaps: gap(inventory.KindPlaces, "")}), city(), only("", finding.Pass), nil},
			{"incomplete capture", captured(false), city(), only("capture of flows", finding.Fail), nil},
			{
				"gaps", plus(captured(true), inventory.Facts{Gaps: append(append(gap(inventory.KindAccess, "a"), gap(inventory.KindAccess, "b")...), gap(inventory.KindStorage, "")...)}), city(),
				map[string]finding.Verdict{"evidence of access": finding.Fail, "evidence of storage": finding.Fail},
				func(t *testing.T, found []finding.Finding) {
					if f := found[0].Facts; f["count"] != 2 || f["lost"] != 6 {
						t.Errorf("facts %v", f)
					}
				},
			},
			{
				"a gap that repeats a capture", plus(captured(false), inventory.Facts{Gaps: []inventory.Gap{{Kind: inventory.KindFlows, Reason: "lost events"}}}), city(),
				only("capture of flows", finding.Fail), nil,
			},
			{"no capture of opens", unwatched, city(), only("capture of opens", finding.Unknown), nil},
		},
		"AGT-002": {
			{"fresh", table("geo-country", 30), city(), only("", finding.Pass), nil},
			{"older than configured", old, city(), only("table geo-country", finding.Fail), nil},
			{"the same age where nothing is configured", table("clouds", 100), city(), only("", finding.Pass), nil},
			{"old table of clouds", table("clouds", 200), city(), only("table clouds", finding.Fail), nil},
			{"table of tomorrow's tomorrow", table("clouds", -3), city(), only("table clouds", finding.Unknown), nil},
			{"table without a date", inventory.Facts{Tables: []inventory.Table{{Name: "clouds"}}}, city(), only("table clouds", finding.Unknown), nil},
			{"no table", inventory.Facts{}, city(), only("tables", finding.Unknown), nil},
			{"waivers broken", table("clouds", 1), with(city(), func(p *configs.Policy) { p.WaiverErr = errors.New("waivers.toml:3:1: unknown key") }), only("waivers", finding.Fail), nil},
			{"facts broken", table("clouds", 1), with(city(), func(p *configs.Policy) { p.FactsErr = errors.New("substitutes.toml:3:1: unknown key") }), only("facts.d", finding.Fail), nil},
			{"waiver in force", table("clouds", 1), waiver(taken().Add(time.Hour)), only("", finding.Pass), nil},
			{"waiver expired", table("clouds", 1), waiver(taken().Add(-time.Hour)), only("waiver of DAT-004 registry", finding.Fail), nil},
		},
	}
}
