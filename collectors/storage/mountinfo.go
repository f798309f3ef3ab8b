package storage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxMountLine bounds one line of mountinfo: the kernel writes at most a page
// of options, and two paths.
const maxMountLine = 64 << 10

// mount is one line of mountinfo, proc_pid_mountinfo(5).
type mount struct {
	id, parent int
	device     uint64 // of the super block
	root       string // directory of the file system that is the root of this mount
	target     string // where it is mounted
	fstype     string
	source     string
	options    []string // of the super block, escapes undone
}

// option gives the value of a super block option, NAME=VALUE.
func (m *mount) option(name string) string {
	for _, option := range m.options {
		if key, value, found := strings.Cut(option, "="); found && key == name {
			return value
		}
	}
	return ""
}

// inside gives the path within m's file system of a path that m covers.
func (m *mount) inside(p string) string {
	return path.Join(m.root, strings.TrimPrefix(p, m.target))
}

// table is one mount namespace, as one process sees it.
type table struct {
	mounts   []mount
	children map[int][]int // indexes into mounts, by the parent's id
	tops     []int         // mounts whose parent is not listed
}

// parseMounts reads mountinfo. Lines that are no mounts are counted, not kept.
func parseMounts(r io.Reader) (t *table, malformed int, err error) {
	t = &table{children: make(map[int][]int)}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxMountLine)
	for lines.Scan() {
		m, err := parseMount(lines.Text())
		if err != nil {
			malformed++
			continue
		}
		t.mounts = append(t.mounts, m)
	}
	if err := lines.Err(); err != nil {
		return nil, malformed, fmt.Errorf("read mountinfo: %w", err)
	}
	listed := make(map[int]bool, len(t.mounts))
	for i := range t.mounts {
		listed[t.mounts[i].id] = true
	}
	for i := range t.mounts {
		if m := &t.mounts[i]; listed[m.parent] && m.parent != m.id {
			t.children[m.parent] = append(t.children[m.parent], i)
		} else {
			t.tops = append(t.tops, i)
		}
	}
	return t, malformed, nil
}

func parseMount(line string) (mount, error) {
	var m mount
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
	if m.id, err = strconv.Atoi(fields[0]); err != nil {
		return m, fmt.Errorf("parse mount id: %w", err)
	}
	if m.parent, err = strconv.Atoi(fields[1]); err != nil {
		return m, fmt.Errorf("parse mount parent: %w", err)
	}
	if m.device, err = parseDevice(fields[2]); err != nil {
		return m, err
	}
	m.root, m.target = unescape(fields[3]), path.Clean(unescape(fields[4]))
	if !path.IsAbs(m.target) {
		return m, errors.New("parse mount: target is not absolute")
	}
	m.fstype, m.source = unescape(fields[dash+1]), unescape(fields[dash+2])
	if len(fields) > dash+3 {
		for option := range strings.SplitSeq(fields[dash+3], ",") {
			m.options = append(m.options, unescape(option))
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

// covering gives the mount that serves a clean absolute path. It walks as the
// kernel does: at each mount the nearest mount point on the way is crossed, so
// that stacked mounts and mounts hidden below a later one come out right, which
// the longest matching target alone would not give.
func (t *table) covering(p string) (*mount, bool) {
	var at *mount
	level := t.tops
	for range len(t.mounts) { // parents may form a circle in a hostile table
		next := t.nearest(level, p)
		if next == nil {
			break
		}
		at, level = next, t.children[next.id]
	}
	return at, at != nil
}

func (t *table) nearest(level []int, p string) *mount {
	var best *mount
	for _, i := range level {
		m := &t.mounts[i]
		if within(p, m.target) && (best == nil || len(m.target) <= len(best.target)) {
			best = m
		}
	}
	return best
}

// below lists the mounts that are reached on some path below dir.
func (t *table) below(dir string) []*mount {
	var found []*mount
	for i := range t.mounts {
		m := &t.mounts[i]
		if m.target == dir || !within(m.target, dir) {
			continue
		}
		if top, ok := t.covering(m.target); ok && top == m {
			found = append(found, m)
		}
	}
	return found
}

// shares reports whether a mount of t is also one of other. A mount belongs to
// one namespace and its id to one mount, so one in common means the same
// namespace.
func (t *table) shares(other *table) bool {
	ids := make(map[int]bool, len(other.mounts))
	for i := range other.mounts {
		ids[other.mounts[i].id] = true
	}
	for i := range t.mounts {
		if ids[t.mounts[i].id] {
			return true
		}
	}
	return false
}

// within reports whether the clean path p is dir or below it.
func within(p, dir string) bool {
	if dir == "/" {
		return true
	}
	rest, found := strings.CutPrefix(p, dir)
	return found && (rest == "" || rest[0] == '/')
}
