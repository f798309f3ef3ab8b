package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent/ledger"
	"cityward/agent/report"
	"cityward/checks"
	"cityward/checks/finding"
)

func (p *program) findingsCommand() *cobra.Command {
	var all bool
	var format string
	cmd := &cobra.Command{
		Use:   "findings",
		Short: "Show what is open, with its evidence and what to do about it",
		Long: `Show the findings that the running daemon has open: what failed, what a person has
to look at and what could not be seen, with the evidence and the remedy. Of data
that left the city, the way is shown from the store to the destination.

With --all those that were resolved follow, by the ledger in the state directory,
the latest first. Where no daemon runs, those that were open when the ledger ends
are shown, and a line says so. The evidence in the ledger is that of when the
finding came or last changed: bytes that followed are in cityward flows --since. It
ends with status 0 whatever is open: to judge by the status, see cityward scan
--fail-on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := p.findings(cmd.Context(), all)
			if err != nil {
				return err
			}
			return report.WriteFindings(p.stdout, found, format, style(p.stdout))
		},
	}
	formatFlag(cmd, &format, report.Table, report.JSON, report.CSV)
	cmd.Flags().BoolVar(&all, "all", false, "those that were resolved, too")
	return cmd
}

func (p *program) findings(ctx context.Context, all bool) ([]report.Found, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	data, failed := p.ask(ctx, cfg, report.Findings)
	if failed != nil {
		r, _, err := p.instead(ctx, failed)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return pastFindings(ctx, r, all)
	}
	found, err := report.ReadFindings(data)
	if err != nil {
		return nil, internal(err)
	}
	found = slices.DeleteFunc(found, func(f report.Found) bool { return f.Result == finding.Pass.String() }) // approved
	if !all {
		return found, nil
	}
	r, err := p.openLedger()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	past, err := pastFindings(ctx, r, true)
	if err != nil {
		return nil, err
	}
	return append(found, slices.DeleteFunc(past, func(f report.Found) bool { return f.Resolved == nil })...), nil
}

// pastFindings gives the findings of a ledger. What is the same for all findings of
// a check is the catalogue's of today.
func pastFindings(ctx context.Context, r *ledger.Reader, resolved bool) ([]report.Found, error) {
	rows, err := r.Findings(ctx, resolved)
	if err != nil {
		return nil, internal(err)
	}
	rules := make(map[string]finding.Rule)
	for _, c := range checks.All() {
		rules[c.Rule.ID] = c.Rule
	}
	found := make([]report.Found, 0, len(rows))
	for _, row := range rows {
		rule := rules[row.Check]
		f := report.Found{
			Check: row.Check, Title: rule.Title, Severity: row.Severity, Result: row.Result, Disposition: row.Disposition,
			Subject: orNull(row.Subject), Reason: orNull(row.Reason), Since: row.Since.UTC(), Facts: row.Facts, Remedy: rule.Remedy, Maps: rule.Maps,
		}
		if !row.Resolved.IsZero() {
			f.Resolved = orNull(row.Resolved.UTC())
		}
		found = append(found, f)
	}
	return found, nil
}

// orNull gives nil for what is not known.
func orNull[T string | time.Time](value T) *T {
	var none T
	if value == none {
		return nil
	}
	return &value
}
