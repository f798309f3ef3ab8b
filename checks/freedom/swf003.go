package freedom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// SWF003 demands that someone knows where each running program comes from.
func SWF003() finding.Rule {
	return finding.Rule{
		ID:        "SWF-003",
		Title:     "Running programs have a known origin",
		Severity:  finding.High,
		Rationale: "To know what is executed is the first demand of the charter. A program that no package owns was put there by someone nobody can name.",
		Decides: finding.Decides{
			finding.Pass:    "every program that runs, and every script that an interpreter runs, belongs to a package, of the machine or of its container, or is named in [software] local_programs; of a language's package, a script that only root may change",
			finding.Fail:    "a program or a script runs from memory, from a deleted file that no package owns, or from a directory that users may write to",
			finding.Review:  "a program or a script in another place belongs to no package, or its package or that of a library was upgraded while it ran",
			finding.Unknown: "the program's file, or the packages of its container, cannot be read, it runs in another file tree, or no package has it and a package database could not be read",
		},
		Remedy:   "Install the program from a package, or name its path in [software] local_programs once someone answers for it. Restart programs whose package was upgraded.",
		Pitfalls: "That a package owns a file does not say that the file is unchanged, and which packages are in a container is the container's own word. A script below the directory of a language's package counts as that package's. Container runtimes start from memory for an instant. Scripts that an interpreter reads from a pipe or from its arguments are not seen.",
		Needs:    []string{inventory.KindProcesses, inventory.KindComponents, inventory.KindRunning},
		Maps:     finding.Maps{"eu_csf": {"SOV-5.3", "SOV-5.5"}, "c3a": {"SOV-4-06"}},
	}
}

// origin is what is known of where a program comes from.
type origin struct {
	verdict finding.Verdict
	reason  string
}

// JudgeSWF003 gives one finding for each program whose origin is not known, and
// one for the machine where there is none.
func JudgeSWF003(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	if len(s.Components) == 0 {
		return []finding.Finding{{Reason: "no package database was read"}}
	}
	if len(s.Processes) == 0 {
		return []finding.Finding{{Reason: "no running program was seen"}}
	}
	programs := make(map[string]*finding.Finding)
	known := make(map[string]bool)
	for i := range s.Processes {
		process := &s.Processes[i]
		if process.Kernel {
			continue
		}
		subject := subject(process)
		o := trace(s, p, process)
		if o.verdict == finding.Pass {
			known[subject] = true
			continue
		}
		addProcess(programs, subject, process, o)
	}
	found := bounded(programs)
	if len(found) == 0 {
		found = []finding.Finding{{
			Verdict: finding.Pass, Reason: fmt.Sprintf("the origin of all %d running programs is known", len(known)),
			Facts: map[string]any{"programs": len(known)},
		}}
	}
	return found
}

// subject names a program, and the container that it is in, if any.
func subject(p *inventory.Process) string {
	name := cmp.Or(p.Executable, "["+p.Name+"]")
	if p.Container != "" {
		name += " in container " + p.Container[:min(len(p.Container), 12)]
	}
	return name
}

// trace follows one process to its origin: its executable, and where that is known
// the script that it runs.
func trace(s *inventory.Snapshot, p *configs.Policy, process *inventory.Process) origin {
	o := executable(s, p, process)
	if o.verdict != finding.Pass {
		return o
	}
	if library := s.ReplacedLibrary(process.ID); library != "" {
		return origin{finding.Review, "a library was upgraded while it ran: the old version of " + library + " is still at work"}
	}
	if script := s.Script(process.ID); script != nil {
		return ofScript(s, p, process, script)
	}
	return o
}

// ofScript judges what an interpreter runs.
func ofScript(s *inventory.Snapshot, p *configs.Policy, process *inventory.Process, script *inventory.Script) origin {
	_, owned := s.FileOwner(process, script.Path, script.File)
	c, recorded, known := s.ScriptSoftware(process, script)
	container, contained := s.ContainerOf(process)
	switch {
	case owned:
		return origin{finding.Pass, ""}
	case contained && container.Unread != "":
		return unread(container)
	case contained && temporary(script.Path):
		return origin{finding.Fail, "runs a script from a directory that users may write to, in " + container.Label() + ": " + script.Path}
	case !contained && slices.Contains(p.Software.LocalPrograms, script.Path):
		return origin{finding.Pass, ""}
	case !contained && anyonesDirectory(script.Path):
		return origin{finding.Fail, "runs a script from a directory that users may write to: " + script.Path}
	case recorded && script.Guarded:
		return origin{finding.Pass, ""}
	case recorded:
		return origin{finding.Review, "runs a script of " + c.Name + " that others than root may change: " + script.Path}
	case known && contained:
		return origin{finding.Review, "runs what calls itself " + c.Name + " and no package system of " + container.Label() + " accounts for: " + script.Path}
	case known:
		return asFarAsRead(s, origin{finding.Review, "runs what calls itself " + c.Name + " and no package system accounts for: " + script.Path})
	}
	if contained {
		return origin{finding.Review, "runs a script that belongs to no package of " + container.Label() + ": " + script.Path}
	}
	return asFarAsRead(s, origin{finding.Review, "runs a script that belongs to no package: " + script.Path})
}

// asFarAsRead is what follows from no package of the machine having a file, unless
// nobody knows how many packages were not read. A few that are damaged excuse nothing.
func asFarAsRead(s *inventory.Snapshot, o origin) origin {
	for i := range s.Gaps {
		g := &s.Gaps[i]
		if g.Kind == inventory.KindComponents && g.Lost == 0 && slices.Contains(packageSystems(), g.Collector) {
			return origin{finding.Unknown, o.reason + ", as far as packages could be read (" + g.Collector + ": " + g.Reason + ")"}
		}
	}
	return o
}

// packageSystems are the collectors whose packages own the machine's programs.
func packageSystems() []string { return []string{"dpkg", "apk", "rpm", "pacman", "snap"} }

// unread is for programs of a container whose packages are not known.
func unread(c *inventory.Container) origin {
	return origin{finding.Unknown, "the packages of " + c.Label() + " cannot be read: " + c.Unread}
}

// executable follows one process's file to its origin.
func executable(s *inventory.Snapshot, p *configs.Policy, process *inventory.Process) origin {
	_, owned := s.Owner(process)
	container, contained := s.ContainerOf(process)
	first := s.First() // whose files are the ones that package databases speak of
	switch {
	case process.Memory:
		return origin{finding.Fail, "runs from memory, from no file"}
	case process.Executable == "":
		return origin{finding.Unknown, "its file cannot be read"}
	case process.Deleted && owned:
		return origin{finding.Review, "its package was upgraded while it ran: the old version is still at work"}
	case owned:
		return origin{finding.Pass, ""}
	case contained && container.Unread != "":
		return unread(container)
	case process.Container != "" && !contained:
		return origin{finding.Unknown, "runs in a container, whose packages were not read"}
	case process.Deleted:
		return asFarAsRead(s, origin{finding.Fail, "runs from a file that was deleted"})
	case contained && container.Packages == 0:
		return origin{finding.Review, "belongs to no package: " + container.Label() + " has none"}
	case contained && temporary(process.Executable):
		return origin{finding.Fail, "runs from a directory that users may write to, in " + container.Label()}
	case contained:
		return origin{finding.Review, "belongs to no package of " + container.Label()}
	case slices.Contains(p.Software.LocalPrograms, process.Executable) && !process.Foreign:
		return origin{finding.Pass, ""}
	case anyonesDirectory(process.Executable):
		return origin{finding.Fail, "runs from a directory that users may write to"}
	case first == nil || first.MountNS == 0 || process.MountNS == 0:
		return origin{finding.Unknown, "belongs to no package that was read, and whether its files are the machine's own is not known"}
	case process.MountNS != first.MountNS:
		return origin{finding.Unknown, "runs in another file tree than the packages that were read"}
	}
	return asFarAsRead(s, origin{finding.Review, "belongs to no package"})
}

// anyonesDirectory reports whether a path is in one of the directories where any
// user may put programs, by the file system hierarchy.
func anyonesDirectory(path string) bool {
	return temporary(path) || strings.HasPrefix(path, "/home/") || strings.HasPrefix(path, "/run/user/")
}

// temporary is the same for those that no image puts programs in: of a container's
// users /home is the usual place of the one program.
func temporary(path string) bool {
	return strings.HasPrefix(path, "/tmp/") || strings.HasPrefix(path, "/var/tmp/") || strings.HasPrefix(path, "/dev/shm/")
}

func addProcess(programs map[string]*finding.Finding, subject string, process *inventory.Process, o origin) {
	f := programs[subject]
	if f == nil {
		f = &finding.Finding{Subject: subject, Verdict: o.verdict, Reason: o.reason, Facts: map[string]any{
			"processes": 0, "pid": process.ID.PID, "user": process.User, "unit": process.Unit,
		}}
		programs[subject] = f
	}
	if o.verdict.Weight() > f.Verdict.Weight() {
		f.Verdict, f.Reason = o.verdict, o.reason
	}
	count, _ := f.Facts["processes"].(int)
	f.Facts["processes"] = count + 1
}

// most is how many programs are listed one by one.
const most = 200

// bounded lists the programs, the worst first, and counts those beyond most in
// one more finding.
func bounded(programs map[string]*finding.Finding) []finding.Finding {
	var found []finding.Finding
	for _, f := range programs {
		found = append(found, *f)
	}
	slices.SortFunc(found, func(a, b finding.Finding) int {
		return cmp.Or(cmp.Compare(b.Verdict.Weight(), a.Verdict.Weight()), cmp.Compare(a.Subject, b.Subject))
	})
	if len(found) <= most {
		return found
	}
	n := len(found) - most
	return append(found[:most], finding.Finding{
		Subject: "other programs", Verdict: found[most].Verdict, Facts: map[string]any{"programs": n},
		Reason: fmt.Sprintf("%d more programs that are not listed one by one: %s", n, found[most].Reason),
	})
}
