package inventory

import "path"

// Location is where a component lies: a file, or a directory with all that is
// below it.
type Location struct {
	Path     string // absolute, symbolic links followed
	Recorded bool   // an installer's records say so; else only the software itself says what it is
}

// mostLevels bounds the directories above a file in which it may lie: whoever runs
// it chooses the path.
const mostLevels = 64

// located is what lies at a path.
type located struct {
	component int // -1 where several components claim the path
	recorded  bool
}

// locate enters where the machine's components lie. What an installer recorded
// counts before what a file says of itself.
func (s *Snapshot) locate() {
	s.locations = make(map[string]located)
	enter := func(at string, l located) {
		before, taken := s.locations[at]
		switch {
		case !path.IsAbs(at) || at == "/":
		case taken && before.recorded && !l.recorded:
		case taken && before.recorded == l.recorded && before.component != l.component:
			s.locations[at] = located{-1, l.recorded}
		default:
			s.locations[at] = l
		}
	}
	for i := range s.Components {
		for _, file := range s.Components[i].Files {
			enter(file, located{component: i})
		}
		for _, l := range s.Components[i].Locations {
			enter(l.Path, located{i, l.Recorded})
		}
	}
}

// lies gives the component that one of the machine's own files lies in, by the
// longest path. recorded says that an installer's records have it.
func (s *Snapshot) lies(file string) (c *Component, recorded, ok bool) {
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
		if l, known := s.locations[file[:end]]; known {
			at = l
		}
	}
	if at.component < 0 {
		return nil, false, false
	}
	return &s.Components[at.component], at.recorded, true
}

// ownTree reports whether what a process calls a path is the machine's own file.
func (s *Snapshot) ownTree(p *Process) bool {
	return !p.Foreign && p.Container == "" && s.trees.Of(p) == Tree{}
}

// Software gives what is known to be a process's executable: the package that owns
// it, else the component that it lies in, which no package system may account for.
func (s *Snapshot) Software(p *Process) (*Component, bool) {
	if owner, owned := s.Owner(p); owned {
		return owner, true
	}
	if p.Deleted || p.Memory || !s.ownTree(p) {
		return nil, false
	}
	c, _, ok := s.lies(p.Executable)
	return c, ok
}

// ScriptSoftware is [Snapshot.Software] for the script that a process runs.
// recorded says that a package system or an installer accounts for it.
func (s *Snapshot) ScriptSoftware(p *Process, script *Script) (c *Component, recorded, ok bool) {
	if owner, owned := s.FileOwner(p, script.Path, script.File); owned {
		return owner, true, true
	}
	if !s.ownTree(p) {
		return nil, false, false
	}
	return s.lies(script.Path)
}
