// Package kernel counts flows in the kernel with BPF, so that one which lives a
// millisecond is seen, with the program that made it and every byte.
//
// No collector uses it yet: the flow room still polls, and says so in its gaps.
// This is the table of flows alone. Executions, opened files, events, pins that
// outlive the daemon and the tier below are still to come.
//
// A socket carries its owner in its own storage, given where a process creates,
// connects or sends, and inherited by the connections of a listener. TCP is
// followed by sockops and by two tracepoints, since a tracepoint that a softirq
// interrupts is skipped and sockops does not see sockets older than itself;
// everything else is counted packet by packet at the socket. Totals are kept in
// an ordinary hash: one that forgets the oldest would forget in silence. What
// does not fit is counted, see [Losses].
//
// The limits: AF_PACKET, TUN and forwarded packets have no socket of an address
// family that is hooked here and are not counted. Multipath TCP is counted for
// what its subflows carry; the subflows of a connection older than the capture
// have no owner, and what a listener older than it accepts (Go's are of MPTCP)
// has none until it is used. An update that a tracepoint skipped is not counted
// as lost: for TCP sockets older than the capture that may hide an end. A row of
// a protocol other than TCP counts one connection. An IPv6 packet with more than
// four extension headers counts the rest of them as payload. A connection that
// another process takes over counts once for each, and is the former owner's
// until it is first used. Rows are not evicted yet.
package kernel

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Directions of a flow: who began it.
const (
	Out = 1
	In  = 2
)

// DefaultFlows is the size of the table where [Options] does not say.
const DefaultFlows = 1 << 16

// Options of a capture.
type Options struct {
	Flows uint32 // rows that the table holds at most; 0 for DefaultFlows
}

// Flow is what one execution exchanged with one peer endpoint. Counts are totals
// since First.
type Flow struct {
	PID         int
	Start       uint64         // of the process, in clock ticks after boot: field 22 of /proc/PID/stat, proc(5)
	NetNS       uint64         // inode number of the network namespace
	Direction   uint8          // In or Out
	Protocol    uint8          // number of IANA: 6 is TCP
	Local       netip.AddrPort // port 0 where it varies (out); the address that was seen first
	Remote      netip.AddrPort // port 0 where it varies (in)
	Sent        uint64         // payload bytes
	Received    uint64
	Connections uint64
	Attempts    uint64 // of these, not established, or not yet
	Open        uint64 // connections of TCP that are open now
	First, Last time.Time
	Zone        uint32 // of the longest prefix that holds Remote; 0 where none does
}

// Losses is what the kernel could not count, since [Open].
type Losses struct {
	Rows    uint64 // updates that found the table full
	Bytes   uint64 // payload bytes of these, where known
	Orphans uint64 // rows without an owner
	Storage uint64 // sockets that could not be given an owner for want of memory
	Races   uint64 // updates given up after losing eight races
	Headers uint64 // packets whose headers could not be read
}

// Kernel is a running capture. It is not for concurrent use.
type Kernel struct {
	objects flowsObjects
	links   []link.Link
	live    *link.Iter
	zones   map[netip.Prefix]uint32
	version uint32 // of the zones
}

// Open loads the programs, attaches them and then takes in the sockets that
// exist already. The error is [errors.ErrUnsupported] where this host's kernel
// or the rights of this process do not allow it.
func Open(o Options) (*Kernel, error) {
	spec, err := loadFlows()
	if err != nil {
		return nil, fmt.Errorf("read programs: %w", err)
	}
	if o.Flows > 0 {
		spec.Maps["flows"].MaxEntries = o.Flows
	}
	k := &Kernel{zones: make(map[netip.Prefix]uint32)}
	if err := spec.LoadAndAssign(&k.objects, nil); err != nil {
		return nil, fmt.Errorf("load programs: %w: %w", errors.ErrUnsupported, err)
	}
	if err := k.attach(); err != nil {
		return nil, errors.Join(fmt.Errorf("attach programs: %w: %w", errors.ErrUnsupported, err), k.Close())
	}
	if err := k.seed(); err != nil {
		return nil, errors.Join(fmt.Errorf("list existing sockets: %w: %w", errors.ErrUnsupported, err), k.Close())
	}
	return k, nil
}

func (k *Kernel) attach() (err error) {
	group, err := openCgroup()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	keep := func(l link.Link, err error) error {
		if err == nil {
			k.links = append(k.links, l)
		}
		return err
	}
	o := &k.objects
	for _, p := range []*ebpf.Program{o.OnState, o.OnDestroy, o.OnSend, o.OnReceive} {
		if err := keep(link.AttachTracing(link.TracingOptions{Program: p})); err != nil {
			return fmt.Errorf("attach %s: %w", p, err)
		}
	}
	// Owners first: the packets that follow then find one.
	for _, a := range []struct {
		at ebpf.AttachType
		p  *ebpf.Program
	}{
		{ebpf.AttachCGroupInetSockCreate, o.OnCreate},
		{ebpf.AttachCGroupInet4Connect, o.OnConnect4},
		{ebpf.AttachCGroupInet6Connect, o.OnConnect6},
		{ebpf.AttachCGroupUDP4Sendmsg, o.OnSendmsg4},
		{ebpf.AttachCGroupUDP6Sendmsg, o.OnSendmsg6},
		{ebpf.AttachCGroupSockOps, o.OnSockops},
		{ebpf.AttachCGroupInetEgress, o.OnEgress},
		{ebpf.AttachCGroupInetIngress, o.OnIngress},
	} {
		path := fmt.Sprintf("/proc/self/fd/%d", group.Fd())
		if err := keep(link.AttachCgroup(link.CgroupOptions{Path: path, Attach: a.at, Program: a.p})); err != nil {
			return fmt.Errorf("attach %s: %w", a.p, err)
		}
	}
	k.live, err = link.AttachIter(link.IterOptions{Program: o.SettleLive, Map: o.Holders})
	return err
}

// seed gives the sockets that are open already to the processes that hold them.
// The listeners come first: what has one on its port came in.
func (k *Kernel) seed() error {
	for _, p := range []*ebpf.Program{k.objects.SeedListeners, k.objects.SeedSockets} {
		it, err := link.AttachIter(link.IterOptions{Program: p})
		if err != nil {
			return err
		}
		if err := errors.Join(walk(it), it.Close()); err != nil {
			return err
		}
	}
	return nil
}

// walk runs an iterator to its end; its program prints nothing.
func walk(it *link.Iter) error {
	r, err := it.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// Flows appends all rows of the table to into, with the bytes of connections
// that are open until this moment.
func (k *Kernel) Flows(into []Flow) ([]Flow, error) {
	if err := walk(k.live); err != nil {
		return into, fmt.Errorf("read open connections: %w", err)
	}
	booted, err := bootTime()
	if err != nil {
		return into, err
	}
	const batch = 4096
	keys, rows := make([]flowsFlowKey, batch), make([]flowsFlowRow, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := k.objects.Flows.BatchLookup(&cursor, keys, rows, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return into, fmt.Errorf("read flows: %w", err)
		}
		for i := range n {
			f := flowOf(&keys[i], &rows[i], booted)
			if rows[i].Generation != k.version {
				if f.Zone, err = k.zone(keys[i].Remote); err != nil {
					return into, err
				}
			}
			into = append(into, f)
		}
		if end {
			return into, nil
		}
	}
}

func flowOf(k *flowsFlowKey, r *flowsFlowRow, booted time.Time) Flow {
	f := Flow{
		PID: int(k.Owner >> 42), Start: k.Owner >> 3 & (1<<39 - 1), NetNS: uint64(k.Netns),
		Direction: k.Direction, Protocol: k.Protocol,
		Sent: r.Sent, Received: r.Received, Connections: r.Connections,
		Attempts: uint64(max(r.Attempts, 0)), Open: uint64(max(r.Open, 0)),
		First: booted.Add(time.Duration(r.First)), Last: booted.Add(time.Duration(r.Last)),
		Zone: r.Zone,
	}
	local, remote := uint16(0), k.Port
	if k.Direction == In {
		local, remote = k.Port, 0
	}
	f.Local = netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), local)
	f.Remote = netip.AddrPortFrom(netip.AddrFrom16(k.Remote).Unmap(), remote)
	return f
}

// bootTime is when the clock of the rows was zero.
func bootTime() (time.Time, error) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}, fmt.Errorf("read boot clock: %w", err)
	}
	return time.Now().Add(-time.Duration(since.Nano())), nil
}

// Losses reads the counters of what was not counted.
func (k *Kernel) Losses() (Losses, error) {
	var l Losses
	for i, to := range []*uint64{&l.Rows, &l.Bytes, &l.Orphans, &l.Storage, &l.Races, &l.Headers} {
		var each []uint64
		if err := k.objects.Losses.Lookup(uint32(i), &each); err != nil {
			return l, fmt.Errorf("read losses: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	return l, nil
}

// MemoryBytes is what maps and programs take in the kernel. The storage of
// sockets is not in it: the kernel charges it to each socket.
func (k *Kernel) MemoryBytes() (uint64, error) {
	var sum uint64
	o := &k.objects
	for _, m := range []*ebpf.Map{o.Flows, o.Zones, o.Losses, o.Listening, o.Holders} {
		info, err := m.Info()
		if err != nil {
			return 0, fmt.Errorf("read size of %s: %w", m, err)
		}
		n, _ := info.Memlock()
		sum += n
	}
	for _, p := range []*ebpf.Program{
		o.OnState, o.OnDestroy, o.OnSend, o.OnReceive, o.OnCreate, o.OnConnect4, o.OnConnect6, o.OnSendmsg4,
		o.OnSendmsg6, o.OnSockops, o.OnEgress, o.OnIngress, o.SeedListeners, o.SeedSockets, o.SettleLive,
	} {
		info, err := p.Info()
		if err != nil {
			return 0, fmt.Errorf("read size of %s: %w", p, err)
		}
		n, _ := info.Memlock()
		sum += n
	}
	return sum, nil
}

// Close detaches everything. What was counted is gone.
func (k *Kernel) Close() error {
	var errs []error
	for _, l := range k.links {
		errs = append(errs, l.Close())
	}
	if k.live != nil {
		errs = append(errs, k.live.Close())
	}
	return errors.Join(append(errs, k.objects.Close())...)
}
