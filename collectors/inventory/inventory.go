// Package inventory holds the nouns of Cityward: what is on this machine, as
// collectors saw it. It judges nothing (package checks does) and reads nothing
// (the collectors do).
//
// A collector returns [Facts], a part of the truth. [Merge] joins the parts of
// one round into a [Snapshot]. What could not be seen is a fact too: a [Gap].
package inventory

import (
	"slices"
	"time"
)

// Kinds of evidence. A gap names the kind it touches, a check the kinds it
// needs; a check whose evidence a gap touches never passes.
const (
	KindMachine    = "machine"    // hardware and operating system
	KindProcesses  = "processes"  // which programs run
	KindComponents = "components" // which software is installed, and who owns an executable
	KindLicences   = "licences"   // under which terms
	KindRunning    = "running"    // which scripts and libraries run, and whose they and the containers' programs are
	KindFlows      = "flows"      // connections that are or were open
	KindListeners  = "listeners"  // sockets that wait for peers
	KindStorage    = "storage"    // mounts, and the disks below data stores
	KindHoldings   = "holdings"   // which program holds which store's data
	KindAccess     = "access"     // file permissions of data stores
	KindEngines    = "engines"    // running data engines and their directories
	KindPlaces     = "places"     // country and operator of an address
	KindHistory    = "history"    // what is written down to outlive a restart
)

// Facts is what one collector saw in one round. Fields a collector does not
// know stay empty.
type Facts struct {
	Machine    *Machine
	Processes  []Process
	Components []Component
	Owners     []Owner
	Identities []Identity
	Scripts    []Script
	Libraries  []Library
	Containers []Container
	Listeners  []Listener
	Flows      []Flow
	Locals     []LocalConnection
	Bypasses   []Bypass
	Mounts     []Mount
	Stores     []DataStore
	Candidates []Candidate
	Holdings   []Holding
	Former     []Process // ended, and listed only since what they held went on to others
	Passed     []Holding // what those had held
	Opens      []Opens
	Places     []Place
	Captures   []Capture
	Probe      *Probe
	Tables     []Table
	Gaps       []Gap
}

// Append adds what more holds to f. A later Machine or a later row for the same
// store completes the earlier one in [Merge], not here.
func (f *Facts) Append(more *Facts) {
	if more.Machine != nil {
		f.Machine = more.Machine
	}
	if more.Probe != nil {
		f.Probe = more.Probe
	}
	f.Processes = append(f.Processes, more.Processes...)
	f.Components = append(f.Components, more.Components...)
	f.Owners = append(f.Owners, more.Owners...)
	f.Identities = append(f.Identities, more.Identities...)
	f.Scripts = append(f.Scripts, more.Scripts...)
	f.Libraries = append(f.Libraries, more.Libraries...)
	f.Containers = append(f.Containers, more.Containers...)
	f.Listeners = append(f.Listeners, more.Listeners...)
	f.Flows = append(f.Flows, more.Flows...)
	f.Locals = append(f.Locals, more.Locals...)
	f.Bypasses = append(f.Bypasses, more.Bypasses...)
	f.Mounts = append(f.Mounts, more.Mounts...)
	f.Stores = append(f.Stores, more.Stores...)
	f.Candidates = append(f.Candidates, more.Candidates...)
	f.Holdings = append(f.Holdings, more.Holdings...)
	f.Former = append(f.Former, more.Former...)
	f.Passed = append(f.Passed, more.Passed...)
	f.Opens = append(f.Opens, more.Opens...)
	f.Places = append(f.Places, more.Places...)
	f.Captures = append(f.Captures, more.Captures...)
	f.Tables = append(f.Tables, more.Tables...)
	f.Gaps = append(f.Gaps, more.Gaps...)
}

// First gives process 1, whose namespaces are the machine's own; nil where it
// was not seen.
func (f *Facts) First() *Process {
	if i := slices.IndexFunc(f.Processes, func(p Process) bool { return p.ID.PID == 1 }); i >= 0 {
		return &f.Processes[i]
	}
	return nil
}

// Gap is evidence that could not be had: denied, unsupported, timed out, lost.
// A process that ended while it was read is no gap: its end was observed.
type Gap struct {
	Collector string // who could not see
	Kind      string // which evidence is touched, one of the Kind constants
	Store     string // set when only this data store's evidence is touched
	Subject   string // what could not be seen, for people: a path, a process
	Reason    string // why, for people: "permission denied"
	Lost      int    // how many things were not seen; 0 when that is not known
}

// Tiers of a capture, best first. Only TierBPF can be complete.
const (
	TierBPF      = "bpf"
	TierEvents   = "events"
	TierPoll     = "poll"
	TierGopsutil = "gopsutil"
)

// The captures of a machine, each of which a collector gives.
const (
	CaptureFlows     = "flows"     // connections
	CaptureOpens     = "opens"     // files of data stores that are opened
	CaptureProcesses = "processes" // programs that start
)

// Captures lists them.
func Captures() []string { return []string{CaptureFlows, CaptureOpens, CaptureProcesses} }

// Capture says how one kind of short-lived thing is watched.
type Capture struct {
	Name     string // one of the Capture constants
	Tier     string // one of the Tier constants
	Complete bool   // nothing can have passed unseen
	Reason   string // why it is not complete, and what to change
	Events   uint64 // seen since the agent started
	Lost     uint64 // known to be lost since then
	Orphans  uint64 // seen, but with no program to name
}

// Probe is what the agent has in the kernel, where it has something there.
type Probe struct {
	MemoryBytes       uint64 // of its maps and programs
	UnattributedBytes uint64 // left an interface from no socket of IP: forwarded, frames, tunnels
}

// Table is a dated set of reference facts: a geo database, a table of clouds.
type Table struct {
	Name   string
	Date   time.Time     // when its content was made or last reviewed
	MaxAge time.Duration // after which the configuration calls it out of date; 0 where it does not say
}

// Machine is the host itself.
type Machine struct {
	Hostname       string // never leaves the host but in its own reports
	OS             string // ID of os-release(5), "debian"
	OSVersion      string // VERSION_ID of os-release(5)
	OSName         string // PRETTY_NAME of os-release(5)
	Kernel         string // release, as uname -r
	Arch           string // machine, as uname -m
	BootID         string // /proc/sys/kernel/random/boot_id
	Booted         time.Time
	CPUs           int
	MemoryBytes    uint64
	Virtualization string   // a hypervisor's name, else a container's, "none" on bare metal, "" unknown
	Container      string   // kind of container that this system itself runs in; "" none
	Vendor         string   // DMI sys_vendor
	Product        string   // DMI product_name
	Serial         string   // DMI product_serial; compared with the asset register, never shown
	UUID           string   // DMI product_uuid; likewise
	DMI            bool     // the firmware's tables could be read
	LookedUp       bool     // this machine could be looked up in the city's asset register
	Registered     bool     // and its serial or UUID is there
	Platform       string   // id of the cloud platform recognised, "" none
	PlatformName   string   // its name
	PlatformRule   string   // which fact recognised it: "sys_vendor = Hetzner"
	SelfHosted     bool     // the platform is software that a city may run itself
	Addresses      []string // of its interfaces
	Networks       []string // the same with the length of their networks: 10.20.1.5/16
}

// Bare reports whether the machine is known to be no guest of a hypervisor: the
// firmware names a maker and nothing shows a hypervisor. A container does not
// hide the hardware below.
func (m *Machine) Bare() bool {
	native := m.Virtualization == "none" || m.Container != "" && m.Virtualization == m.Container
	return m.DMI && m.Vendor != "" && native
}
