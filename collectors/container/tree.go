package container

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/loaded"
	"cityward/collectors/inventory"
)

// tree is one file tree that programs run in. While it is read on the side nobody
// else touches it, but for what the round keeps.
type tree struct {
	at     inventory.Tree
	users  bool // it may be a user's own work, see round.usersOwn
	loaded loaded.Reader
	known  image // what its runtime says, once it was found

	languages *languages // nil until it was looked at

	last    outcome        // of the last reading that ended
	ran     []execution    // in the last round that looked
	looked  time.Time      // when that was
	pending <-chan outcome // nil unless it is being read
}

type execution struct {
	id   inventory.Execution
	file inventory.FileID
}

// outcome is what one reading gave.
type outcome struct {
	about      inventory.Container
	set        *set // nil where there are no databases
	components []inventory.Component
	more       []inventory.Component // of languages
	owners     []inventory.Owner
	loaded     *loaded.Facts
	unread     string // an interpreter whose packages are not read, "" none
	over       string // a program beyond the bound, "" none
	gaps       []inventory.Gap
	err        error
}

// back reports whether nothing is read on the side, and takes what came back.
func (t *tree) back() bool {
	if t.pending == nil {
		return true
	}
	select {
	case t.last = <-t.pending:
		t.pending = nil
		return true
	default:
		return false
	}
}

// tree looks at one tree, or waits for what was begun, and adds what is known.
func (r *round) tree(ctx context.Context, at inventory.Tree, processes []*inventory.Process) error {
	t := r.trees[at]
	if t == nil {
		t = &tree{at: at, users: r.usersOwn(processes)}
		t.last.about.Unread = "not read yet"
		r.trees[at] = t
	}
	if t.back() && t.changed(processes, r.host.Now()) && !r.begin(t, processes) {
		r.slow.Add(processes[0].Executable)
	}
	if t.pending != nil {
		limit := time.NewTimer(r.patience)
		defer limit.Stop()
		select {
		case t.last = <-t.pending:
			t.pending = nil
		case <-limit.C:
			r.slow.Add(processes[0].Executable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.add(t, processes)
	return nil
}

// usersOwn reports whether a tree may be a user's own work: who was there first is in
// a user namespace, where any user may make one, and no runtime accounts for him.
func (r *round) usersOwn(processes []*inventory.Process) bool {
	first := slices.MinFunc(processes, func(a, b *inventory.Process) int { return cmp.Compare(a.ID.Start, b.ID.Start) })
	return first.Container == "" && (first.UserNS == 0 || first.UserNS != r.users)
}

// changed reports whether there is something new to see: programs, or after some
// time also packages.
func (t *tree) changed(processes []*inventory.Process, now time.Time) bool {
	ran := make([]execution, len(processes))
	for i, p := range processes {
		ran[i] = execution{p.ID, p.File}
	}
	if slices.Equal(t.ran, ran) && now.Sub(t.looked) < every && !now.Before(t.looked) {
		return false
	}
	t.ran, t.looked = ran, now
	return true
}

// begin reads a tree on the side, unless too many have not come back.
func (r *round) begin(t *tree, processes []*inventory.Process) bool {
	waiting := len(r.stuck)
	for _, other := range r.trees {
		if other.pending != nil {
			waiting++
		}
	}
	if waiting >= mostStuck {
		t.looked = time.Time{}
		return false
	}
	answer := make(chan outcome, 1)
	t.pending = answer
	go func() {
		ctx, cancel := context.WithTimeout(r.ctx, longest)
		defer cancel()
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o = outcome{err: fmt.Errorf("panic: %v", p)}
			}
			answer <- o
		}()
		o = r.look(ctx, t, processes)
	}()
	return true
}

// add puts what is known of a tree into the round.
func (r *round) add(t *tree, processes []*inventory.Process) {
	o := &t.last
	about := o.about
	about.Tree = t.at
	about.ID = cmp.Or(about.ID, containerOf(processes))
	if o.err != nil {
		about.Unread = host.Text(host.Cause(o.err), 256)
		r.unread.Add(about.Label() + ": " + about.Unread)
	}
	if o.set != nil && r.share(o, about.Label()) {
		about.Packages = len(o.components)
		if !t.users {
			r.facts.Owners = append(r.facts.Owners, o.owners...)
		}
	} else if o.set != nil {
		about.Unread = "too many packages in all containers"
		r.full.Add(about.Label())
	}
	r.facts.Containers = append(r.facts.Containers, about)
	for _, g := range o.gaps {
		g.Collector, g.Subject = name, host.Text(about.Label()+": "+g.Subject, 512)
		r.facts.Gaps = append(r.facts.Gaps, g)
	}
	if o.unread != "" {
		r.interpreters.Add(about.Label() + ": " + o.unread)
	}
	r.languages(o.more, about.Label())
	if o.over != "" {
		r.libraries.Add(about.Label() + ": " + o.over)
	}
	if l := o.loaded; l != nil {
		r.facts.Scripts = append(r.facts.Scripts, l.Scripts...)
		for _, library := range l.Libraries {
			library.Tree = t.at
			r.facts.Libraries = append(r.facts.Libraries, library)
		}
		r.scripts.Join(&l.Unknown)
		r.denied.Join(&l.Denied)
		r.libraries.Join(&l.Over)
	}
}

// share notes who has the components of a set; false where there are too many.
func (r *round) share(o *outcome, label string) bool {
	s := r.components[o.set]
	if s == nil {
		if r.count += len(o.components); r.count > mostComponents {
			r.count -= len(o.components)
			return false
		}
		s = &shared{components: o.components}
		r.components[o.set] = s
		r.order = append(r.order, o.set)
	}
	s.labels = append(s.labels, label)
	return true
}

// languages adds the packages of languages that a tree has. Those of several trees
// are made one when the facts are merged.
func (r *round) languages(found []inventory.Component, label string) {
	if r.count+len(found) > mostComponents {
		r.full.Add(label)
		return
	}
	r.count += len(found)
	for _, component := range found {
		if r.places += len(component.Locations); r.places > mostPlaces {
			r.unplaced.Add(label + ": " + component.Name)
			component.Locations = nil
		}
		component.Images, component.Contained = []string{label}, true
		r.facts.Components = append(r.facts.Components, component)
	}
}

// containerOf gives the id that a tree's processes have.
func containerOf(processes []*inventory.Process) string {
	for _, p := range processes {
		if p.Container != "" {
			return p.Container
		}
	}
	return ""
}

// look reads one tree. It runs on the side.
func (c *Collector) look(ctx context.Context, t *tree, processes []*inventory.Process) (o outcome) {
	proc, err := c.host.OpenProc()
	if err != nil {
		return outcome{err: err}
	}
	defer proc.Close()
	h := host.Detached(c.host)
	defer h.Detach()
	pid, err := attach(h, t.at, processes)
	if err != nil {
		return outcome{err: err}
	}
	release := host.OSRelease{}
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, err := h.ReadFile(file, 64<<10); err == nil {
			release = host.ParseOSRelease(data)
			break
		}
	}
	if t.known == (image{}) {
		t.known = identify(c.host, pid, containerOf(processes))
	}
	o.about = inventory.Container{
		ID: t.known.id, Runtime: t.known.runtime, Name: t.known.name, Image: t.known.image, Digest: t.known.digest,
		System: strings.TrimSpace(release.ID + " " + release.VersionID),
	}
	if o.about.Above, err = h.Above(); err != nil {
		return outcome{about: o.about, err: err}
	}
	if o.loaded, err = t.loaded.Read(ctx, h, proc, t.at.MountNS, processes); err != nil {
		return outcome{about: o.about, err: err}
	}
	programs, paths := o.programs(h, processes)
	if err := c.databases(ctx, h, release.ID, programs, &o); err != nil {
		return outcome{about: o.about, err: err}
	}
	o.owners = spread(t.at, o.owners, paths)
	if err := c.languages(ctx, h, t, processes); err != nil {
		o.gaps = append(o.gaps, inventory.Gap{Kind: inventory.KindComponents, Subject: "packages of languages", Reason: host.Text(host.Cause(err), 256)})
	}
	o.more, o.gaps = t.languages.components, append(o.gaps, t.languages.gaps...)
	return o
}

// attach opens the root by one of the processes that have it.
func attach(h *host.Host, at inventory.Tree, processes []*inventory.Process) (pid int, err error) {
	err = fmt.Errorf("open root: %w", context.Canceled)
	for _, p := range processes {
		if p.Root != at.Root {
			continue
		}
		if err = h.Attach(fmt.Sprintf("/proc/%d/root", p.ID.PID)); err != nil {
			continue
		}
		top, failed := h.Find("/")
		if failed == nil && at.Root == (inventory.FileID{Device: top.Device, Inode: top.Inode}) {
			return p.ID.PID, nil
		}
		err = cmp.Or(failed, fmt.Errorf("open root: %s has another by now", p.ID))
	}
	return 0, err
}

// programs lists what runs from the tree: executables whose file is the one at
// their path, or was replaced there, scripts and libraries. paths has, for each
// as the tree names it, what the kernel calls it.
func (o *outcome) programs(h *host.Host, processes []*inventory.Process) ([]installed.Program, map[installed.Program][]string) {
	paths := make(map[installed.Program][]string)
	programs := installed.Loaded(&inventory.Facts{Scripts: o.loaded.Scripts, Libraries: o.loaded.Libraries})
	for _, p := range processes {
		if p.Memory || !strings.HasPrefix(p.Executable, "/") {
			continue
		}
		if unread(p.Executable) {
			o.unread = p.Executable
		}
		inside, err := h.Inside(p.Executable)
		if err != nil {
			continue
		}
		key := installed.Program{Path: inside, File: p.File}
		if slices.Contains(paths[key], p.Executable) {
			continue
		}
		at, err := h.Find(inside)
		if !p.Deleted && (err != nil || p.File != inventory.FileID{Device: at.Device, Inode: at.Inode}) {
			continue
		}
		if len(paths) >= mostPrograms {
			o.over = p.Executable
			continue
		}
		if paths[key] == nil {
			programs = append(programs, key)
		}
		paths[key] = append(paths[key], p.Executable)
	}
	slices.SortFunc(programs, installed.Program.Compare)
	return programs, paths
}

// unread reports whether an executable is an interpreter that has packages of its own
// kind, and no room looks for them in containers.
func unread(executable string) bool {
	base := path.Base(executable)
	for _, read := range []string{"python", "pypy", "node", "java"} {
		if strings.HasPrefix(base, read) {
			return false
		}
	}
	return loaded.Interprets(executable) && !strings.HasSuffix(base, "sh")
}

// spread gives owners their tree, and the paths by which the kernel calls their files.
func spread(at inventory.Tree, owners []inventory.Owner, paths map[installed.Program][]string) []inventory.Owner {
	var all []inventory.Owner
	for _, owner := range owners {
		owner.Tree = at
		called := paths[installed.Program{Path: owner.Path, File: owner.File}]
		if len(called) == 0 { // a script or a library
			all = append(all, owner)
		}
		for _, path := range called {
			owner.Path = path
			all = append(all, owner)
		}
	}
	return all
}
