// Package machine says what this machine is: its operating system, its hardware
// as the firmware describes it, whether it is a guest, whose cloud it is in, and
// whether the city's asset register lists it.
//
// Everything is read from files or asked of the kernel. No metadata service is
// asked: its address is outside, and its answer would be the provider's word.
// gopsutil counts processors and memory and gives a second opinion on
// virtualisation, of the running machine only. Its host.Info is not called, for
// it may start lsb_release, and its boot time not used, for it wavers by a
// second from call to call.
package machine

import (
	"context"
	"net"

	"github.com/shirou/gopsutil/v3/cpu"
	gohost "github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Collector describes one machine.
type Collector struct {
	host     *host.Host
	clouds   configs.CloudTable
	unclouds error // why there is no table of clouds
	assets   assets
}

// New returns a collector. The asset register's path is this machine's,
// whichever root is looked at.
func New(h *host.Host, cfg *configs.Config) *Collector {
	c := &Collector{host: h}
	c.clouds, c.unclouds = configs.Clouds()
	c.Configure(cfg)
	return c
}

// Configure takes the asset register of another configuration.
func (c *Collector) Configure(cfg *configs.Config) {
	c.assets = assets{path: cfg.City.Hardware}
}

// shown bounds the texts that are taken from files.
const shown = 200

// Collect describes the machine.
func (c *Collector) Collect(ctx context.Context, _ *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	var facts inventory.Facts
	m := &inventory.Machine{}
	c.system(m)
	firmware, unread := readFirmware(c.host, c.clouds)
	firmware.describe(m)
	c.platform(m, firmware)
	c.virtualization(ctx, m, firmware)
	if c.host.Live() {
		c.running(ctx, m)
	}
	facts.Machine = m
	facts.Gaps = append(facts.Gaps, c.register(m, firmware)...)
	if !m.DMI && !m.Registered {
		facts.Gaps = append(facts.Gaps, gap(firmwareDirectory, unread))
	}
	if c.unclouds != nil {
		facts.Gaps = append(facts.Gaps, gap("table of clouds", c.unclouds))
	} else {
		facts.Tables = []inventory.Table{{Name: "clouds", Date: c.clouds.Date}}
	}
	return facts, ctx.Err()
}

func gap(subject string, cause error) inventory.Gap {
	return inventory.Gap{Collector: "machine", Kind: inventory.KindMachine, Subject: host.Text(subject, shown), Reason: host.Text(host.Cause(cause), shown)}
}

// line reads a one-line file; "" where there is none.
func (c *Collector) line(path string) string {
	text, err := c.host.ReadLine(path)
	if err != nil {
		return ""
	}
	return host.Text(text, shown)
}

// system fills in what the operating system says of itself.
func (c *Collector) system(m *inventory.Machine) {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := c.host.ReadFile(path, 1<<16)
		if err != nil {
			continue
		}
		release := host.ParseOSRelease(data)
		m.OS, m.OSVersion, m.OSName = release.ID, release.VersionID, release.PrettyName
		break
	}
	m.Hostname = c.line("/proc/sys/kernel/hostname")
	if m.Hostname == "" {
		m.Hostname = c.line("/etc/hostname")
	}
	m.Kernel = c.line("/proc/sys/kernel/osrelease")
	m.BootID = c.line("/proc/sys/kernel/random/boot_id")
	m.Booted, _ = c.host.Booted() // zero where it is not known
}

// running fills in what only the running kernel says. Addresses are those of the
// agent's network namespace.
func (c *Collector) running(ctx context.Context, m *inventory.Machine) {
	if arch, err := gohost.KernelArch(); err == nil {
		m.Arch = host.Text(arch, shown)
	}
	if n, err := cpu.CountsWithContext(ctx, true); err == nil {
		m.CPUs = n
	}
	if memory, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		m.MemoryBytes = memory.Total
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok {
			m.Addresses = append(m.Addresses, network.IP.String())
			m.Networks = append(m.Networks, network.String())
		}
	}
}

// register looks the machine up in the city's asset register.
func (c *Collector) register(m *inventory.Machine, f firmware) []inventory.Gap {
	if c.assets.path == "" {
		return nil
	}
	list, err := c.assets.read()
	if err != nil {
		return []inventory.Gap{gap("asset register", err)}
	}
	if asset, found := list.Match(m.Serial, m.UUID); found && asset.Status != configs.StatusRetired {
		m.LookedUp, m.Registered = true, true
		return nil
	}
	for _, field := range []string{"product_serial", "product_uuid"} {
		if err := f.failures[field]; err != nil {
			return []inventory.Gap{gap("serial number and UUID for the asset register", err)}
		}
	}
	m.LookedUp = true
	return nil
}
