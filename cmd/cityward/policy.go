package main

import (
	"fmt"
	"io"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent"
	"cityward/collectors/inventory"
)

func (p *program) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Draft a policy, and try it on what was recorded",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.policyInit(), p.policyLearn(), p.policyTest())
	return cmd
}

func (p *program) policyInit() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Draft a first policy from this machine, for a person to review",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.look(cmd.Context(), nil, 0)
			if err != nil {
				return err
			}
			return p.write(output, func(w io.Writer) error { return draft(w, r) })
		},
	}
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead of standard output")
	return cmd
}

// draft writes a policy that is sound as it is, and says at each line where it
// comes from. What only a person can know is left as a comment.
func draft(w io.Writer, r *agent.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Draft of %s, from what this machine shows. Review every line.\n\n", r.Snapshot.Taken.UTC().Format(time.RFC3339))
	b.WriteString("[city]\nname = \"\"  # the city's name\n")
	draftNetworks(&b, r.Snapshot.Machine)
	if len(r.Snapshot.Candidates) == 0 {
		b.WriteString("\n# No known data engine runs here. Declare stores by hand, or state that there are none:\n# no_citizen_data = true   (in [city])\n")
	}
	for i, store := range draftStores(r.Snapshot) {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(store)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// draftNetworks proposes the networks this machine is in: they are the city's
// only once a person says so.
func draftNetworks(b *strings.Builder, m *inventory.Machine) {
	var networks []string
	if m != nil {
		for _, address := range m.Networks {
			prefix, err := netip.ParsePrefix(address)
			if err != nil || prefix.Addr().IsLoopback() || prefix.Addr().IsLinkLocalUnicast() {
				continue
			}
			networks = append(networks, fmt.Sprintf("%q", prefix.Masked()))
		}
	}
	slices.Sort(networks)
	networks = slices.Compact(networks)
	fmt.Fprintf(b, "# This machine's own networks. Uncomment those that are the city's.\n# networks = [%s]\n", strings.Join(networks, ", "))
}

func draftStores(s *inventory.Snapshot) []string {
	var stores []string
	used := make(map[string]int)
	taken := make(map[string]bool) // a path or a service may be of one store only
	for _, c := range s.Candidates {
		directory := path.Clean(c.Path)
		if taken[directory] {
			stores = append(stores, fmt.Sprintf("\n# %s, found by %s, keeps data at a path like one above: %s\n", c.Engine, c.Reason, directory))
			continue
		}
		taken[directory] = true
		id := storeID(c.Engine)
		if used[id]++; used[id] > 1 {
			id = fmt.Sprintf("%s-%d", id, used[id])
		}
		owner := ""
		if p, ok := s.Process(c.Process); ok && p.User != "" {
			owner = fmt.Sprintf("readers = [%q]  # the user it runs as\n", p.User)
		}
		stores = append(stores, fmt.Sprintf(
			"\n# %s, found by %s\n[[data_store]]\nid = %q\nclass = \"citizen\"  # citizen, confidential or public\npaths = [%q]\n%s%s",
			c.Engine, c.Reason, id, directory, services(s, c.Process, taken), owner))
	}
	return stores
}

func storeID(engine string) string {
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(engine), "-"), "-")
}

// services lists where the engine of a candidate listens, but for what is taken.
func services(s *inventory.Snapshot, id inventory.Execution, taken map[string]bool) string {
	var found []string
	for _, l := range s.Listeners {
		if l.Process != id {
			continue
		}
		service := fmt.Sprintf("%s:%d", l.Protocol, l.Local.Port())
		if l.Protocol == "unix" {
			if !strings.HasPrefix(l.Path, "/") {
				continue // abstract and unnamed sockets have no path to declare
			}
			service = "unix:" + l.Path
		}
		if !taken[service] {
			taken[service] = true
			found = append(found, fmt.Sprintf("%q", service))
		}
	}
	slices.Sort(found)
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("services = [%s]\n", strings.Join(found, ", "))
}
