package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxMountTable bounds a mount table: some 100 000 mounts.
const maxMountTable = 16 << 20

// maxMountLine bounds one line of mountinfo: the kernel writes at most a page
// of options, and two paths.
const maxMountLine = 64 << 10

// Mount is one line of mountinfo, proc_pid_mountinfo(5).
type Mount struct {
	ID, Parent int
	Device     uint64   // of the super block; st_dev of its files, but on btrfs and overlayfs
	Root       string   // directory of the file system that is the root of this mount
	Target     string   // where it is mounted
	Type       string   // of the file system
	Source     string   // of which kind depends on the type; may hold secrets
	Options    []string // of the super block, escapes undone; may hold secrets
}

// Option gives the value of a super block option, NAME=VALUE.
func (m *Mount) Option(name string) string {
	for _, option := range m.Options {
		if key, value, found := strings.Cut(option, "="); found && key == name {
			return value
		}
	}
	return ""
}

// Inside gives the path within m's file system of a path that m covers.
func (m *Mount) Inside(p string) string {
	return path.Join(m.Root, strings.TrimPrefix(p, m.Target))
}

// Waits reports whether looking at the mount's files may wait for another
// machine, or for a process that died: then even stat(2) may never return. Of
// the file systems without a block device only those known not to are trusted.
func (m *Mount) Waits() bool {
	switch m.Type {
	case "btrfs", "bcachefs", "zfs", "ubifs", "overlay", "tmpfs", "ramfs", "devtmpfs", "proc", "sysfs":
		return false
	}
	return unix.Major(m.Device) == 0 || strings.HasPrefix(m.Type, "fuse")
}

// MountTable is one mount namespace, as one process sees it.
type MountTable struct {
	Mounts   []Mount
	at       map[int]int   // index into Mounts, by id
	children map[int][]int // likewise, by the parent's id
	tops     []int         // mounts whose parent is not listed
}

// ReadMounts reads a mountinfo file, which ParseMounts describes.
func (h *Host) ReadMounts(path string) (t *MountTable, malformed int, err error) {
	data, err := h.ReadFile(path, maxMountTable)
	if err != nil {
		return nil, 0, err
	}
	return ParseMounts(bytes.NewReader(data))
}

// ParseMounts reads mountinfo. Lines that are no mounts are counted, not kept.
func ParseMounts(r io.Reader) (t *MountTable, malformed int, err error) {
	t = &MountTable{at: make(map[int]int), children: make(map[int][]int)}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxMountLine)
	for lines.Scan() {
		m, err := parseMount(lines.Text())
		if err != nil {
			malformed++
			continue
		}
		t.Mounts = append(t.Mounts, m)
	}
	if err := lines.Err(); err != nil {
		return nil, malformed, fmt.Errorf("read mountinfo: %w", err)
	}
	for i := range t.Mounts {
		t.at[t.Mounts[i].ID] = i
	}
	for i := range t.Mounts {
		m := &t.Mounts[i]
		if _, listed := t.at[m.Parent]; listed && m.Parent != m.ID {
			t.children[m.Parent] = append(t.children[m.Parent], i)
		} else {
			t.tops = append(t.tops, i)
		}
	}
	return t, malformed, nil
}

func parseMount(line string) (Mount, error) {
	var m Mount
	fields := strings.Split(line, " ") // an empty source is an empty field
	// Six fields, any number of optional ones, a lone dash, three fields.
	dash := 6
	for dash < len(fields) && fields[dash] != "-" {
		dash++
	}
	if len(fields) < dash+3 {
		return m, errors.New("parse mount: too few fields")
	}
	var err error
	if m.ID, err = strconv.Atoi(fields[0]); err != nil {
		return m, fmt.Errorf("parse mount id: %w", err)
	}
	if m.Parent, err = strconv.Atoi(fields[1]); err != nil {
		return m, fmt.Errorf("parse mount parent: %w", err)
	}
	if m.Device, err = parseDevice(fields[2]); err != nil {
		return m, err
	}
	m.Root, m.Target = unescape(fields[3]), path.Clean(unescape(fields[4]))
	if !path.IsAbs(m.Target) {
		return m, errors.New("parse mount: target is not absolute")
	}
	m.Type, m.Source = unescape(fields[dash+1]), unescape(fields[dash+2])
	if len(fields) > dash+3 {
		for option := range strings.SplitSeq(fields[dash+3], ",") {
			m.Options = append(m.Options, unescape(option))
		}
	}
	return m, nil
}

// parseDevice reads MAJOR:MINOR as st_dev has it.
func parseDevice(text string) (uint64, error) {
	major, minor, found := strings.Cut(text, ":")
	if !found {
		return 0, errors.New("parse device: no colon")
	}
	hi, err := strconv.ParseUint(major, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parse device: %w", err)
	}
	lo, err := strconv.ParseUint(minor, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parse device: %w", err)
	}
	return unix.Mkdev(uint32(hi), uint32(lo)), nil
}

// unescape undoes the kernel's \NNN: space, tab, newline, backslash and, in
// options, comma and equals sign.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Covering gives the mount that serves a clean absolute path. It walks as the
// kernel does: at each mount the nearest mount point on the way is crossed, so
// that stacked mounts and mounts hidden below a later one come out right, which
// the longest matching target alone would not give.
func (t *MountTable) Covering(p string) (*Mount, bool) {
	var at *Mount
	level := t.tops
	for range len(t.Mounts) { // parents may form a circle in a hostile table
		next := t.nearest(level, p)
		if next == nil {
			break
		}
		at, level = next, t.children[next.ID]
	}
	return at, at != nil
}

func (t *MountTable) nearest(level []int, p string) *Mount {
	var best *Mount
	for _, i := range level {
		m := &t.Mounts[i]
		if Within(p, m.Target) && (best == nil || len(m.Target) <= len(best.Target)) {
			best = m
		}
	}
	return best
}

// Below lists the mounts that are reached on some path below dir.
func (t *MountTable) Below(dir string) []*Mount {
	var found []*Mount
	for i := range t.Mounts {
		m := &t.Mounts[i]
		if m.Target == dir || !Within(m.Target, dir) {
			continue
		}
		if top, ok := t.Covering(m.Target); ok && top == m {
			found = append(found, m)
		}
	}
	return found
}

// Shares reports whether a mount of t is also one of other. A mount belongs to
// one namespace and its id to one mount, so one in common means the same
// namespace.
func (t *MountTable) Shares(other *MountTable) bool {
	for i := range t.Mounts {
		if _, common := other.at[t.Mounts[i].ID]; common {
			return true
		}
	}
	return false
}

// ByID gives the mount with an id, as mnt_id of /proc/PID/fdinfo has it.
func (t *MountTable) ByID(id int) (*Mount, bool) {
	i, ok := t.at[id]
	if !ok {
		return nil, false
	}
	return &t.Mounts[i], true
}

// Within reports whether the clean path p is dir or below it.
func Within(p, dir string) bool {
	if dir == "/" {
		return true
	}
	rest, found := strings.CutPrefix(p, dir)
	return found && (rest == "" || rest[0] == '/')
}
