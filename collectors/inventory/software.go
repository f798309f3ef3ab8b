package inventory

import (
	"cmp"
	"fmt"
	"time"
)

// Execution is one run of one program: a process id together with its start
// time, because ids are used again, and with the program's number in the process,
// because a process may execute one after the other. It is unique within one boot.
type Execution struct {
	PID   int
	Start uint64 // clock ticks after boot: field 22 of /proc/PID/stat, proc(5)
	Image uint8  // programs that the process and its ancestors executed before, modulo 32; 0 where the kernel is not asked
}

// Compare orders executions by process id, then by start, then by program.
func (e Execution) Compare(other Execution) int {
	return cmp.Or(cmp.Compare(e.PID, other.PID), cmp.Compare(e.Start, other.Start), cmp.Compare(e.Image, other.Image))
}

// String gives the id for people.
func (e Execution) String() string { return fmt.Sprintf("pid %d", e.PID) }

// FileID names a file whatever path leads to it.
type FileID struct {
	Device uint64 // st_dev
	Inode  uint64
}

// Process is a running program.
type Process struct {
	ID         Execution
	Parent     int // process id
	Started    time.Time
	Ended      time.Time // zero while it runs; one that has ended is listed once, and longer while flows are its own
	Name       string    // the kernel's short name for it, at most 15 bytes
	Executable string    // path in the process's own root; "" if it could not be read
	File       FileID    // of the executable
	Deleted    bool      // the executable's file was removed or replaced after the start
	Memory     bool      // it runs from memory (memfd), from no file
	Foreign    bool      // Executable is its own word: in its user namespace it may mount what it likes, and this machine has another file there
	Arguments  []string  `json:"-"` // bounded; may hold secrets, so never shown
	UID        int       // effective; -1 unknown
	User       string    // its name, or the number where there is none
	Group      string    // likewise, of the effective group
	Groups     []string  // supplementary groups
	Unit       string    // systemd unit, from the control group
	Container  string    // container id, from the control group
	Kernel     bool      // a thread of the kernel: it has no executable
	Root       FileID    // its root directory; zero unknown, or another since it started its program
	MountNS    uint64    // inode of each namespace; 0 unknown
	NetNS      uint64
	PIDNS      uint64
	UserNS     uint64
}

// Contained reports whether a process is in a container, by the name of one or
// by process ids apart from those of the machine's first process, which may be
// nil. A unit with mounts of its own is in none.
func (p *Process) Contained(first *Process) bool {
	return p.Container != "" || first != nil && p.PIDNS != 0 && first.PIDNS != 0 && p.PIDNS != first.PIDNS
}

// Program names what runs, for metrics and tables: the unit, else the
// container, else the executable, else the kernel's short name.
func (p *Process) Program() string {
	switch {
	case p.Unit != "":
		return p.Unit
	case p.Container != "":
		return p.Container
	case p.Executable != "":
		return p.Executable
	}
	return p.Name
}

// Freedom is whether software may be used, studied, shared and improved by
// anyone. The zero value is unknown, which never counts as free.
type Freedom uint8

// The three answers.
const (
	FreedomUnknown Freedom = iota
	Free
	NonFree
)

// String gives the label value of metrics and JSON.
func (f Freedom) String() string {
	switch f {
	case Free:
		return "free"
	case NonFree:
		return "nonfree"
	case FreedomUnknown:
	}
	return "unknown"
}

// Licence is the terms of one component.
type Licence struct {
	Declared   string // as its maker wrote it, "" if nothing is written
	Expression string // SPDX expression, "" if it could not be concluded
	Source     string // where the answer comes from: "archive area", "copyright file", "policy"
	Freedom    Freedom
	Disputed   string // ids in the expression that the OSI approved and the FSF calls non-free, "" none
}

// Component is one installed piece of software.
type Component struct {
	Ecosystem string // dpkg, rpm, python, …
	Name      string
	Version   string
	Arch      string
	Source    string // source package, when it has another name
	Supplier  string
	Area      string   // archive area for dpkg: main, contrib, non-free, non-free-firmware; "" unknown
	Origin    string   // for dpkg: what the archive that has this version calls itself; "" unknown
	PURL      string   // package URL; the key that other facts refer to
	Also      []string `json:",omitempty"` // package URLs of the language packages that it brings, sorted; filled by [Merge]
	Licence   Licence
	Files     []string   // paths of the files that it is, of what is installed as files of its own: a Java archive, a Go program
	Locations []Location `json:",omitempty"` // where it lies, on the machine itself beside Files; bounded by who fills it
	Depends   []string   // package URLs of what is here and its maker says it needs; nil where nobody tells
	Images    []string   // of containers that have it, sorted: their images, see Container.Label
	Contained bool       // it is in containers only, not on the machine itself
}

// Identity is a language package whose description a system package owns: no
// component of its own, but another name of that component or of a part of it.
type Identity struct {
	Ecosystem string // of the system package
	Package   string // its name, as NAME or NAME:ARCH
	PURL      string // of the language package
}

// Tree names a file tree that programs run in: one root may be shared by namespaces
// that mount different things below it. The zero one is the machine's own.
type Tree struct {
	MountNS uint64
	Root    FileID // its top directory
}

// Compare orders trees by namespace.
func (t Tree) Compare(other Tree) int {
	return cmp.Or(cmp.Compare(t.MountNS, other.MountNS), cmp.Compare(t.Root.Device, other.Root.Device), cmp.Compare(t.Root.Inode, other.Root.Inode))
}

// Owner says which component a file belongs to, by the packages of one tree and for
// the programs in it: others may have the file, too, or call another so.
type Owner struct {
	Tree Tree
	Path string // as Process.Executable, Script.Path or Library.Path has it
	File FileID
	PURL string
}

// OwnerKey is what an owner is found by.
type OwnerKey struct {
	Tree Tree
	Path string
	File FileID
}

// Key gives what the owner is found by.
func (o *Owner) Key() OwnerKey { return OwnerKey{o.Tree, o.Path, o.File} }
