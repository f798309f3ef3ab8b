package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"cityward/agent"
)

func (p *program) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Show what this host lets the agent see, and what to change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.look(cmd.Context(), nil, 0)
			if err != nil {
				return err
			}
			return diagnose(p.stdout, r, effectiveCapabilities())
		},
	}
}

func diagnose(w io.Writer, r *agent.Report, capabilities uint64) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "CAPTURE\tTIER\tCOMPLETE\tWHY NOT, AND WHAT TO CHANGE")
	for _, c := range r.Snapshot.Captures {
		fmt.Fprintf(tw, "%s\t%s\t%t\t%s\n", c.Name, c.Tier, c.Complete, c.Reason)
	}
	fmt.Fprintln(tw, "\nPRIVILEGE\tHELD BY THIS COMMAND\tFOR")
	for _, p := range privileges() {
		fmt.Fprintf(tw, "%s\t%t\t%s\n", p.name, capabilities&(1<<p.bit) != 0, p.gives)
	}
	fmt.Fprintln(tw, "\nCOLLECTOR\tSEES\tTOOK")
	for _, c := range r.Collectors {
		sees := "yes"
		if !c.Success {
			sees = "nothing: " + c.Err
		}
		fmt.Fprintf(tw, "%s\t%s\t%.1f ms\n", c.Name, sees, c.Duration.Seconds()*1000)
	}
	fmt.Fprintln(tw, "\nNOT SEEN\tBY\tLOST\tWHY")
	for _, g := range r.Snapshot.Gaps {
		lost := "not known"
		if g.Lost > 0 {
			lost = strconv.Itoa(g.Lost)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", g.Kind, g.Collector, lost, strings.TrimSpace(g.Reason+" "+g.Subject))
	}
	return tw.Flush()
}
