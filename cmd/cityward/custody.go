package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent/ledger"
	"cityward/agent/report"
	"cityward/configs"
)

func (p *program) custodyCommand() *cobra.Command {
	var since, format string
	cmd := &cobra.Command{
		Use:   "custody [STORE]",
		Short: "Show who holds which store's data, how they came by it and where they sent bytes",
		Long: `Show which programs hold the data of declared stores, or of one, since when, how
and from whom they came by it, and where they sent bytes while they held it, as the
running daemon saw it in its last round.

With --since it shows who held data at some time since then, by the ledger in the
state directory, without process ids; that needs no daemon. Where none runs, it
shows the last day of the ledger and says so. Bytes of the past are those of whole
hours, and the transfers are those of the configuration in force now. The table
leaves out destinations on this machine.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			store := strings.Join(args, "")
			cfg, err := p.load()
			if err != nil {
				return err
			}
			holdings, err := p.custody(cmd.Context(), cfg, since)
			if err != nil {
				return err
			}
			if holdings, err = onlyStore(store, holdings, cfg); err != nil {
				return err
			}
			return report.WriteCustody(p.stdout, holdings, format, style(p.stdout))
		},
	}
	formatFlag(cmd, &format, report.Table, report.JSON, report.CSV)
	cmd.Flags().StringVar(&since, "since", "", "who held data in the last `DURATION`, such as 24h or 30d")
	return cmd
}

func (p *program) completeStores(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	cfg, err := p.load()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return storeIDs(cfg), cobra.ShellCompDirectiveNoFileComp
}

func storeIDs(cfg *configs.Config) []string {
	var ids []string
	for i := range cfg.Stores {
		ids = append(ids, cfg.Stores[i].ID)
	}
	return ids
}

// onlyStore gives the holdings of one store; of "" all. A store that is declared no
// more is known as long as the ledger tells of it.
func onlyStore(store string, holdings []report.Holding, cfg *configs.Config) ([]report.Holding, error) {
	if store == "" {
		return holdings, nil
	}
	ids := storeIDs(cfg)
	of := slices.DeleteFunc(holdings, func(h report.Holding) bool { return h.Store != store })
	switch {
	case len(of) > 0 || slices.Contains(ids, store):
		return of, nil
	case len(ids) == 0:
		return nil, usage(fmt.Errorf("show custody: %q is no declared data store: none is declared, see cityward policy init", store))
	}
	return nil, usage(fmt.Errorf("show custody: %q is no declared data store, want one of %s", store, strings.Join(ids, ", ")))
}

// custody asks the daemon, or reads the ledger.
func (p *program) custody(ctx context.Context, cfg *configs.Config, since string) ([]report.Holding, error) {
	var failed error
	if since == "" {
		var data []byte
		if data, failed = p.ask(ctx, cfg, report.Custody); failed == nil {
			holdings, err := report.ReadCustody(data)
			if err != nil {
				return nil, internal(err)
			}
			return holdings, nil
		}
	}
	r, begin, err := p.history(ctx, since, failed)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	held, err := r.Holdings(ctx, begin)
	if err != nil {
		return nil, internal(err)
	}
	for _, h := range held {
		nameTransfers(h, cfg)
	}
	return readBack(held, report.ReadCustody)
}

// nameTransfers says under which transfer of now bytes of the past were sent.
func nameTransfers(h *ledger.Holding, cfg *configs.Config) {
	for _, d := range h.Destinations {
		if d.Address == nil {
			continue
		}
		addr, err := netip.ParseAddr(*d.Address)
		if err != nil {
			continue
		}
		q := configs.TransferQuery{Direction: d.Direction, Remote: addr, Port: *d.Port, Store: h.Store, At: time.Now()}
		if d.Direction == configs.In {
			q.Port = d.Local
		}
		if h.Program != nil && h.Program.Executable != nil {
			q.Program = *h.Program.Executable
		}
		if covering := cfg.MatchTransfers(q); len(covering) > 0 {
			d.Transfer = &covering[0].ID
		}
	}
}
