//go:build linux && (amd64 || arm64)

package kernel

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openCgroup opens the root of the second cgroup hierarchy, which may be mounted
// anywhere, see cgroups(7). Where it is not, a mount is made that nobody else
// sees and that ends with the file; it takes CAP_SYS_ADMIN.
func openCgroup() (*os.File, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	if path := cgroupMount(mounts); path != "" {
		return os.Open(path)
	}
	context, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open cgroup2, which is mounted nowhere and needs CAP_SYS_ADMIN: %w", err)
	}
	defer func() { _ = unix.Close(context) }()
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, fmt.Errorf("create cgroup2: %w", err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount cgroup2: %w", err)
	}
	return os.NewFile(uintptr(fd), "cgroup2"), nil
}

// cgroupMount finds the mount in the lines of proc_pid_mountinfo(5), "" if there
// is none of the whole hierarchy at a path without escapes.
func cgroupMount(mounts []byte) string {
	for line := range bytes.Lines(mounts) {
		before, after, ok := bytes.Cut(line, []byte(" - "))
		fields := bytes.Fields(before)
		if !ok || len(fields) < 5 || !bytes.HasPrefix(after, []byte("cgroup2 ")) {
			continue
		}
		if string(fields[3]) == "/" && !bytes.ContainsRune(fields[4], '\\') {
			return string(fields[4])
		}
	}
	return ""
}
