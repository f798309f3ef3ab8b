package inventory

import (
	"net/netip"
	"time"
)

// Mount is one line of the mount table that can hold data: block devices,
// network and FUSE file systems. Kernel file systems are left out.
type Mount struct {
	Target   string // where it is mounted
	Type     string // file system type
	Source   string // device, or server and path; credentials removed
	Device   uint64 // st_dev of its files
	Network  bool   // its data is on another machine, or may be (FUSE)
	Peer     string // host name or address of that machine; "" local or unknown
	PeerAddr netip.Addr
	PeerZone Zone // meaningful only where PeerAddr is valid
}

// Media of a data store.
const (
	MediumLocal     = "local"
	MediumNetwork   = "network"
	MediumRemovable = "removable"
	MediumMissing   = "missing"
	MediumUnknown   = "unknown" // it could not be followed down to a disk
)

// Answers to "is it encrypted at rest". Absent evidence is unknown.
const (
	EncryptedYes     = "yes"
	EncryptedNo      = "no"
	EncryptedUnknown = "unknown"
)

// Disk is the hardware, or the nearest thing the kernel shows to hardware, that
// a data store ends on.
type Disk struct {
	Name      string // sda, nvme0n1
	Transport string // sata, sas, nvme, virtio, usb, iscsi, nbd, …; "" unknown
	Removable bool
	Remote    bool   // reached over a network
	Virtual   bool   // given by a hypervisor: what is below cannot be seen from here
	Peer      string // address of the machine that serves a remote disk; "" unknown
}

// StorePath is one directory of a store, followed down to its disks.
type StorePath struct {
	Path      string // as declared, or where another file system is mounted below that
	Resolved  string // with symbolic links followed; "" if missing
	File      FileID // of the directory
	MountRoot string // the directory's path inside its file system, whatever the mount
	Mount     Mount
	Chain     []string // block devices from the file system down: dm-0, md0, sda1, sda
	Disks     []Disk
	Medium    string
	Encrypted string
}

// DataStore is a declared store of data with what was found of it here.
type DataStore struct {
	ID         string
	Class      string      // citizen, confidential, public
	Paths      []StorePath // empty where it is known by its services alone
	Services   []string    // tcp:5432, unix:/path
	Medium     string      // the worst of its paths
	MediumZone Zone        // zone of the network peer; Host for local media
	Peer       string      // network peer, if any
	Encrypted  string      // the worst of its paths
	Exposed    []Exposure  // files and directories that anyone may read or write
	Examined   int         // files and directories whose permissions were read
}

// Opens is how often programs were seen to open or read a store's files since the
// agent started.
type Opens struct {
	Store string
	Count uint64
}

// ZoneKnown reports whether MediumZone says anything: it does not where the
// medium is missing or could not be found.
func (s *DataStore) ZoneKnown() bool {
	return s.Medium == MediumLocal || s.Medium == MediumRemovable || s.Medium == MediumNetwork
}

// Exposure is a file or directory of a store that every local user may use.
type Exposure struct {
	Path     string
	Mode     uint32 // permission bits
	Writable bool
}

// Candidate is a data directory of a known engine that runs here and that no
// declared store covers.
type Candidate struct {
	Engine  string // PostgreSQL
	Path    string
	Process Execution
	Reason  string    // how the directory was found
	Storage StorePath // where the directory lies; zero until it was followed
}

// Ways of coming to hold a store's data, strongest first.
const (
	HowDirect     = "direct"     // a file of the store is or was open or mapped
	HowService    = "service"    // connected to a service of the store
	HowDescendant = "descendant" // begun by a holder
	HowPipeline   = "pipeline"   // a pipe, a terminal or a local socket leads to it from a holder
	HowDerived    = "derived"    // read a file that a holder had written, or that was moved out of the store
)

// Hows lists them.
func Hows() []string { return []string{HowDirect, HowService, HowDescendant, HowPipeline, HowDerived} }

// Holding is one program's hold on one store's data.
type Holding struct {
	Store    string
	Process  Execution
	How      string
	Since    time.Time          // when it began or, where nobody tells, the first round that saw it
	From     Execution          // zero, or the holder it came from
	Evidence string             // for people: the file, the service, the way between two programs
	Before   map[FlowKey]uint64 `json:"-"` // of the program's flows, the bytes sent before it held anything
}

// Sent is how many bytes of the store's holder a flow of its carried away while it
// held the data.
func (h *Holding) Sent(f *Flow) uint64 {
	if !f.LastSent.IsZero() && f.LastSent.Before(h.Since) {
		return 0
	}
	return f.Sent - min(h.Before[f.Key()], f.Sent)
}
