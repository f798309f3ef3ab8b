package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent"
	"cityward/agent/report"
	"cityward/checks"
	"cityward/checks/finding"
)

func (p *program) scanCommand() *cobra.Command {
	var format, output, failOn string
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Look at this machine once and show what was found",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			threshold, err := parseFailOn(failOn)
			if err != nil {
				return err
			}
			r, err := p.look(cmd.Context(), checks.All(), duration)
			if err != nil {
				return err
			}
			err = p.write(output, func(w io.Writer) error {
				if format == "json" {
					return writeDocument(w, r, report.Scan)
				}
				return report.ScanTable(w, r, style(w))
			})
			if err != nil {
				return err
			}
			return verdict(r.Findings, threshold)
		},
	}
	formatFlag(cmd, &format, "table", "json")
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead of standard output")
	failOnFlag(cmd, &failOn)
	cmd.Flags().DurationVar(&duration, "duration", 0, "watch connections for this long before reporting")
	return cmd
}

func writeDocument(w io.Writer, r *agent.Report, name string) error {
	data, err := report.Document(r, name)
	if err != nil {
		return internal(err)
	}
	_, err = w.Write(data)
	return err
}

func failOnFlag(cmd *cobra.Command, failOn *string) {
	cmd.Flags().StringVar(failOn, "fail-on", "", "exit 1 if a check of this `SEVERITY` or above fails, 3 if a check of severity high or above is unknown")
}

// parseFailOn gives nil where nothing is to fail.
func parseFailOn(word string) (*finding.Severity, error) {
	if word == "" {
		return nil, nil //nolint:nilnil // no threshold is an answer
	}
	severity, err := finding.ParseSeverity(word)
	if err != nil {
		return nil, usage(fmt.Errorf("use --fail-on: %w", err))
	}
	return &severity, nil
}

// verdict gives the exit status for the findings. Their severity counts, which a
// judge may have lowered, and each of them: a failure does not make up for what
// could not be seen beside it.
func verdict(findings []finding.Finding, threshold *finding.Severity) error {
	if threshold == nil {
		return nil
	}
	blind := false
	for i := range findings {
		f := &findings[i]
		if f.Verdict == finding.Fail && f.Disposition != finding.Waived && f.Severity >= *threshold {
			return &statusError{status: exitFindings}
		}
		blind = blind || f.Verdict == finding.Unknown && f.Severity >= finding.High
	}
	if blind {
		return &statusError{status: exitBlind}
	}
	return nil
}
