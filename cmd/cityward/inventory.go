package main

import (
	"io"

	"github.com/spf13/cobra"

	"cityward/agent/report"
)

func (p *program) inventoryCommand() *cobra.Command {
	var format, output string
	var running bool
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "List software and its licences",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The check that says what could be replaced.
			named, err := choose([]string{report.Replaceable})
			if err != nil {
				return err
			}
			r, err := p.look(cmd.Context(), named, 0)
			if err != nil {
				return err
			}
			return p.write(output, func(w io.Writer) error {
				switch {
				case format == "table":
					return report.InventoryTable(w, r, running, style(w))
				case running:
					data, err := report.RunningInventory(r)
					if err != nil {
						return internal(err)
					}
					_, err = w.Write(data)
					return err
				}
				return writeDocument(w, r, report.Inventory)
			})
		},
	}
	formatFlag(cmd, &format, "table", "json")
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead of standard output")
	cmd.Flags().BoolVar(&running, "running", false, "only what runs now")
	return cmd
}
