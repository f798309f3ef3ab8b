package flow

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

// Zones as the kernel knows them. What is approved depends on ports and programs,
// which it does not compare.
const (
	kernelCity = 1
	kernelOwn  = 255 // of a folded flow: it stays on this machine
)

// traced is the source that counts in the kernel.
type traced struct {
	*surroundings
	kernel *kernel.Kernel
	opened time.Time
	losses kernel.Recent
	folds  kernel.Recent
	zones  error // why the kernel does not know the zones in force
}

// openTraced makes the source of a capture that runs, or says why none does.
func openTraced(k *kernel.Kernel) func(*surroundings) (source, error) {
	return func(s *surroundings) (source, error) {
		if err := k.Err(); err != nil {
			return nil, err
		}
		t := &traced{surroundings: s, kernel: k, opened: s.host.Now()}
		t.configure()
		return t, t.zones
	}
}

// configure tells the kernel which addresses are the city's.
func (t *traced) configure() {
	zones := make(map[netip.Prefix]uint32)
	for _, network := range t.city() {
		zones[network.Masked()] = kernelCity
	}
	t.zones = t.kernel.SetZones(zones)
}

func (t *traced) close() error { return nil } // the kernel is not this room's

func (t *traced) collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	reading, err := t.kernel.Take()
	if err != nil {
		return inventory.Facts{}, fmt.Errorf("read capture: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	memory, err := t.kernel.MemoryBytes()
	if err != nil {
		return inventory.Facts{}, err
	}
	var gaps gaps
	facts := inventory.Facts{
		Flows:     t.flows(reading, seen, &gaps),
		Listeners: heldListeners(reading.Sockets),
		Locals:    heldLocals(reading.Sockets),
		Bypasses:  append(bypasses(reading, t.kernel.SeesSenders()), t.wireGuards(&gaps)...),
		Probe:     &inventory.Probe{MemoryBytes: memory, UnattributedBytes: reading.Counts.Unattributed},
	}
	missed := t.missed(reading, facts.Bypasses)
	complete := len(missed) == 0 && len(gaps.list) == 0
	c := &reading.Counts
	facts.Captures = []inventory.Capture{{
		Name: inventory.CaptureFlows, Tier: inventory.TierBPF, Complete: complete, Reason: strings.Join(append(missed, gaps.reasons()...), "; "),
		Events: c.Begun, Lost: c.Lost(), Orphans: c.Orphans,
	}}
	for _, reason := range missed {
		gaps.add("flows", reason, 0, inventory.KindFlows)
	}
	facts.Gaps = gaps.list
	return facts, nil
}

// missed lists what the capture cannot have seen, or is known to have lost.
func (t *traced) missed(r *kernel.Reading, bypasses []inventory.Bypass) []string {
	now := t.host.Now()
	reasons := t.kernel.Misses()
	if gap := t.kernel.Gap(); gap != "" && now.Sub(t.opened) < time.Hour {
		reasons = append(reasons, gap)
	}
	if r.Deaf != "" {
		reasons = append(reasons, r.Deaf)
	}
	if c := &r.Counts; t.losses.Within(c.Lost(), now) {
		reasons = append(reasons, fmt.Sprintf(
			"losses in the last hour; in all: %d flows and %d bytes without room, %d sockets without an owner, %d updates given up, %d packets not understood, %d programs mixed up with earlier ones of their process, %d hooks skipped",
			c.Rows, c.Bytes, c.Storage, c.Races, c.Headers, c.Reused, c.Skipped))
	}
	if c := &r.Counts; t.folds.Within(c.Folded, now) {
		reasons = append(reasons, fmt.Sprintf(
			"flows of the last hour found no room: %d in all are folded together by program and zone, and their far ends are not kept (capture.flows bounds them)", c.Folded))
	}
	if t.zones != nil {
		reasons = append(reasons, t.zones.Error())
	}
	held := make(map[string]int)
	for i := range bypasses {
		if (bypasses[i].Open || bypasses[i].Kind == inventory.BypassOther) && bypasses[i].Kind != inventory.BypassWireGuard { // whose packets are flows of no program
			held[bypasses[i].Kind]++
		}
	}
	for _, kind := range []string{inventory.BypassPacket, inventory.BypassXDP, inventory.BypassTunnel, inventory.BypassOther} {
		if n := held[kind]; n > 0 {
			reasons = append(reasons, fmt.Sprintf("%d programs hold a way past the protocols (%s): where they send is not seen, see NET-016", n, kind))
		}
	}
	return reasons
}

// flows gives the rows of programs. Those of the kernel's own protocols (it looks
// for neighbours, answers echo requests and resets what nobody listens for) carry
// nothing of anybody's and are left out.
func (t *traced) flows(r *kernel.Reading, seen *inventory.Facts, gaps *gaps) []inventory.Flow {
	known := make(map[inventory.Execution]bool, len(seen.Processes))
	for i := range seen.Processes {
		known[seen.Processes[i].ID] = true
	}
	flows := make([]inventory.Flow, 0, len(r.Flows))
	ownerless, nameless, stale := 0, 0, 0
	for i := range r.Flows {
		k := &r.Flows[i]
		if k.Owner == (kernel.Execution{}) {
			if kernelsOwn(k) {
				continue
			}
			ownerless++
		}
		f := inventory.Flow{
			Process: inventory.Execution(k.Owner), NetNS: k.NetNS,
			Direction: inventory.Out, Protocol: protocolName(k.Protocol),
			Local: k.Local, Remote: k.Remote,
			Sent: k.Sent, Received: k.Received, Connections: k.Connections, Attempts: k.Attempts,
			First: k.First, Began: k.Began, Last: k.Last, Open: int(k.Open), Folded: k.Folded,
			Reported: inventory.Volume(k.Earlier),
		}
		if k.Direction == kernel.In {
			f.Direction = inventory.In
		}
		f.Zone = t.zoneOf(&f, k)
		if k.Owner != (kernel.Execution{}) && !known[f.Process] {
			nameless++
		}
		if k.Stale {
			stale++
		}
		flows = append(flows, f)
	}
	if ownerless > 0 {
		gaps.add("connections", "no program is known for them: they are the kernel's own, or older than the capture", ownerless, inventory.KindFlows)
	}
	if stale > 0 {
		gaps.add("connections", "found no room of their own, and are in the zone that an earlier policy put them in", stale, inventory.KindFlows)
	}
	if nameless > 0 {
		gaps.add("connections", "their programs have ended and found no room to be remembered", nameless, inventory.KindProcesses)
	}
	return flows
}

// zoneOf judges where a flow goes. Of a folded one the kernel knows what is left.
func (t *traced) zoneOf(f *inventory.Flow, k *kernel.Flow) inventory.Zone {
	if !k.Folded {
		return t.zone(f, k.Own)
	}
	switch k.Zone {
	case kernelOwn:
		return inventory.Host
	case kernelCity:
		return inventory.City
	}
	return inventory.Outside
}

func kernelsOwn(f *kernel.Flow) bool {
	switch f.Protocol {
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, unix.IPPROTO_IGMP:
		return true
	}
	return f.Sent == 0 && f.Received == 0 && f.Attempts == 0 // an attempt is somebody's
}

// heldListeners lists what waits for peers, each once a program.
func heldListeners(sockets []kernel.Socket) []inventory.Listener {
	var all []inventory.Listener
	for i := range sockets {
		s := &sockets[i]
		if !s.Listens || s.Kind == unix.SOCK_RAW {
			continue
		}
		l := inventory.Listener{Process: inventory.Execution(s.Owner), NetNS: s.NetNS}
		switch s.Family {
		case unix.AF_UNIX:
			l.Protocol, l.Path = "unix", socketName(s.Name)
		case unix.AF_INET, unix.AF_INET6:
			l.Protocol, l.Local = protocolName(uint8(s.Protocol)), s.Local
			if s.Protocol == unix.IPPROTO_MPTCP {
				l.Protocol = "tcp"
			}
		default:
			continue
		}
		all = append(all, l)
	}
	return sortedListeners(all)
}

// heldLocals pairs clients of named Unix sockets with those that hold the name.
func heldLocals(sockets []kernel.Socket) []inventory.LocalConnection {
	named := make(map[uint64]*kernel.Socket)     // by inode
	listeners := make(map[string]*kernel.Socket) // by name
	for i := range sockets {
		if s := &sockets[i]; s.Family == unix.AF_UNIX && !s.NamedPeer && len(s.Name) > 0 {
			named[s.Inode] = s
			if s.Listens {
				listeners[string(s.Name)] = s
			}
		}
	}
	var all []inventory.LocalConnection
	for i := range sockets {
		s := &sockets[i]
		if s.Family != unix.AF_UNIX || s.Listens {
			continue
		}
		end := named[s.Peer]
		if s.Peer == 0 && s.NamedPeer { // not accepted yet
			end = cmp.Or(listeners[string(s.Name)], s)
		}
		if end == nil {
			continue
		}
		l := inventory.LocalConnection{Process: inventory.Execution(s.Owner), Path: socketName(end.Name)}
		if end != s {
			l.Peer = inventory.Execution(end.Owner)
		}
		if end.File != 0 {
			l.File = inventory.FileID{Device: end.Device, Inode: uint64(uint32(end.File))}
		}
		all = append(all, l)
	}
	return sortedLocals(all)
}

// maxInterfaces bounds how many are looked at.
const maxInterfaces = 4096

// wireGuards lists the interfaces of this kind in the agent's own network
// namespace, by the type that the kernel gives them in sysfs(5).
func (t *traced) wireGuards(gaps *gaps) []inventory.Bypass {
	const dir = "/sys/class/net"
	entries, err := t.host.ReadDir(dir)
	if err != nil {
		gaps.add(dir, host.Text(err.Error(), 400), 0, inventory.KindFlows)
		return nil
	}
	if len(entries) > maxInterfaces {
		gaps.add(dir, "too many interfaces", len(entries)-maxInterfaces, inventory.KindFlows)
		entries = entries[:maxInterfaces]
	}
	var all []inventory.Bypass
	for _, e := range entries {
		text, err := t.host.ReadFile(dir+"/"+e.Name()+"/uevent", 4096)
		if err != nil {
			continue // it is gone, or no interface
		}
		if slices.Contains(strings.Split(string(text), "\n"), "DEVTYPE=wireguard") {
			all = append(all, inventory.Bypass{Kind: inventory.BypassWireGuard, Interface: host.Text(e.Name(), 16), Open: true})
		}
	}
	return all
}

// bypasses lists the programs that send past the protocols, or could. A socket of
// another network than IP (many machines have one to their hypervisor) counts only
// once something was sent by it, where the kernel tells of that.
func bypasses(r *kernel.Reading, seesSenders bool) []inventory.Bypass {
	type way struct {
		process inventory.Execution
		netns   uint64
		kind    string
	}
	at := make(map[way]int)
	var all []inventory.Bypass
	of := func(owner kernel.Execution, netns uint64, kind string) *inventory.Bypass {
		w := way{inventory.Execution(owner), netns, kind}
		if _, known := at[w]; !known {
			at[w] = len(all)
			all = append(all, inventory.Bypass{Process: w.process, NetNS: netns, Kind: kind})
		}
		return &all[at[w]]
	}
	for i := range r.Sockets {
		switch s := &r.Sockets[i]; s.Family {
		case unix.AF_PACKET:
			of(s.Owner, s.NetNS, inventory.BypassPacket).Open = true
		case unix.AF_XDP:
			of(s.Owner, s.NetNS, inventory.BypassXDP).Open = true
		case 0:
			of(s.Owner, s.NetNS, inventory.BypassTunnel).Open = true
		case unix.AF_UNIX, unix.AF_INET, unix.AF_INET6:
		default:
			if !seesSenders {
				of(s.Owner, s.NetNS, inventory.BypassOther).Open = true
			}
		}
	}
	for i := range r.Frames {
		kind := inventory.BypassPacket
		if r.Frames[i].Kind == kernel.FramesOther {
			kind = inventory.BypassOther
		}
		of(r.Frames[i].Owner, r.Frames[i].NetNS, kind).Bytes += r.Frames[i].Bytes
	}
	slices.SortFunc(all, func(a, b inventory.Bypass) int {
		return cmp.Or(a.Process.Compare(b.Process), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.NetNS, b.NetNS))
	})
	return all
}
