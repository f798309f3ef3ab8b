package custody

import (
	"bufio"
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// tree is the mounts of a process and where its root is, in the paths that the
// kernel gives this process.
type tree struct {
	root   string
	mounts *host.MountTable
}

// treeKey tells trees apart: a namespace and a root in it.
type treeKey struct {
	namespace uint64
	pid       int // where the namespace is not known
	root      string
}

// files finds the stores that open and mapped files belong to.
type files struct {
	*round
	proc    *host.Proc
	places  []place
	opened  map[uint64]bool // devices of descriptors worth a look
	mapped  map[uint64]bool // devices of mappings worth a look
	any     bool            // a descriptor's device does not tell: btrfs, overlayfs
	trees   map[treeKey]*tree
	answers map[mapping][]string // stores by mapped file
	fds     []int                // to use again
	lines   *bufio.Reader        // likewise

	denied   []string       // programs that could not be looked into
	unplaced map[string]int // files that may or may not be of a store
	partial  map[string]int // likewise, since a list of names is not complete
}

func (r *round) newFiles(proc *host.Proc) *files {
	f := &files{
		round: r, proc: proc, places: r.places(), opened: make(map[uint64]bool), mapped: make(map[uint64]bool),
		lines: bufio.NewReaderSize(nil, 16<<10), trees: make(map[treeKey]*tree), answers: make(map[mapping][]string),
		unplaced: make(map[string]int), partial: make(map[string]int),
	}
	for _, p := range f.places {
		f.mapped[p.mount] = true
		f.opened[p.mount] = true
		f.opened[p.files] = true
		// One device number for all files of a file system: true but where the
		// directory itself shows another, as on btrfs and overlayfs.
		f.any = f.any || p.files != 0 && p.files != p.mount
	}
	return f
}

// look looks for the files of one program, for as long as there is a store that
// it is not known to hold.
func (f *files) look(p *inventory.Process) {
	if f.holdsAll(p) {
		return
	}
	pid := p.ID.PID
	fds, err := f.proc.Numbers(pid, "fd", f.fds[:0])
	if err == nil && len(fds) == 0 {
		// The first thread may be gone while others run and hold the files.
		if pid = f.proc.LiveThread(pid); pid != p.ID.PID {
			fds, err = f.proc.Numbers(pid, "fd", f.fds[:0])
		}
	}
	f.fds = fds
	for _, fd := range fds {
		if err = f.descriptor(p, pid, fd); err != nil && !host.Gone(err) {
			break
		}
	}
	if err == nil || host.Gone(err) {
		err = f.mappings(p, pid)
	}
	if err != nil && !host.Gone(err) {
		f.denied = append(f.denied, programOf(p))
	}
}

func (f *files) holdsAll(p *inventory.Process) bool {
	return !slices.ContainsFunc(f.places, func(at place) bool {
		_, known := f.held[hold{at.store, p.ID, inventory.HowDirect}]
		return !known
	})
}

// descriptor looks at one open file.
func (f *files) descriptor(p *inventory.Process, pid, fd int) error {
	name := "fd/" + strconv.Itoa(fd)
	file, err := f.proc.Describe(pid, name)
	if err != nil || !file.Regular() || !f.any && !f.opened[file.Device] {
		return err
	}
	info, err := f.proc.Read(pid, "fdinfo/"+strconv.Itoa(fd), 4096)
	if err != nil {
		return err
	}
	id, known := mountID(info)
	link, err := f.proc.Readlink(pid, name)
	if err != nil {
		return err
	}
	target := string(link)
	if file.Links == 0 {
		target = strings.TrimSuffix(target, " (deleted)")
	}
	t, err := f.treeOf(p, pid)
	if err != nil {
		return err
	}
	m, listed := t.mounts.ByID(id)
	inside, placed := "", false
	if known && listed {
		inside, placed = t.inside(m, target)
	}
	device := file.Device
	if placed {
		device = m.Device
	}
	for _, store := range f.storesOf(device, inside, placed, file) {
		f.remember(hold{store, p.ID, inventory.HowDirect}, inventory.Execution{}, f.now, "open: "+target)
	}
	return nil
}

// storesOf gives the stores that a file belongs to: by its path inside the file
// system, else, if it has several names, by its inode.
func (f *files) storesOf(device uint64, inside string, placed bool, file host.Walked) []string {
	var stores []string
	for i := range f.places {
		at := &f.places[i]
		if device != at.mount && file.Device != at.files {
			continue
		}
		switch {
		case placed && device == at.mount && at.covers(inside):
			stores = append(stores, at.store)
		case file.Links > 1:
			if f.listed(at, inventory.FileID{Device: file.Device, Inode: file.Inode}) {
				stores = append(stores, at.store)
			}
		case !placed:
			f.unplaced[at.store]++
		}
	}
	return stores
}

// covers reports whether a path inside the file system is below the place. The
// inventory has the place's own path fit to print, which may differ.
func (at *place) covers(inside string) bool {
	if strings.ContainsRune(at.root, utf8.RuneError) {
		inside = host.Text(inside, 4096)
	}
	return host.Within(inside, at.root)
}

// treeOf gives the mounts of a process, read once for all that share them.
func (f *files) treeOf(p *inventory.Process, pid int) (*tree, error) {
	root := "/"
	if link, err := f.proc.Readlink(pid, "root"); err == nil && f.host.Live() {
		root = string(link)
	} else if host.Gone(err) && f.host.Live() {
		return nil, err
	}
	key := treeKey{namespace: p.MountNS, root: root}
	if p.MountNS == 0 {
		key.pid = pid
	}
	if t, known := f.trees[key]; known {
		return t, nil
	}
	table, _, err := f.host.ReadMounts(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, mounts: table}
	f.trees[key] = t
	return t, nil
}

// inside gives the path within a mount's file system of a path as the kernel
// gives it to this process. Mount tables have paths below the root of the
// process they are of.
func (t *tree) inside(m *host.Mount, p string) (string, bool) {
	target := path.Join(t.root, m.Target)
	if !path.IsAbs(p) || !host.Within(p, target) {
		return "", false
	}
	return path.Join(m.Root, strings.TrimPrefix(p, target)), true
}

// covering gives the mount that serves such a path.
func (t *tree) covering(p string) (*host.Mount, bool) {
	if !path.IsAbs(p) || !host.Within(p, t.root) {
		return nil, false
	}
	return t.mounts.Covering(path.Join("/", strings.TrimPrefix(p, t.root)))
}

// mountID reads the mount that a descriptor was opened through.
func mountID(info []byte) (int, bool) {
	for line := range bytes.Lines(info) {
		if value, found := bytes.CutPrefix(line, []byte("mnt_id:")); found {
			if id, err := strconv.Atoi(string(bytes.TrimSpace(value))); err == nil {
				return id, true
			}
			break
		}
	}
	return 0, false
}

// report turns what was counted into gaps.
func (f *files) report() {
	if n := len(f.denied); n > 0 {
		f.gap("", f.denied[0], "its open files could not be read", n)
	}
	var last string
	for _, at := range f.places {
		if at.store == last {
			continue
		}
		last = at.store
		if n := f.unplaced[at.store]; n > 0 {
			f.gap(at.store, at.dir, "open files on its file system whose place could not be told", n)
		}
		if n := f.partial[at.store]; n > 0 {
			f.gap(at.store, at.dir, "files with several names, of which not all could be listed", n)
		}
	}
}
