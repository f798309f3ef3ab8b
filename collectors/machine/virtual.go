package machine

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"strings"

	gohost "github.com/shirou/gopsutil/v3/host"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// virtualization finds out whether the machine is a guest. Several signs are
// read, for a hypervisor may hide any of them, and one is enough. That there is
// none is said only where the processor would show one; a container's name alone
// says so, too.
func (c *Collector) virtualization(ctx context.Context, m *inventory.Machine, f firmware) {
	m.Container = c.container()
	system, role := "", ""
	if c.host.Live() {
		system, role, _ = gohost.VirtualizationWithContext(ctx) // a second opinion, so no matter
	}
	guest := role == "guest" && system != ""
	if guest && containerKind(system) {
		m.Container, guest = cmp.Or(m.Container, system), false
	}
	processor := c.processor()
	switch name := cmp.Or(f.hypervisor(), c.otherHypervisor()); {
	case c.privileged():
		m.Virtualization = cmp.Or(m.Container, "none") // whatever else shows Xen, this domain owns the hardware
	case name != "":
		m.Virtualization = name
	case guest:
		m.Virtualization = host.Text(system, shown)
	case processor == guestProcessor:
		m.Virtualization = "vm"
	case processor == nativeProcessor:
		m.Virtualization = cmp.Or(m.Container, "none")
	}
}

// hypervisor names the hypervisor that the firmware's tables are of; "" none.
func (f firmware) hypervisor() string {
	for _, field := range []string{"product_name", "sys_vendor", "board_vendor", "bios_vendor"} {
		for _, sign := range []struct{ prefix, name string }{
			{"KVM", "kvm"},
			{"OpenStack", "kvm"},
			{"KubeVirt", "kvm"},
			{"QEMU", "qemu"},
			{"VMware", "vmware"},
			{"VMW", "vmware"},
			{"innotek GmbH", "virtualbox"},
			{"VirtualBox", "virtualbox"},
			{"Xen", "xen"},
			{"HVM domU", "xen"},
			{"Bochs", "bochs"},
			{"Parallels", "parallels"},
			{"BHYVE", "bhyve"},
			{"Hyper-V", "hyperv"},
			{"Virtual Machine", "hyperv"},
			{"Apple Virtualization", "apple"},
			{"Google Compute Engine", "kvm"},
			{"Standard PC (", "qemu"},
		} {
			if strings.HasPrefix(f.fields[field], sign.prefix) {
				return sign.name
			}
		}
	}
	return ""
}

// otherHypervisor names the hypervisor by the signs that the kernel shows beside
// the firmware's tables: Xen's directory and the device tree of ARM and POWER.
func (c *Collector) otherHypervisor() string {
	if kind := c.line("/sys/hypervisor/type"); kind != "" {
		return kind
	}
	compatible, err := c.host.ReadFile("/proc/device-tree/hypervisor/compatible", 4096)
	if err != nil {
		return ""
	}
	if first, _, _ := bytes.Cut(compatible, []byte{0}); bytes.Equal(first, []byte("linux,kvm")) {
		return "kvm"
	}
	return "vm"
}

// privileged reports whether this is Xen's first domain, which owns the
// hardware.
func (c *Collector) privileged() bool {
	return strings.Contains(c.line("/proc/xen/capabilities"), "control_d")
}

// processorKind is what the processor says of a hypervisor.
type processorKind int

const (
	silentProcessor processorKind = iota // its architecture does not say
	nativeProcessor
	guestProcessor
)

// processor reads the flags of the first processor. On x86 a hypervisor sets
// one that says so.
func (c *Collector) processor() processorKind {
	f, err := c.host.Open("/proc/cpuinfo")
	if err != nil {
		return silentProcessor
	}
	defer f.Close()
	return parseProcessor(f)
}

// parseProcessor reads the first line of flags in /proc/cpuinfo, proc(5). It
// reads no further: the kernel writes the file as it is read, and slowly where
// there are many processors.
func parseProcessor(from io.Reader) processorKind {
	lines := bufio.NewReaderSize(io.LimitReader(from, 1<<16), 4096)
	for {
		line, err := lines.ReadString('\n')
		if flags, found := strings.CutPrefix(line, "flags"); found {
			for flag := range strings.FieldsSeq(flags) {
				if flag == "hypervisor" {
					return guestProcessor
				}
			}
			if err == nil {
				return nativeProcessor
			}
		}
		if err != nil {
			return silentProcessor
		}
	}
}

// container names the kind of container that the first process is in, by the
// signs that systemd and container engines leave; "" none.
func (c *Collector) container() string {
	if kind := c.line("/run/systemd/container"); kind != "" {
		return kind
	}
	if environment, err := c.host.ReadFile("/proc/1/environ", 1<<20); err == nil {
		if kind := parseContainer(environment); kind != "" {
			return kind
		}
	}
	for _, sign := range []struct{ path, kind string }{{"/run/.containerenv", "podman"}, {"/.dockerenv", "docker"}} {
		if _, err := c.host.Lstat(sign.path); err == nil {
			return sign.kind
		}
	}
	return ""
}

// parseContainer gives the variable container of an environment, proc(5), which
// container engines set for the first process.
func parseContainer(environment []byte) string {
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if kind, found := bytes.CutPrefix(variable, []byte("container=")); found {
			return host.Text(string(kind), 40)
		}
	}
	return ""
}

// containerKind reports whether gopsutil's word is a container's.
func containerKind(system string) bool {
	switch system {
	case "docker", "lxc", "rkt", "openvz", "linux-vserver":
		return true
	}
	return false
}
