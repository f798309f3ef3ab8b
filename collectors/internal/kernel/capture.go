//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Available is whether programs for this system and processor are compiled in.
const Available = true

// Kernel is a running capture. It may be used by many goroutines.
type Kernel struct {
	refused  error // all else is empty
	mu       sync.Mutex
	maps     map[string]*ebpf.Map
	programs map[string]*ebpf.Program
	links    map[string]link.Link
	pins     *pins // nil if nothing is pinned
	ring     *ringbuf.Reader
	misses   []string
	unpassed []string // what of custody goes unseen
	gap      string
	types    *btf.Cache // the kernel's, while it is opened

	booted  time.Time // see bootTime
	zones   map[netip.Prefix]uint32
	version uint32 // of the zones

	buffers  buffers
	images   map[flowsImageKey]executable
	groups   map[uint64]string
	earlier  map[flowsFlowKey]Volume // read before this capture was opened
	reported map[flowsFlowKey]Volume // as the pins have it
	late     []Flow                  // counted in the moment a row was dropped
	rows     int                     // room for those of the next reading
	reads    int
	code     uint64          // bytes that the programs take, which stay as they are
	netns    uint32          // of this process
	folded   uint64          // flows, at the last reading
	last     *Reading        // that nobody has taken
	latest   *Reading        // the same without its flows, which are many
	numbers  map[string]uint // of stores

	stores     map[flowsRootKey]uint64 // as set last; nil not yet
	blind      error                   // why programs that look at files could not be used; nil if they are
	introduced bool                    // the programs know which process this is
	missed     map[uint64]bool         // holders that were no known program at the last reading
	underived  uint64                  // files of a store's data that were let go of
}

// Open starts a capture, or takes over the one that is pinned. The error is
// [errors.ErrUnsupported] where this host's kernel or the rights of this process
// do not allow it, and [ErrPins] where only the pins are refused.
func Open(o Options) (*Kernel, error) {
	types := btf.NewCache() // reading them is much of the work
	spec, err := choose(types, o.Pins)
	if err != nil {
		return nil, err
	}
	// Before Linux 5.11 tables count as locked memory. Where the limit may not be
	// raised it has to be given, as the unit of systemd does.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	spec.Maps[flowsMapFlows].MaxEntries = sized(o.Flows, DefaultFlows)
	spec.Maps[flowsMapReported].MaxEntries = spec.Maps[flowsMapFlows].MaxEntries
	spec.Maps[flowsMapPrograms].MaxEntries = sized(o.Programs, DefaultPrograms)
	k := &Kernel{
		numbers: make(map[string]uint),
		types:   types,
		zones:   make(map[netip.Prefix]uint32),
		images:  make(map[flowsImageKey]executable),
		groups:  make(map[uint64]string),
		earlier: make(map[flowsFlowKey]Volume),
	}
	if err := k.start(spec, o.Pins); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errors.ErrUnsupported, err), k.Close())
	}
	k.types = nil // they take megabytes
	return k, nil
}

func sized(n, otherwise uint32) uint32 {
	if n == 0 {
		return otherwise
	}
	return n
}

func (k *Kernel) start(spec *ebpf.CollectionSpec, dir string) (err error) {
	if dir != "" {
		if k.pins, err = openPins(dir, spec); err != nil {
			return fmt.Errorf("%w: %w", ErrPins, err)
		}
	}
	fresh := true // nothing has counted so far
	switch {
	case k.pins == nil:
		err = k.load(spec, nil)
	case k.pins.complete(spec):
		fresh = false
		err = k.adopt(spec)
	default:
		if fresh = !k.pins.counting(); fresh && k.pins.begun() {
			k.pins.gap = "an earlier capture was cut short: what flowed from then until " +
				time.Now().UTC().Format(time.RFC3339) + " may be lost"
		}
		err = k.renew(spec)
	}
	if err != nil {
		return err
	}
	k.misses, k.unpassed = missesOf(k.programs)
	keep := k.maps[flowsMapPrograms].MaxEntries() / 4
	if err := k.maps[flowsMapSettings].Put(settingKeep, keep); err != nil {
		return fmt.Errorf("bound ended executions: %w", err)
	}
	if err := errors.Join(k.setTick(), k.setCopies()); err != nil {
		return err
	}
	if k.ring, err = ringbuf.NewReader(k.maps[flowsMapEvents]); err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	if k.netns, err = networkNumber(); err != nil {
		return err
	}
	if err := k.introduce(); err != nil {
		return err
	}
	k.ring.SetDeadline(time.Now()) // it is read for what is there, never waited for
	if fresh {
		err = k.seed()
	}
	if k.pins != nil { // also where nothing counted: the tables may be there
		err = errors.Join(err, k.recallZones(), k.recallReported())
	}
	if err != nil {
		return err
	}
	if k.pins != nil {
		k.gap = k.pins.gap
		k.reported = make(map[flowsFlowKey]Volume)
	}
	return nil
}

// seed gives what runs and is open already to those that hold it. The listeners
// come first: what has one on its port came in.
func (k *Kernel) seed() error {
	for _, name := range []string{flowsProgSeedPrograms, flowsProgSeedListeners, flowsProgSeedSockets} {
		it, err := link.AttachIter(link.IterOptions{Program: k.programs[name]})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		if err := errors.Join(walk(it, io.Discard), it.Close()); err != nil {
			return fmt.Errorf("list what is there (%s): %w", name, err)
		}
	}
	return nil
}

// walk runs an iterator to its end.
func walk(it *link.Iter, into io.Writer) error {
	r, err := it.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(into, r)
	return errors.Join(err, r.Close())
}

// iterator gives a link that is one of an iterator.
func (k *Kernel) iterator(name string) (*link.Iter, error) {
	it, ok := k.links[name].(*link.Iter)
	if !ok {
		return nil, fmt.Errorf("use %s: not an iterator", name)
	}
	return it, nil
}

// Misses says what this kernel does not let the capture see, for people; nil if
// it sees everything that its package promises.
func (k *Kernel) Misses() []string { return slices.Clone(k.misses) }

// SeesSenders reports whether whoever sends by a socket of any family is told of,
// so that one which is only held hides nothing.
func (k *Kernel) SeesSenders() bool { return k.programs[flowsProgOnSend] != nil }

// Gap says what was lost between an earlier capture and this one; "" nothing.
func (k *Kernel) Gap() string { return k.gap }

// MemoryBytes is what maps and programs take in the kernel. The storage of
// sockets is not in it: the kernel charges it to each socket.
func (k *Kernel) MemoryBytes() (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var sum uint64
	for name, m := range k.maps {
		info, err := m.Info()
		if err != nil {
			return 0, fmt.Errorf("read size of %s: %w", name, err)
		}
		n, _ := info.Memlock()
		sum += n
	}
	if k.code == 0 { // to read it again would be most of the work
		var code uint64
		for name, p := range k.programs {
			info, err := p.Info()
			if err != nil {
				return 0, fmt.Errorf("read size of %s: %w", name, err)
			}
			n, _ := info.Memlock()
			code += n
		}
		k.code = code
	}
	return sum + k.code, nil
}

// Close ends a capture that is not pinned: what it counted is gone. One that is
// pinned goes on.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	if k.ring != nil {
		errs = append(errs, k.ring.Close())
	}
	for _, l := range k.links {
		errs = append(errs, l.Close())
	}
	for _, p := range k.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range k.maps {
		errs = append(errs, m.Close())
	}
	if k.pins != nil {
		errs = append(errs, k.pins.close())
	}
	return errors.Join(errs...)
}
