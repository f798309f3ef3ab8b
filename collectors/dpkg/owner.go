package dpkg

import (
	"bufio"
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

// maxPrograms bounds the different executables of one round.
const maxPrograms = 16 << 10

// ownership remembers who owns which path, until the database changes.
type ownership struct {
	component map[string]int  // index of the owner, by path; -1 none
	gaps      []inventory.Gap // of the last search
}

// own finds the owners of the programs that run.
func (c *Collector) own(ctx context.Context, programs []installed.Program) ([]inventory.Owner, error) {
	if err := c.search(ctx, programs); err != nil {
		return nil, err
	}
	var owners []inventory.Owner
	for _, p := range programs {
		if i, known := c.owners.component[p.Path]; known && i >= 0 {
			owners = append(owners, inventory.Owner{Path: p.Path, File: p.File, PURL: c.db.components[i].PURL})
		}
	}
	return owners, nil
}

// programs lists, sorted, what runs from this machine's own files.
func (c *Collector) programs(seen *inventory.Facts) ([]installed.Program, []inventory.Gap) {
	home := homeOf(seen)
	views := make(map[installed.Program]view)
	var over tally
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if p.Kernel || p.Memory || !strings.HasPrefix(p.Executable, "/") {
			continue
		}
		key := installed.Program{Path: p.Executable, File: p.File}
		v, known := views[key]
		switch {
		case v == native:
		case !known && len(views) >= maxPrograms:
			over.add(key.Path)
		default:
			views[key] = max(v, c.view(p, home))
		}
	}
	for _, key := range installed.Loaded(seen) {
		if len(views) >= maxPrograms {
			over.add(key.Path)
			continue
		}
		views[key] = native
	}
	var programs []installed.Program
	for _, key := range slices.SortedFunc(maps.Keys(views), installed.Program.Compare) {
		if views[key] == native {
			programs = append(programs, key)
		}
	}
	return programs, over.gap(nil, inventory.KindComponents, "too many different programs")
}

// view is how a process's path relates to the host's file of that path.
type view uint8

const (
	foreign view = iota // another file
	native              // the host's file, or the one that it replaced
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
	return foreign
}

// search finds the owners of those programs that are not known yet, in one pass
// over all file lists. The first package in order wins where several ship a
// file, as packages of several architectures may.
func (c *Collector) search(ctx context.Context, programs []installed.Program) error {
	known := c.owners.component
	if len(known) > 2*maxPrograms {
		known = nil
	}
	found := make(map[string]int)
	for _, p := range programs {
		if _, ok := known[p.Path]; !ok {
			found[p.Path] = -1
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
