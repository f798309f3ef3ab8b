package process

import (
	"strconv"
	"strings"
)

// slot is what a process's control groups say of who manages it.
type slot struct {
	unit      string
	container string
}

// parseCgroup reads /proc/PID/cgroup, see cgroups(7): a line for each hierarchy,
// ID:CONTROLLERS:PATH. The unit comes from systemd's own hierarchy (v1, hybrid)
// or the unified one (0::). The container may stand in any of them, since some
// runtimes use only some controllers.
func parseCgroup(data []byte) slot {
	var found slot
	var unified string
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		path := parsePath(fields[2])
		if found.container == "" && path.container != "" {
			found.container = path.container
		}
		switch {
		case fields[1] == "name=systemd":
			found.unit = path.unit
		case fields[0] == "0" && fields[1] == "":
			unified = path.unit
		}
	}
	if found.unit == "" {
		found.unit = unified
	}
	return found
}

// parsePath walks one path. The unit is the last component that names one, so
// that a user's service is not called user@1000.service. What lies below a
// container is the container's own affair: its units are not this machine's. A
// container's scope is named after the container and says nothing more; a
// service that holds one does.
func parsePath(path string) slot {
	var found slot
	above := "" // the component before
	for part := range strings.SplitSeq(path, "/") {
		// systemd puts "_" before names that the kernel could mistake.
		part = strings.TrimPrefix(part, "_")
		if part == "" || part == ".." {
			continue
		}
		if id, ok := containerID(part, above); ok {
			found.container = id
			switch {
			case strings.HasPrefix(part, "systemd-nspawn@"):
				found.unit = part
			case found.unit != above || strings.Contains(part, ":"):
				found.unit = ""
			}
			return found
		}
		if isUnit(part) {
			found.unit = part
		}
		above = part
	}
	return found
}

// isUnit knows the unit types that can hold processes.
func isUnit(part string) bool {
	dot := strings.LastIndexByte(part, '.')
	if dot <= 0 {
		return false
	}
	switch part[dot:] {
	case ".service", ".scope", ".socket", ".mount", ".swap":
		return true
	}
	return false
}

// containerID knows the names that Docker, containerd, CRI-O, Podman, LXC and
// systemd-nspawn give to control groups. Monitors (conmon, lxc.monitor) run
// outside of the container that they watch.
func containerID(part, above string) (string, bool) {
	name := strings.TrimSuffix(part, ".scope")
	switch {
	case strings.Contains(part, "conmon"):
		return "", false
	case above == "lxc" || above == "lxc.payload":
		return part, true
	case strings.HasPrefix(part, "lxc.payload."):
		return strings.TrimPrefix(part, "lxc.payload."), true
	case above == "machine.slice" && strings.HasPrefix(part, "machine-") && name != part:
		return unescape(strings.TrimPrefix(name, "machine-")), true
	case above == "machine.slice" && strings.HasPrefix(part, "systemd-nspawn@") && strings.HasSuffix(part, ".service"):
		return unescape(strings.TrimSuffix(strings.TrimPrefix(part, "systemd-nspawn@"), ".service")), true
	}
	// docker-ID.scope, libpod-payload-ID, kubepods-….slice:cri-containerd:ID, ID
	id := name[strings.LastIndexAny(name, "-:")+1:]
	return id, isHash(id)
}

func isHash(id string) bool {
	return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == ""
}

// unescape undoes the \x2d of systemd.unit(5).
func unescape(name string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(name, `\x`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		code, err := strconv.ParseUint(after[:min(2, len(after))], 16, 8)
		if err != nil || len(after) < 2 {
			b.WriteString(`\x`)
			name = after
			continue
		}
		b.WriteByte(byte(code))
		name = after[2:]
	}
}
