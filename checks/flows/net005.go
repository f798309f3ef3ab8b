package flows

import (
	"fmt"
	"net/netip"
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// NET005 demands that services of declared stores are neither reachable nor
// reached from beyond the city.
func NET005() finding.Rule {
	return finding.Rule{
		ID:        "NET-005",
		Title:     "Services of declared data stores are not open to the outside",
		Severity:  finding.Critical,
		Rationale: "A database that listens on a public address is one password away from anybody. Data that is fetched from outside has left as surely as data that was sent.",
		Decides: finding.Decides{
			finding.Pass:          "every service listens on this machine's inner or city addresses only, and all its peers are the city's or approved",
			finding.Fail:          "a service listens on a public address outside the city's networks, or a peer beyond the city was connected to it under no approved transfer",
			finding.Review:        "a service listens on a private address that the policy does not list, or the policy names no network of the city",
			finding.Unknown:       "sockets may have gone unseen, or a service listens on every address of a network namespace whose addresses are not known",
			finding.NotApplicable: "the store has no network service, none listens here, or its data is public",
		},
		Remedy:   "Bind the service to a loopback or city address, or put it behind a Unix socket. Record clients that are wanted as a [[transfer]] with direction in.",
		Pitfalls: "Only the services that the store declares are looked at. Packet filters are not read: a public address that a filter protects is reported, with low confidence. A reverse proxy is the peer that is seen.",
		Needs:    []string{inventory.KindListeners, inventory.KindFlows},
		Stores:   true,
		Maps:     finding.Maps{"gdpr": {"IV_32.1.b"}, "nis2": {"21.2.i"}, "ens": {"mp.com.1"}},
	}
}

// JudgeNET005 gives one finding for each exposed socket and each peer from beyond
// the city, and one for the store where there is none.
func JudgeNET005(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var found []finding.Finding
	for i := range p.Stores {
		store := &p.Stores[i]
		of := judgeServices(s, p, store)
		for j := range of {
			of[j].Store = store.ID
		}
		found = append(found, of...)
	}
	return found
}

func judgeServices(s *inventory.Snapshot, p *configs.Policy, store *configs.DataStore) []finding.Finding {
	ports := networkServices(store)
	switch {
	case store.Class == configs.ClassPublic:
		return []finding.Finding{{Subject: store.ID, Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "the store's data is public"}}
	case len(ports) == 0:
		return []finding.Finding{{Subject: store.ID, Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "no network service is declared for the store"}}
	}
	var peers ledger
	for i := range s.Flows {
		f := &s.Flows[i]
		if f.Direction == inventory.In && beyond(f) && serves(ports, f.Protocol, f.Local) {
			peers.exchange(store.ID+endpoint(f)).add(f, program(s, f.Process), "", covering(s, p, f, store.ID))
		}
	}
	found := peers.findings(s, p, store.ID+" ← others")
	sockets := 0
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if !serves(ports, l.Protocol, l.Local) {
			continue
		}
		sockets++
		if f := judgeBind(s, p, l); f.Verdict != finding.Pass {
			f.Subject = fmt.Sprintf("%s at %s", store.ID, l)
			f.Facts = map[string]any{"program": program(s, l.Process)}
			found = append(found, f)
		}
	}
	switch {
	case !settled(found):
	case sockets == 0 && len(found) == 0:
		found = append(found, finding.Finding{Subject: store.ID, Verdict: finding.NotApplicable, Reason: "no service of the store listens here"})
	default:
		found = append(found, finding.Finding{
			Subject: store.ID, Verdict: finding.Pass, Reason: "no service of the store is open to the outside", Facts: map[string]any{"sockets": sockets},
		})
	}
	return dedupe(found)
}

// dedupe drops findings with the subject of an earlier one: several processes
// may listen on one socket, and network namespaces have addresses of their own.
// The worst verdict stays.
func dedupe(found []finding.Finding) []finding.Finding {
	at := make(map[string]int)
	var kept []finding.Finding
	for _, f := range found {
		i, known := at[f.Subject]
		switch {
		case !known:
			at[f.Subject] = len(kept)
			kept = append(kept, f)
		case f.Verdict.Weight() > kept[i].Verdict.Weight():
			kept[i] = f
		}
	}
	return kept
}

func networkServices(store *configs.DataStore) []configs.Service {
	return slices.DeleteFunc(slices.Clone(store.Services), func(service configs.Service) bool { return service.Protocol == "unix" })
}

func serves(services []configs.Service, protocol string, local netip.AddrPort) bool {
	return slices.ContainsFunc(services, func(s configs.Service) bool { return s.Protocol == protocol && s.Port == local.Port() })
}

// judgeBind judges the address that a socket listens on. Whether a packet filter
// stands before it is not known, so a failure has low confidence.
func judgeBind(s *inventory.Snapshot, p *configs.Policy, l *inventory.Listener) finding.Finding {
	addresses := []netip.Addr{l.Local.Addr().Unmap()}
	if l.Local.Addr().IsUnspecified() {
		if !inHostNetwork(s, l) {
			return finding.Finding{Reason: "listens on every address of a network namespace whose addresses are not known"}
		}
		if addresses = hostAddresses(s.Machine, l.Local.Addr()); len(addresses) == 0 {
			return finding.Finding{Reason: "listens on every address of this machine, and these are not known"}
		}
	}
	answer := finding.Finding{Verdict: finding.Pass}
	for _, addr := range addresses {
		switch {
		case addr.IsLoopback() || addr.IsLinkLocalUnicast() || p.InCity(addr):
		case len(p.City.Networks) == 0:
			return finding.Finding{Verdict: finding.Review, Reason: fmt.Sprintf("listens on %s, and the policy names no network of the city", addr)}
		case addr.IsPrivate():
			if answer.Verdict == finding.Pass {
				answer = finding.Finding{Verdict: finding.Review, Reason: fmt.Sprintf("listens on %s, a private address that is not in the city's networks", addr)}
			}
		default:
			return finding.Finding{
				Verdict: finding.Fail, Confidence: finding.ConfidenceLow,
				Reason: fmt.Sprintf("listens on %s, which is outside the city's networks", addr),
			}
		}
	}
	return answer
}

// inHostNetwork reports whether a socket is in the network namespace of the
// first process, whose addresses are the machine's.
func inHostNetwork(s *inventory.Snapshot, l *inventory.Listener) bool {
	first := s.First()
	return l.NetNS != 0 && first != nil && first.NetNS == l.NetNS
}

// hostAddresses gives the machine's addresses that a wildcard stands for: the
// IPv6 one is reached over IPv4, too.
func hostAddresses(m *inventory.Machine, wildcard netip.Addr) []netip.Addr {
	if m == nil {
		return nil
	}
	var addresses []netip.Addr
	for _, text := range m.Addresses {
		if addr, err := netip.ParseAddr(text); err == nil && (wildcard.Is6() || addr.Is4()) {
			addresses = append(addresses, addr)
		}
	}
	return addresses
}
