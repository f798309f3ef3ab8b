package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cityward/agent"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Two containers of one image have the same paths and ports, which two stores
// may not: the draft is sound all the same.
func TestDraftOfTwins(t *testing.T) {
	var facts inventory.Facts
	for pid := range 2 {
		id := inventory.Execution{PID: 100 + pid, Start: 1}
		facts.Candidates = append(facts.Candidates, inventory.Candidate{Engine: "PostgreSQL", Path: "/var/lib/postgresql/data", Process: id, Reason: "its command line"})
		facts.Listeners = append(facts.Listeners, inventory.Listener{Process: id, NetNS: uint64(pid), Protocol: "tcp", Local: netip.MustParseAddrPort("0.0.0.0:5432")})
	}
	facts.Candidates = append(facts.Candidates, inventory.Candidate{Engine: "PostgreSQL", Path: "/srv/other", Process: inventory.Execution{PID: 100, Start: 1}})

	var text strings.Builder
	if err := draft(&text, &agent.Report{Snapshot: inventory.Merge(time.Unix(1, 0), &facts)}); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Parse("draft.toml", []byte(text.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, &text)
	}
	if len(cfg.Stores) != 2 || cfg.Stores[0].ID == cfg.Stores[1].ID {
		t.Errorf("stores %+v", cfg.Stores)
	}
	if n := strings.Count(text.String(), "tcp:5432"); n != 1 {
		t.Errorf("the service is drafted %d times", n)
	}
}
