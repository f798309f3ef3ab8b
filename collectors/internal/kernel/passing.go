//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// unixByExit are the hooks on functions that stand in for bySend at Unix sockets.
func unixByExit() []string {
	return []string{
		flowsProgOnUnixSend, flowsProgOnUnixPacketSend, flowsProgOnUnixSendpage,
		flowsProgOnUnixReceive, flowsProgOnUnixDatagramReceive, flowsProgOnUnixPacketReceive,
	}
}

// byCopies see datagrams where function hooks, which know both ends, are refused.
func byCopies() []string { return []string{flowsProgOnUnixAddress, flowsProgOnCopy} }

// addressesUnix reports whether the kernel tells of a datagram with the address of a
// Unix socket before it is sent: then a control group may have a hook for it.
func addressesUnix(types *btf.Spec) bool {
	var hooks *btf.Enum
	return types.TypeByName("bpf_attach_type", &hooks) == nil &&
		slices.ContainsFunc(hooks.Values, func(v btf.EnumValue) bool { return v.Name == "BPF_CGROUP_UNIX_SENDMSG" })
}

// missesOf says what of flows is not seen with the programs that there are, and what
// of what Unix sockets carry.
func missesOf(programs map[string]*ebpf.Program) (flows, passed []string) {
	if programs[flowsProgOnSend] == nil && programs[flowsProgOnInetSend] == nil {
		flows = append(flows, byExit().misses)
	}
	switch {
	case programs[flowsProgOnSend] == nil && programs[flowsProgOnUnixSend] == nil:
		passed = append(passed, "the kernel does not tell who sends by Unix sockets (tracepoints of Linux 6.3, or hooks on functions): who asks a store's service, or is sent data by a holder, is only seen while it is connected")
	case programs[flowsProgOnMaySend] == nil && programs[flowsProgOnCopy] == nil:
		passed = append(passed, "the kernel does not tell where datagrams of Unix sockets go (hooks on functions): who is sent a holder's data by them is not seen, nor who asks a store's service by one that is not connected")
	}
	return flows, passed
}

// SetServices replaces the sockets at which custody begins for whoever sends to
// them. After an error the table holds some of both.
func (k *Kernel) SetServices(sockets []ServiceSocket) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	wanted := make(map[flowsServiceKey]uint64)
	for _, s := range sockets {
		wanted[flowsServiceKey{Inode: s.Inode, Device: kernelDevice(s.Device)}] |= s.Stores
	}
	table := k.maps[flowsMapServices]
	for key, stores := range wanted {
		if err := table.Put(key, stores); err != nil {
			return fmt.Errorf("set service socket: %w", err)
		}
	}
	var key flowsServiceKey
	var stores uint64
	var gone []flowsServiceKey
	rows := table.Iterate()
	for rows.Next(&key, &stores) {
		if _, stays := wanted[key]; !stays {
			gone = append(gone, key)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read service sockets: %w", err)
	}
	for i := range gone {
		if err := table.Delete(&gone[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop service socket: %w", err)
		}
	}
	if err := k.maps[flowsMapSettings].Put(settingServices, uint32(min(len(wanted), 1))); err != nil {
		return fmt.Errorf("switch services: %w", err)
	}
	return nil
}

// Exempt says whether an execution serves everybody, as the system's log does:
// then it gets nothing by what it is sent, and passes nothing on. Whoever says yes
// says no when it has ended.
func (k *Kernel) Exempt(owner Execution, yes bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	table := k.maps[flowsMapExempt]
	if yes {
		if err := table.Put(wordOf(owner), uint32(1)); err != nil {
			return fmt.Errorf("exempt execution: %w", err)
		}
		return nil
	}
	if err := table.Delete(wordOf(owner)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("exempt execution no more: %w", err)
	}
	return nil
}

// bump lets the programs see that custody was written beside them: after it.
func (k *Kernel) bump() error {
	if err := k.maps[flowsMapSettings].Put(settingHolding, uint32(1)); err != nil {
		return fmt.Errorf("switch custody: %w", err)
	}
	return k.ask()
}

// ask lets the programs look again at who sends where. Only this process writes
// what it counts in.
func (k *Kernel) ask() error {
	var asked uint32
	if err := k.maps[flowsMapSettings].Lookup(settingAsked, &asked); err != nil {
		return fmt.Errorf("renew custody: %w", err)
	}
	if err := k.maps[flowsMapSettings].Put(settingAsked, asked+1); err != nil {
		return fmt.Errorf("renew custody: %w", err)
	}
	return nil
}

// setCopies tells the programs whether what is copied out of datagrams is looked at.
func (k *Kernel) setCopies() error {
	var copies uint32
	if k.programs[flowsProgOnCopy] != nil {
		copies = 1
	}
	if err := k.maps[flowsMapSettings].Put(settingCopies, copies); err != nil {
		return fmt.Errorf("switch copies of datagrams: %w", err)
	}
	return nil
}

// setTick tells the programs how long a tick of the kernel is, in which TCP keeps
// the time of what it sent.
func (k *Kernel) setTick() error {
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return fmt.Errorf("read tick of the kernel: %w", err)
	}
	if err := k.maps[flowsMapSettings].Put(settingTick, uint32(tick.Nano())); err != nil {
		return fmt.Errorf("set tick of the kernel: %w", err)
	}
	return nil
}
