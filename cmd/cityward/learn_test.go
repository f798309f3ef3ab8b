package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/agent/ledger"
	"cityward/configs"
)

// recordedFlow is an hour of one as the ledger has it.
func recordedFlow(program, direction, remote string, port uint16, sent uint64, stores ...string) *ledger.Flow {
	country := "BE"
	f := &ledger.Flow{
		Direction: direction, Protocol: "tcp", Zone: "outside", Stores: stores, Sent: sent, Connections: 1, First: time.Unix(1, 0), Last: time.Unix(2, 0),
		Local: &ledger.Endpoint{Address: "10.77.0.2", Port: 443}, Remote: &ledger.Remote{Endpoint: ledger.Endpoint{Address: remote, Port: port}, Country: &country},
	}
	if program != "" {
		f.Program = &ledger.Program{Executable: &program, User: &program}
	}
	return f
}

func draftOf(t *testing.T, policy string, flows ...*ledger.Flow) string {
	t.Helper()
	cfg, err := configs.Parse("policy.toml", []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	l := newLesson(cfg, time.Unix(0, 0), time.Unix(10, 0))
	for _, f := range flows {
		l.add(f)
	}
	var text strings.Builder
	if err := l.draft(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

const learnPolicy = "[city]\nnetworks = [\"10.77.0.0/16\"]\n[[data_store]]\nid = \"registry\"\nclass = \"citizen\"\npaths = [\"/srv/registry\"]\n"

// filled does what a person does, but for the approval of stores.
func filled(draft string) string {
	return strings.NewReplacer(
		`# country = ""`, `country = "BE"`, `# purpose = ""`, `purpose = "x"`, `# legal_basis = ""`, `legal_basis = "x"`,
		`# owner = ""`, `owner = "x"`, `# approved_by = ""`, `approved_by = "y"`, `# expires = YYYY-MM-DD`, "expires = 1970-06-01",
		`# stores`, `stores`, `# networks`, `networks`, `#   "`, `"`, `# ]`, `]`,
	).Replace(draft)
}

func TestDraftIsNoPolicyBeforeItIsFilledIn(t *testing.T) {
	draft := draftOf(t, learnPolicy,
		recordedFlow("/usr/bin/curl", "out", "203.0.113.7", 443, 7, "registry"),
		recordedFlow("/usr/bin/curl", "out", "203.0.113.8", 443, 5), // the same network
		recordedFlow("/usr/bin/curl", "out", "2001:db8:1:2::3", 443, 1),
		recordedFlow("/opt/a program/X", "out", "203.0.113.7", 443, 90),
		recordedFlow("/usr/sbin/nginx", "in", "198.51.100.1", 0, 8, "registry"),
		recordedFlow("/usr/sbin/nginx", "in", "198.51.101.1", 0, 8, "registry"),
		recordedFlow("/usr/sbin/nginx", "in", "198.51.102.1", 0, 8), // holds nothing
		recordedFlow("/usr/bin/ssh", "out", "192.168.7.1", 22, 8),   // whose is that?
		recordedFlow("/usr/bin/ssh", "out", "10.77.3.1", 22, 8),     // the city's
	)
	_, err := configs.Parse("draft.toml", []byte(draft))
	if err == nil || strings.Count(err.Error(), "legal_basis") != 4 {
		t.Errorf("the draft is refused with %v:\n%s", err, draft)
	}
	cfg, err := configs.Parse("draft.toml", []byte(strings.Replace(learnPolicy, "[city]\nnetworks = [\"10.77.0.0/16\"]\n", "", 1)+filled(draft)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, filled(draft))
	}
	if got := fmt.Sprint(cfg.City.Networks); got != "[192.168.7.0/24]" {
		t.Errorf("networks of the city: %s", got)
	}
	var got []string
	for _, tr := range cfg.Transfers {
		got = append(got, fmt.Sprintf("%s %s %v %v %v %v %s", tr.ID, tr.Direction, tr.Networks, tr.Ports, tr.Programs, tr.Stores, tr.Country))
	}
	want := []string{
		"nginx-in-443 in [198.51.100.0/24 198.51.101.0/24] [443] [/usr/sbin/nginx] [registry] ",
		"curl-203-0-113-0-24-443 out [203.0.113.0/24] [443] [/usr/bin/curl] [registry] BE",
		"x-203-0-113-0-24-443 out [203.0.113.0/24] [443] [/opt/a program/X] [] BE",
		"curl-2001-db8-1-2-64-443 out [2001:db8:1:2::/64] [443] [/usr/bin/curl] [] BE",
	}
	if !slices.Equal(got, want) {
		t.Errorf("drafted are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What the policy has is not drafted again, and its network is taken over.
func TestDraftKnowsThePolicy(t *testing.T) {
	transfer := "[[transfer]]\nid = \"node\"\ndirection = \"out\"\nnetworks = [\"203.0.113.0/28\"]\nports = [443]\ncountry = \"BE\"\npurpose = \"x\"\nlegal_basis = \"x\"\nowner = \"x\"\napproved_by = \"y\"\nexpires = 2090-01-01\n"
	draft := draftOf(t, learnPolicy+transfer,
		recordedFlow("/usr/bin/curl", "out", "203.0.113.7", 443, 7),
		recordedFlow("/usr/bin/curl", "out", "203.0.113.7", 8443, 7),
		recordedFlow("/usr/bin/psql", "out", "203.0.113.7", 443, 7, "registry"), // the transfer names no store
	)
	for _, part := range []string{"1 connections are under transfers in force", `id = "curl-203-0-113-0-28-8443"`, `id = "psql-203-0-113-0-28-443"`} {
		if !strings.Contains(draft, part) {
			t.Errorf("it lacks %s:\n%s", part, draft)
		}
	}
	if strings.Count(draft, "\n[[transfer]]\n") != 2 {
		t.Errorf("other transfers are drafted:\n%s", draft)
	}
}

// A name cannot smuggle an entry into a draft, and what cannot be named is told.
func TestDraftOfHostileNames(t *testing.T) {
	hostile := "/tmp/x\n[[transfer]]\nid = \"mine\""
	odd := recordedFlow("/usr/bin/curl", "out", "203.0.113.7", 443, 7)
	odd.Program.Unit, odd.Protocol = &hostile, hostile
	folded := recordedFlow("/usr/bin/curl", "out", "203.0.113.7", 443, 7)
	folded.Remote = nil
	draft := draftOf(t, learnPolicy, odd, folded, recordedFlow("", "out", "198.51.100.9", 25, 1), recordedFlow(hostile, "out", "198.51.100.8", 25, 1))
	if strings.Count(draft, "\n[[transfer]]\n") != 1 || strings.Contains(draft, "\nid = \"mine\"") {
		t.Errorf("a name is taken for an entry:\n%s", draft)
	}
	if !strings.Contains(draft, "no program of it can be named") || !strings.Contains(draft, "#   198.51.100.0/24\n") || !strings.Contains(draft, "found no room") {
		t.Errorf("it does not tell what is left out:\n%s", draft)
	}
	if _, err := configs.Parse("draft.toml", []byte(filled(draft))); err != nil {
		t.Errorf("%v in\n%s", err, filled(draft))
	}
	if draft := draftOf(t, learnPolicy); !strings.Contains(draft, "No connection beyond the city") {
		t.Errorf("of nothing:\n%s", draft)
	}
}
