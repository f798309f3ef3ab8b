package storage

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// maxDepth bounds how many layers are followed: RAID, encryption, volumes,
// loop devices and overlays together stay well below it.
const maxDepth = 24

// maxLinks bounds the symbolic links on one path, as the kernel does.
const maxLinks = 40

// view is a file tree together with the mount table that describes it.
type view struct {
	files  *host.Host
	mounts *host.MountTable
}

// place is where a path leads.
type place struct {
	path  string // symbolic links followed, as far as that can be done without waiting
	mount *host.Mount
	file  inventory.FileID // zero on file systems that are not looked into
	err   error            // why the way ends before the end of the path
}

var errNoMount = errors.New("no mount covers it")

// locate follows p step by step and asks the mount table before each step, so
// that it never touches a file system that may not answer: from there on the
// path is taken by its text. A person who declares a path through a symbolic
// link on a network file system loses the link, not the agent.
func (v *view) locate(p string) place {
	at, rest := "/", strings.Split(path.Clean(p), "/")
	var st unix.Stat_t
	links := 0
	for {
		m, covered := v.mounts.Covering(at)
		switch {
		case !covered:
			return place{path: at, err: errNoMount}
		case m.Waits():
			at = path.Join(append([]string{at}, rest...)...)
			if m, covered = v.mounts.Covering(at); !covered {
				return place{path: at, err: errNoMount}
			}
			return place{path: at, mount: m}
		}
		var err error
		if st, err = v.files.Lstat(at); err != nil {
			return place{path: at, mount: m, err: err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			if links++; links > maxLinks {
				return place{path: at, mount: m, err: unix.ELOOP}
			}
			target, err := v.files.Readlink(at)
			if err != nil {
				return place{path: at, mount: m, err: err}
			}
			rest = append(strings.Split(target, "/"), rest...)
			at = path.Dir(at)
			if path.IsAbs(target) {
				at = "/"
			}
		} else if len(rest) == 0 {
			return place{path: at, mount: m, file: inventory.FileID{Device: st.Dev, Inode: st.Ino}}
		}
		if len(rest) > 0 {
			at, rest = path.Join(at, rest[0]), rest[1:] // "" and "." stay, ".." goes up
		}
	}
}

// trail is what was found on the way from a directory down to its disks.
type trail struct {
	host *view // the machine's own: names in /sys are relative to it

	chain   []string
	disks   []inventory.Disk
	answers []string    // whether each end is encrypted
	media   []string    // what each end is
	served  *host.Mount // a network file system on the way
	dead    []string    // why ways ended before a disk
	visited map[string]bool
}

// end records the end of one way.
func (t *trail) end(medium, encrypted string) {
	t.media = append(t.media, medium)
	t.answers = append(t.answers, encrypted)
}

// lost records a way that could not be followed further.
func (t *trail) lost(reason string, crypt bool) {
	t.dead = append(t.dead, reason)
	t.end(inventory.MediumUnknown, answer(crypt, inventory.EncryptedUnknown))
}

func answer(crypt bool, otherwise string) string {
	if crypt {
		return inventory.EncryptedYes
	}
	return otherwise
}

// path follows a path that a layer above names: the file behind a loop device,
// the upper directory of an overlay.
func (t *trail) path(v *view, p string, crypt bool, depth int) {
	at := v.locate(p)
	if at.err != nil {
		t.lost(host.Text(p, 256)+": "+host.Cause(at.err), crypt)
		return
	}
	t.mount(v, at.mount, crypt, depth)
}

// mount follows a file system down.
func (t *trail) mount(v *view, m *host.Mount, crypt bool, depth int) {
	if depth > maxDepth {
		t.lost("too many layers", crypt)
		return
	}
	switch kindOf(m) {
	case kindBlock:
		t.device(deviceName(m.Device), crypt, depth)
	case kindPool:
		t.pool(m, crypt, depth)
	case kindMemory:
		t.disks = append(t.disks, inventory.Disk{Name: m.Type, Transport: "memory"})
		t.end(inventory.MediumLocal, inventory.EncryptedUnknown) // swap may hold it
	case kindUnion:
		upper := m.Option("upperdir")
		if upper == "" {
			upper, _, _ = strings.Cut(m.Option("lowerdir"), ":")
		}
		t.directory(t.host, upper, crypt, depth)
	case kindStacked:
		t.directory(v, m.Source, crypt, depth)
	case kindVault:
		t.directory(v, m.Source, true, depth)
	case kindNetwork, kindGuest:
		t.served = m
		t.end(inventory.MediumNetwork, answer(crypt, inventory.EncryptedUnknown))
	case kindZFS:
		t.lost("the disks of a ZFS pool show only to its own tools", crypt)
	case kindAuto:
		t.lost("the automount was not triggered", crypt)
	case kindPseudo:
		t.lost("a file system of the kernel holds no data", crypt)
	case kindUnknown:
		t.lost("it is not known where a file system of type "+host.Text(m.Type, 64)+" keeps its data", crypt)
	}
}

// directory follows a directory that a mount names as its source.
func (t *trail) directory(v *view, dir string, crypt bool, depth int) {
	if !path.IsAbs(dir) {
		t.lost("the directory below the file system is not named", crypt)
		return
	}
	t.path(v, dir, crypt, depth+1)
}

// pool follows a file system over several devices. One of them is its source;
// the others of a btrfs are listed below /sys/fs/btrfs.
func (t *trail) pool(m *host.Mount, crypt bool, depth int) {
	var names []string
	for device := range strings.SplitSeq(m.Source, ":") {
		if name := t.deviceOf(device); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.lost("the device of the mount is not named", crypt)
		return
	}
	if m.Type == "btrfs" {
		all := t.members(names[0])
		if all == nil {
			t.dead = append(t.dead, "/sys/fs/btrfs does not list the devices")
			t.media = append(t.media, inventory.MediumUnknown)
		} else {
			names = all
		}
	}
	for _, name := range names {
		t.device("/sys/class/block/"+name, crypt, depth)
	}
}

// members lists the devices of the btrfs that has the named one.
func (t *trail) members(name string) []string {
	for _, pool := range entries(t.host.files, "/sys/fs/btrfs") {
		devices := entries(t.host.files, "/sys/fs/btrfs/"+pool+"/devices")
		if slices.Contains(devices, name) {
			return devices
		}
	}
	return nil
}

// deviceOf gives the kernel's name for a device file: /dev/mapper/data is dm-3.
func (t *trail) deviceOf(file string) string {
	if !path.IsAbs(file) {
		return ""
	}
	name := path.Base(file)
	if at := t.host.locate(file); at.err == nil {
		name = path.Base(at.path)
	}
	if exists(t.host.files, "/sys/class/block/"+name) {
		return name
	}
	for _, device := range entries(t.host.files, "/sys/class/block") {
		mapped, _ := t.host.files.ReadLine("/sys/class/block/" + device + "/dm/name")
		if mapped == name {
			return device
		}
	}
	return ""
}

// device follows a block device that a link of sysfs names.
func (t *trail) device(link string, crypt bool, depth int) {
	dir, err := sysLink(t.host.files, link)
	if err != nil {
		t.lost(link+": "+host.Cause(err), crypt)
		return
	}
	t.block(dir, crypt, depth)
}

// block follows the block device of a sysfs directory down to what it is made
// of: a partition to its disk, a mapped or RAID device to its members, a loop
// device to its file.
func (t *trail) block(dir string, crypt bool, depth int) {
	h := t.host.files
	if depth > maxDepth {
		t.lost("too many layers", crypt)
		return
	}
	crypt = crypt || encrypts(h, dir)
	// Two members may lie on one disk, in the clear and encrypted.
	key := dir + "\x00" + answer(crypt, "")
	if t.visited[key] {
		return
	}
	t.visited[key] = true
	name := path.Base(dir)
	if !slices.Contains(t.chain, name) {
		t.chain = append(t.chain, name)
	}
	if exists(h, dir+"/partition") {
		t.block(path.Dir(dir), crypt, depth+1)
		return
	}
	slaves := entries(h, dir+"/slaves")
	for _, slave := range slaves {
		t.device(dir+"/slaves/"+slave, crypt, depth+1)
	}
	if len(slaves) > 0 {
		return
	}
	if file, err := h.ReadLine(dir + "/loop/backing_file"); err == nil {
		t.path(t.host, file, crypt, depth+1)
		return
	}
	t.leaf(dir, crypt)
}

func (t *trail) leaf(dir string, crypt bool) {
	if !exists(t.host.files, dir) {
		t.lost(dir+": "+host.Cause(fs.ErrNotExist), crypt)
		return
	}
	disk, dead := leaf(t.host.files, dir)
	if !slices.Contains(t.disks, disk) {
		t.disks = append(t.disks, disk)
	}
	below := inventory.EncryptedNo
	if disk.Remote || disk.Virtual || disk.Transport == "memory" {
		below = inventory.EncryptedUnknown // the array, the hypervisor or nothing may encrypt
	}
	switch {
	case dead != "":
		t.lost(disk.Name+": "+dead, crypt)
	case disk.Remote:
		t.end(inventory.MediumNetwork, answer(crypt, below))
	case disk.Removable:
		t.end(inventory.MediumRemovable, answer(crypt, below))
	default:
		t.end(inventory.MediumLocal, answer(crypt, below))
	}
}

// medium is the worst of the ends.
func (t *trail) medium() string { return worst(t.media, badMedia()) }

// encrypted is the worst of the ends.
func (t *trail) encrypted() string {
	return worst(t.answers, badAnswers())
}

// badMedia lists media, the worst first. What is known to be elsewhere is worse
// than what is not known, since it is certain.
func badMedia() []string {
	return []string{
		inventory.MediumMissing, inventory.MediumNetwork, inventory.MediumRemovable,
		inventory.MediumUnknown, inventory.MediumLocal,
	}
}

func badAnswers() []string {
	return []string{inventory.EncryptedNo, inventory.EncryptedUnknown, inventory.EncryptedYes}
}

// worst gives the first of order that is among the values. Nothing is unknown,
// which both orders call by the same word.
func worst(values, order []string) string {
	for _, candidate := range order {
		if slices.Contains(values, candidate) {
			return candidate
		}
	}
	return inventory.MediumUnknown
}
