//go:build linux && (amd64 || arm64)

package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// layout is raised when what the maps hold changes its meaning although the sizes
// stay. With the sizes it names the directory of the pins.
const layout = 1

// pins is a directory in a BPF file system:
//
//	DIR/maps-LAYOUT/NAME     the tables; programs of any build that has this layout share them
//	DIR/build-HASH/NAME      the programs of one build
//	DIR/build-HASH/NAME-link what keeps each of them attached
//
// A build with the same layout takes the tables over. One with another layout
// cannot, and says so.
type pins struct {
	dir   string
	maps  string
	build string
	lock  *os.File
	gap   string
}

func openPins(dir string, spec *ebpf.CollectionSpec) (*pins, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return nil, fmt.Errorf("pin in %s: not a BPF file system", dir)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s (another cityward uses it): %w", dir, err), lock.Close())
	}
	p := &pins{
		dir:   dir,
		maps:  filepath.Join(dir, "maps-"+layoutOf(spec)),
		build: filepath.Join(dir, "build-"+buildOf(spec)),
		lock:  lock,
	}
	if err := p.dropOtherLayouts(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	for _, sub := range []string{p.maps, p.build} {
		if err := os.Mkdir(sub, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// layoutOf names the shape of all maps.
func layoutOf(spec *ebpf.CollectionSpec) string {
	h := sha256.New()
	fmt.Fprintln(h, layout)
	for _, name := range sortedMaps(spec) {
		m := spec.Maps[name]
		fmt.Fprintln(h, name, m.Type, m.KeySize, m.ValueSize, m.Flags)
		if m.Type == ebpf.Array || m.Type == ebpf.PerCPUArray { // each place has a meaning
			fmt.Fprintln(h, m.MaxEntries)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// buildOf names the programs: their code, and which of them this kernel takes.
func buildOf(spec *ebpf.CollectionSpec) string {
	h := sha256.New()
	_, _ = h.Write(_FlowsBytes)
	for _, name := range sortedPrograms(spec) {
		fmt.Fprintln(h, name)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func sortedMaps(spec *ebpf.CollectionSpec) []string {
	var names []string
	for name := range spec.Maps {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func sortedPrograms(spec *ebpf.CollectionSpec) []string {
	var names []string
	for name := range spec.Programs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// dropOtherLayouts ends captures whose tables cannot be taken over.
func (p *pins) dropOtherLayouts() error {
	tables, err := filepath.Glob(filepath.Join(p.dir, "maps-*"))
	if err != nil || len(tables) == 0 || slices.Contains(tables, p.maps) && len(tables) == 1 {
		return err
	}
	since := time.Now()
	for _, dir := range tables {
		if st, err := os.Stat(dir); err == nil && st.ModTime().Before(since) {
			since = st.ModTime()
		}
	}
	p.gap = fmt.Sprintf("an earlier version kept its tables in another form: what it counted since %s and was not read by %s is lost",
		since.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
	return removePins(p.dir)
}

// removePins removes what is ours below a directory: its file system may be full of
// others' pins.
func removePins(dir string) error {
	var errs []error
	for _, ours := range []string{filepath.Join("build-*", lastPinned()), "build-*", "maps-*"} {
		found, err := filepath.Glob(filepath.Join(dir, ours))
		errs = append(errs, err)
		for _, sub := range found {
			errs = append(errs, os.RemoveAll(sub))
		}
	}
	return errors.Join(errs...)
}

// removeBelow empties a directory; a BPF file system knows no other kind of file
// than pins and directories.
func removeBelow(dir string) error {
	entries, err := os.ReadDir(dir)
	err = errors.Join(err, os.RemoveAll(filepath.Join(dir, lastPinned())))
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// lastPinned is the link that is pinned after all others and removed before them:
// where it is, a build is whole.
func lastPinned() string { return order()[len(order())-1] + "-link" }

// counting reports whether all programs of some build are attached.
func (p *pins) counting() bool {
	links, err := filepath.Glob(filepath.Join(p.dir, "build-*", lastPinned()))
	return err == nil && len(links) > 0
}

// begun reports whether there are tables of an earlier capture.
func (p *pins) begun() bool {
	entries, err := os.ReadDir(p.maps)
	return err != nil || len(entries) > 0
}

// former gives the link by which another build hooks a control group; nil if
// there is none. There may be no pins at all.
func (p *pins) former(name string) link.Link {
	if p == nil {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(p.dir, "build-*", name+"-link"))
	if err != nil || len(found) == 0 {
		return nil
	}
	l, err := link.LoadPinnedLink(found[0], nil)
	if err != nil {
		return nil
	}
	return l
}

// complete reports whether everything of this build is pinned.
func (p *pins) complete(spec *ebpf.CollectionSpec) bool {
	for name := range spec.Maps {
		if _, err := os.Stat(filepath.Join(p.maps, name)); err != nil {
			return false
		}
	}
	for _, name := range order() {
		if spec.Programs[name] == nil || slices.Contains(ofFiles(), name) { // some of these are not for this kernel
			continue
		}
		if _, err := os.Stat(filepath.Join(p.build, name+"-link")); err != nil {
			return false
		}
	}
	return true
}

func (p *pins) existingMaps(spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	found := make(map[string]*ebpf.Map)
	for name, want := range spec.Maps {
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.maps, name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("take over %s: %w", name, err)
		}
		want.MaxEntries = m.MaxEntries() // a table cannot grow while it is used
		found[name] = m
	}
	return found, nil
}

// adopt takes over a capture that this build began.
func (k *Kernel) adopt(spec *ebpf.CollectionSpec) (err error) {
	if k.maps, err = k.pins.existingMaps(spec); err != nil {
		return err
	}
	k.programs = make(map[string]*ebpf.Program)
	k.links = make(map[string]link.Link)
	for _, name := range order() {
		if spec.Programs[name] == nil {
			continue
		}
		at := filepath.Join(k.pins.build, name)
		program, err := ebpf.LoadPinnedProgram(at, nil)
		if errors.Is(err, fs.ErrNotExist) && slices.Contains(ofFiles(), name) {
			continue
		}
		if err != nil {
			return fmt.Errorf("take over %s: %w", name, err)
		}
		k.programs[name] = program
		if k.links[name], err = link.LoadPinnedLink(at+"-link", nil); err != nil {
			return fmt.Errorf("take over %s: %w", name, err)
		}
	}
	return nil
}

// renew attaches the programs of this build to the tables that there are, and
// then lets go of the programs of others. What both see in the moment in between
// is told once, whoever tells it: hooks of control groups change hands, and stages
// of TCP and executions are entered once.
func (k *Kernel) renew(spec *ebpf.CollectionSpec) error {
	existing, err := k.pins.existingMaps(spec)
	if err != nil {
		return err
	}
	if err := k.load(spec, existing); err != nil {
		return err
	}
	for name, m := range k.maps {
		if existing[name] != nil {
			continue
		}
		if err := m.Pin(filepath.Join(k.pins.maps, name)); err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
	}
	builds, err := filepath.Glob(filepath.Join(k.pins.dir, "build-*"))
	if err != nil {
		return err
	}
	// Also what is left of this one, if it was interrupted here before.
	for _, dir := range builds {
		if err := removeBelow(dir); err != nil {
			return err
		}
		if dir != k.pins.build {
			err = errors.Join(err, os.Remove(dir))
		}
	}
	if err != nil {
		return err
	}
	for _, name := range order() {
		l := k.links[name]
		if l == nil {
			continue // not for this kernel
		}
		at := filepath.Join(k.pins.build, name)
		if err := errors.Join(k.programs[name].Pin(at), l.Pin(at+"-link")); err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
	}
	return nil
}

func (p *pins) close() error { return p.lock.Close() }

// Unpin ends a capture that is pinned in dir and removes the directory, unless
// others use it. One that is being read ends with its reader.
func Unpin(dir string) error {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("remove pins in %s: not a BPF file system", dir)
	}
	if err := removePins(dir); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}
