package inventory

import (
	"cmp"
	"slices"
	"strings"
)

// Script is what an interpreter or a virtual machine runs: the file that tells
// it what to do. It is named in the arguments, of which nothing else is shown.
type Script struct {
	Process Execution
	Path    string // in the process's own root, symbolic links followed
	File    FileID
	Guarded bool // it belongs to root, and nobody else may write to it
}

// Library is a file that running programs have mapped as code, or an archive of Java
// that they have open.
type Library struct {
	Tree     Tree
	Path     string // in the programs' own root
	File     FileID
	Replaced bool        // another file has its place, or none: the programs go on with the old one
	Users    []Execution // of a replaced one, sorted
}

func (l *Library) key() OwnerKey { return OwnerKey{l.Tree, l.Path, l.File} }

// Container is a file tree that programs run in and that is not the machine's
// own: a container's, or what another program has made the root of some.
type Container struct {
	Tree
	Above    string // what the kernel puts before its paths: the way to a tree that chroot(2) made, else ""
	ID       string // as Process.Container; "" where no runtime is known
	Runtime  string // docker, podman, containerd, cri-o; "" unknown
	Name     string // that the runtime gives it; "" unknown
	Image    string // name of the image; "" unknown
	Digest   string // of the image; "" unknown
	System   string // ID and VERSION_ID of its os-release(5); "" it says nothing
	Packages int    // that its own databases list
	Unread   string // why they could not be read; "" they were, if there are any
}

// Label names what software in it is part of: the image where it is known, since
// that is what is built and replaced, else the container.
func (c *Container) Label() string {
	switch {
	case c.Image != "":
		return c.Image
	case c.Name != "":
		return "container " + c.Name
	case c.ID != "":
		return "container " + c.ID[:min(len(c.ID), 12)]
	case c.System != "":
		return "file tree of " + c.System
	}
	return "file tree"
}

// Trees tells which file tree a process is in.
type Trees struct {
	home   FileID            // the machine's root; zero unknown
	listed map[Tree]int      // index among [Facts.Containers]
	alone  map[uint64]FileID // the root of namespaces that have one such tree
}

// Trees indexes the trees that were seen.
func (f *Facts) Trees() Trees {
	t := Trees{listed: make(map[Tree]int, len(f.Containers)), alone: make(map[uint64]FileID)}
	for i := range f.Containers {
		at := f.Containers[i].Tree
		t.listed[at] = i
		if _, more := t.alone[at.MountNS]; more {
			at.Root = FileID{}
		}
		t.alone[at.MountNS] = at.Root
	}
	first := f.First()
	if first == nil {
		return t
	}
	t.home = first.Root
	for i := range f.Processes { // beside programs of the machine those without a known root are its own, too
		if p := &f.Processes[i]; p.Root == t.home && (p.Root != FileID{} || p.ID == first.ID) {
			delete(t.alone, p.MountNS)
		}
	}
	return t
}

// shown is the tree as far as a process shows it. Of one that has ended, or has locked
// itself up, only the namespace is known.
func (t Trees) shown(p *Process) Tree {
	return Tree{p.MountNS, cmp.Or(p.Root, t.alone[p.MountNS])}
}

// Of gives the tree that a process's paths are of. One with another root than the
// machine's is none of the machine's, also where it was not listed, or is gone.
func (t Trees) Of(p *Process) Tree {
	at := t.shown(p)
	none := FileID{}
	if _, listed := t.listed[at]; listed || at.Root != none && t.home != none && at.Root != t.home {
		return at
	}
	return Tree{}
}

// ContainerOf gives the tree that a process runs in, false where that is the
// machine's own or was not seen.
func (s *Snapshot) ContainerOf(p *Process) (*Container, bool) {
	i, ok := s.trees.listed[s.trees.shown(p)]
	if !ok {
		return nil, false
	}
	return &s.Containers[i], true
}

// Script gives what the interpreter of an execution runs, nil if there is none or
// it is not known.
func (s *Snapshot) Script(id Execution) *Script {
	i, ok := s.scripts[id]
	if !ok {
		return nil
	}
	return &s.Scripts[i]
}

// FileOwner gives the component that a file belongs to, which a process knows by
// this path.
func (s *Snapshot) FileOwner(p *Process, path string, file FileID) (*Component, bool) {
	return s.owner(OwnerKey{s.trees.Of(p), path, file})
}

func (s *Snapshot) owner(key OwnerKey) (*Component, bool) {
	purl, ok := s.owners[key]
	if !ok {
		return nil, false
	}
	return s.Component(purl)
}

// ReplacedLibrary gives a library that an execution goes on with although another
// has its place, "" without one.
func (s *Snapshot) ReplacedLibrary(id Execution) string { return s.replaced[id] }

// upgraded reports whether a replaced library was a package's: a package has its
// path, or it lay where packages put libraries, for a new version often has another
// name. Programs also map files that they made themselves and have removed.
func (s *Snapshot) upgraded(l *Library) bool {
	if !l.Replaced {
		return false
	}
	if _, owned := s.owners[l.key()]; owned {
		return true
	}
	return strings.HasPrefix(l.Path, "/usr/lib") || strings.HasPrefix(l.Path, "/lib")
}

// Running lists the components that take part in what runs or ran since the last
// round: of executables, of scripts, and of libraries that are mapped.
func (s *Snapshot) Running() map[string]bool {
	running := make(map[string]bool)
	for i := range s.Processes {
		if c, ok := s.Software(&s.Processes[i]); ok {
			running[c.PURL] = true
		}
	}
	for i := range s.Scripts {
		if p, ok := s.Process(s.Scripts[i].Process); ok {
			if c, _, ok := s.ScriptSoftware(p, &s.Scripts[i]); ok {
				running[c.PURL] = true
			}
		}
	}
	for i := range s.Libraries {
		l := &s.Libraries[i]
		c, ok := s.owner(l.key())
		if !ok && !l.Replaced {
			c, _, ok = s.lies(l.Tree, l.Path)
		}
		if ok {
			running[c.PURL] = true
		}
	}
	return running
}

// mergeComponents makes one of the rows about one component. This machine's own says
// most of it where the machine has it, else the first. Of rows of like standing
// the one that promises least says the licence. The rows are written over.
func mergeComponents(rows []Component) []Component {
	at := make(map[string]int, len(rows))
	merged := rows[:0]
	for i := range rows {
		row := &rows[i]
		known, again := at[row.PURL]
		if !again || row.PURL == "" {
			at[row.PURL] = len(merged)
			merged = append(merged, *row)
			continue
		}
		c := &merged[known]
		if c.Contained && !row.Contained {
			own := *row
			*row, *c = *c, own
		}
		if c.Contained == row.Contained { // else the machine's own word counts
			c.Licence = LessFree(c.Licence, row.Licence)
		}
		if row.Contained {
			c.Locations = append(slices.Clip(c.Locations), row.Locations...)
		}
		if len(row.Images) > 0 {
			c.Images = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Images, row.Images))))
		}
	}
	clear(rows[len(merged):])
	return merged
}
