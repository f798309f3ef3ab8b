// Package host reads files below one root: this machine's own, or another
// machine's mounted tree.
//
// Below another root every path is resolved by openat2(2) with RESOLVE_IN_ROOT,
// since real trees are full of absolute symbolic links. Below "/" ordinary
// calls serve, which also follow the magic links of /proc.
package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one machine's file tree. It is safe for concurrent use.
type Host struct {
	root string
	live bool
	bare bool // files are described without their device
	fd   int  // of root; -1 for "/", and while it is detached
	now  func() time.Time

	machine *Host // where its programs run; nil where that is itself
}

// ErrIrregular is returned for what is not a regular file where one was
// expected: reading a FIFO or a device of a hostile tree may never end.
var ErrIrregular = errors.New("not a regular file")

// ErrTooLarge is returned where a file exceeds the caller's limit.
var ErrTooLarge = errors.New("too large")

// Open returns the machine whose files lie below root; now is its clock.
func Open(root string, now func() time.Time) (*Host, error) {
	h := &Host{root: filepath.Clean(root), fd: -1, now: now}
	if h.root == "/" {
		h.live = true
		return h, nil
	}
	if err := h.Attach(root); err != nil {
		return nil, err
	}
	return h, nil
}

// Detached returns a tree without files, which [Host.Attach] gives it, of programs
// that run on a machine. Whoever looks at a container holds its root only while he
// looks: as long as it is open its file system cannot be taken away.
func Detached(machine *Host) *Host { return &Host{fd: -1, now: machine.now, machine: machine} }

// IgnoreDevices makes descriptions of files leave out the device. Containers of one
// image have its files in common, each by a device of its own.
func (h *Host) IgnoreDevices() { h.bare = true }

// Attach gives it the files below root. It must not be in use.
func (h *Host) Attach(root string) error {
	h.Detach()
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root %s: %w", root, err)
	}
	h.root, h.fd = filepath.Clean(root), fd
	return nil
}

// Share attaches it to the root of another.
func (h *Host) Share(with *Host) error {
	fd, err := unix.FcntlInt(uintptr(with.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root %s: %w", with.root, err)
	}
	h.Detach()
	h.root, h.fd = with.root, fd
	return nil
}

// Detach releases the root; until the next Attach there are no files.
func (h *Host) Detach() {
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}

// Close releases the root.
func (h *Host) Close() error {
	h.Detach()
	return nil
}

// Live reports whether the tree is the running machine's, so that the kernel's
// own interfaces describe it, too.
func (h *Host) Live() bool { return h.live }

// Root is the directory that all paths are below.
func (h *Host) Root() string { return h.root }

// Now is the machine's clock.
func (h *Host) Now() time.Time { return h.now() }

// mostTries bounds how often an opening is begun again. Whoever renames all the time
// below a root keeps paths with ".." from being resolved in it.
const mostTries = 128

// openat opens path, an absolute path inside the root.
func (h *Host) openat(path string, flags int) (int, error) {
	flags |= unix.O_CLOEXEC
	for try := 1; ; try++ {
		var fd int
		var err error
		if h.Live() {
			fd, err = unix.Open(path, flags, 0)
		} else {
			fd, err = unix.Openat2(h.fd, relative(path), &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT})
		}
		if errors.Is(err, unix.ENOSYS) {
			return fd, fmt.Errorf("openat2(2), which a unit with RestrictSUIDSGID= is refused: %w", err)
		}
		if try >= mostTries || !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

func relative(path string) string {
	rel := strings.TrimLeft(path, "/")
	if rel == "" {
		return "."
	}
	return rel
}

// Open opens a regular file for reading. It never blocks on a FIFO, and opens no
// device that a container has made for itself: some do things when they are opened.
func (h *Host) Open(path string) (*os.File, error) {
	fd, err := h.openRegular(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrIrregular}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openRegular opens what may turn out to be no regular file. Below another root it
// is looked at before, and that very file opened, which nobody can exchange.
func (h *Host) openRegular(path string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	if h.Live() {
		return h.openat(path, flags)
	}
	at, err := h.openat(path, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, ErrIrregular
	}
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", at), flags|unix.O_CLOEXEC, 0)
}

// ReadFile reads a regular file of at most limit bytes.
func (h *Host) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := h.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	return data, nil
}

// ReadLine reads a small file, as sysfs and procfs have them, without the white
// space around its text.
func (h *Host) ReadLine(path string) (string, error) {
	data, err := h.ReadFile(path, 4096)
	return strings.TrimSpace(string(data)), err
}

// ReadDir lists the entries of a directory, sorted by name.
func (h *Host) ReadDir(path string) ([]fs.DirEntry, error) {
	f, err := h.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// OpenDir opens a directory, for callers that list it in parts.
func (h *Host) OpenDir(path string) (*os.File, error) {
	fd, err := h.openat(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Readlink reads a symbolic link without following it.
func (h *Host) Readlink(path string) (string, error) {
	if h.Live() {
		return os.Readlink(path)
	}
	fd, err := h.openat(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(buf[:n]), nil
}

// Stat describes what path leads to, symbolic links followed.
func (h *Host) Stat(path string) (unix.Stat_t, error) { return h.stat(path, 0) }

// Lstat describes path itself.
func (h *Host) Lstat(path string) (unix.Stat_t, error) { return h.stat(path, unix.O_NOFOLLOW) }

func (h *Host) stat(path string, flags int) (unix.Stat_t, error) {
	var st unix.Stat_t
	fail := func(err error) (unix.Stat_t, error) {
		return st, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if h.Live() {
		at := 0
		if flags&unix.O_NOFOLLOW != 0 {
			at = unix.AT_SYMLINK_NOFOLLOW
		}
		if err := unix.Fstatat(unix.AT_FDCWD, path, &st, at); err != nil {
			return fail(err)
		}
		return st, nil
	}
	fd, err := h.openat(path, unix.O_PATH|flags)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	if h.bare {
		st.Dev = 0
	}
	return st, nil
}

// Resolve gives the path inside the root that path leads to, with all symbolic
// links followed.
func (h *Host) Resolve(path string) (string, error) {
	fd, err := h.openat(path, unix.O_PATH)
	if err != nil {
		return "", &fs.PathError{Op: "resolve", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return h.pathOf(fd)
}

// pathOf gives the path inside the root of an open file.
func (h *Host) pathOf(fd int) (string, error) {
	full, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", err
	}
	return h.Inside(full)
}

// Inside gives the path inside the root of what the kernel calls by a full path:
// that of a container begins where the container's files do, that of a tree below
// the machine's own root with the way to the tree.
func (h *Host) Inside(full string) (string, error) {
	if h.Live() {
		return full, nil
	}
	above, err := h.Above()
	if err != nil {
		return "", err
	}
	return "/" + strings.TrimLeft(strings.TrimPrefix(full, above), "/"), nil
}

// Above is what the kernel puts before a path of another tree than the machine's own:
// the way to one that chroot(2) made, "" where a mount namespace begins.
func (h *Host) Above() (string, error) {
	root, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", h.fd))
	if err != nil {
		return "", err
	}
	return strings.TrimRight(root, "/"), nil
}

// Gone reports whether err says that the thing read no longer exists, as when
// a process ends while it is read.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// Cause puts an error in words for people, without the path that a gap names
// already.
func Cause(err error) string {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err.Error()
	}
	return err.Error()
}
