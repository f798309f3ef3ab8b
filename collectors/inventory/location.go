package inventory

import (
	"path"
	"strings"
)

// Location is where a component lies: a file, or a directory with all that is
// below it.
type Location struct {
	Path     string // absolute, symbolic links followed
	Recorded bool   // an installer's records say so; else only the software itself says what it is
	Tree     Tree   `json:",omitzero"` // whose path it is
}

// place is what a location is found by.
type place struct {
	tree Tree
	path string
}

// mostLevels bounds the directories above a file in which it may lie: whoever runs
// it chooses the path.
const mostLevels = 64

// located is what lies at a path.
type located struct {
	component int // -1 where several components claim the path
	recorded  bool
}

// locate enters where components lie. What an installer recorded counts before what
// a file says of itself.
func (s *Snapshot) locate() {
	s.locations = make(map[place]located)
	enter := func(at place, l located) {
		before, taken := s.locations[at]
		switch {
		case !path.IsAbs(at.path) || at.path == "/":
		case taken && before.recorded && !l.recorded:
		case taken && before.recorded == l.recorded && before.component != l.component:
			s.locations[at] = located{-1, l.recorded}
		default:
			s.locations[at] = l
		}
	}
	for i := range s.Components {
		for _, file := range s.Components[i].Files {
			enter(place{path: file}, located{component: i})
		}
		for _, l := range s.Components[i].Locations {
			enter(place{l.Tree, l.Path}, located{i, l.Recorded})
		}
	}
}

// lies gives the component that a file of a tree lies in, by the longest path.
// recorded says that an installer's records have it.
func (s *Snapshot) lies(tree Tree, file string) (c *Component, recorded, ok bool) {
	if !path.IsAbs(file) {
		return nil, false, false
	}
	file = path.Clean(file)
	at := located{component: -1}
	for end, levels := 1, 0; end <= len(file) && levels < mostLevels; end++ {
		if end < len(file) && file[end] != '/' {
			continue
		}
		levels++
		if l, known := s.locations[place{tree, file[:end]}]; known {
			at = l
		}
	}
	if at.component < 0 {
		return nil, false, false
	}
	return &s.Components[at.component], at.recorded, true
}

// treeOf gives the tree in which a process's paths lead to its files. False where
// that is not known.
func (s *Snapshot) treeOf(p *Process) (Tree, bool) {
	tree := s.trees.Of(p)
	return tree, tree != Tree{} || !p.Foreign && p.Container == ""
}

// Software gives what is known to be a process's executable: the package that owns
// it, else the component that it lies in, which no package system may account for.
func (s *Snapshot) Software(p *Process) (*Component, bool) {
	if owner, owned := s.Owner(p); owned {
		return owner, true
	}
	tree, known := s.treeOf(p)
	if p.Deleted || p.Memory || !known {
		return nil, false
	}
	file := p.Executable
	if container, listed := s.ContainerOf(p); listed {
		file = strings.TrimPrefix(file, container.Above)
	}
	c, _, ok := s.lies(tree, file)
	return c, ok
}

// ScriptSoftware is [Snapshot.Software] for the script that a process runs.
// recorded says that a package system or an installer accounts for it.
func (s *Snapshot) ScriptSoftware(p *Process, script *Script) (c *Component, recorded, ok bool) {
	if owner, owned := s.FileOwner(p, script.Path, script.File); owned {
		return owner, true, true
	}
	tree, known := s.treeOf(p)
	if !known {
		return nil, false, false
	}
	return s.lies(tree, script.Path)
}
