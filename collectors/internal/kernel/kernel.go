// Package kernel sees in the kernel, with BPF, what a look from time to time
// misses: flows and programs that last a millisecond, each flow with the program
// that made it and every byte.
//
// A socket carries its owner in its own storage, given where a process creates,
// connects, sends or receives, and inherited by the connections of a listener. TCP
// is followed by sockops and by two tracepoints, since a tracepoint that a softirq
// interrupts is skipped and sockops does not see sockets older than itself;
// everything else is counted packet by packet at the socket. Executions of programs
// are followed by three tracepoints, so that an owner has a name after its end.
// Totals are kept in ordinary hashes: one that forgets the oldest would forget in
// silence. A flow that finds no room is counted without its far end, see
// [Flow.Folded]; what finds no room even there is counted as lost, see [Counts].
//
// Everything can be pinned: then it goes on while nobody reads it, and the next
// [Open] finds what flowed meanwhile.
//
// A program that a process executes is an execution of its own, although process
// and start time stay: what the one before it sent is not the new one's.
//
// The limits: what a program sends by AF_PACKET, AF_XDP or a TUN device goes to an
// address that only it knows; such programs are listed, see [Frames] and [Socket],
// and what left an interface without a socket of IP is added up. Multipath TCP is
// counted for what its subflows carry; the subflows of a connection older than the
// capture have no owner, and what a listener older than it accepts (Go's are of
// MPTCP) has none until it is used. A row of a protocol other than TCP counts one
// connection. One of multipath TCP that is handed to another process stays its
// maker's. A packet that leaves later than its sender's call (put back by a firewall,
// encrypted meanwhile) may be given to whoever is interrupted. A socket that was on
// its way to another process when the capture began has no owner until it is used.
// An IPv6 packet with more than four extension headers counts the rest of them as
// payload. A connection that another process takes over counts once for each, and is
// the former owner's until it is first used. What a holder sends by multipath TCP, on a
// connection that it had before, raises no [EventLeak]: it is in the row. Of the ways
// between programs those over the first 64 descriptors are not noted, nor those that
// one which runs on opened after it began.
package kernel

import (
	"errors"
	"net/netip"
	"time"
)

// Directions of a flow: who began it.
const (
	Out = 1
	In  = 2
)

// Sizes of the tables where [Options] does not say.
const (
	DefaultFlows    = 1 << 16
	DefaultPrograms = 1 << 14
)

// ErrPins is that of [Open] where the capture could be had, but not pinned where
// the options say.
var ErrPins = errors.New("pin capture")

// Options of a capture.
type Options struct {
	Flows    uint32 // rows that the table of flows holds at most; 0 for DefaultFlows
	Programs uint32 // executions that are remembered at most; 0 for DefaultPrograms
	Pins     string // directory in a BPF file system to outlive this process in; "" none
}

// Execution names one execution of a program since boot.
type Execution struct {
	PID   int
	Start uint64 // of the process, in clock ticks after boot: field 22 of /proc/PID/stat, proc(5)
	Image uint8  // programs that the process and its ancestors executed before, modulo 32
}

// Flow is what one execution exchanged with one peer endpoint. Counts are totals
// since First.
type Flow struct {
	Owner       Execution      // zero where it is not known
	NetNS       uint64         // inode number of the network namespace
	Direction   uint8          // In or Out
	Protocol    uint8          // number of IANA: 6 is TCP
	Local       netip.AddrPort // port 0 where it varies (out); the address that was seen first
	Remote      netip.AddrPort // port 0 where it varies (in)
	Sent        uint64         // payload bytes
	Received    uint64
	Connections uint64
	Attempts    uint64 // of these, not established, or not yet
	Open        uint64 // connections of TCP that are open now
	First, Last time.Time
	SentLast    time.Time     // when payload was sent last, within 10 ms; zero if it never was; of TCP, until its connections were read
	Began       time.Duration // First since boot, which setting the clock does not change
	Zone        uint32        // of the longest prefix that holds Remote; 0 where none does
	Own         bool          // stays on this machine: it goes through the loopback interface
	Folded      bool          // many flows in one for want of room: Local and Remote are not known
	Stale       bool          // of a folded one: Zone is of prefixes that were replaced since
	Earlier     Volume        // of the counts, what was read before this capture was opened
}

// Volume is what one or many flows moved.
type Volume struct{ Sent, Received, Connections uint64 }

// Program is one execution, and what it was.
type Program struct {
	ID           Execution
	Parent       Execution
	Began, Ended time.Time // Ended is zero while it runs
	Path         string    // of the executable, as its own mount namespace has it; "" if it is not known
	Truncated    bool      // Path lacks directories, or parts of names
	Unlinked     bool      // the file had no name any more, or never had one
	Device       uint64    // of the executable's file system, as stat(2) has it
	Inode        uint64
	Group        string // control group, as in /proc/PID/cgroup
	UID, GID     uint32 // effective, when it began
	NetNS, MntNS uint64
	PIDNS        uint64
	UserNS       uint64
	Name         string    // the kernel's short one
	Arguments    []byte    // as in /proc/PID/cmdline, the first 256 bytes; nil for what ran before the capture
	Channels     []Channel // among the first 64 descriptors, in their order; at most 8
	MoreChannels int       // descriptors of further ones
}

// Kinds of [Frames].
const (
	FramesPacket = 1 // by an AF_PACKET socket
	FramesOther  = 2 // by one of another network than IP
)

// Frames is what a program sent past the protocols, to where only it knows.
type Frames struct {
	Owner Execution
	NetNS uint64
	Kind  uint32
	Bytes uint64
	Last  time.Time
}

// Socket is one that a process holds and that waits for peers, is of AF_UNIX, or
// goes past the protocols.
type Socket struct {
	Owner     Execution
	NetNS     uint64
	Family    uint16 // AF_INET, AF_INET6, AF_UNIX, or what leaves the machine past both, as AF_PACKET or AF_VSOCK; 0 a TUN device
	Kind      uint16 // SOCK_STREAM, SOCK_DGRAM, …
	Protocol  uint16
	Listens   bool
	V6Only    bool
	Local     netip.AddrPort
	Inode     uint64
	Peer      uint64 // inode of the other end of a Unix socket; 0 none, or not accepted yet
	Name      []byte // sun_path of a Unix socket, or of its peer where it has none
	NamedPeer bool   // Name and File are the peer's
	Device    uint64 // of the file that a Unix socket is bound to, as stat(2) has it
	File      uint64 // its inode; 0 none
}

// Counts are totals since the capture began, which may be longer ago than [Open].
type Counts struct {
	Rows         uint64 // updates that found no room at all
	Bytes        uint64 // payload bytes of these, where known
	Orphans      uint64 // flows without an owner
	Storage      uint64 // sockets that could not be given an owner for want of memory
	Races        uint64 // updates given up after losing eight races
	Headers      uint64 // packets whose headers could not be read
	Programs     uint64 // executions that found no room
	Images       uint64 // names of executables and control groups that found none
	Events       uint64 // events that the ring had no room for
	Folded       uint64 // flows whose far end is not kept for want of room
	Executions   uint64 // programs executed
	Unlisted     uint64 // executions that ended and were too many to be kept until they were read
	Begun        uint64 // flows that began; of a protocol other than TCP, rows
	Unattributed uint64 // bytes that left an interface from no socket of IP: forwarded, AF_PACKET, TUN
	Reused       uint64 // executions named as one before them, 32 programs ago, that still has flows: they are mixed up
	Holds        uint64 // that an execution holds something, and there was no room to say so, or (of FUSE) it is not known which
	Derived      uint64 // files that carry a store's data, and that there was no room for
	SkippedFiles uint64 // looks at files that the kernel skipped, since another was interrupted; most are made again at the next read
	Skipped      uint64 // runs of a tracepoint that the kernel skipped and nothing stands in for
}

// Lost is how many updates of flows are known to be missing, or to be another's. Events are not among
// them: what they tell of is in the tables.
func (c *Counts) Lost() uint64 {
	return c.Rows + c.Storage + c.Races + c.Headers + c.Reused + c.Skipped
}

// Reading is everything at one moment. Owners of flows are among the programs, or
// lost and counted so.
type Reading struct {
	Flows    []Flow
	Frames   []Frames
	Programs []Program
	Sockets  []Socket
	Holds    []Hold // of executions that are among the programs of this reading, or of one before
	Counts   Counts
	Deaf     string // what the capture did not see of a flow that this process made for it to see; "" nothing
}

// Kinds of [Event].
const (
	EventFlow = 1 // a flow began towards an address that no zone holds
	EventLeak = 3 // the first byte that a holder sends on such a flow since it holds something more
	EventHold = 2 // an execution came to hold a store's data, by how: one event for each [Hold] but those of descendants
)

// Event is what somebody may want to know of before the next reading.
type Event struct {
	Kind  uint32
	At    time.Duration // since boot
	Owner Execution

	Stores uint64 // of a hold or a leak: a bit for each that was not told of yet

	// Of a hold.
	How   uint32
	From  Execution
	Inode uint64

	// Of a flow or a leak.
	NetNS     uint64
	Direction uint8
	Protocol  uint8
	Remote    netip.Addr
	Port      uint16 // the remote one (Out) or the local one (In)
}
