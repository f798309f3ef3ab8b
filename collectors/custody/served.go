package custody

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"cityward/collectors/inventory"
)

// maxMounts bounds the mounts that are told of one by one.
const maxMounts = 10

// beyondFiles states the mounts by which data goes on to where no hook is: to another
// machine, by the kernel, or to the program that serves the mount where that is not
// followed. What another machine of the city's keeps is in the city.
func (r *round) beyondFiles() {
	const reason = "a mount that another machine or a program serves (FUSE): what holders write there is not followed on, nor is what comes from there followed back"
	lost, followed := 0, r.served() == ""
	for i := range r.seen.Mounts {
		m := &r.seen.Mounts[i]
		near := m.PeerAddr.IsValid() && m.PeerZone != inventory.Outside && m.PeerZone != inventory.Approved
		if served := strings.HasPrefix(m.Type, "fuse"); near || !served && !m.Network || served && followed {
			continue
		}
		if lost++; lost <= maxMounts {
			r.gap("", m.Target, reason, 0)
		}
	}
	if lost > maxMounts {
		r.gap("", "other mounts", reason, lost-maxMounts)
	}
}

// served says whether programs may serve mounts here that this kernel does not let
// the capture follow; "" they may not. Mounts come and go between two rounds, so what
// counts is that the kernel can: it lists a type of file system once it was used,
// proc_filesystems(5).
func (r *round) served() string {
	if r.kernel.FollowsMounts() {
		return r.servedByRing()
	}
	list, err := r.host.ReadFile("/proc/filesystems", 64<<10)
	if err != nil {
		return "it is not known whether programs serve mounts (FUSE): " + err.Error()
	}
	if slices.Contains(strings.Fields(string(list)), "fuse") {
		return "programs may serve mounts here (FUSE), and what goes to and from them by these is not followed: the kernel has neither tracepoints for it (Linux 6.11) nor functions to hook, or FUSE was loaded after the agent started"
	}
	return ""
}

// servedByRing says whether programs may serve mounts by io_uring, of whose requests
// some are not told of: a switch of Linux 6.14 that is off until somebody turns it.
func (r *round) servedByRing() string {
	on, err := r.host.ReadFile("/sys/module/fuse/parameters/enable_uring", 64)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return "it is not known whether programs serve mounts by io_uring (FUSE): " + err.Error()
	}
	if strings.TrimSpace(string(on)) == "N" {
		return ""
	}
	return "programs may serve mounts by io_uring (FUSE), and not all that goes to and from them is followed"
}
