// Package hardware judges whose machine this is. It asks no metadata service:
// what the firmware says and what the city's asset register says must do.
package hardware

import (
	"fmt"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// HWC001 demands that the machine is no cloud provider's.
func HWC001() finding.Rule {
	return finding.Rule{
		ID:        "HWC-001",
		Title:     "The machine is not a cloud provider's",
		Severity:  finding.Critical,
		Rationale: "The charter asks for hardware that the city controls. A provider controls its machines, whichever country it is in.",
		Decides: finding.Decides{
			finding.Pass:    "the asset register lists the machine, or the firmware names a maker and there is no hypervisor",
			finding.Fail:    "the firmware or cloud-init names a cloud provider's platform",
			finding.Review:  "the register lists a machine that a provider's platform shows on, or a register that could be read does not list a physical machine",
			finding.Unknown: "the firmware's tables cannot be read, or the machine is a guest that the register does not list, be it of cloud software that the city may run itself",
		},
		Remedy:   "Move the service to hardware of the city. If this is the city's own machine or cloud, list its serial or UUID in the asset register ([city] hardware).",
		Pitfalls: "Rented physical servers show their maker's name and nothing else: only the asset register tells them from the city's. A hypervisor may forge what the firmware says. Processors other than x86 do not say whether there is a hypervisor: such machines need the register.",
		Needs:    []string{inventory.KindMachine},
		Maps:     finding.Maps{"eu_csf": {"SOV-2.3", "SOV-5.4"}},
	}
}

// JudgeHWC001 gives one finding about the machine.
func JudgeHWC001(s *inventory.Snapshot, _ *configs.Policy) []finding.Finding {
	m := s.Machine
	if m == nil {
		return []finding.Finding{{Reason: "nothing is known of the machine"}}
	}
	f := finding.Finding{Facts: map[string]any{
		"vendor": m.Vendor, "product": m.Product, "virtualization": m.Virtualization, "in_register": m.Registered,
	}}
	if m.Platform != "" {
		f.Facts["platform"], f.Facts["recognised_by"] = m.PlatformName, m.PlatformRule
	}
	f.Verdict, f.Confidence, f.Reason = judgeMachine(m)
	return []finding.Finding{f}
}

func judgeMachine(m *inventory.Machine) (verdict finding.Verdict, confidence, reason string) {
	switch {
	case m.Platform != "" && m.Registered && !m.SelfHosted:
		return finding.Review, finding.ConfidenceMedium,
			fmt.Sprintf("the asset register lists this machine, yet it is one of %s (%s): whose cloud is it", m.PlatformName, m.PlatformRule)
	case m.Platform != "" && !m.SelfHosted:
		return finding.Fail, finding.ConfidenceHigh, fmt.Sprintf("a machine of %s (%s)", m.PlatformName, m.PlatformRule)
	case m.Registered:
		return finding.Pass, finding.ConfidenceHigh, "the asset register lists this machine"
	case m.SelfHosted:
		return finding.Unknown, "", fmt.Sprintf("a guest of %s, which a city may run itself, and the asset register does not list it", m.PlatformName)
	case !m.DMI:
		return finding.Unknown, "", "the firmware's tables cannot be read"
	case !m.Bare():
		return finding.Unknown, "", "a guest of a hypervisor, or a machine whose maker is not named, and the asset register does not list it"
	case m.LookedUp:
		return finding.Review, finding.ConfidenceMedium, "a physical machine that the asset register does not list: it may be rented"
	}
	return finding.Pass, finding.ConfidenceMedium, "a physical machine made by " + m.Vendor
}
