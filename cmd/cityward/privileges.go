package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// privilege is one capability(7) that some sight depends on.
type privilege struct {
	bit   int
	name  string
	gives string
}

func privileges() []privilege {
	return []privilege{
		{unix.CAP_BPF, "CAP_BPF", "tier bpf, with the next two: flows and programs counted in the kernel; also to take over a pinned capture, and to read it"},
		{unix.CAP_PERFMON, "CAP_PERFMON", "tier bpf, to begin: programs that follow the kernel's structures to the owner of a socket"},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "tier bpf, to begin: programs at control groups, which see every packet; tier events: what a firewall tracks"},
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "executables, open files and sockets of other users' processes"},
		{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "files and directories whatever their permissions"},
		{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "tiers events and poll: sock_diag in other network namespaces; without it /proc/PID/net serves"},
	}
}

// needed are the capabilities that rounds need once the collectors are built, as
// bits. Tables of BPF are read with CAP_BPF: by descriptor it is needed only before
// Linux 5.19. Tiers events and poll go to other network namespaces in each round,
// and events opens the groups of conntrack there.
//
// None is to write: the state directory and the admin socket belong to the user
// that the daemon runs as, and CAP_DAC_READ_SEARCH reads the rest.
func needed(inKernel bool, tier string) uint64 {
	bits := uint64(1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH)
	switch {
	case inKernel:
		return bits | 1<<unix.CAP_BPF
	case tier == inventory.TierGopsutil:
		return bits
	case tier == inventory.TierPoll:
		return bits | 1<<unix.CAP_SYS_ADMIN
	}
	return bits | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN
}

// capabilities reads those of the calling thread, low and high word; capget(2).
func capabilities() (sets [2]unix.CapUserData, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return sets, fmt.Errorf("read capabilities: %w", err)
	}
	return sets, nil
}

// effectiveCapabilities gives them as bits; 0 if they cannot be read.
func effectiveCapabilities() uint64 {
	sets, err := capabilities()
	if err != nil {
		return 0
	}
	return uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective)
}

// reduced leaves of the capabilities those to keep, and none to programs that the
// daemon could execute, since it executes none. The ambient ones go with the
// inheritable.
func reduced(sets [2]unix.CapUserData, keep uint64) [2]unix.CapUserData {
	for i := range sets {
		kept := uint32(keep >> (32 * i))
		sets[i].Permitted &= kept
		sets[i].Effective &= kept
		sets[i].Inheritable = 0
	}
	return sets
}

// drop gives up all capabilities but those to keep, in every thread.
func drop(keep uint64) error {
	sets, err := capabilities()
	if err != nil {
		return err
	}
	sets = reduced(sets, keep)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0) //nolint:gosec // how capset(2) takes them
	if errors.Is(errno, syscall.ENOTSUP) {
		return errors.New("drop capabilities: this build has the C library, whose threads are out of reach: build with CGO_ENABLED=0")
	}
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// dropPrivileges is for the daemon, when all that needs more is open. It goes on
// with what it cannot drop.
func dropPrivileges(log *slog.Logger, keep uint64) {
	if err := drop(keep); err != nil {
		log.Warn("more privileges are kept than are needed", "err", err)
		return
	}
	held := effectiveCapabilities()
	var names []string
	for _, p := range privileges() {
		if held&(1<<p.bit) != 0 {
			names = append(names, p.name)
		}
	}
	log.Info("other privileges dropped", "kept", strings.Join(names, " "))
}
