package report

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"cityward/agent"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

var update = flag.Bool("update", false, "renew the expected documents")

func noon() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

// sample is a round with one of everything: known and unknown, owned and not,
// hostile names as the collectors hand them on.
func sample() *agent.Report {
	db, web, gone := inventory.Execution{PID: 733, Start: 655}, inventory.Execution{PID: 901, Start: 1200}, inventory.Execution{PID: 77, Start: 3}
	postgres := inventory.FileID{Device: 1, Inode: 7}
	facts := &inventory.Facts{
		Machine: &inventory.Machine{
			Hostname: "registry-1", OS: "debian", OSVersion: "12", OSName: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0", Arch: "x86_64",
			Booted: noon().Add(-time.Hour), CPUs: 2, MemoryBytes: 1 << 34, Virtualization: "none", DMI: true, Vendor: "Dell Inc.", Product: "PowerEdge",
			Serial: "SECRETSERIAL", UUID: "SECRETUUID",
		},
		Processes: []inventory.Process{
			{ID: db, Name: "postgres", Executable: "/usr/bin/postgres", File: postgres, User: "postgres", Unit: "postgresql.service", Arguments: []string{"SECRETARGUMENT"}},
			{ID: web, Name: "rts", Executable: "/opt/acme/rts", User: "1001", Container: "c0ffee"},
			{ID: inventory.Execution{PID: 2}, Name: "kthreadd", Kernel: true},
		},
		Components: []inventory.Component{
			{
				Ecosystem: "dpkg", Name: "postgresql-15", Version: "15.10", PURL: "pkg:deb/debian/postgresql-15@15.10", Supplier: "Debian", Area: "main", Origin: "Debian",
				Licence: inventory.Licence{Declared: "PostgreSQL", Expression: "PostgreSQL", Source: "copyright file", Freedom: inventory.Free},
			},
			{Ecosystem: "dpkg", Name: "firmware", Version: "1", PURL: "pkg:deb/debian/firmware@1", Licence: inventory.Licence{Freedom: inventory.NonFree}},
		},
		Owners:    []inventory.Owner{{Path: "/usr/bin/postgres", File: postgres, PURL: "pkg:deb/debian/postgresql-15@15.10"}},
		Listeners: []inventory.Listener{{Process: db, Protocol: "tcp", Local: netip.MustParseAddrPort("[::1]:5432")}, {Process: db, Protocol: "unix", Path: "/run/pg"}},
		Flows: []inventory.Flow{
			{Process: db, Direction: inventory.Out, Protocol: "tcp", Local: netip.MustParseAddrPort("10.0.0.1:0"), Remote: netip.MustParseAddrPort("203.0.113.7:443"), Sent: 1234, Received: 5, Connections: 1, First: noon(), Last: noon()},
			{Process: gone, Direction: inventory.In, Protocol: "tcp", Local: netip.MustParseAddrPort("10.0.0.1:22"), Remote: netip.MustParseAddrPort("10.0.0.2:0"), Zone: inventory.City, First: noon(), Last: noon()},
			{Direction: inventory.Out, Protocol: "udp", Remote: netip.MustParseAddrPort("198.51.100.1:53"), Zone: inventory.Approved, Sent: 80, First: noon(), Last: noon()},
			{Process: db, Direction: inventory.Out, Protocol: "udp", Folded: true, Sent: 7, Connections: 3, First: noon(), Last: noon()},
			{Process: db, Direction: inventory.In, Protocol: "tcp", Folded: true, Local: netip.MustParseAddrPort("[::]:5432"), Zone: inventory.City, Received: 9, Connections: 2, Open: 1, First: noon(), Last: noon()},
		},
		Stores: []inventory.DataStore{{
			ID: "registry", Class: "citizen", Medium: inventory.MediumLocal, MediumZone: inventory.Host, Encrypted: inventory.EncryptedYes, Services: []string{"tcp:5432"},
			Paths: []inventory.StorePath{{Path: "/srv/registry", Disks: []inventory.Disk{{Name: "sda"}, {Name: "sda"}}}},
		}, {ID: "empty", Class: "public", Medium: inventory.MediumUnknown, Encrypted: inventory.EncryptedUnknown}},
		Candidates: []inventory.Candidate{{Engine: "PostgreSQL", Path: "/var/lib/postgresql", Process: db, Reason: "the usual place"}},
		Holdings:   []inventory.Holding{{Store: "registry", Process: db, How: inventory.HowDirect, Since: noon(), Evidence: "/srv/registry/x"}},
		Places:     []inventory.Place{{Address: netip.MustParseAddr("203.0.113.7"), Country: "FR", Operator: "Example"}},
		Captures:   []inventory.Capture{{Name: "flows", Tier: inventory.TierPoll, Reason: "sampled", Events: 3, Orphans: 1}},
		Gaps:       []inventory.Gap{{Collector: "flow", Kind: inventory.KindFlows, Reason: "sampled every round", Lost: 2}},
	}
	policy := &configs.Policy{Transfers: []configs.Transfer{{
		ID: "dns", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Direction: inventory.Out, Expires: noon().AddDate(1, 0, 0),
	}}}
	findings := []finding.Finding{
		{Check: "NET-001", Title: "No leak", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open, Subject: "registry → 203.0.113.7:443", Reason: "1.2 kB left", Since: noon(), Facts: map[string]any{"sent_bytes": 1234}, Method: finding.Observed, Confidence: finding.ConfidenceHigh, Remedy: "Stop it.", Maps: finding.Maps{"gdpr": {"V_44"}}},
		{Check: "HWC-001", Title: "City hardware", Severity: finding.Critical, Verdict: finding.Pass, Disposition: finding.Open, Since: noon(), Remedy: "None."},
		{Check: "AGT-001", Title: "Sight", Severity: finding.High, Verdict: finding.Fail, Disposition: finding.Waived, Waiver: "ops, SEC-1", Reason: "blind", Since: noon(), Remedy: "Run as root."},
		{Check: "NET-002", Title: "Register", Severity: finding.High, Verdict: finding.Unknown, Disposition: finding.Open, Reason: "sampled", Since: noon(), Remedy: "List it."},
	}
	return &agent.Report{
		Snapshot: inventory.Merge(noon(), facts), Findings: findings, Policy: policy, Rounds: 3, Duration: 20 * time.Millisecond,
		Results: []checks.Result{
			{Check: "NET-001", Title: "No leak", Severity: finding.Critical, Verdict: finding.Fail, Disposition: finding.Open}, {Check: "HWC-001", Title: "City hardware", Severity: finding.Critical, Verdict: finding.Pass},
		},
		Config:     agent.ConfigState{Valid: false, Loaded: noon(), Err: "cityward.toml:1:1: x"},
		Collectors: []agent.CollectorStat{{Name: "flow", Success: true, Duration: time.Millisecond, LastSuccess: noon()}, {Name: "geo", Err: "none"}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (-update renews it); got:\n%s", file, got)
	}
}

// The golden files are the shapes that scripts hold on to.
func TestDocuments(t *testing.T) {
	for _, name := range []string{Scan, Inventory, Flows, Custody, Findings, Checks, Status} {
		t.Run(name, func(t *testing.T) {
			doc, err := Document(sample(), name)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(doc) {
				t.Errorf("not JSON: %s", doc)
			}
			for _, secret := range []string{"SECRETSERIAL", "SECRETUUID", "SECRETARGUMENT"} {
				if strings.Contains(string(doc), secret) {
					t.Errorf("the document holds %s", secret)
				}
			}
			if strings.Contains(string(doc), `: ""`) {
				t.Error(`an absent fact is "", not null`)
			}
			golden(t, name+".json", doc)
		})
	}
}

func TestUnknownDocument(t *testing.T) {
	if _, err := Document(sample(), "secrets"); err == nil {
		t.Error("a document that does not exist is made")
	}
}

func TestRunningInventory(t *testing.T) {
	doc, err := RunningInventory(sample())
	if err != nil {
		t.Fatal(err)
	}
	if s := string(doc); !strings.Contains(s, "postgresql-15@15.10") || strings.Contains(s, "firmware@1") {
		t.Errorf("running inventory: %s", s)
	}
}

// A round that saw nothing at all still gives documents, and they say so.
func TestNothingSeen(t *testing.T) {
	blind := &agent.Report{Snapshot: inventory.Merge(noon()), Policy: &configs.Policy{}}
	for _, name := range []string{Scan, Inventory, Flows, Custody, Findings, Checks, Status} {
		doc, err := Document(blind, name)
		if err != nil || strings.Contains(string(doc), ": null,\n") && name == Checks {
			t.Errorf("%s: %s, %v", name, doc, err)
		}
	}
	var b strings.Builder
	if err := ScanTable(&b, blind, Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"unknown system", "none is declared", "unknown: the firmware's tables could not be read"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, b.String())
		}
	}
}

func TestTables(t *testing.T) {
	var scan, inventory, checks strings.Builder
	if err := ScanTable(&scan, sample(), Style{}); err != nil {
		t.Fatal(err)
	}
	if err := InventoryTable(&inventory, sample(), false, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := ChecksTable(&checks, sample(), Style{Colour: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "scan.txt", []byte(scan.String()))
	golden(t, "inventory.txt", []byte(inventory.String()))
	golden(t, "checks.txt", []byte(checks.String()))
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_500_000: "1.5 MB", 1<<64 - 1: "18.4 EB"} {
		if got := bytes(n); got != want {
			t.Errorf("bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
