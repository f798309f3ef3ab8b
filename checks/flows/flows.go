// Package flows judges connections: who that holds declared data speaks with
// machines beyond the city, which destinations nobody wrote down, who can reach
// a data store's service, and whether the register of transfers is sound.
//
// A verdict rests on the zone of an address and on the policy, never on a name or
// a country. An approved transfer covers a flow only if it also matches the
// direction, port, program and, where declared data is held, the store. What it
// covers is listed with the transfer's id, so that it never goes unseen.
//
// While the policy names no network of the city, everything beyond this machine
// is outside. That is likely to be wrong, so such findings ask for a review.
package flows

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// beyond reports whether a flow's peer is neither this machine nor the city's.
// Approved networks are beyond: whether a transfer covers the flow is another
// question.
func beyond(f *inventory.Flow) bool {
	return f.Zone == inventory.Outside || f.Zone == inventory.Approved
}

// carried reports whether a flow can have carried something. A TCP connection
// that was never established did not; of other protocols nobody can say.
func carried(f *inventory.Flow) bool { return f.Sent > 0 || f.Connections > f.Attempts }

// covering gives the transfers in force that cover a flow; store is the id of the
// data store whose data the program holds, or "".
func covering(s *inventory.Snapshot, p *configs.Policy, f *inventory.Flow, store string) []string {
	query := configs.TransferQuery{
		Direction: f.Direction, Remote: f.Remote.Addr(), Port: f.Port(), Program: s.Executable(f.Process), Store: store, At: s.Taken,
	}
	var ids []string
	for _, transfer := range p.MatchTransfers(query) {
		ids = append(ids, transfer.ID)
	}
	return ids
}

// program names the program of an execution for people.
func program(s *inventory.Snapshot, id inventory.Execution) string {
	process, ok := s.Process(id)
	switch {
	case !ok:
		return unknown
	case process.Foreign:
		return process.Executable + " of a file tree of its own"
	}
	return cmp.Or(process.Executable, process.Program(), unknown)
}

const unknown = "unknown program"

// endpoint is what a finding is about: a remote address and port, or a remote
// address and the local port that it came to.
func endpoint(f *inventory.Flow) string {
	switch {
	case f.Direction == inventory.In && f.Folded:
		return fmt.Sprintf(" ← %s, on port %d", folded, f.Local.Port())
	case f.Direction == inventory.In:
		return fmt.Sprintf(" ← %s on port %d", f.Remote.Addr(), f.Local.Port())
	case f.Folded:
		return " → " + folded
	}
	return " → " + f.Remote.String()
}

// folded stands for the peers of flows that found no room of their own.
const folded = "many, folded"

// exchange adds up the flows that one finding is about.
type exchange struct {
	subject        string
	addresses      []netip.Addr
	programs       []string
	hows           []string
	protocols      []string
	transfers      []string // that cover some of it
	sent, received uint64
	connections    uint64
	first, last    time.Time
	uncovered      bool // some flow of it is under no transfer
	carried        bool // and some such flow can have carried something

	held  map[string]uint64 // bytes that holders sent under no transfer, by how they held the data
	chain [][]step          // how each came by it
}

func (e *exchange) add(f *inventory.Flow, program, how string, transfers []string) {
	e.addresses = include(e.addresses, f.Remote.Addr())
	e.programs = include(e.programs, program)
	e.protocols = include(e.protocols, f.Protocol)
	if how != "" {
		e.hows = include(e.hows, how)
	}
	for _, id := range transfers {
		e.transfers = include(e.transfers, id)
	}
	if len(transfers) == 0 {
		e.uncovered = true
		e.carried = e.carried || carried(f)
	}
	e.sent += f.Sent
	e.received += f.Received
	e.connections += f.Connections
	if e.first.IsZero() || f.First.Before(e.first) {
		e.first = f.First
	}
	if f.Last.After(e.last) {
		e.last = f.Last
	}
}

// addresses and programs of one exchange are few, except under attack: beyond
// this many they are no longer told apart.
const distinct = 20

func include[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) || len(list) >= distinct {
		return list
	}
	return append(list, item)
}

// finding judges the exchange: open to the outside, only tried, or approved.
func (e *exchange) finding(s *inventory.Snapshot, p *configs.Policy) finding.Finding {
	f := finding.Finding{Subject: e.subject, Facts: e.facts(s)}
	switch {
	case e.held != nil && e.uncovered:
		e.judgeHeld(p, &f)
	case !e.uncovered:
		f.Verdict, f.Disposition = finding.Pass, finding.TransferUsed
		f.Reason = "under approved transfer " + e.transfers[0]
	case !e.carried:
		f.Verdict = finding.Review
		f.Reason = "tried to connect beyond the city, and nothing got through"
	case len(p.City.Networks) == 0:
		f.Verdict = finding.Review
		f.Reason = "connected beyond this machine, and the policy names no network of the city"
	default:
		f.Verdict = finding.Fail
		f.Reason = "connected beyond the city under no approved transfer"
		if e.sent > 0 { // 0 may be bytes that nobody counted
			f.Reason += fmt.Sprintf(", %d bytes sent", e.sent)
		}
	}
	return f
}

// unplaced stands among countries and operators for addresses without one.
const unplaced = "unknown"

func (e *exchange) facts(s *inventory.Snapshot) map[string]any {
	var countries, operators []string
	for _, addr := range e.addresses {
		place, _ := s.Place(addr)
		countries = include(countries, cmp.Or(place.Country, unplaced))
		operators = include(operators, cmp.Or(place.Operator, unplaced))
	}
	facts := map[string]any{
		"programs": e.programs, "protocols": e.protocols, "sent_bytes": e.sent, "received_bytes": e.received,
		"connections": e.connections, "first": e.first.UTC().Format(time.RFC3339), "last": e.last.UTC().Format(time.RFC3339),
	}
	if len(e.chain) > 0 {
		facts["path"], facts["chain"] = e.path(), describe(s, e.chain)
	}
	for key, list := range map[string][]string{"how": e.hows, "countries": countries, "operators": operators, "transfers": e.transfers} {
		if len(list) > 0 && !slices.Equal(list, []string{unplaced}) {
			facts[key] = list
		}
	}
	return facts
}

// ledger collects exchanges by key and keeps the order in which they came, which
// is the snapshot's.
type ledger struct {
	at   map[string]int
	rows []exchange
}

func (l *ledger) exchange(subject string) *exchange {
	if l.at == nil {
		l.at = make(map[string]int)
	}
	i, known := l.at[subject]
	if !known {
		i = len(l.rows)
		l.at[subject] = i
		l.rows = append(l.rows, exchange{subject: subject})
	}
	return &l.rows[i]
}

// most is how many findings of a check are listed one by one.
const most = 200

// findings judges all rows and lists the heaviest; the others become one
// finding, whose verdict is the worst of theirs.
func (l *ledger) findings(s *inventory.Snapshot, p *configs.Policy, rest string) []finding.Finding {
	heaviest := slices.SortedStableFunc(slices.Values(l.rows), heavier)
	var found []finding.Finding
	var unlisted finding.Finding
	var sent uint64
	for i := range heaviest {
		f := heaviest[i].finding(s, p)
		if i < most {
			found = append(found, f)
			continue
		}
		if i == most || f.Verdict.Weight() > unlisted.Verdict.Weight() {
			unlisted = f
		}
		sent += heaviest[i].sent
	}
	if n := len(heaviest) - most; n > 0 {
		unlisted.Subject = rest
		unlisted.Reason = fmt.Sprintf("%d more destinations that are not listed one by one: %s", n, unlisted.Reason)
		unlisted.Facts = map[string]any{"destinations": n, "sent_bytes": sent}
		found = append(found, unlisted)
	}
	return found
}

// heavier puts what no transfer covers first, then what sent most.
func heavier(a, b exchange) int {
	if a.uncovered != b.uncovered {
		if a.uncovered {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.sent, a.sent), cmp.Compare(a.subject, b.subject))
}

// settled reports whether every finding is a pass, so that one more may say that
// there was nothing else.
func settled(found []finding.Finding) bool {
	return !slices.ContainsFunc(found, func(f finding.Finding) bool { return f.Verdict != finding.Pass })
}
