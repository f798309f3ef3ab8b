package freedom

import (
	"path"
	"slices"
	"strings"

	"cityward/collectors/inventory"
	"cityward/configs"
)

// surveyed is what the table of substitutes says of a machine.
type surveyed struct {
	products map[string]*presence // by the product's id
	licences inventory.Share
	unlisted []string // components that are not free and that the table does not know
	programs int      // that run
	unseen   []string // programs of which it is not known what they are
}

// survey looks up each component and each running program once.
func survey(s *inventory.Snapshot, p *configs.Policy) *surveyed {
	v := &surveyed{products: make(map[string]*presence)}
	for i := range s.Components {
		v.component(&s.Components[i], p.Substitutes)
	}
	for i := range s.Containers {
		v.image(&s.Containers[i], p.Substitutes)
	}
	told := make(map[string]bool)
	for i := range s.Processes {
		process := &s.Processes[i]
		if process.Kernel {
			continue
		}
		key := subject(process) + "\x00" + script(s, process)
		if told[key] {
			continue
		}
		told[key] = true
		v.program(s, p, process)
	}
	v.programs = len(told)
	return v
}

func (v *surveyed) add(p *configs.Product) *presence {
	f := v.products[p.ID]
	if f == nil {
		f = &presence{product: p}
		v.products[p.ID] = f
	}
	return f
}

// productOf gives the product that a component is of. What is found to be free is
// not the product where free software has the same names.
func productOf(t *configs.SubstituteTable, c *inventory.Component) *configs.Product {
	p := t.Package(c.Ecosystem, c.Name)
	if p != nil && p.Ambiguous && c.Licence.Freedom == inventory.Free {
		return nil
	}
	return p
}

func (v *surveyed) component(c *inventory.Component, t *configs.SubstituteTable) {
	v.licences.Add(c.Licence.Freedom)
	p := productOf(t, c)
	if p == nil {
		if c.Licence.Freedom == inventory.NonFree {
			v.unlisted = append(v.unlisted, c.Name)
		}
		return
	}
	f := v.add(p)
	f.components = append(f.components, strings.TrimSpace(c.Name+" "+c.Version))
	if p.Ambiguous && c.Licence.Freedom == inventory.FreedomUnknown {
		f.doubtful = !f.proven
		return
	}
	f.proven, f.doubtful = true, false
}

// image looks for the product that a container's image holds: names may be given
// to anything, so they prove nothing.
func (v *surveyed) image(c *inventory.Container, t *configs.SubstituteTable) {
	if c.Image == "" {
		return
	}
	if p := t.Image(c.Image); p != nil {
		f := v.add(p)
		f.programs = append(f.programs, c.Label())
		f.doubtful = f.doubtful || p.Ambiguous && !f.proven
	}
}

// program looks for a running program by its package, its place, its name, and by
// those of the script that it interprets.
func (v *surveyed) program(s *inventory.Snapshot, policy *configs.Policy, process *inventory.Process) {
	t := policy.Substitutes
	owner, owned := s.Owner(process)
	if owned {
		if p := productOf(t, owner); p != nil {
			f := v.add(p)
			f.programs = append(f.programs, subject(process))
			return
		}
	}
	for _, file := range []string{process.Executable, script(s, process)} {
		if file == "" {
			continue
		}
		p, placed := t.Path(file), true
		if p == nil {
			p, placed = t.Program(file), false
		}
		free := owned && file == process.Executable && owner.Licence.Freedom == inventory.Free
		local := slices.Contains(policy.Software.LocalPrograms, file) && !process.Foreign
		if p == nil || !placed && local || free && p.Kind == configs.ProductNonFree && (p.Ambiguous || !placed) {
			continue
		}
		f := v.add(p)
		f.programs = append(f.programs, subject(process))
		if p.Ambiguous {
			f.doubtful = !f.proven
		} else {
			f.proven = f.proven || placed
		}
		return
	}
	if process.Executable == "" && !process.Memory || process.Container != "" && !owned {
		v.unseen = append(v.unseen, subject(process))
	}
}

// script gives the file that an interpreter runs: the one that was found, else its
// first argument that is a path; "" where the program is no interpreter or names none.
func script(s *inventory.Snapshot, p *inventory.Process) string {
	if found := s.Script(p.ID); found != nil {
		return found.Path
	}
	name := strings.TrimRight(path.Base(p.Executable), "0123456789.")
	if !slices.Contains([]string{"java", "python", "perl", "ruby", "node", "nodejs", "php", "mono", "dotnet", "sh", "bash", "dash"}, name) {
		return ""
	}
	for _, argument := range p.Arguments[min(1, len(p.Arguments)):] {
		if path.IsAbs(argument) {
			return path.Clean(argument)
		}
	}
	return ""
}
