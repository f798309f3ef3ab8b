package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"cityward/configs"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check [FILE]", Short: "Report every mistake as FILE:LINE:COLUMN", Args: cobra.MaximumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return p.configCheck(args) },
		},
		&cobra.Command{
			Use: "show", Short: "Show the configuration in force", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				cfg, err := p.load()
				if err != nil {
					return err
				}
				_, err = p.stdout.Write(cfg.Text())
				return err
			},
		},
		&cobra.Command{
			Use: "default", Short: "Show the annotated default", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := p.stdout.Write(configs.DefaultText())
				return err
			},
		},
	)
	return cmd
}

func (p *program) configCheck(args []string) error {
	if len(args) == 1 {
		p.configFile = args[0]
	}
	cfg, err := p.load()
	if err != nil {
		return err
	}
	name := cmp.Or(cfg.Source, "the embedded default")
	if cfg.WaiverErr != nil {
		return usage(fmt.Errorf("%s is sound, but no waiver is honoured: %w", name, cfg.WaiverErr))
	}
	if cfg.FactsErr != nil {
		return usage(fmt.Errorf("%s is sound, but tables of %s are not used: %w", name, configs.FactsDirectory, cfg.FactsErr))
	}
	_, err = fmt.Fprintf(p.stdout, "%s is sound: %d data stores, %d transfers, %d waivers\n", name, len(cfg.Stores), len(cfg.Transfers), len(cfg.Waivers))
	return err
}
