package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// PIDs lists the processes below /proc in ascending order.
func (h *Host) PIDs() ([]int, error) {
	f, err := h.OpenDir("/proc")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// Proc reads many small files of /proc/PID, one after another, into one buffer:
// what a method returns is valid until the next call. It is not for concurrent
// use. Any process or thread id serves as PID, as in proc(5).
type Proc struct {
	h   *Host
	dir int // of /proc
	buf []byte
}

// procLimit bounds a file of /proc/PID; all but cmdline and environ are far
// smaller.
const procLimit = 64 << 10

// OpenProc opens /proc for reading.
func (h *Host) OpenProc() (*Proc, error) {
	if h.machine != nil { // a container's own /proc counts its processes anew
		return h.machine.OpenProc()
	}
	dir, err := h.openat("/proc", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: "/proc", Err: err}
	}
	return &Proc{h: h, dir: dir, buf: make([]byte, procLimit)}, nil
}

// Close releases /proc.
func (p *Proc) Close() error { return unix.Close(p.dir) }

func (p *Proc) openat(name string, flags int) (int, error) {
	if !p.h.Live() {
		return p.h.openat("/proc/"+name, flags)
	}
	for {
		fd, err := unix.Openat(p.dir, name, flags|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func entry(pid int, name string) string { return strconv.Itoa(pid) + "/" + name }

// fail describes an error of a file below /proc. Of a process that is reaped
// between the look-up of a name and its use, the kernel says EACCES; that the
// process is gone is the truth.
func (p *Proc) fail(op, name string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		pid, _, _ := strings.Cut(name, "/")
		var st unix.Stat_t
		if gone := unix.Fstatat(p.dir, pid, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(gone, unix.ENOENT) {
			err = unix.ESRCH
		}
	}
	return &fs.PathError{Op: op, Path: "/proc/" + name, Err: err}
}

// Read reads the first limit bytes, at most 64 KiB, of a file of a process.
func (p *Proc) Read(pid int, name string, limit int) ([]byte, error) {
	fd, err := p.openat(entry(pid, name), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, p.fail("open", entry(pid, name), err)
	}
	defer unix.Close(fd)
	if !p.h.Live() { // the running kernel's own files are what they are
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil, p.fail("open", entry(pid, name), ErrIrregular)
		}
	}
	buf := p.buf[:min(limit, len(p.buf))]
	size := 0
	for size < len(buf) {
		n, err := unix.Read(fd, buf[size:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, p.fail("read", entry(pid, name), err)
		}
		if n == 0 {
			break
		}
		size += n
	}
	return buf[:size], nil
}

// Open opens a file of a process for reading in parts.
func (p *Proc) Open(pid int, name string) (*os.File, error) {
	fd, err := p.openat(entry(pid, name), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, p.fail("open", entry(pid, name), err)
	}
	return os.NewFile(uintptr(fd), "/proc/"+entry(pid, name)), nil
}

// Readlink reads a symbolic link of a process, such as exe or ns/net.
func (p *Proc) Readlink(pid int, name string) ([]byte, error) {
	return p.ReadlinkAt(entry(pid, name))
}

// ReadlinkAt reads a symbolic link below /proc.
func (p *Proc) ReadlinkAt(name string) ([]byte, error) {
	if !p.h.Live() {
		target, err := p.h.Readlink("/proc/" + name)
		return append(p.buf[:0], target...), err
	}
	n, err := unix.Readlinkat(p.dir, name, p.buf[:unix.PathMax])
	if err != nil {
		return nil, p.fail("readlink", name, err)
	}
	return p.buf[:n], nil
}

// Stat describes what a name of a process leads to; a magic link, such as exe,
// leads to the file itself, whatever its path is now.
func (p *Proc) Stat(pid int, name string) (unix.Stat_t, error) {
	if !p.h.Live() {
		return p.h.Stat("/proc/" + entry(pid, name))
	}
	var st unix.Stat_t
	if err := unix.Fstatat(p.dir, entry(pid, name), &st, 0); err != nil {
		return st, p.fail("stat", entry(pid, name), err)
	}
	return st, nil
}

// NamespaceID gives the inode number of a namespace of a process, of the kind
// net, mnt, pid or user; see namespaces(7).
func (p *Proc) NamespaceID(pid int, kind string) (uint64, error) {
	link, err := p.Readlink(pid, "ns/"+kind)
	if err != nil {
		return 0, err
	}
	return ParseMagic(link, kind)
}

// ParseMagic reads the number of a link such as socket:[1234] or net:[1234].
func ParseMagic(link []byte, kind string) (uint64, error) {
	rest, ok := bytes.CutPrefix(link, []byte(kind))
	if !ok || len(rest) < 4 || rest[0] != ':' || rest[1] != '[' || rest[len(rest)-1] != ']' {
		return 0, fmt.Errorf("parse %s link: %q", kind, link)
	}
	return parseUint(rest[2 : len(rest)-1])
}

// parseUint is strconv.ParseUint without the copy to a string.
func parseUint(digits []byte) (uint64, error) {
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' || n > (1<<64-10)/10 {
			return 0, fmt.Errorf("parse number: %q", digits)
		}
		n = n*10 + uint64(c-'0')
	}
	if len(digits) == 0 {
		return 0, errors.New("parse number: no digits")
	}
	return n, nil
}

// Numbers lists the numeric names in a directory of a process: fd, task.
// It appends to into.
func (p *Proc) Numbers(pid int, name string, into []int) ([]int, error) {
	fd, err := p.openat(entry(pid, name), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return into, p.fail("open", entry(pid, name), err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Getdents(fd, p.buf)
		if err != nil {
			return into, p.fail("list", entry(pid, name), err)
		}
		if n <= 0 {
			return into, nil
		}
		into = appendNumbers(into, p.buf[:n])
	}
}

// appendNumbers reads struct linux_dirent64 of getdents(2): the length of the
// record at 16, the name from 19 to a NUL.
func appendNumbers(into []int, records []byte) []int {
	for len(records) > 19 {
		size := int(binary.NativeEndian.Uint16(records[16:]))
		if size <= 19 || size > len(records) {
			break
		}
		name, _, _ := bytes.Cut(records[19:size], []byte{0})
		if number, err := parseUint(name); err == nil && number < 1<<31 {
			into = append(into, int(number))
		}
		records = records[size:]
	}
	return into
}

// LiveThread gives a thread of a process that still runs. A program whose first
// thread has exited while others go on looks like a zombie without executable
// and descriptors, which only its other threads' entries show. It gives pid
// itself when there is none.
func (p *Proc) LiveThread(pid int) int {
	threads, err := p.Numbers(pid, "task", nil)
	if err != nil {
		return pid
	}
	for _, tid := range threads {
		if stat, err := p.ReadStat(tid); err == nil && !stat.Dead() {
			return tid
		}
	}
	return pid
}

// Stat is what is wanted of /proc/PID/stat, see proc(5).
type Stat struct {
	Name    string // as it stands there: any byte but NUL
	State   byte
	Parent  int
	Flags   uint64 // PF_* of the kernel's sched.h
	Threads int
	Start   uint64 // clock ticks after boot
	Image   uint64 // address of the arguments; differs after exec, 0 where hidden
}

// Dead reports whether it has ended and only its exit status is left.
func (s *Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// Exiting reports whether the thread is on its way out: PF_EXITING of the
// kernel's sched.h. It has no files and no namespaces any more.
func (s *Stat) Exiting() bool { return s.Flags&0x4 != 0 }

// Kernel reports whether it is a thread of the kernel: PF_KTHREAD.
func (s *Stat) Kernel() bool { return s.Flags&0x00200000 != 0 }

// ReadStat reads /proc/PID/stat.
func (p *Proc) ReadStat(pid int) (Stat, error) {
	data, err := p.Read(pid, "stat", 4096)
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(data)
}

// ParseStat reads the text of /proc/PID/stat. The name, in parentheses, may
// hold spaces, newlines and parentheses itself: the last one closes it.
func ParseStat(data []byte) (Stat, error) {
	from, to := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if from < 0 || to < from {
		return Stat{}, fmt.Errorf("parse stat: no name in %q", data[:min(len(data), 64)])
	}
	s := Stat{Name: string(data[from+1 : to])}
	last := 0
	for i, field := 3, data[to+1:]; len(field) > 0; i++ { // numbered as in proc(5)
		var word []byte
		word, field, _ = bytes.Cut(bytes.TrimLeft(field, " \n"), []byte(" "))
		if len(word) == 0 {
			break
		}
		var err error
		last = i
		switch i {
		case 3:
			s.State = word[0]
		case 4:
			err = parseInto(&s.Parent, word)
		case 9:
			s.Flags, err = parseUint(word)
		case 20:
			err = parseInto(&s.Threads, word)
		case 22:
			s.Start, err = parseUint(word)
		case 48:
			s.Image, err = parseUint(word)
		}
		if err != nil {
			return Stat{}, fmt.Errorf("parse stat field %d: %w", i, err)
		}
		if i == 48 {
			break
		}
	}
	if last < 22 {
		return Stat{}, fmt.Errorf("parse stat: only %d fields", last)
	}
	return s, nil
}

func parseInto(number *int, word []byte) error {
	n, err := parseUint(word)
	if err == nil && n >= 1<<31 {
		err = fmt.Errorf("parse number: %q is too large", word)
	}
	*number = int(n & (1<<31 - 1))
	return err
}

// Text makes hostile bytes fit to print: valid UTF-8, no characters that control
// a terminal, turn the direction of writing or cannot be seen, at most limit
// bytes. What was replaced shows as U+FFFD.
func Text(raw string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return r
	}, raw)
	clean = strings.ToValidUTF8(clean, string(utf8.RuneError))
	if len(clean) <= limit {
		return clean
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(clean[cut]) {
		cut--
	}
	return clean[:cut]
}
