// Package engine finds the programs that keep data for others, databases above
// all, and the directories they keep it in. A directory that no declared store
// covers is a candidate: whether citizens' data is in it, only a person can say.
//
// An engine is known by the name of its executable, from a reviewed table. Its
// directory comes from the command line where a flag names it, else from the
// places where packages put it. Configuration files of engines are not read:
// each has a language of its own, and a wrong answer would look like a right
// one. An engine whose directory stays unknown is a gap.
//
// What runs in a container has a file tree of its own: its directory is given as
// it is seen there, and whether a declared store covers it is a gap here (the
// storage room follows it down to its disks). A service with mounts of its own
// but the machine's process ids, as systemd makes them, is no container.
package engine

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Collector matches what runs with the table of engines.
type Collector struct {
	host   *host.Host
	table  configs.EngineTable
	err    error // of the table
	stores []configs.DataStore
	mounts *host.MountTable // of this round; nil unknown
}

// New returns a collector for the engines of the table that ships with the
// program.
func New(h *host.Host, cfg *configs.Config) *Collector {
	c := &Collector{host: h}
	c.table, c.err = configs.Engines()
	c.Configure(cfg)
	return c
}

// Configure takes the declared stores of another configuration.
func (c *Collector) Configure(cfg *configs.Config) { c.stores = cfg.Stores }

// Collect names each directory once: the oldest process stands for all.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	var facts inventory.Facts
	if err := cmp.Or(ctx.Err(), c.err); err != nil {
		return facts, err
	}
	facts.Tables = []inventory.Table{{Name: "engines", Date: c.table.Date}}
	first := seen.First()
	c.mounts, _, _ = c.host.ReadMounts("/proc/self/mountinfo")
	found := make(map[place]bool)
	var container, muted string // an example of each
	contained, mute := 0, 0
	for _, p := range oldestFirst(seen.Processes) {
		engine, ok := c.engineOf(&p)
		if !ok || !p.Ended.IsZero() {
			continue
		}
		if len(p.Arguments) == 0 {
			mute++
			muted = cmp.Or(muted, p.Name)
		}
		at := place{engine: engine.Name}
		if p.Contained(first) {
			at.inside = p.ID
			contained++
			container = cmp.Or(container, engine.Name)
		}
		directories, how := c.directories(engine, &p, at.inside == p.ID)
		if len(directories) == 0 {
			facts.Gaps = append(facts.Gaps, gap(p.Name, engine.Name+" runs, but where it keeps its data is not known", 0))
		}
		for _, at.directory = range directories {
			if found[at] {
				continue
			}
			found[at] = true
			if at.inside == p.ID || !c.declared(at.directory) {
				facts.Candidates = append(facts.Candidates, inventory.Candidate{Engine: engine.Name, Path: at.directory, Process: p.ID, Reason: how})
			}
		}
	}
	if contained > 0 {
		facts.Gaps = append(facts.Gaps, gap(container, "it runs in a container: whether a declared store covers its directory is not known", contained))
	}
	if mute > 0 {
		facts.Gaps = append(facts.Gaps, gap(muted, "its command line could not be read", mute))
	}
	return facts, nil
}

func gap(subject, reason string, lost int) inventory.Gap {
	return inventory.Gap{Collector: "engine", Kind: inventory.KindEngines, Subject: subject, Reason: reason, Lost: lost}
}

// place is a directory as one file tree shows it.
type place struct {
	engine, directory string
	inside            inventory.Execution // in a container; zero on the machine
}

// oldestFirst leaves out threads of the kernel, and the children of a server,
// whose command line is a title.
func oldestFirst(processes []inventory.Process) []inventory.Process {
	executables := make(map[int]string, len(processes))
	for i := range processes {
		executables[processes[i].ID.PID] = processes[i].Executable
	}
	var programs []inventory.Process
	for i := range processes {
		p := &processes[i]
		child := p.Executable != "" && executables[p.Parent] == p.Executable
		if !p.Kernel && !child {
			programs = append(programs, *p)
		}
	}
	slices.SortStableFunc(programs, func(a, b inventory.Process) int {
		return cmp.Or(cmp.Compare(a.ID.Start, b.ID.Start), cmp.Compare(a.ID.PID, b.ID.PID))
	})
	return programs
}

func (c *Collector) engineOf(p *inventory.Process) (configs.Engine, bool) {
	name := p.Name
	if p.Executable != "" {
		name = path.Base(p.Executable)
	}
	for _, e := range c.table.Engines {
		if !slices.Contains(e.Processes, name) {
			continue
		}
		if len(e.Arguments) == 0 || slices.ContainsFunc(e.Arguments, func(word string) bool { return slices.Contains(p.Arguments, word) }) {
			return e, true
		}
	}
	return configs.Engine{}, false
}

// directories gives where the engine keeps its data, and how that is known.
func (c *Collector) directories(e configs.Engine, p *inventory.Process, inside bool) ([]string, string) {
	where := ""
	if inside {
		where = ", as its container sees it"
	}
	named := flagValue(p.Arguments, e.Flags)
	if named != "" && !path.IsAbs(named) {
		if work, err := c.host.Readlink(fmt.Sprintf("/proc/%d/cwd", p.ID.PID)); err == nil {
			named = path.Join(work, named)
		}
	}
	if path.IsAbs(named) {
		return []string{host.Text(path.Clean(named), 500)}, "its command line" + where
	}
	if inside {
		// Which of the usual places exists in a container is not looked up.
		if plain := slices.IndexFunc(e.Directories, func(d string) bool { return !strings.ContainsAny(d, "*?[") }); plain >= 0 {
			return []string{e.Directories[plain]}, "the usual place" + where
		}
		return nil, ""
	}
	for _, pattern := range e.Directories {
		if existing := c.glob(pattern); len(existing) > 0 {
			return existing, "the usual place"
		}
	}
	return nil, ""
}

// flagValue finds FLAG VALUE, FLAG=VALUE, or FLAGVALUE for a flag of one letter.
func flagValue(arguments, flags []string) string {
	for i, argument := range arguments {
		for _, flag := range flags {
			rest, found := strings.CutPrefix(argument, flag)
			switch {
			case !found:
			case rest == "" && i+1 < len(arguments):
				return arguments[i+1]
			case strings.HasPrefix(rest, "="):
				return rest[1:]
			case len(flag) == 2 && strings.HasPrefix(rest, "/"):
				return rest
			}
		}
	}
	return ""
}

// maxMatches bounds what one pattern may name.
const maxMatches = 100

// glob lists the directories that a pattern of path.Match names, sorted.
func (c *Collector) glob(pattern string) []string {
	matches := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, dir := range matches {
			next = append(next, c.below(dir, part)...)
		}
		matches = next[:min(len(next), maxMatches)]
	}
	return matches
}

// below lists the directories in dir whose name matches.
func (c *Collector) below(dir, pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return c.onlyDirectories([]string{path.Join(dir, pattern)})
	}
	if c.waits(dir) {
		return nil
	}
	entries, err := c.host.ReadDir(dir)
	if err != nil {
		return nil // what cannot be entered has no directory to offer; the engine then is a gap
	}
	var paths []string
	for _, entry := range entries {
		if ok, err := path.Match(pattern, entry.Name()); ok && err == nil {
			paths = append(paths, path.Join(dir, entry.Name()))
		}
	}
	slices.Sort(paths)
	return c.onlyDirectories(paths)
}

func (c *Collector) onlyDirectories(paths []string) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		if c.waits(p) {
			return false // whether it is one cannot be asked
		}
		st, err := c.host.Stat(p)
		return err != nil || st.Mode&0o170000 != 0o040000
	})
}

// declared reports whether a store of the policy covers the directory.
func (c *Collector) declared(directory string) bool {
	for _, store := range c.stores {
		for _, p := range store.Paths {
			if host.Within(directory, path.Clean(p)) || c.sameAfterLinks(directory, p) {
				return true
			}
		}
	}
	return false
}

func (c *Collector) sameAfterLinks(directory, store string) bool {
	if c.waits(directory) || c.waits(store) {
		return false
	}
	a, errA := c.host.Resolve(directory)
	b, errB := c.host.Resolve(store)
	return errA == nil && errB == nil && host.Within(a, b)
}

// waits reports whether a path lies where looking may never end.
func (c *Collector) waits(p string) bool {
	if c.mounts == nil {
		return false
	}
	m, ok := c.mounts.Covering(path.Clean(p))
	return ok && m.Waits()
}
