package kernel

import "time"

// How an execution came to hold a store's data.
const (
	HowDirect = 1 + iota
	HowService
	HowDescendant
	HowPipeline
	HowDerived
)

// Hold is that an execution holds the data of stores, and how it came by it.
type Hold struct {
	Owner  Execution
	From   Execution // who held it before; zero none
	Stores uint64    // a bit for each, by the numbers given to SetStores
	How    uint32
	First  time.Time
	Times  uint64 // opens or looks
	Inode  uint64 // of the first file or socket; 0 none
	Name   string // its last name
}

// Kinds of [Channel].
const (
	ChannelPipe     = 1 // a pipe or FIFO: ID is its inode
	ChannelSocket   = 2 // AF_UNIX: ID is the inode of the socket
	ChannelTerminal = 3 // the slave of a pseudo-terminal: ID is its number
	ChannelMaster   = 4 // the other end of one
)

// Channel is a way to another program that an execution had open when it began, or
// when it ended if it is a copy of its parent, has flows or holds something.
type Channel struct {
	ID     uint64
	Peer   uint64 // inode of the other end of a socket; 0 none
	Device uint64 // of the file system of a pipe, FIFO or pseudo-terminal, as stat(2) has it
	Kind   uint8
	Reads  bool
	Writes bool
}

// StoreDir is a directory that belongs to a store with all that is below, or a
// single file.
type StoreDir struct {
	Store         uint   // number below 64, which must stay the store's
	Device, Inode uint64 // as stat(2) has them
}

// How it is known who opens which file.
const (
	OpensByFunctions   = "functions"   // hooks on functions: each open, read, write and mapping
	OpensByTracepoints = "tracepoints" // of the page cache
	OpensByLooking     = ""            // only what is open at a reading
)

// ServiceSocket is the file that a store's service has bound a Unix socket to.
type ServiceSocket struct {
	Stores uint64 // a bit for each
	Device uint64 // as stat(2) has it
	Inode  uint64
}
