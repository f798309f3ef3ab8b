package inventory

import (
	"net/netip"
	"time"
)

// Zone is whose hardware an address is on, from the address and the policy
// alone, never from a name. The zero value is outside: what is not known to be
// the city's is not the city's.
type Zone uint8

// The four zones.
const (
	Outside  Zone = iota // none of the others
	Host                 // this machine
	City                 // a network of the city
	Approved             // a network of a transfer in force
)

// String gives the label value of metrics and JSON.
func (z Zone) String() string {
	switch z {
	case Host:
		return "host"
	case City:
		return "city"
	case Approved:
		return "approved"
	case Outside:
	}
	return "outside"
}

// Directions of a flow: who began it. Bytes move both ways in either.
const (
	In  = "in"
	Out = "out"
)

// Listener is a socket that waits for peers.
type Listener struct {
	Process  Execution // zero when the owner could not be found
	NetNS    uint64
	Protocol string // tcp, udp, unix
	Local    netip.AddrPort
	Path     string // of a Unix socket
}

// Flow is what one execution exchanged with one peer endpoint: connections from
// it to one address and port (out), or from one address to one of its ports
// (in). Counts are totals since First and never fall while the row lives.
type Flow struct {
	Process     Execution // zero when the owner could not be found
	NetNS       uint64
	Direction   string         // In or Out
	Protocol    string         // tcp, udp, …
	Local       netip.AddrPort // port 0 where it varies (out)
	Remote      netip.AddrPort // port 0 where it varies (in)
	Sent        uint64         // payload bytes
	Received    uint64
	Connections uint64 // begun, whether or not they carried anything
	Attempts    uint64 // of these, never established so far
	First       time.Time
	Began       time.Duration // First since boot, of a flow that is counted in the kernel: it stays when the clock is set
	Last        time.Time     // last round that saw it, or its end
	LastSent    time.Time     // of the last byte sent; zero where nobody tells
	Open        int           // connections open now
	Zone        Zone          // of the remote address
	Folded      bool          // many flows in one for want of room: Remote is not valid, and of Local at most the port is known
	Reported    Volume        // of the counts, what an earlier run of the agent has reported
}

// FlowKey tells the flows of one execution apart.
type FlowKey struct {
	NetNS               uint64
	Direction, Protocol string
	Local, Remote       netip.AddrPort
	Folded              Zone // of a row without addresses, of which there is one for each zone
}

// Key names the flow from round to round, among those of its execution.
func (f *Flow) Key() FlowKey {
	key := FlowKey{f.NetNS, f.Direction, f.Protocol, f.Local, f.Remote, 0}
	if f.Folded {
		key.Folded = f.Zone
	}
	return key
}

// Volume is what one or many flows moved.
type Volume struct{ Sent, Received, Connections uint64 }

// Ways past the protocols: what a program sends there goes to an address that
// only it knows.
const (
	BypassPacket = "packet" // a socket for whole frames, packet(7)
	BypassXDP    = "xdp"    // one that shares its buffers with a network card
	BypassTunnel = "tunnel" // a TUN or TAP device
	BypassOther  = "other"  // a socket of a network that is not IP, as vsock(7)

	// The kernel itself sends what goes in there, to where its peers are.
	BypassWireGuard = "wireguard"
)

// Bypass is a program's way past the protocols.
type Bypass struct {
	Process   Execution // zero of an interface that the kernel serves
	NetNS     uint64
	Kind      string // one of the Bypass constants
	Interface string // of a kind that no program holds
	Open      bool   // held now
	Bytes     uint64 // sent, where that is counted; only of packet
}

// Port is the one that names the service: the local one of a flow that came in,
// else the remote one.
func (f *Flow) Port() uint16 {
	if f.Direction == In {
		return f.Local.Port()
	}
	return f.Remote.Port()
}

// LocalConnection is a Unix socket open now from one execution to a named
// socket of another (or of itself). It never leaves the machine, but whoever is
// connected to a data store's socket can read the store.
type LocalConnection struct {
	Process Execution // who connected; zero when the holder could not be found
	Peer    Execution // who holds the named end; likewise
	Path    string    // as the peer bound it: absolute, relative, or abstract with a leading @
	File    FileID    // of the socket's file, of whose inode the kernel gives the low 32 bits; zero for an abstract name
}

// Place is where an address is and who runs it, by a local database.
type Place struct {
	Address  netip.Addr
	Country  string // ISO 3166-1 alpha-2; "" unknown
	Operator string // organisation of the autonomous system; "" unknown
}
