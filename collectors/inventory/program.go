package inventory

import (
	"cmp"
	"fmt"
	"slices"
)

// Program is what runs, or ran since the last round, whatever the number of its
// processes: one executable, with one script where it is an interpreter, under one
// user in one unit or container.
type Program struct {
	Executable string
	Script     string     // "" there is none, or it is not known
	ScriptOf   *Component // of the script; never nil; its PURL is "" where the owner is unknown
	Image      string     // of the container, see [Container.Label]; "" none
	User       string
	Unit       string
	Container  string
	Name       string     // the kernel's short name, where there is no executable
	PIDs       []int      // of those that run; empty where all have ended
	Listening  []string   // protocol:address:port, or unix:path
	Component  *Component // never nil; its PURL is "" where the owner is unknown
}

// Runs reports whether some process of it has not ended.
func (p *Program) Runs() bool { return len(p.PIDs) > 0 }

// Freedom is that of the component.
func (p *Program) Freedom() Freedom { return p.Component.Licence.Freedom }

// Programs groups the processes. Kernel threads are part of the kernel and not
// among them.
func (s *Snapshot) Programs() []Program {
	type key struct{ executable, script, name, user, unit, container, image, purl string }
	at := make(map[key]int)
	listening := make(map[Execution][]string)
	for _, l := range s.Listeners {
		listening[l.Process] = append(listening[l.Process], l.String())
	}
	var programs []Program
	for i := range s.Processes {
		p := &s.Processes[i]
		if p.Kernel {
			continue
		}
		owner, ok := s.Software(p)
		if !ok {
			owner = &Component{}
		}
		k := key{executable: p.Executable, user: p.User, unit: p.Unit, container: p.Container, purl: owner.PURL}
		if p.Executable == "" {
			k.name = p.Name
		}
		script, scriptOf := s.scriptOf(p)
		k.script = script
		if c, contained := s.ContainerOf(p); contained {
			k.image = c.Label()
		}
		n, known := at[k]
		if !known {
			n = len(programs)
			at[k] = n
			programs = append(programs, Program{
				Executable: p.Executable, Script: script, ScriptOf: scriptOf, Image: k.image,
				User: p.User, Unit: p.Unit, Container: p.Container, Name: p.Name, PIDs: []int{}, Component: owner,
			})
		}
		if p.Ended.IsZero() {
			programs[n].PIDs = append(programs[n].PIDs, p.ID.PID)
		}
		programs[n].Listening = append(programs[n].Listening, listening[p.ID]...)
	}
	for i := range programs {
		slices.Sort(programs[i].Listening)
		programs[i].Listening = slices.Compact(programs[i].Listening)
	}
	slices.SortStableFunc(programs, func(a, b Program) int {
		return cmp.Or(cmp.Compare(a.Executable, b.Executable), cmp.Compare(a.Script, b.Script), cmp.Compare(a.Name, b.Name), cmp.Compare(a.User, b.User),
			cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Image, b.Image))
	})
	return programs
}

// scriptOf gives the path of a process's script and the component that has it.
func (s *Snapshot) scriptOf(p *Process) (string, *Component) {
	script := s.Script(p.ID)
	if script == nil {
		return "", &Component{}
	}
	if c, _, ok := s.ScriptSoftware(p, script); ok {
		return script.Path, c
	}
	return script.Path, &Component{}
}

// String gives protocol:address:port, or unix:path.
func (l *Listener) String() string {
	if l.Protocol == "unix" {
		return "unix:" + l.Path
	}
	return fmt.Sprintf("%s:%s", l.Protocol, l.Local)
}
