package ledger

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"cityward/agent"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
)

// lives are the things whose coming and going is written down.
type lives struct {
	findings   *life[findingState]
	holdings   *life[holdingState]
	components *life[componentState]
	programs   *life[programState]
}

// add queues a row.
type add func(at time.Time, kind string, body any) *entry

func newLives() lives {
	return lives{
		findings:   &life[findingState]{kind: KindFinding, words: words{"opened", "opened", "changed", "resolved"}},
		holdings:   &life[holdingState]{kind: KindHolding, words: words{"began", "began", "changed", "ended"}, patience: agent.Patience},
		components: &life[componentState]{kind: KindComponent, words: words{"found", "installed", "version", "removed"}, patience: 1},
		programs:   &life[programState]{kind: KindProgram, words: words{first: "found", begin: "new"}, forgets: true},
	}
}

type findingState struct {
	Check       string `json:"check"`
	Subject     string `json:"subject"`
	Store       string `json:"store,omitempty"`
	Severity    string `json:"severity"`
	Result      string `json:"result"`
	Disposition string `json:"disposition"`
}

func (f findingState) key() string {
	return (&finding.Finding{Check: f.Check, Subject: f.Subject}).Key()
}

type holdingState struct {
	Store      string `json:"store"`
	How        string `json:"how"`
	Executable string `json:"executable,omitempty"`
	User       string `json:"user,omitempty"`
	Unit       string `json:"unit,omitempty"`
	Container  string `json:"container,omitempty"`
	Package    string `json:"package,omitempty"`
}

func (h holdingState) key() string {
	return strings.Join([]string{h.Store, h.How, h.Executable, h.User, h.Unit, h.Container}, "\x00")
}

type componentState struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	Arch      string `json:"arch,omitempty"`
	Version   string `json:"version"` // of several that are installed, all
	Package   string `json:"package"`
	Licence   string `json:"licence,omitempty"`
	Freedom   string `json:"freedom"`
}

func (c componentState) key() string { return c.Ecosystem + "\x00" + c.Name + "\x00" + c.Arch }

type programState struct {
	Executable string `json:"executable"`
	Package    string `json:"package,omitempty"` // without its version, which is the component's
}

func (p programState) key() string { return p.Executable + "\x00" + p.Package }

// observe writes down what came, changed and went. Software is looked at in full
// rounds only, so in them only it can have changed.
func (l *lives) observe(at time.Time, r *agent.Report, add add) {
	l.observeFindings(at, r, add)
	l.observeHoldings(at, r, add)
	l.observePrograms(at, r, add)
	if !r.Short {
		l.observeComponents(at, r, add)
	}
}

// observeFindings takes for open what a person has to do with. What is not found
// any more is resolved, unless its check could not see enough to say.
func (l *lives) observeFindings(at time.Time, r *agent.Report, add add) {
	present := make(map[string]sight[findingState])
	blind := make(map[string]bool)
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Verdict == finding.Pass || f.Verdict == finding.NotApplicable {
			continue
		}
		blind[f.Check] = blind[f.Check] || f.Verdict == finding.Unknown
		state := findingState{clip(f.Check), clip(f.Subject), clip(f.Store), f.Severity.String(), f.Verdict.String(), f.Disposition}
		present[state.key()] = sight[findingState]{state, f.Since, f.Reason, f.Facts}
	}
	l.findings.observe(at, r.Short, present, func(f findingState) bool { return !blind[f.Check] }, add)
}

func (l *lives) observeHoldings(at time.Time, r *agent.Report, add add) {
	s := r.Snapshot
	present := make(map[string]sight[holdingState])
	for _, h := range s.Holdings {
		state := holdingState{Store: clip(h.Store), How: clip(h.How)}
		if p, runs := s.Process(h.Process); runs {
			state.Executable, state.User, state.Unit, state.Container = clip(p.Executable), clip(p.User), clip(p.Unit), clip(p.Container)
			if owner, owned := s.Owner(p); owned {
				state.Package = clip(owner.PURL)
			}
		}
		if before, there := present[state.key()]; there && !h.Since.Before(before.first) {
			continue
		}
		present[state.key()] = sight[holdingState]{state, h.Since, h.Evidence, source(s, h.From)}
	}
	gone := func(h holdingState) bool {
		return !slices.ContainsFunc(s.Gaps, func(g inventory.Gap) bool {
			return (g.Kind == inventory.KindHoldings || g.Kind == inventory.KindProcesses) && (g.Store == "" || g.Store == h.Store)
		})
	}
	l.holdings.observe(at, r.Short, present, gone, add)
}

// source tells whom a holder has the data from; nil where that is the store itself.
// It is no part of the state: of many processes of a program each may have another.
func source(s *inventory.Snapshot, from inventory.Execution) map[string]any {
	p, runs := s.Process(from)
	if !runs {
		return nil
	}
	return map[string]any{"from": Program{
		known(clip(p.Executable)), known(clip(p.User)), known(clip(p.Unit)), known(clip(p.Container)), nil,
	}}
}

func (l *lives) observePrograms(at time.Time, r *agent.Report, add add) {
	s := r.Snapshot
	present := make(map[string]sight[programState])
	for i := range s.Processes {
		p := &s.Processes[i]
		if p.Kernel || p.Executable == "" {
			continue
		}
		state := programState{Executable: clip(p.Executable)}
		if owner, owned := s.Owner(p); owned {
			purl, _, _ := strings.Cut(owner.PURL, "@")
			state.Package = clip(purl)
		}
		key := state.key()
		if _, there := present[key]; !there {
			present[key] = sight[programState]{state, p.Started, "", map[string]any{
				"user": clip(p.User), "unit": clip(p.Unit), "container": clip(p.Container), "foreign": p.Foreign, "memory": p.Memory,
			}}
		}
	}
	l.programs.observe(at, r.Short, present, func(programState) bool { return false }, add)
}

func (l *lives) observeComponents(at time.Time, r *agent.Report, add add) {
	present := make(map[string]sight[componentState])
	for i := range r.Snapshot.Components { // sorted, versions too
		c := &r.Snapshot.Components[i]
		state := componentState{
			clip(c.Ecosystem), clip(c.Name), clip(c.Arch), clip(c.Version), clip(c.PURL), clip(c.Licence.Expression), c.Licence.Freedom.String(),
		}
		key := state.key()
		if before, there := present[key]; there && before.state.Version != state.Version {
			state.Version = clip(before.state.Version + ", " + state.Version)
		}
		present[key] = sight[componentState]{state: state, first: at}
	}
	blind := slices.ContainsFunc(r.Snapshot.Gaps, func(g inventory.Gap) bool { return g.Kind == inventory.KindComponents })
	l.components.observe(at, false, present, func(componentState) bool { return !blind }, add)
}

// again writes down all that is there, for a new file.
func (l *lives) again(at time.Time, add add) { l.each(1<<63, at, add) }

// carry writes down again what is there and was last written in a row that goes.
func (l *lives) carry(through uint64, at time.Time, add add) { l.each(through, at, add) }

func (l *lives) each(through uint64, at time.Time, add add) {
	l.findings.carry(through, at, add)
	l.holdings.carry(through, at, add)
	l.components.carry(through, at, add)
	l.programs.carry(through, at, add)
}

// load reads what was there when an earlier run ended.
func (l *lives) load(ctx context.Context, db *sql.DB, left time.Time) error {
	for _, load := range []func(context.Context, *sql.DB, time.Time) error{
		l.findings.load, l.holdings.load, l.components.load, l.programs.load,
	} {
		if err := load(ctx, db, left); err != nil {
			return err
		}
	}
	return nil
}

// over is how many things found no room.
func (l *lives) over() int {
	return l.findings.over + l.holdings.over + l.components.over + l.programs.over
}
