//go:build linux && (amd64 || arm64)

package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// executable is what the kernel knows of a program's file.
type executable struct {
	path      string
	truncated bool
	unlinked  bool
}

// Flags of struct image.
const (
	imageTruncated = 1
	imageUnlinked  = 2
)

// markedFlows is that of who has flows, in programs.h.
const markedFlows = 1

// executions reads those that run, those that ended since the last reading, and
// those that ended before and have flows.
func (k *Kernel) executions(booted time.Time, owners map[uint64]bool) ([]Program, error) {
	b := &k.buffers
	if b.ids == nil {
		b.ids, b.programs = make([]uint64, batch/8), make([]flowsProgram, batch/8)
	}
	if err := k.maps[flowsMapSettings].Put(settingKept, uint32(0)); err != nil {
		return nil, fmt.Errorf("count ended executions: %w", err)
	}
	k.reads++
	sweeps := k.reads%sweepEvery == 0
	var kept []flowsProgram
	var all []Program
	var cursor ebpf.MapBatchCursor
	for end := false; !end; {
		n, err := k.maps[flowsMapPrograms].BatchLookup(&cursor, b.ids, b.programs, nil)
		end = errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return nil, fmt.Errorf("read executions: %w", err)
		}
		for i := range n {
			row := &b.programs[i]
			p, err := k.programOf(b.ids[i], row, booted)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
			if err := k.dropEnded(b.ids[i], row, p.Ended, owners); err != nil {
				return nil, err
			}
			if sweeps {
				kept = append(kept, *row)
			}
		}
	}
	if sweeps {
		return all, errors.Join(k.sweep(referenced(kept)), k.sweepDerived())
	}
	return all, nil
}

// dropEnded lets go of an execution that was read, unless flows are its own. A
// flow may have begun since they were read, so one that had any waits a while.
func (k *Kernel) dropEnded(id uint64, row *flowsProgram, ended time.Time, owners map[uint64]bool) error {
	if row.Ended == 0 || owners[id] || row.Marked&markedFlows != 0 && time.Since(ended) < 2*crowded {
		return nil
	}
	if err := k.maps[flowsMapPrograms].Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("drop ended execution: %w", err)
	}
	return nil
}

func (k *Kernel) programOf(id uint64, row *flowsProgram, booted time.Time) (Program, error) {
	file, err := k.executableOf(&row.Image)
	if err != nil {
		return Program{}, err
	}
	group, err := k.groupOf(row.Group)
	if err != nil {
		return Program{}, err
	}
	p := Program{
		ID: executionOf(id, booted), Parent: executionOf(row.Parent, booted),
		Began: booted.Add(time.Duration(row.Began)),
		Path:  file.path, Truncated: file.truncated, Unlinked: file.unlinked,
		Device: userDevice(row.Image.Device), Inode: row.Image.Inode,
		Group: group, UID: row.Uid, GID: row.Gid,
		NetNS: uint64(row.Netns), MntNS: uint64(row.Mntns), PIDNS: uint64(row.Pidns), UserNS: uint64(row.Userns),
		Name: text(row.Comm[:]),
	}
	p.Channels, p.MoreChannels = channelsOf(row)
	if row.Ended != 0 {
		p.Ended = booted.Add(time.Duration(row.Ended))
	}
	if n := min(int(row.ArgumentBytes), len(row.Arguments)); n > 0 {
		p.Arguments = slices.Clone(bytesOf(row.Arguments[:n]))
	}
	return p, nil
}

func (k *Kernel) executableOf(key *flowsImageKey) (executable, error) {
	if known, ok := k.images[*key]; ok {
		return known, nil
	}
	var image flowsImage
	err := k.maps[flowsMapImages].Lookup(key, &image)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return executable{}, nil // counted when it found no room
	}
	if err != nil {
		return executable{}, fmt.Errorf("read executable: %w", err)
	}
	found := executable{
		path:      pathOf(image.Names[:min(int(image.Depth), len(image.Names))]),
		truncated: image.Flags&imageTruncated != 0,
		unlinked:  image.Flags&imageUnlinked != 0,
	}
	k.images[*key] = found
	return found, nil
}

func (k *Kernel) groupOf(id uint64) (string, error) {
	if known, ok := k.groups[id]; ok {
		return known, nil
	}
	var group flowsGroup
	err := k.maps[flowsMapGroups].Lookup(id, &group)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read control group: %w", err)
	}
	path := pathOf(group.Names[:])
	k.groups[id] = path
	return path, nil
}

// pathOf joins names that stand from the file up. Empty ones are mount points
// that were crossed.
func pathOf[N [slot]int8](names []N) string {
	var parts []string
	for _, name := range names {
		if part := text(name[:]); part != "" {
			parts = append(parts, part)
		}
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// slot is the longest name that is kept, with its end.
const slot = 64

// text reads a string of C.
func text(c []int8) string {
	b := bytesOf(c)
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func bytesOf(c []int8) []byte {
	b := make([]byte, len(c))
	for i := range c {
		b[i] = byte(c[i])
	}
	return b
}

// userDevice turns the kernel's device number, 12 bits major and 20 minor, into
// that of stat(2).
func userDevice(dev uint32) uint64 { return unix.Mkdev(dev>>20, dev&(1<<20-1)) }
