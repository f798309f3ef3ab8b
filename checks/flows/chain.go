package flows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// step is a program that data went through, and how it came there.
type step struct {
	process  inventory.Execution
	name     string
	how      string
	since    time.Time
	evidence string
}

// longest chain that is told, and how many are told of one finding.
const (
	maxSteps  = 32
	maxChains = 5
)

// chainTo follows a store's data to a holder, from the store on.
func chainTo(s *inventory.Snapshot, last *inventory.Holding) []step {
	var steps []step
	for h := last; h != nil && len(steps) < maxSteps; {
		if slices.ContainsFunc(steps, func(before step) bool { return before.process == h.Process }) {
			break
		}
		steps = append(steps, step{h.Process, program(s, h.Process), h.How, h.Since, h.Evidence})
		from := h.From
		if from == (inventory.Execution{}) || h.How == inventory.HowService { // a server is no carrier
			break
		}
		if h = s.Source(last.Store, from); h == nil { // it has ended
			steps = append(steps, step{process: from, name: program(s, from)})
		}
	}
	slices.Reverse(steps)
	return steps
}

// addHeld adds a holder's flow. holds are all its holdings of one store, the
// strongest first.
func (e *exchange) addHeld(s *inventory.Snapshot, holds []inventory.Holding, f *inventory.Flow, transfers []string, counted bool) {
	how := holds[0].How
	e.add(f, program(s, f.Process), how, transfers)
	e.sent -= f.Sent
	var sent uint64
	for i := range holds {
		sent = max(sent, holds[i].Sent(f))
	}
	e.sent += sent
	if e.held == nil {
		e.held = make(map[string]uint64)
	}
	if len(transfers) > 0 {
		return
	}
	if sent == 0 && !counted && carried(f) {
		sent = 1 // nobody counted
	}
	e.held[how] += sent
	if chain := chainTo(s, &holds[0]); len(e.chain) < maxChains && !slices.ContainsFunc(e.chain, func(other []step) bool { return slices.Equal(other, chain) }) {
		e.chain = append(e.chain, chain)
	}
}

// judgeHeld judges what holders sent under no transfer.
func (e *exchange) judgeHeld(p *configs.Policy, f *finding.Finding) {
	alerts := false
	for how, sent := range e.held {
		alerts = alerts || p.Custody.Alerts(how, sent)
	}
	switch {
	case !alerts && e.sent == 0:
		f.Verdict, f.Reason = finding.Review, "connected beyond the city, or tried to, and sent nothing while it held the data"
	case !alerts:
		f.Verdict = finding.Review
		f.Reason = fmt.Sprintf("sent %d bytes beyond the city, which is less than the policy alerts on", e.sent)
	case len(p.City.Networks) == 0:
		f.Verdict, f.Reason = finding.Review, "sent beyond this machine, and the policy names no network of the city"
	default:
		f.Verdict, f.Reason = finding.Fail, "sent beyond the city under no approved transfer"
		if e.sent > 0 { // 0 may be bytes that nobody counted
			f.Reason += fmt.Sprintf(", %d bytes", e.sent)
		}
		if len(e.chain) > 0 && len(e.chain[0]) > 1 {
			f.Reason += ": " + e.path()
		}
	}
}

// path is the first chain in one line, without the store and the destination, which
// the subject names.
func (e *exchange) path() string {
	var names []string
	for _, at := range e.chain[0] {
		names = append(names, at.name)
	}
	return strings.Join(names, " → ")
}

// describe tells each chain's programs in full.
func describe(s *inventory.Snapshot, chains [][]step) []any {
	var all []any
	for _, chain := range chains {
		var steps []any
		for _, at := range chain {
			steps = append(steps, describeStep(s, &at))
		}
		all = append(all, steps)
	}
	return all
}

func describeStep(s *inventory.Snapshot, at *step) map[string]any {
	told := map[string]any{"program": program(s, at.process), "pid": at.process.PID}
	if at.how != "" {
		told["how"], told["since"], told["evidence"] = at.how, at.since.UTC().Format(time.RFC3339), at.evidence
	}
	p, known := s.Process(at.process)
	if !known {
		return told
	}
	for key, value := range map[string]string{"user": p.User, "unit": p.Unit, "container": p.Container} {
		if value != "" {
			told[key] = value
		}
	}
	if owner, owned := s.Owner(p); owned {
		told["package"] = owner.PURL
		if owner.Licence.Expression != "" {
			told["licence"] = owner.Licence.Expression
		}
	}
	return told
}
