//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// substitute is a set of programs for which others may stand in.
type substitute struct {
	programs []string
	misses   string // what is not seen where the set cannot be used
}

// bySend sees who sends and receives, by tracepoints of Linux 6.3 and newer.
func bySend() substitute {
	return substitute{programs: []string{flowsProgOnSend, flowsProgOnReceive}}
}

// byExit is the same by hooks on functions.
func byExit() substitute {
	return substitute{
		programs: []string{
			flowsProgOnInetSend, flowsProgOnInet6Send, flowsProgOnInetReceive, flowsProgOnInet6Receive,
			flowsProgOnInetSendpage, flowsProgOnPacketSend,
		},
		misses: "the kernel does not tell who sends (tracepoints of Linux 6.3, or hooks on functions): a socket that is handed to another process stays its maker's, and frames of AF_PACKET have no sender",
	}
}

// choose reads the programs and leaves out those for which this kernel has no
// place. Whether the others load is seen when they are loaded.
func choose(cache *btf.Cache, pins string) (*ebpf.CollectionSpec, error) {
	spec, err := loadFlows()
	if err != nil {
		return nil, fmt.Errorf("read programs: %w", err)
	}
	delete(spec.Maps, ".bss") // shapes for the loader; no program uses it
	clear(spec.Variables)
	types, err := cache.Kernel()
	if err != nil {
		return nil, fmt.Errorf("%w: read the kernel's types (/sys/kernel/btf/vmlinux): %w", errors.ErrUnsupported, err)
	}
	var traced *btf.Typedef
	if types.TypeByName("btf_trace_sock_send_length", &traced) == nil {
		drop(spec, byExit().programs...)
		drop(spec, unixByExit()...)
	} else {
		drop(spec, bySend().programs...)
	}
	var function *btf.Func
	chooseMounts(spec, cache)
	for _, name := range onFunctions(spec) {
		if types.TypeByName(spec.Programs[name].AttachTo, &function) != nil && !slices.Contains(ofMounts(), name) {
			drop(spec, name) // inet_sendpage went with Linux 6.5
		}
	}
	if p := spec.Programs[flowsProgOnMaySend]; p != nil && !hooked(p, pins) {
		drop(spec, onFunctions(spec)...) // some kernels refuse them that have all else
	}
	if spec.Programs[flowsProgOnMaySend] != nil || spec.Programs[flowsProgOnSend] == nil || !addressesUnix(types) {
		drop(spec, byCopies()...)
	}
	return spec, nil
}

// hooked reports whether functions can be hooked or, where this process may not try,
// whether they are by a capture that it may take over.
func hooked(p *ebpf.ProgramSpec, pins string) bool {
	if unprivileged() == "" {
		return hookable(p.AttachTo)
	}
	links, err := filepath.Glob(filepath.Join(pins, "build-*", flowsProgOnMaySend+"-link"))
	return err == nil && pins != "" && len(links) > 0
}

// hookable tries whether a program that does nothing can be a hook on a function.
// What is known before loading need not be loaded twice, and pins are whole without it.
func hookable(function string) bool {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: function, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return false
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err == nil {
		err = l.Close()
	}
	return errors.Join(err, p.Close()) == nil
}

// onFunctions are the programs that are hooks on functions of the kernel.
func onFunctions(spec *ebpf.CollectionSpec) (all []string) {
	for name, p := range spec.Programs {
		if p.AttachType == ebpf.AttachTraceFEntry || p.AttachType == ebpf.AttachTraceFExit {
			all = append(all, name)
		}
	}
	return all
}

func drop(spec *ebpf.CollectionSpec, programs ...string) {
	for _, name := range programs {
		delete(spec.Programs, name)
	}
}

// load puts programs and maps into the kernel and attaches them. Maps that exist
// already are used instead of new ones, and links that exist are moved to the new
// programs.
func (k *Kernel) load(spec *ebpf.CollectionSpec, existing map[string]*ebpf.Map) error {
	if err := chooseFiles(spec, k.types); err != nil {
		return err
	}
	err := k.attempt(spec, existing)
	if err == nil {
		return nil
	}
	drop(spec, ofFiles()...) // flows are more than files
	k.blind = err
	err = k.attempt(spec, existing)
	hooks := onFunctions(spec)
	if err == nil || hooks == nil {
		return err
	}
	// Hooks on functions are refused by some kernels that have all else.
	drop(spec, hooks...)
	if k.attempt(spec, existing) != nil {
		return err // the first one says more
	}
	return nil
}

func (k *Kernel) attempt(spec *ebpf.CollectionSpec, existing map[string]*ebpf.Map) error {
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps.Clone(existing), Cache: k.types})
	if err != nil {
		return fmt.Errorf("load programs%s: %w", unprivileged(), err)
	}
	k.maps, k.programs = maps.Clone(loaded.Maps), maps.Clone(loaded.Programs)
	if err := k.attach(); err != nil {
		for _, l := range k.links {
			err = errors.Join(err, l.Close())
		}
		loaded.Close()
		k.maps, k.programs, k.links = nil, nil, nil
		return err
	}
	return nil
}

// unprivileged names the capabilities that loading needs and this process lacks. The
// kernel's errors do not: without one it has fewer features.
func unprivileged() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&header, &sets[0]) != nil {
		return ""
	}
	var missing []string
	for _, c := range []struct {
		bit  int
		name string
	}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}} {
		if sets[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if missing == nil {
		return ""
	}
	return " without " + strings.Join(missing, ", ")
}

// order is that in which programs are attached: owners before packets, so that
// the packets find one.
func order() []string {
	all := []string{
		flowsProgOnFork, flowsProgOnForkAgain, flowsProgOnExec, flowsProgOnExecAgain, flowsProgOnExit, flowsProgOnExitAgain,
		flowsProgOnState, flowsProgOnDestroy,
		flowsProgOnSend, flowsProgOnReceive,
		flowsProgOnInetSend, flowsProgOnInet6Send, flowsProgOnInetReceive, flowsProgOnInet6Receive,
		flowsProgOnInetSendpage, flowsProgOnPacketSend,
		flowsProgOnMaySend, flowsProgOnUnixSplice,
		flowsProgOnUnixSend, flowsProgOnUnixPacketSend, flowsProgOnUnixSendpage,
		flowsProgOnUnixReceive, flowsProgOnUnixDatagramReceive, flowsProgOnUnixPacketReceive,
		flowsProgOnCreate, flowsProgOnConnect4, flowsProgOnConnect6,
		flowsProgOnSockops, flowsProgOnEgress, flowsProgOnIngress, flowsProgOnTransmit,
	}
	return append(append(all, ofFiles()...), flowsProgRaiseMarks, flowsProgListMapped, flowsProgSettleLive, flowsProgListSockets)
}

func (k *Kernel) attach() (err error) {
	group, err := openCgroup()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	k.links = make(map[string]link.Link)
	for _, name := range order() {
		program := k.programs[name]
		if program == nil {
			continue // not for this kernel
		}
		l, err := k.attachOne(name, program, group)
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		k.links[name] = l
	}
	return nil
}

func (k *Kernel) attachOne(name string, program *ebpf.Program, group *os.File) (link.Link, error) {
	switch name {
	case flowsProgSettleLive:
		return link.AttachIter(link.IterOptions{Program: program, Map: k.maps[flowsMapHolders]})
	case flowsProgRaiseMarks:
		return link.AttachIter(link.IterOptions{Program: program, Map: k.maps[flowsMapRaised]})
	case flowsProgListSockets, flowsProgListMapped:
		return link.AttachIter(link.IterOptions{Program: program})
	}
	at, grouped := groupHooks()[name]
	if !grouped {
		return link.AttachTracing(link.TracingOptions{Program: program})
	}
	if former := k.pins.former(name); former != nil {
		return former, former.Update(program) // no packet passes both, or neither
	}
	return link.AttachCgroup(link.CgroupOptions{Path: fmt.Sprintf("/proc/self/fd/%d", group.Fd()), Attach: at, Program: program})
}

// groupHooks are those of control groups, for everything below the root.
func groupHooks() map[string]ebpf.AttachType {
	return map[string]ebpf.AttachType{
		flowsProgOnCreate:   ebpf.AttachCGroupInetSockCreate,
		flowsProgOnConnect4: ebpf.AttachCGroupInet4Connect,
		flowsProgOnConnect6: ebpf.AttachCGroupInet6Connect,
		flowsProgOnSockops:  ebpf.AttachCGroupSockOps,
		flowsProgOnEgress:   ebpf.AttachCGroupInetEgress,
		flowsProgOnIngress:  ebpf.AttachCGroupInetIngress,

		flowsProgOnUnixAddress: ebpf.AttachCgroupUnixSendmsg,
	}
}

// twins are programs that stand in for others at the same tracepoint: what one is
// skipped for, the other sees.
func twins() map[string]string {
	return map[string]string{
		flowsProgOnForkAgain: flowsProgOnFork, flowsProgOnExecAgain: flowsProgOnExec, flowsProgOnExitAgain: flowsProgOnExit,
	}
}

// skipped adds up the runs of tracepoints that the kernel left out because the
// same program was interrupted on the processor, and that nothing stands in for:
// state changes of TCP are told by sockops, too, but not those of sockets older
// than it. Of twins it cannot be more than the fewer of both.
// Those of files are for themselves.
func (k *Kernel) skipped(older bool) (sum, files uint64, err error) {
	misses := make(map[string]uint64)
	for _, name := range slices.Sorted(maps.Keys(k.programs)) {
		if _, grouped := groupHooks()[name]; grouped {
			continue
		}
		if !older && (name == flowsProgOnState || name == flowsProgOnDestroy) {
			continue
		}
		stats, err := k.programs[name].Stats()
		if errors.Is(err, ebpf.ErrNotSupported) {
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read statistics of %s: %w", name, err)
		}
		misses[name] = stats.RecursionMisses
	}
	for twin, name := range twins() {
		misses[name] = min(misses[name], misses[twin])
		delete(misses, twin)
	}
	for name, n := range misses {
		if slices.Contains(ofFiles(), name) {
			files += n
		} else {
			sum += n
		}
	}
	return sum, files, nil
}
