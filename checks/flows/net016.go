package flows

import (
	"fmt"
	"slices"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// NET016 demands that no program can send past the protocols that are watched.
func NET016() finding.Rule {
	return finding.Rule{
		ID:        "NET-016",
		Title:     "No program has a way past the protocols",
		Severity:  finding.Medium,
		Rationale: "What a program sends as whole frames or through a tunnel of its own goes to an address that only the program knows. Every other check on flows is blind to it.",
		Decides: finding.Decides{
			finding.Pass:    "no program holds a socket for whole frames (AF_PACKET, AF_XDP), a TUN or TAP device or a socket of a network that is not IP (AF_VSOCK, Bluetooth), none sent frames in the last minutes, and there is no WireGuard interface",
			finding.Fail:    "a program does, or did",
			finding.Unknown: "the capture of flows does not list such programs, or may have missed some",
		},
		Remedy:   "Stop the program, or waive the finding for it with the reason why it needs this: clients of DHCP and monitors of failover do, VPNs do.",
		Pitfalls: "What programs send into a tunnel of the kernel is still seen, with the address inside; what leaves the machine is a flow of no program. Interfaces of the agent's own network namespace only. IPsec has no interface and is not seen. Bytes are known of AF_PACKET alone.",
		Needs:    []string{inventory.KindFlows},
		Maps:     finding.Maps{"eu_csf": {"SOV-6.3"}, "nis2": {"21.2.f"}},
	}
}

// JudgeNET016 gives one finding for each program and way.
func JudgeNET016(s *inventory.Snapshot, _ *configs.Policy) []finding.Finding {
	watched := slices.ContainsFunc(s.Captures, func(c inventory.Capture) bool {
		return c.Name == inventory.CaptureFlows && c.Tier == inventory.TierBPF
	})
	if !watched {
		return []finding.Finding{{Reason: "the capture of flows does not list programs that send past the protocols"}}
	}
	var found []finding.Finding
	at := make(map[string]int)
	for i := range s.Bypasses {
		b := &s.Bypasses[i]
		subject := fmt.Sprintf("%s: %s", program(s, b.Process), b.Kind)
		if b.Interface != "" {
			subject = fmt.Sprintf("interface %s: %s", b.Interface, b.Kind)
		}
		n, known := at[subject]
		if !known {
			n = len(found)
			at[subject] = n
			found = append(found, finding.Finding{
				Subject: subject, Verdict: finding.Fail,
				Facts: map[string]any{"way": b.Kind, "held_now": false, "sent_bytes": uint64(0)},
			})
		}
		facts := found[n].Facts
		facts["held_now"] = facts["held_now"].(bool) || b.Open
		facts["sent_bytes"] = facts["sent_bytes"].(uint64) + b.Bytes
		found[n].Reason = waysReason(b.Kind, facts["held_now"].(bool), facts["sent_bytes"].(uint64))
	}
	if len(found) == 0 {
		return []finding.Finding{{Verdict: finding.Pass, Reason: "no program holds a way past the protocols"}}
	}
	return found
}

func waysReason(kind string, held bool, sent uint64) string {
	what := map[string]string{
		inventory.BypassPacket: "a socket for whole frames",
		inventory.BypassXDP:    "a socket that shares its buffers with a network card",
		inventory.BypassTunnel: "a TUN or TAP device",
		inventory.BypassOther:  "a socket of a network that is not IP",
	}[kind]
	if what == "" {
		return "the kernel wraps what goes in there and sends it to peers of its own"
	}
	reason := "held " + what
	if held {
		reason = "holds " + what
	}
	if sent > 0 {
		reason += fmt.Sprintf(" and sent %d bytes by it", sent)
	}
	return reason
}
