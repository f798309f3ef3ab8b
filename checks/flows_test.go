package checks_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// out is one connection of a program to a peer that carried 100 bytes there.
func out(pid int, remote string, zone inventory.Zone) inventory.Flow {
	return inventory.Flow{
		Process: execution(pid), NetNS: 1, Direction: inventory.Out, Protocol: "tcp", Remote: netip.MustParseAddrPort(remote),
		Sent: 100, Received: 20, Connections: 1, First: taken().Add(-time.Hour), Last: taken(), Zone: zone,
	}
}

// in is one connection of a peer to a local port of java.
func in(remote string, port uint16, zone inventory.Zone) inventory.Flow {
	f := out(10, remote+":0", zone)
	f.Direction = inventory.In
	f.Local = netip.AddrPortFrom(netip.MustParseAddr("10.77.0.2"), port)
	return f
}

// of is a flow of another execution.
func of(process inventory.Execution, f inventory.Flow) inventory.Flow {
	f.Process = process
	return f
}

// attempt is a connection that never came about.
func attempt(f inventory.Flow) inventory.Flow {
	f.Sent, f.Received, f.Attempts = 0, 0, f.Connections
	return f
}

// folded is flows that found no room of their own.
func folded(f inventory.Flow) inventory.Flow {
	f.Folded, f.Remote, f.Local = true, netip.AddrPort{}, netip.AddrPortFrom(netip.IPv6Unspecified(), f.Local.Port())
	if f.Direction == inventory.Out {
		f.Local = netip.AddrPort{}
	}
	return f
}

// holding is a machine where java (pid 10) holds the store's data and curl (pid
// 11) does not.
func holding(flows ...inventory.Flow) inventory.Facts {
	return inventory.Facts{
		Machine: &inventory.Machine{Addresses: []string{"127.0.0.1", "10.77.0.2", "fe80::1"}},
		Processes: []inventory.Process{
			{ID: execution(1), Executable: "/usr/lib/systemd/systemd", NetNS: 1, MountNS: 1},
			{ID: execution(10), Executable: "/usr/bin/java", NetNS: 1, MountNS: 1},
			{ID: execution(11), Executable: "/usr/bin/curl", NetNS: 1, MountNS: 1},
			{ID: execution(12), Name: "hidden", NetNS: 1},
		},
		Holdings: []inventory.Holding{
			{Store: "registry", Process: execution(10), How: inventory.HowDirect},
			{Store: "registry", Process: execution(10), How: inventory.HowService},
		},
		Flows:  flows,
		Places: []inventory.Place{{Address: netip.MustParseAddr("203.0.113.7"), Country: "US", Operator: "Example Cloud"}, {Address: netip.MustParseAddr("203.0.113.200"), Country: "ES"}},
	}
}

func listening(address string, netns uint64) inventory.Facts {
	return plus(holding(), inventory.Facts{Listeners: []inventory.Listener{
		{Process: execution(10), NetNS: netns, Protocol: "tcp", Local: netip.MustParseAddrPort(address)},
	}})
}

func flowTrials() map[string][]trial {
	leak := out(10, "203.0.113.7:443", inventory.Outside)
	lawful := out(10, "198.51.100.1:443", inventory.Approved)
	inward := with(city(), func(p *configs.Policy) {
		t := transfer()
		t.Direction, t.Ports, t.Programs = inventory.In, []uint16{5432}, nil
		p.Transfers = []configs.Transfer{t}
	})
	nobody := holding(leak)
	nobody.Holdings = nil
	return map[string][]trial{
		"NET-001": {
			{"holder speaks with the city", holding(out(10, "10.77.0.9:443", inventory.City), out(10, "127.0.0.1:80", inventory.Host)), city(), only("registry", finding.Pass), nil},
			{"holder speaks with the outside", holding(leak), city(), only("registry → 203.0.113.7:443", finding.Fail), leaks},
			{"a leak is seen through a gap", plus(holding(leak), inventory.Facts{Gaps: gap(inventory.KindFlows, "")}), city(), only("registry → 203.0.113.7:443", finding.Fail), nil},
			{"another program speaks with the outside", holding(out(11, "203.0.113.7:443", inventory.Outside)), city(), only("registry", finding.Pass), nil},
			{"holder is reached from the outside", holding(in("203.0.113.7", 8080, inventory.Outside)), city(), only("registry ← 203.0.113.7 on port 8080", finding.Fail), nil},
			{"peers found no room", holding(folded(leak)), city(), only("registry → many, folded", finding.Fail), nil},
			{"peers that came in found no room", holding(folded(in("203.0.113.7", 8080, inventory.Outside))), city(), only("registry ← many, folded, on port 8080", finding.Fail), nil},
			{"holder tries", holding(attempt(leak)), city(), only("registry → 203.0.113.7:443", finding.Review), nil},
			{"no city network", holding(leak), nowhere(), only("registry → 203.0.113.7:443", finding.Review), nil},
			{
				"approved", holding(lawful), approving(transfer()),
				map[string]finding.Verdict{"registry": finding.Pass, "registry → 198.51.100.1:443": finding.Pass},
				approvals,
			},
			{
				"approved, and a gap", plus(holding(lawful), inventory.Facts{Gaps: gap(inventory.KindHoldings, "registry")}), approving(transfer()),
				map[string]finding.Verdict{"registry": finding.Unknown, "registry → 198.51.100.1:443": finding.Pass},
				nil,
			},
			{
				"approved for another program", holding(lawful), with(approving(transfer()), func(p *configs.Policy) { p.Transfers[0].Programs = []string{"/usr/bin/psql"} }),
				only("registry → 198.51.100.1:443", finding.Fail), nil,
			},
			{
				"approved for another store", holding(lawful), with(approving(transfer()), func(p *configs.Policy) { p.Transfers[0].Stores = []string{"taxes"} }),
				only("registry → 198.51.100.1:443", finding.Fail), nil,
			},
			{
				"approval has expired", holding(lawful), with(approving(transfer()), func(p *configs.Policy) { p.Transfers[0].Expires = taken().Add(-time.Second) }),
				only("registry → 198.51.100.1:443", finding.Fail), nil,
			},
			{
				"approved for one program, and the executable is not known",
				plus(holding(out(12, "198.51.100.1:443", inventory.Approved)), inventory.Facts{Holdings: []inventory.Holding{{Store: "registry", Process: execution(12)}}}),
				approving(transfer()), only("registry → 198.51.100.1:443", finding.Fail), nil,
			},
			{
				"approved for the program whose path it borrows",
				plus(holding(out(13, "198.51.100.1:443", inventory.Approved)), inventory.Facts{
					Processes: []inventory.Process{{ID: execution(13), Executable: "/usr/bin/java", MountNS: 9, UserNS: 9, Foreign: true}},
					Holdings:  []inventory.Holding{{Store: "registry", Process: execution(13)}},
				}),
				approving(transfer()), only("registry → 198.51.100.1:443", finding.Fail), nil,
			},
			{
				"connection of no known program", holding(inventory.Flow{Direction: inventory.Out, Protocol: "udp", Remote: netip.MustParseAddrPort("203.0.113.7:53"), Sent: 1, Connections: 1}),
				city(), only("registry", finding.Unknown), nil,
			},
			{"capture that misses things", plus(holding(), inventory.Facts{Captures: []inventory.Capture{{Name: "flows", Tier: inventory.TierPoll, Reason: "polling misses short connections"}}}), city(), only("registry", finding.Unknown), nil},
			{"nobody holds the data", nobody, city(), only("registry", finding.NotApplicable), nil},
			{"public data", holding(leak), public(), only("registry", finding.NotApplicable), nil},
			{"nothing declared", holding(leak), undeclared(), only("", finding.Unknown), nil},
		},
		"NET-002": {
			{"destinations found no room", holding(folded(leak)), city(), only("/usr/bin/java → many, folded", finding.Fail), nil},
			{"nothing beyond the city", holding(out(10, "10.77.0.9:443", inventory.City)), city(), only("", finding.Pass), nil},
			{
				"neighbours count as one destination", holding(leak, out(10, "203.0.113.9:443", inventory.Outside), out(11, "[2001:db8::1]:53", inventory.Outside)), city(),
				map[string]finding.Verdict{
					"/usr/bin/java → 203.0.113.0/24 port 443": finding.Fail,
					"/usr/bin/curl → 2001:db8::/48 port 53":   finding.Fail,
				},
				nil,
			},
			{"lower in the city's country", holding(out(10, "203.0.113.200:443", inventory.Outside)), city(), only("/usr/bin/java → 203.0.113.0/24 port 443", finding.Fail), func(t *testing.T, found []finding.Finding) {
				if found[0].Severity != finding.Medium {
					t.Errorf("severity %v", found[0].Severity)
				}
			}},
			{
				"not lower where one address may be anywhere",
				holding(out(10, "203.0.113.200:443", inventory.Outside), out(10, "203.0.113.201:443", inventory.Outside)), city(),
				only("/usr/bin/java → 203.0.113.0/24 port 443", finding.Fail), func(t *testing.T, found []finding.Finding) {
					if found[0].Severity != finding.High || fmt.Sprint(found[0].Facts["countries"]) != "[ES unknown]" {
						t.Errorf("severity %v, facts %v", found[0].Severity, found[0].Facts)
					}
				},
			},
			{"inward connections are no destinations", holding(in("203.0.113.7", 443, inventory.Outside)), city(), only("", finding.Pass), nil},
			{
				"approved", holding(lawful), approving(transfer()),
				map[string]finding.Verdict{"": finding.Pass, "/usr/bin/java → 198.51.100.0/24 port 443": finding.Pass},
				nil,
			},
			{
				"approved for one program, and none is known", holding(of(execution(0), lawful)), approving(transfer()),
				only("unknown program → networks approved for others", finding.Unknown), nil,
			},
			{
				"approved for any program, and none is known", holding(of(execution(0), lawful)),
				with(approving(transfer()), func(p *configs.Policy) { p.Transfers[0].Programs = nil }),
				map[string]finding.Verdict{"": finding.Pass, "unknown program → 198.51.100.0/24 port 443": finding.Pass},
				nil,
			},
			{"tried", holding(attempt(leak)), city(), only("/usr/bin/java → 203.0.113.0/24 port 443", finding.Review), nil},
			{"no city network", holding(leak), nowhere(), only("/usr/bin/java → 203.0.113.0/24 port 443", finding.Review), nil},
			{"a gap", plus(holding(), inventory.Facts{Gaps: gap(inventory.KindFlows, "")}), city(), only("", finding.Unknown), nil},
		},
		"NET-005": {
			{"loopback", listening("127.0.0.1:5432", 1), city(), only("registry", finding.Pass), nil},
			{"city address", listening("10.77.0.2:5432", 1), city(), only("registry", finding.Pass), nil},
			{"every address, all of the city", listening("[::]:5432", 1), city(), only("registry", finding.Pass), nil},
			{"every address, one public", plus(listening("0.0.0.0:5432", 1), inventory.Facts{Machine: &inventory.Machine{Addresses: []string{"10.77.0.2", "198.51.100.20"}}}), city(), only("registry at tcp:0.0.0.0:5432", finding.Fail), func(t *testing.T, found []finding.Finding) {
				if found[0].Confidence != finding.ConfidenceLow {
					t.Errorf("confidence %s", found[0].Confidence)
				}
			}},
			{"every address, none known", plus(listening("0.0.0.0:5432", 1), inventory.Facts{Machine: &inventory.Machine{}}), city(), only("registry at tcp:0.0.0.0:5432", finding.Unknown), nil},
			{"every address of a container", listening("0.0.0.0:5432", 2), city(), only("registry at tcp:0.0.0.0:5432", finding.Unknown), nil},
			{"private address that is not listed", listening("10.1.0.2:5432", 1), city(), only("registry at tcp:10.1.0.2:5432", finding.Review), nil},
			{"public address, no city network", listening("198.51.100.20:5432", 1), nowhere(), only("registry at tcp:198.51.100.20:5432", finding.Review), nil},
			{"reached from the city", plus(listening("10.77.0.2:5432", 1), inventory.Facts{Flows: []inventory.Flow{in("10.77.3.3", 5432, inventory.City)}}), city(), only("registry", finding.Pass), nil},
			{"reached from outside", plus(listening("10.77.0.2:5432", 1), inventory.Facts{Flows: []inventory.Flow{in("203.0.113.7", 5432, inventory.Outside)}}), city(), only("registry ← 203.0.113.7 on port 5432", finding.Fail), nil},
			{"reached by approved clients", plus(listening("10.77.0.2:5432", 1), inventory.Facts{Flows: []inventory.Flow{in("198.51.100.3", 5432, inventory.Approved)}}), inward, map[string]finding.Verdict{
				"registry": finding.Pass, "registry ← 198.51.100.3 on port 5432": finding.Pass,
			}, nil},
			{"another service", listening("0.0.0.0:8080", 1), city(), only("registry", finding.NotApplicable), nil},
			{"no network service", holding(), with(city(), func(p *configs.Policy) {
				p.Stores = []configs.DataStore{{ID: "registry", Services: []configs.Service{{Protocol: "unix", Path: "/run/r.sock"}}}}
			}), only("registry", finding.NotApplicable), nil},
			{"two processes on one socket", plus(listening("10.1.0.2:5432", 1), listening("10.1.0.2:5432", 1)), city(), only("registry at tcp:10.1.0.2:5432", finding.Review), nil},
			{"a gap", plus(listening("127.0.0.1:5432", 1), inventory.Facts{Gaps: gap(inventory.KindListeners, "")}), city(), only("registry", finding.Unknown), nil},
			{"public data", listening("0.0.0.0:5432", 1), public(), only("registry", finding.NotApplicable), nil},
			{"nothing declared", listening("0.0.0.0:5432", 1), undeclared(), only("", finding.Unknown), nil},
		},
		"NET-016": {
			{"none", watched(), city(), only("", finding.Pass), nil},
			{"holds, sent, both and a process more", watched(
				inventory.Bypass{Process: execution(10), Kind: inventory.BypassPacket, Open: true},
				inventory.Bypass{Process: execution(10), NetNS: 5, Kind: inventory.BypassPacket, Bytes: 300},
				inventory.Bypass{Process: execution(11), Kind: inventory.BypassTunnel, Open: true},
				inventory.Bypass{Process: execution(11), Kind: inventory.BypassXDP, Open: true},
				inventory.Bypass{Process: execution(12), Kind: inventory.BypassPacket, Bytes: 7},
				inventory.Bypass{Kind: inventory.BypassWireGuard, Interface: "wg0", Open: true},
			), city(), map[string]finding.Verdict{
				"interface wg0: wireguard":   finding.Fail,
				"/usr/sbin/dhclient: packet": finding.Fail, "/usr/sbin/openvpn: tunnel": finding.Fail,
				"/usr/sbin/openvpn: xdp": finding.Fail, "unknown program: packet": finding.Fail,
			}, func(t *testing.T, found []finding.Finding) {
				if f := found[0]; f.Reason != "holds a socket for whole frames and sent 300 bytes by it" || f.Facts["sent_bytes"] != uint64(300) {
					t.Errorf("%+v", f)
				}
				if f := found[4]; f.Reason != "held a socket for whole frames and sent 7 bytes by it" {
					t.Errorf("%+v", f)
				}
			}},
			{"watched by a lower tier", inventory.Facts{Captures: []inventory.Capture{{Name: inventory.CaptureFlows, Tier: inventory.TierEvents}}}, city(), only("", finding.Unknown), nil},
			{"a gap", plus(watched(), inventory.Facts{Gaps: gap(inventory.KindFlows, "")}), city(), only("", finding.Unknown), nil},
		},
		"NET-014": {
			{"complete", inventory.Facts{}, approving(transfer()), only("partner", finding.Pass), nil},
			{"no register", inventory.Facts{}, city(), only("", finding.NotApplicable), nil},
			{"no purpose", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Purpose = " " }), only("partner", finding.Fail), nil},
			{"no network", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Networks = nil }), only("partner", finding.Fail), nil},
			{"approved by its owner", inventory.Facts{}, changed(func(t *configs.Transfer) { t.ApprovedBy = "Registry Office" }), only("partner", finding.Fail), nil},
			{"no end", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Expires = time.Time{} }), only("partner", finding.Fail), nil},
			{"expired", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Expires = taken().Add(-time.Second) }), only("partner", finding.Fail), nil},
			{"last second", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Expires = taken() }), only("partner", finding.Pass), nil},
			{"two years", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Expires = taken().AddDate(2, 0, 0) }), only("partner", finding.Fail), nil},
			{"United States", inventory.Facts{}, changed(func(t *configs.Transfer) { t.Country = "US" }), only("partner", finding.Review), nil},
			{"United States, certified", inventory.Facts{}, changed(func(t *configs.Transfer) {
				t.Country, t.LegalBasis = "US", "GDPR art. 45, Data Privacy Framework certified"
			}), only("partner", finding.Pass), nil},
		},
	}
}

func changed(change func(*configs.Transfer)) configs.Policy {
	t := transfer()
	change(&t)
	return approving(t)
}

// leaks looks at what NET-001 says of a leak.
func leaks(t *testing.T, found []finding.Finding) {
	f := found[0]
	if f.Store != "registry" || f.Severity != finding.Critical || f.Disposition != finding.Open {
		t.Errorf("store %q, severity %v, disposition %q", f.Store, f.Severity, f.Disposition)
	}
	got := fmt.Sprint(f.Facts)
	want := "map[chain:[[map[evidence: how:direct pid:10 program:/usr/bin/java since:0001-01-01T00:00:00Z]]] connections:1 countries:[US] first:2026-07-01T11:00:00Z how:[direct] last:2026-07-01T12:00:00Z " +
		"operators:[Example Cloud] path:/usr/bin/java programs:[/usr/bin/java] protocols:[tcp] received_bytes:20 sent_bytes:100]"
	if got != want {
		t.Errorf("facts %s\nwant  %s", got, want)
	}
}

// approvals looks at how an approved exchange is listed.
func approvals(t *testing.T, found []finding.Finding) {
	if f := found[1]; f.Disposition != finding.TransferUsed || fmt.Sprint(f.Facts["transfers"]) != "[partner]" {
		t.Errorf("disposition %q, facts %v", f.Disposition, f.Facts)
	}
}

func TestDestinationsAreBounded(t *testing.T) {
	facts := holding()
	for i := range 300 {
		f := out(11, fmt.Sprintf("203.0.113.7:%d", i+1), inventory.Outside)
		f.Sent = uint64(i)
		facts.Flows = append(facts.Flows, f)
	}
	found := run(t, "NET-002", facts, city())
	if len(found) != 201 {
		t.Fatalf("%d findings", len(found))
	}
	for _, f := range found {
		if f.Subject != "other destinations" {
			continue
		}
		if f.Verdict != finding.Fail || f.Facts["destinations"] != 100 || f.Facts["sent_bytes"] != uint64(99*100/2) {
			t.Errorf("%v: %v", f.Verdict, f.Facts)
		}
		return
	}
	t.Error("the others are not counted")
}

// watched is a machine whose kernel lists these ways past the protocols.
func watched(bypasses ...inventory.Bypass) inventory.Facts {
	return inventory.Facts{
		Captures: []inventory.Capture{{Name: inventory.CaptureFlows, Tier: inventory.TierBPF, Complete: true}},
		Processes: []inventory.Process{
			{ID: execution(10), Executable: "/usr/sbin/dhclient"}, {ID: execution(11), Executable: "/usr/sbin/openvpn"},
		},
		Bypasses: bypasses,
	}
}
