package host

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Walked is a file or directory that [Host.Walk] came by, or a descriptor.
type Walked struct {
	Path   string // inside the root
	Depth  int    // 0 where the walk began
	Mode   uint32 // type and permission bits, inode(7)
	Links  uint32 // names the inode has
	UID    uint32 // of its owner
	Device uint64 // st_dev
	Inode  uint64
}

// Directory reports whether it is one.
func (w *Walked) Directory() bool { return w.Mode&unix.S_IFMT == unix.S_IFDIR }

// Regular reports whether it is a regular file.
func (w *Walked) Regular() bool { return w.Mode&unix.S_IFMT == unix.S_IFREG }

// ErrSkip keeps a walk out of a directory whose visitor returns it.
var ErrSkip = errors.New("skip this directory")

// Walk visits dir and what is below it level by level, entries in the order of
// their names, until limit of them were visited. It stays on one file system,
// follows no symbolic link, triggers no automount and asks no server: attributes
// are those the kernel has. It returns how many it visited and how many
// directories it did not see all of. An error of the visitor other than ErrSkip
// ends the walk.
func (h *Host) Walk(dir string, limit int, visit func(*Walked) error) (visited, missed int, err error) {
	fd, err := h.openat(dir, unix.O_PATH)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "walk", Path: dir, Err: err}
	}
	top, err := describe(fd, "", unix.AT_EMPTY_PATH)
	unix.Close(fd)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "walk", Path: dir, Err: err}
	}
	top.Path = dir
	queue := []Walked{top}
	for ; visited < len(queue); visited++ {
		at := queue[visited]
		switch err := visit(&at); {
		case errors.Is(err, ErrSkip):
			continue
		case err != nil:
			return visited, missed, err
		case !at.Directory() || at.Device != top.Device:
			continue
		}
		below, complete := h.entries(&at, limit-len(queue))
		if !complete {
			missed++
		}
		queue = append(queue, below...)
	}
	return visited, missed, nil
}

// entries describes what a directory holds, at most limit entries of it.
func (h *Host) entries(at *Walked, limit int) (below []Walked, complete bool) {
	fd, err := h.openat(at.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, Gone(err)
	}
	f := os.NewFile(uintptr(fd), at.Path)
	defer f.Close()
	names, err := f.Readdirnames(limit + 1)
	complete = (err == nil || errors.Is(err, io.EOF)) && len(names) <= limit
	names = names[:min(len(names), limit)]
	slices.Sort(names)
	for _, name := range names {
		w, err := describe(fd, name, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			complete = complete && Gone(err)
			continue
		}
		w.Path, w.Depth = path.Join(at.Path, name), at.Depth+1
		below = append(below, w)
	}
	return below, complete
}

// Find describes what a path leads to, symbolic links followed, and gives its path
// without them. It asks no server for attributes, but one may be asked for the way.
// What leads through a process's links in /proc, as /dev/fd does to whoever looks,
// leads nowhere.
func (h *Host) Find(path string) (Walked, error) {
	fd, err := h.findat(path)
	if err != nil {
		return Walked{}, &fs.PathError{Op: "find", Path: path, Err: err}
	}
	defer unix.Close(fd)
	w, err := describe(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return Walked{}, &fs.PathError{Op: "find", Path: path, Err: err}
	}
	w.Path, err = h.pathOf(fd)
	return w, err
}

// findat opens a path for Find. Other roots than "/" never lead through such links.
func (h *Host) findat(path string) (int, error) {
	if !h.Live() {
		return h.openat(path, unix.O_PATH)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6, or a filter that does not know it
		return h.openat(path, unix.O_PATH)
	}
	return fd, err
}

// Describe is [Proc.Stat] that asks no server: it gives what the kernel has, so
// that a descriptor of a dead network file system cannot hold it up.
func (p *Proc) Describe(pid int, name string) (Walked, error) {
	if p.h.Live() {
		w, err := describe(p.dir, entry(pid, name), 0)
		if err != nil {
			return w, p.fail("stat", entry(pid, name), err)
		}
		return w, nil
	}
	st, err := p.h.Stat("/proc/" + entry(pid, name))
	return Walked{Mode: st.Mode, Links: uint32(min(st.Nlink, math.MaxUint32)), UID: st.Uid, Device: st.Dev, Inode: st.Ino}, err
}

// describe reads what the kernel has of a name below an open directory.
func describe(fd int, name string, flags int) (Walked, error) {
	const wanted = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_NLINK | unix.STATX_INO | unix.STATX_UID
	var st unix.Statx_t
	if err := unix.Statx(fd, name, flags|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, wanted, &st); err != nil {
		return Walked{}, err
	}
	return Walked{
		Mode: uint32(st.Mode), Links: st.Nlink, UID: st.Uid, Device: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino,
	}, nil
}
