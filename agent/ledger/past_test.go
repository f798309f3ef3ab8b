package ledger

import (
	"net/netip"
	"testing"
	"time"

	"cityward/agent"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/checks/flows"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// leaking makes a report in which a shell has a store's data from a database and
// sent it; before that it sent as much of its own.
func leaking(at time.Time, sent uint64, holds bool) *agent.Report {
	db, shell := inventory.Execution{PID: 10, Start: 1}, inventory.Execution{PID: 20, Start: 1}
	facts := &inventory.Facts{
		Processes: []inventory.Process{
			{ID: db, Executable: "/usr/bin/postgres", User: "postgres", Unit: "postgresql.service"},
			{ID: shell, Executable: "/usr/bin/curl", User: "web"},
		},
		Holdings: []inventory.Holding{{Store: "registry", Process: db, How: inventory.HowDirect, Since: now(), Evidence: "open: /srv/registry/base"}},
		Flows: []inventory.Flow{{
			Process: shell, Direction: inventory.Out, Protocol: "tcp", Remote: netip.MustParseAddrPort("203.0.113.7:443"), Zone: inventory.Outside,
			Sent: sent, Connections: 1, First: now(), Last: at,
		}},
		Places: []inventory.Place{{Address: netip.MustParseAddr("203.0.113.7"), Country: "BE"}},
	}
	if holds {
		facts.Holdings = append(facts.Holdings, inventory.Holding{
			Store: "registry", Process: shell, How: inventory.HowPipeline, Since: now().Add(time.Minute), From: db, Evidence: "pipe",
		})
	}
	return &agent.Report{Snapshot: inventory.Merge(at, facts)}
}

// observed observes reports as the daemon would, and closes the ledger.
func observed(t *testing.T, reports ...*agent.Report) *Reader {
	t.Helper()
	dir := t.TempDir()
	l := begin(t, dir, limits())
	growth := agent.NewGrowth()
	for _, r := range reports {
		if r.Moved == nil {
			r.Moved = growth.Next(r.Snapshot, false)
		}
		l.Observe(r)
	}
	l.Close()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func leak(t *testing.T) *Reader {
	t.Helper()
	reports := []*agent.Report{leaking(now(), 100, false), leaking(now().Add(time.Minute), 107, true)}
	for i := range 2 * agent.Patience { // the shell goes out of sight, and its holding ends
		r := leaking(now().Add(time.Duration(i+2)*time.Minute), 107, false)
		reports = append(reports, r)
	}
	return observed(t, reports...)
}

func TestHoldingsOfThePast(t *testing.T) {
	r := leak(t)
	held, err := r.Holdings(t.Context(), now())
	if err != nil || len(held) != 2 {
		t.Fatalf("%d holdings, %v", len(held), err)
	}
	db, shell := held[0], held[1]
	if db.Until != nil || db.From != nil || plain(db.Evidence) != "open: /srv/registry/base" || len(db.Destinations) != 0 || plain(db.Program.Unit) != "postgresql.service" {
		t.Errorf("the database: %+v", db)
	}
	if shell.Until == nil || !shell.Until.Equal(now().Add(time.Minute)) || plain(shell.From.Executable) != "/usr/bin/postgres" || len(shell.Destinations) != 1 {
		t.Fatalf("the shell: %+v", shell)
	}
	// What it sent before is no data of the store.
	if d := shell.Destinations[0]; d.Sent != 7 || plain(d.Address) != "203.0.113.7" || *d.Port != 443 || d.Zone != "outside" || !d.First.Equal(now().Add(time.Minute)) {
		t.Errorf("the destination: %+v", d)
	}
	if held, err = r.Holdings(t.Context(), now().Add(5*time.Minute)); err != nil || len(held) != 1 {
		t.Errorf("after the end of one %d are left, %v", len(held), err)
	}
	if end, err := r.End(t.Context()); err != nil || end.Before(now()) {
		t.Errorf("it ends at %v, %v", end, err)
	}
}

func TestFindingsOfThePast(t *testing.T) {
	open := finding.Finding{Check: "NET-001", Subject: "registry → x", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open, Since: now(), Reason: "sent", Facts: map[string]any{"path": "a"}}
	other := finding.Finding{Check: "ACC-002", Subject: "registry", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open, Since: now(), Reason: "open to all"}
	waived := open
	waived.Disposition, waived.Reason, waived.Facts = finding.Waived, "", nil
	at := func(minutes int) time.Time { return now().Add(time.Duration(minutes) * time.Minute) }
	r := observed(t, found(at(0), open, other), found(at(1), waived), found(at(2), waived, other), found(at(3), waived))
	all, err := r.Findings(t.Context(), true)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d findings, %v", len(all), err)
	}
	for _, f := range all {
		switch {
		case f.Check == "NET-001":
			if !f.Resolved.IsZero() || f.Disposition != finding.Waived || f.Reason != "sent" || f.Facts["path"] != "a" {
				t.Errorf("%+v", f)
			}
		case f.Resolved.IsZero() || f.Reason != "open to all":
			t.Errorf("%+v", f)
		}
	}
	if left, err := r.Findings(t.Context(), false); err != nil || len(left) != 1 || left[0].Check != "NET-001" {
		t.Errorf("open are %v, %v", left, err)
	}
}

// What was recorded is judged as it was then, and otherwise by another policy.
func TestPast(t *testing.T) {
	past, err := leak(t).Past(t.Context(), now())
	if err != nil {
		t.Fatal(err)
	}
	if past.Flows != 2 || past.Holdings != 2 || past.Folded != 0 {
		t.Errorf("%d flows, %d holdings, %d folded", past.Flows, past.Holdings, past.Folded)
	}
	store := configs.DataStore{ID: "registry", Class: configs.ClassCitizen}
	policy := &configs.Policy{Stores: []configs.DataStore{store}, City: configs.City{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	catalogue := []checks.Check{{Rule: flows.NET001(), Judge: flows.JudgeNET001}}
	judge := func(p *configs.Policy) finding.Finding {
		t.Helper()
		return checks.Run(catalogue, past.Snapshot(p, now().Add(time.Hour)), p)[0]
	}
	f := judge(policy)
	if f.Verdict != finding.Fail || f.Subject != "registry → 203.0.113.7:443" || f.Facts["sent_bytes"] != uint64(7) || f.Facts["path"] != "/usr/bin/postgres → /usr/bin/curl" {
		t.Errorf("as it was: %+v", f)
	}
	approved := *policy
	approved.Transfers = []configs.Transfer{{
		ID: "x", Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Direction: configs.Out, Ports: []uint16{443},
		Programs: []string{"/usr/bin/curl"}, Stores: []string{"registry"}, Expires: now().AddDate(0, 1, 0),
	}}
	if f := judge(&approved); f.Verdict != finding.Pass || past.Snapshot(&approved, now()).Flows[0].Zone != inventory.Approved {
		t.Errorf("under a transfer: %+v", f)
	}
	city := *policy
	city.City.Networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	if f := judge(&city); f.Verdict != finding.Pass {
		t.Errorf("within the city: %+v", f)
	}
	ignored := *policy
	ignored.Custody.Ignore = []configs.CustodyIgnore{{Program: "/usr/bin/curl"}}
	if f := judge(&ignored); f.Verdict != finding.Pass {
		t.Errorf("of who is ignored: %+v", f)
	}
	policy.Stores = append(policy.Stores, configs.DataStore{ID: "archive"})
	if ids := past.Unheld(policy); len(ids) != 1 || ids[0] != "archive" {
		t.Errorf("nobody held %v", ids)
	}
}
