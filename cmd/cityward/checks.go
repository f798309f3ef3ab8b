package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"cityward/agent/report"
	"cityward/checks"
	"cityward/checks/finding"
)

func (p *program) checksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checks",
		Short: "List, explain and run checks",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.checksList(), p.checksExplain(), p.checksRun())
	return cmd
}

func (p *program) checksList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the checks",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			tw := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
			for _, c := range checks.All() {
				fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Rule.ID, c.Rule.Severity, c.Rule.Title)
			}
			return tw.Flush()
		},
	}
}

func (p *program) checksExplain() *cobra.Command {
	return &cobra.Command{
		Use:               "explain ID",
		Short:             "Show a check's full text",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeChecks,
		RunE: func(_ *cobra.Command, args []string) error {
			chosen, err := choose(args)
			if err != nil {
				return err
			}
			return explain(p.stdout, &chosen[0].Rule)
		},
	}
}

func explain(w io.Writer, r *finding.Rule) error {
	var maps []string
	for _, framework := range sortedKeys(r.Maps) {
		maps = append(maps, framework+": "+strings.Join(r.Maps[framework], ", "))
	}
	_, err := fmt.Fprintf(w, "%s  %s\n\nseverity   %s\nneeds      %s\nmaps       %s\n\nWhy\n  %s\n\nDecides\n  %s\n\nRemedy\n  %s\n\nPitfalls\n  %s\n",
		r.ID, r.Title, r.Severity, strings.Join(r.Needs, ", "), strings.Join(maps, "; "), r.Rationale, strings.ReplaceAll(r.Decides.String(), "\n", "\n  "), r.Remedy, cmp.Or(r.Pitfalls, "none known"))
	return err
}

func sortedKeys(m finding.Maps) []string { return slices.Sorted(maps.Keys(m)) }

func (p *program) checksRun() *cobra.Command {
	var format, failOn string
	cmd := &cobra.Command{
		Use:               "run [ID...]",
		Short:             "Look at this machine and judge by these checks, or by all",
		ValidArgsFunction: completeChecks,
		RunE: func(cmd *cobra.Command, args []string) error {
			threshold, err := parseFailOn(failOn)
			if err != nil {
				return err
			}
			chosen, err := choose(args)
			if err != nil {
				return err
			}
			r, err := p.look(cmd.Context(), chosen, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				err = writeDocument(p.stdout, r, report.Findings)
			} else {
				err = report.ChecksTable(p.stdout, r, style(p.stdout))
			}
			if err != nil {
				return err
			}
			return verdict(r.Findings, threshold)
		},
	}
	formatFlag(cmd, &format, "table", "json")
	failOnFlag(cmd, &failOn)
	return cmd
}

// choose gives the checks with these ids, or all where none is named.
func choose(ids []string) ([]checks.Check, error) {
	all := checks.All()
	if len(ids) == 0 {
		return all, nil
	}
	var chosen []checks.Check
	for _, id := range ids {
		i := slices.IndexFunc(all, func(c checks.Check) bool { return strings.EqualFold(c.Rule.ID, id) })
		if i < 0 {
			return nil, usage(fmt.Errorf("choose check: %q is not known, see cityward checks list", id))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func completeChecks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	for _, c := range checks.All() {
		ids = append(ids, c.Rule.ID+"\t"+c.Rule.Title)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
