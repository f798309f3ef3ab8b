package sbom

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// Limits bound what [Digest] reads.
type Limits struct {
	Files int
	File  int64 // bytes of one file
	Total int64 // bytes of all
	Time  time.Duration
}

// DefaultLimits suits a command that a person waits for.
func DefaultLimits() Limits {
	return Limits{Files: 16 << 10, File: 1 << 30, Total: 8 << 30, Time: 30 * time.Second}
}

// Digests is what was read of files. Nil is none.
type Digests struct{ files map[string]digest }

// digest is one file's; Reason says why there is none.
type digest struct {
	SHA512   string
	Modified time.Time
	Reason   string
}

func (d *Digests) of(path string) (digest, bool) {
	if d == nil {
		return digest{}, false
	}
	f, ok := d.files[path]
	return f, ok
}

// Digest reads the files of a round that are at hand below root: the programs
// that run from this machine's own files, and what is delivered as one file. The
// daemon never does this; a command does. A file that was replaced since the
// program began is left out: its hash would be another program's.
func Digest(ctx context.Context, root string, s *inventory.Snapshot, limits Limits) *Digests {
	ctx, cancel := context.WithTimeout(ctx, limits.Time)
	defer cancel()
	d := &Digests{files: make(map[string]digest)}
	r := &reader{ctx: ctx, root: root, limits: limits, buffer: make([]byte, 256<<10)}
	wanted := atHand(s)
	for _, path := range slices.Sorted(func(yield func(string) bool) {
		for path := range wanted {
			if !yield(path) {
				return
			}
		}
	}) {
		d.files[path] = r.digest(path, wanted[path])
	}
	return d
}

// atHand gives the files by path, with who they were when they were seen; zero
// where nobody saw that.
func atHand(s *inventory.Snapshot) map[string]inventory.FileID {
	wanted := make(map[string]inventory.FileID)
	for i := range s.Components {
		for _, path := range s.Components[i].Files {
			if strings.HasPrefix(path, "/") {
				wanted[path] = inventory.FileID{}
			}
		}
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		if p.Kernel || p.Memory || p.Foreign || p.Container != "" || !strings.HasPrefix(p.Executable, "/") {
			continue
		}
		if _, known := wanted[p.Executable]; !known || !p.Deleted {
			wanted[p.Executable] = p.File
		}
	}
	return wanted
}

type reader struct {
	ctx    context.Context //nolint:containedctx // of one call
	root   string
	limits Limits
	buffer []byte
	files  int
	total  int64
}

func (r *reader) digest(path string, seen inventory.FileID) digest {
	if r.files++; r.files > r.limits.Files {
		return digest{Reason: "more files than the limit"}
	}
	if r.ctx.Err() != nil {
		return digest{Reason: "out of time"}
	}
	f, err := open(r.root, path)
	if err != nil {
		return digest{Reason: cause(err)}
	}
	defer f.Close()
	var st unix.Stat_t
	switch err := unix.Fstat(int(f.Fd()), &st); {
	case err != nil:
		return digest{Reason: cause(err)}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return digest{Reason: "not a regular file"}
	case seen != inventory.FileID{} && seen != inventory.FileID{Device: st.Dev, Inode: st.Ino}:
		return digest{Reason: "replaced since the program began"}
	case st.Size > r.limits.File || r.total+st.Size > r.limits.Total:
		return digest{Reason: "larger than the limit"}
	}
	sum, err := r.sum(f, st.Size)
	if err != nil {
		return digest{Reason: cause(err)}
	}
	return digest{SHA512: sum, Modified: time.Unix(st.Mtim.Unix())}
}

var errChanged = errors.New("changed while it was read")

// sum reads a file of a known size and hashes it.
func (r *reader) sum(f io.Reader, size int64) (string, error) {
	hash := sha512.New()
	var got int64
	for got <= size {
		if r.ctx.Err() != nil {
			return "", context.DeadlineExceeded
		}
		n, err := f.Read(r.buffer)
		hash.Write(r.buffer[:n])
		got += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
	}
	r.total += got
	if got != size {
		return "", errChanged
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// open opens a file below another machine's root, or of this one. It never waits
// for a FIFO or a device.
func open(root, path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if root == "/" || root == "" {
		fd, err := unix.Open(path, flags, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), path), nil
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, strings.TrimLeft(path, "/"), &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// cause is why a file could not be read, without its path.
func cause(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "out of time"
	case errors.Is(err, fs.ErrNotExist):
		return "no such file here"
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return err.Error()
}
