//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Flags of struct devices in opens.h.
const (
	deviceStores  = 1
	deviceDerived = 2
	deviceServer  = 4
)

// byFunction are the programs that see each open and read, and moves.
func byFunction() []string {
	return []string{flowsProgOnFileOpen, flowsProgOnFileUse, flowsProgOnFileMap, flowsProgOnRename, flowsProgOnLink}
}

// byCache see what goes through the page cache, and what changes files.
func byCache() []string {
	return []string{
		flowsProgOnCacheRead, flowsProgOnCacheMap, flowsProgOnCacheFault, flowsProgOnRawIo,
		flowsProgOnExt4Write, flowsProgOnExt4WriteNow,
		flowsProgOnChange, flowsProgOnChangeAgain, flowsProgOnChangeSet,
		flowsProgOnTimes, flowsProgOnStat,
	}
}

// ofFiles are all that may be left out of a capture.
func ofFiles() []string {
	return slices.Concat(byFunction(), []string{flowsProgOnCacheDirty}, byCache(), ofMounts(), byCopies())
}

// chooseFiles leaves out what this kernel has no place for. It has to be asked
// whether it lets a function be hooked: some have the function and refuse.
func chooseFiles(spec *ebpf.CollectionSpec, types *btf.Cache) error {
	if types == nil {
		types = btf.NewCache()
	}
	kernel, err := types.Kernel()
	if err != nil {
		return fmt.Errorf("read the kernel's types: %w", err)
	}
	hooks := hookable("security_file_permission")
	if !hooks {
		drop(spec, byFunction()...)
	}
	for _, name := range append(byCache(), flowsProgOnCacheDirty) {
		var traced *btf.Typedef
		if hooks && name != flowsProgOnCacheDirty || kernel.TypeByName("btf_trace_"+spec.Programs[name].AttachTo, &traced) != nil {
			drop(spec, name)
		}
	}
	return nil
}

// OpensMechanism is how holds of files are seen: one of the constants above.
func (k *Kernel) OpensMechanism() string {
	switch {
	case k.programs[flowsProgOnFileOpen] != nil:
		return OpensByFunctions
	case k.programs[flowsProgOnCacheRead] != nil:
		return OpensByTracepoints
	}
	return OpensByLooking
}

// OpensMisses says what this kernel does not let the capture see of files and of what
// holders pass on, for people; nil if nothing. That is beside what no mechanism
// sees: files that are read by another machine or by a file handle without a name;
// those more than 32 directories below the one that is named, or by a fifth name;
// writing to tmpfs by a mapping that the writer made before it held anything; names
// that are asked of the program which serves a mount (FUSE), or listed by it.
func (k *Kernel) OpensMisses() []string {
	misses := slices.Clone(k.unpassed)
	switch k.OpensMechanism() {
	case OpensByFunctions:
		return misses
	case OpensByTracepoints:
		misses = append(misses, "the kernel lets nobody hook its functions, and its tracepoints do not tell of mapped pages that are there already, and of writing where another has just written on file systems other than ext4")
		misses = append(misses, k.memoryMisses())
		if k.programs[flowsProgOnRawIo] == nil {
			misses = append(misses, "reading past the page cache (O_DIRECT) goes unseen")
		}
		if k.programs[flowsProgOnChange] == nil {
			misses = append(misses, "files that are moved out of a store, or linked from outside and forgotten inside, go unseen")
		}
		return misses
	}
	if k.blind != nil {
		misses = append(misses, "the kernel refuses programs that look at files: "+k.blind.Error())
	}
	return append(misses, "what is opened and closed between two readings goes unseen, and so do files that a holder wrote or moved")
}

// memoryMisses says what of files in memory is seen by their times, and what is not.
// Who reads first is not seen on a mount with noatime, either.
func (k *Kernel) memoryMisses() string {
	const seen = "of files in memory (tmpfs) is seen who makes them or writes them by a call, who maps them"
	switch {
	case k.programs[flowsProgOnTimes] == nil || k.programs[flowsProgOnChange] == nil:
		return "files in memory (tmpfs) go unseen"
	case k.programs[flowsProgOnStat] == nil:
		return seen + " and who reads first, some milliseconds after the writing; not others who read them, nor who writes by a mapping"
	}
	return seen + ", who asks for the size of one that is open, and who reads first, some milliseconds after the writing; not others who read them, nor who writes by a mapping"
}

// SetStores says which files are whose. It may be called often with the same; where
// they change, what is open or mapped now is looked through.
func (k *Kernel) SetStores(dirs []StoreDir) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	wanted := make(map[flowsRootKey]uint64)
	for _, d := range dirs {
		if d.Store > 63 {
			return fmt.Errorf("set stores: number %d of one", d.Store)
		}
		wanted[flowsRootKey{Inode: d.Inode, Device: kernelDevice(d.Device)}] |= 1 << d.Store
	}
	if k.stores != nil && maps.Equal(wanted, k.stores) {
		return nil
	}
	if err := k.introduce(); err != nil {
		return err
	}
	k.stores = nil // until all are set
	if len(wanted) > 0 {
		if err := k.maps[flowsMapSettings].Put(settingHolding, uint32(1)); err != nil {
			return fmt.Errorf("set stores: %w", err)
		}
	}
	if err := errors.Join(k.setRoots(wanted), k.setDevices(wanted)); err != nil {
		return fmt.Errorf("set stores: %w", err)
	}
	for _, name := range []string{flowsProgListSockets, flowsProgListMapped} {
		it, err := k.iterator(name)
		if err != nil {
			return err
		}
		if err := walk(it, io.Discard); err != nil {
			return fmt.Errorf("look at open files (%s): %w", name, err)
		}
	}
	k.stores = wanted
	return nil
}

// introduce lets the programs know this process, whose own looks are no holds.
func (k *Kernel) introduce() error {
	if k.introduced {
		return nil
	}
	it, err := k.iterator(flowsProgRaiseMarks)
	if err != nil {
		return err
	}
	if err := walk(it, io.Discard); err != nil {
		return fmt.Errorf("introduce this process: %w", err)
	}
	k.introduced = true
	return nil
}

func (k *Kernel) setRoots(wanted map[flowsRootKey]uint64) error {
	var gone, seen, moved []flowsRootKey
	var key flowsRootKey
	var root flowsRoot
	rows := k.maps[flowsMapRoots].Iterate()
	for rows.Next(&key, &root) {
		switch {
		case root.Moved != 0:
			moved = append(moved, key)
		case wanted[key] == 0:
			gone = append(gone, key)
		default:
			seen = append(seen, key)
		}
	}
	if err := rows.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	if room := int(k.maps[flowsMapRoots].MaxEntries()); len(moved)+len(wanted) > room/4*3 {
		k.underived += uint64(len(moved)) // those that are named come first
		gone, moved = append(gone, moved...), nil
	}
	seen = append(seen, moved...)
	for i := range gone {
		if err := k.maps[flowsMapRoots].Delete(&gone[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	// Twice, since the programs may have set one in the moment in between.
	if err := errors.Join(k.setFilter(wanted, seen), k.setFilter(wanted, seen)); err != nil {
		return err
	}
	for key, stores := range wanted {
		if err := k.maps[flowsMapRoots].Put(&key, &flowsRoot{Stores: stores}); err != nil {
			return err
		}
	}
	return nil
}

// setFilter sets the bits of the roots. None is taken out, since the programs add to
// them, too: one too many costs a look.
func (k *Kernel) setFilter(wanted map[flowsRootKey]uint64, seen []flowsRootKey) error {
	filter := k.maps[flowsMapFilter]
	for _, key := range slices.AppendSeq(slices.Clone(seen), maps.Keys(wanted)) {
		var bits uint64
		word, bit := uint32(key.Inode/64%uint64(filter.MaxEntries())), uint64(1)<<(key.Inode%64)
		if err := filter.Lookup(word, &bits); err != nil {
			return err
		}
		if bits&bit != 0 {
			continue
		}
		if err := filter.Put(word, bits|bit); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kernel) setDevices(wanted map[flowsRootKey]uint64) error {
	flags := make(map[uint32]uint32)
	var device, flag uint32
	rows := k.maps[flowsMapDevices].Iterate()
	for rows.Next(&device, &flag) {
		flags[device] = flag & (deviceDerived | deviceServer)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for key := range wanted {
		flags[key.Device] |= deviceStores
	}
	for device, flag := range flags {
		if err := k.maps[flowsMapDevices].Put(device, flag); err != nil {
			return err
		}
	}
	return nil
}

// kernelDevice is the inverse of [userDevice].
func kernelDevice(dev uint64) uint32 { return unix.Major(dev)<<20 | unix.Minor(dev)&(1<<20-1) }
