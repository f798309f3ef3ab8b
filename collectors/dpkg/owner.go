package dpkg

import (
	"bufio"
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// maxPrograms bounds the different executables of one round.
const maxPrograms = 16 << 10

// ownership remembers who owns which path, until the database changes.
type ownership struct {
	component map[string]int  // index of the owner, by path; -1 none
	gaps      []inventory.Gap // of the last search
}

// program is an executable file as some process runs it.
type program struct {
	path string
	file inventory.FileID
}

func (p program) compare(q program) int {
	return cmp.Or(cmp.Compare(p.path, q.path), cmp.Compare(p.file.Device, q.file.Device),
		cmp.Compare(p.file.Inode, q.file.Inode))
}

// own finds the owners of the programs that run.
func (c *Collector) own(ctx context.Context, seen *inventory.Facts) ([]inventory.Owner, []inventory.Gap, error) {
	programs, gaps := c.programs(seen)
	if err := c.search(ctx, programs); err != nil {
		return nil, nil, err
	}
	var owners []inventory.Owner
	for _, p := range programs {
		if i, known := c.owners.component[p.path]; known && i >= 0 {
			owners = append(owners, inventory.Owner{Path: p.path, File: p.file, PURL: c.db.components[i].PURL})
		}
	}
	return owners, slices.Concat(gaps, c.owners.gaps), nil
}

// programs lists, sorted, what runs from this machine's own files.
func (c *Collector) programs(seen *inventory.Facts) ([]program, []inventory.Gap) {
	home := homeOf(seen)
	views := make(map[program]view)
	var over, elsewhere tally
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if p.Kernel || p.Memory || !strings.HasPrefix(p.Executable, "/") {
			continue
		}
		key := program{p.Executable, p.File}
		v, known := views[key]
		switch {
		case v == native:
		case !known && len(views) >= maxPrograms:
			over.add(key.path)
		default:
			views[key] = max(v, c.view(p, home))
		}
	}
	var programs []program
	for _, key := range slices.SortedFunc(maps.Keys(views), program.compare) {
		switch views[key] {
		case native:
			programs = append(programs, key)
		case contained:
			elsewhere.add(key.path)
		case foreign:
		}
	}
	const kind = inventory.KindComponents
	gaps := elsewhere.gap(nil, kind, "programs of containers: packages inside are not read yet")
	return programs, over.gap(gaps, kind, "too many different programs")
}

// view is how a process's path relates to the host's file of that path.
type view uint8

const (
	foreign   view = iota // another file
	contained             // another file, in a mount namespace of its own
	native                // the host's file, or the one that it replaced
)

// homeOf gives the process that sees what this machine's packages installed:
// the first, or this one where the first does not show its namespaces.
func homeOf(seen *inventory.Facts) *inventory.Process {
	home := &inventory.Process{}
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if p.MountNS != 0 && (p.ID.PID == 1 || p.ID.PID == os.Getpid() && home.ID.PID != 1) {
			home = p
		}
	}
	return home
}

// view compares files where it can. The file of a program that was replaced by
// an upgrade has no path any more: then the namespace must be the host's, or,
// for the many services that systemd gives a mount namespace, the file system
// and the process namespace must be. A process that was confined by chroot(2)
// alone is not told apart once its file is gone.
func (c *Collector) view(p, home *inventory.Process) view {
	st, err := c.host.Stat(p.Executable)
	at := inventory.FileID{Device: st.Dev, Inode: st.Ino}
	denied := err != nil && !host.Gone(err)
	switch {
	case err == nil && p.File == at:
		return native
	case p.MountNS == 0 || home.MountNS == 0:
		return foreign
	case p.MountNS == home.MountNS:
		if p.Deleted || denied || p.File == (inventory.FileID{}) {
			return native
		}
		return foreign
	case p.Deleted && err == nil && p.Container == "" && p.File.Device == at.Device &&
		p.PIDNS != 0 && p.PIDNS == home.PIDNS:
		return native
	}
	return contained
}

// search finds the owners of those programs that are not known yet, in one pass
// over all file lists. The first package in order wins where several ship a
// file, as packages of several architectures may.
func (c *Collector) search(ctx context.Context, programs []program) error {
	known := c.owners.component
	if len(known) > 2*maxPrograms {
		known = nil
	}
	found := make(map[string]int)
	for _, p := range programs {
		if _, ok := known[p.path]; !ok {
			found[p.path] = -1
		}
	}
	if len(found) == 0 {
		return nil
	}
	paths := newSpelling(c.host, c.db.diversions)
	watch := paths.watch(found)
	in := bufio.NewReaderSize(nil, sizeLine)
	var unread tally
	for i, list := range c.db.lists {
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if list == "" {
			continue
		}
		err := readList(c.host, in, list, func(line []byte) {
			if _, ok := watch[string(line)]; !ok {
				return
			}
			path := paths.installed(string(line), c.db.components[i].Name)
			if owner, wanted := found[path]; wanted && owner < 0 {
				found[path] = i
			}
		})
		if err != nil {
			unread.add(dirInfo + "/" + list + ".list: " + host.Cause(err))
		}
	}
	if known == nil {
		known = found
	} else {
		maps.Copy(known, found)
	}
	c.owners.component = known
	c.owners.gaps = unread.gap(nil, inventory.KindComponents, "file lists cannot be read")
	return nil
}
