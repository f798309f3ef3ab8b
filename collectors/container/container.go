// Package container reads what is installed in the file trees that programs run in
// beside the machine's own: those of containers, by mount namespace, and those that
// chroot(2) made. Programs there get their owner from the package databases of
// their own tree, and the image's name from what the container's runtime has
// written down.
//
// # Whose word it is
//
// All that is read below a container's root is the container's own word, as is its
// name for a package. It can make its own programs look owned, and nobody else's:
// an owner holds for one file and for the programs of one tree. A tree that a user
// may have made, with a package database in it, owns nothing. Paths are resolved by
// the kernel in the container's root, so no symbolic link leads out of it.
//
// # What may never end
//
// A file system may never answer, if whoever mounted it wants that. Each tree is
// read on the side and waited for within a limit; one that does not come back is a
// gap until it does, and while several do not no further tree is begun. A tree is
// held open only while it is looked at, since it cannot be unmounted meanwhile.
//
// # Once for many
//
// Containers of one image have the files of its databases in common, which by their
// inodes, sizes and times are known to be the same; they are read once. A component
// of several images is one component, and the same as the machine's own of that
// package URL: [inventory.Merge] makes one of them.
//
// Packages of Python, Node.js and Java, and the modules of Go programs that run, are
// read in each tree as they are on the machine, at most once a minute while the same
// programs run. Those of Ruby and PHP are not: a gap counts the interpreters.
package container

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const name = "container"

// Bounds, and how long a tree is waited for.
const (
	mostTrees      = 512
	mostStuck      = 8        // each holds a thread
	mostComponents = 64 << 10 // of all trees
	mostPlaces     = 64 << 10 // where packages of languages lie in all trees
	mostPrograms   = 4096     // of one
	patience       = 3 * time.Second
	longest        = time.Minute // for one reading, which then gives up
	every          = 15 * time.Second
)

// Reader knows one kind of package database. Read gives the packages installed
// below its root, and the owners of programs that run from there.
type Reader interface {
	Read(ctx context.Context, vendor string, programs []installed.Program) (inventory.Facts, error)
}

// Collector reads trees. It is not safe for concurrent use.
type Collector struct {
	host     *host.Host
	readers  func(*host.Host) []Reader
	rooms    func(*host.Host) []Language
	patience time.Duration
	trees    map[inventory.Tree]*tree
	stuck    []*tree // that nothing runs in any more, and that have not come back
	ctx      context.Context
	stop     context.CancelFunc

	mu   sync.Mutex // for sets alone, which readings on the side take and give back
	sets map[string]*set
}

// New returns a collector of the trees on h's machine. readers and rooms make those of
// one tree.
func New(h *host.Host, readers func(*host.Host) []Reader, rooms func(*host.Host) []Language) *Collector {
	c := &Collector{host: h, readers: readers, rooms: rooms, patience: patience, trees: make(map[inventory.Tree]*tree), sets: make(map[string]*set)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Close gives up what is being read.
func (c *Collector) Close() error {
	c.stop()
	return nil
}

// Collect returns the trees that seen.Processes run in, what is installed there,
// and the owners of what runs.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	if !c.host.Live() { // nothing runs in another machine's tree
		return inventory.Facts{}, nil
	}
	r := &round{Collector: c, components: make(map[*set]*shared)}
	running, err := r.group(seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(running), inventory.Tree.Compare) {
		if len(c.trees) >= mostTrees && c.trees[at] == nil {
			r.over.Add(running[at][0].Executable)
			continue
		}
		if err := r.tree(ctx, at, running[at]); err != nil {
			return inventory.Facts{}, err
		}
	}
	c.forget(running)
	r.finish()
	return r.facts, nil
}

// forget drops what nothing runs in any more.
func (c *Collector) forget(running map[inventory.Tree][]*inventory.Process) {
	c.stuck = slices.DeleteFunc(c.stuck, (*tree).back)
	used := make(map[*set]bool)
	for at, t := range c.trees {
		if running[at] != nil {
			used[t.last.set] = true
			continue
		}
		delete(c.trees, at)
		if !t.back() {
			c.stuck = append(c.stuck, t)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.sets, func(_ string, s *set) bool { return !used[s] })
}

// round is what one round gathers.
type round struct {
	*Collector
	facts      inventory.Facts
	users      uint64 // the machine's user namespace or, where it is not told, that of this program
	components map[*set]*shared
	order      []*set
	count      int
	places     int

	over, gone, slow, unread, full, unplaced, interpreters, scripts, denied, libraries installed.Tally
}

// shared is the components of one set of databases, and who has them.
type shared struct {
	components []inventory.Component
	labels     []string
}

// group sorts the processes by tree. Of those that have ended, or have locked
// themselves up, the root is not known; they are of the namespace's, if it has one.
func (r *round) group(seen *inventory.Facts) (map[inventory.Tree][]*inventory.Process, error) {
	at, err := r.host.Find("/")
	if err != nil {
		return nil, err
	}
	home := inventory.FileID{Device: at.Device, Inode: at.Inode}
	own := make(map[uint64]bool) // mount namespaces in which programs have the machine's root
	if st, err := r.host.Stat("/proc/self/ns/user"); err == nil {
		r.users = st.Ino
	}
	if first := seen.First(); first != nil {
		own[first.MountNS] = true
		r.users = cmp.Or(first.UserNS, r.users)
	}
	running := make(map[inventory.Tree][]*inventory.Process)
	of := make(map[uint64]inventory.Tree)
	var rootless []*inventory.Process
	for i := range seen.Processes {
		p := &seen.Processes[i]
		switch {
		case p.Kernel || p.MountNS == 0:
		case p.Root == inventory.FileID{}:
			rootless = append(rootless, p)
		case p.Root == home:
			own[p.MountNS] = true
		default:
			at := inventory.Tree{MountNS: p.MountNS, Root: p.Root}
			running[at] = append(running[at], p)
			of[p.MountNS] = at
		}
	}
	for _, p := range rootless {
		at, lives := of[p.MountNS]
		switch {
		case own[p.MountNS]:
		case lives:
			running[at] = append(running[at], p)
		case p.Container != "" && !p.Ended.IsZero():
			r.gone.Add(p.Executable)
		}
	}
	return running, nil
}

// finish makes the rows that are common to several trees, and the gaps.
func (r *round) finish() {
	for _, s := range r.order {
		c := r.components[s]
		slices.Sort(c.labels)
		c.labels = slices.Compact(c.labels)
		for _, component := range c.components {
			component.Images, component.Contained = c.labels, true
			r.facts.Components = append(r.facts.Components, component)
		}
	}
	for _, g := range []struct {
		tally        *installed.Tally
		kind, reason string
	}{
		{&r.over, inventory.KindComponents, "too many containers and other file trees"},
		{&r.gone, inventory.KindRunning, "programs ended with their container before its packages were read"},
		{&r.slow, inventory.KindComponents, "the container's files do not answer"},
		{&r.unread, inventory.KindComponents, "the container's files cannot be read"},
		{&r.full, inventory.KindComponents, "too many packages in all containers"},
		{&r.unplaced, inventory.KindRunning, "too many files and directories of packages in all containers: their scripts show no package"},
		{&r.interpreters, inventory.KindComponents, "interpreters in containers, whose packages of their own kind are not read"},
		{&r.scripts, inventory.KindRunning, "interpreters in containers whose script was not found"},
		{&r.denied, inventory.KindRunning, "which libraries programs in containers have mapped cannot be read"},
		{&r.libraries, inventory.KindRunning, "too many programs or libraries in one container"},
	} {
		before := len(r.facts.Gaps)
		r.facts.Gaps = g.tally.Gap(r.facts.Gaps, name, g.reason)
		for i := range r.facts.Gaps[before:] {
			r.facts.Gaps[before+i].Kind = g.kind
		}
	}
}
