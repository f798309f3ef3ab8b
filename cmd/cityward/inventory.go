package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"cityward/agent"
	"cityward/agent/report"
	"cityward/agent/sbom"
)

func (p *program) inventoryCommand() *cobra.Command {
	var format, output string
	var running, public bool
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "List software and its licences",
		Long: `List the software of this machine and its licences: as a table, as json or csv,
or as a software bill of materials.

cyclonedx is CycloneDX 1.7 and spdx is SPDX 3.0.1; the versions before have names
of their own. A bill has the SHA-512 of the programs that run and of what is
installed as one file, which is read for it: at most 30 seconds long. What could
not be seen is in the bill, too. With --public a bill leaves out versions, hashes,
names of machines, addresses, paths and services, and may be published.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bill := slices.Contains(sbom.Formats(), format)
			if public && !bill {
				return usage(errors.New("use --public with a bill of materials: --format cyclonedx or spdx"))
			}
			// The check that says what could be replaced.
			named, err := choose([]string{report.Replaceable})
			if err != nil {
				return err
			}
			r, err := p.look(cmd.Context(), named, 0)
			if err != nil {
				return err
			}
			o := sbom.Options{Version: buildInfo().version, Running: running, Public: public}
			if bill && !public {
				o.Digests = sbom.Digest(cmd.Context(), p.root, r.Snapshot, sbom.DefaultLimits())
			}
			if err := context.Cause(cmd.Context()); err != nil {
				return internal(fmt.Errorf("read files: %w", err))
			}
			return p.write(output, func(w io.Writer) error {
				if bill {
					return sbom.Write(w, r, format, o)
				}
				return writeInventory(w, r, format, running)
			})
		},
	}
	formatFlag(cmd, &format, append([]string{report.Table, report.JSON, report.CSV}, sbom.Formats()...)...)
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead of standard output")
	cmd.Flags().BoolVar(&running, "running", false, "only what runs now")
	cmd.Flags().BoolVar(&public, "public", false, "a bill that may be published: without versions, names of machines, addresses")
	return cmd
}

func writeInventory(w io.Writer, r *agent.Report, format string, running bool) error {
	switch {
	case format == report.Table:
		return report.InventoryTable(w, r, running, style(w))
	case format == report.CSV:
		return report.InventoryCSV(w, r, running)
	case running:
		data, err := report.RunningInventory(r)
		if err != nil {
			return internal(err)
		}
		_, err = w.Write(data)
		return err
	}
	return writeDocument(w, r, report.Inventory)
}
