package inventory

import (
	"cmp"
	"fmt"
	"slices"
)

// Program is what runs, or ran since the last round, whatever the number of its
// processes: one executable under one user in one unit or container.
type Program struct {
	Executable string
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
	type key struct{ executable, name, user, unit, container, purl string }
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
		owner, ok := s.Owner(p)
		if !ok {
			owner = &Component{}
		}
		k := key{p.Executable, "", p.User, p.Unit, p.Container, owner.PURL}
		if p.Executable == "" {
			k.name = p.Name
		}
		n, known := at[k]
		if !known {
			n = len(programs)
			at[k] = n
			programs = append(programs, Program{
				Executable: p.Executable, User: p.User, Unit: p.Unit, Container: p.Container, Name: p.Name, PIDs: []int{}, Component: owner,
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
		return cmp.Or(cmp.Compare(a.Executable, b.Executable), cmp.Compare(a.Name, b.Name), cmp.Compare(a.User, b.User),
			cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Container, b.Container))
	})
	return programs
}

// String gives protocol:address:port, or unix:path.
func (l *Listener) String() string {
	if l.Protocol == "unix" {
		return "unix:" + l.Path
	}
	return fmt.Sprintf("%s:%s", l.Protocol, l.Local)
}
