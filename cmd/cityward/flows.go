package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent/report"
	"cityward/collectors/inventory"
)

const followEvery = time.Second

func (p *program) flowsCommand() *cobra.Command {
	var zone, since, format string
	var follow bool
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Show the connections that the daemon sees, once or live",
		Long: `Show the connections that the running daemon saw in its last round, with their
programs and what they sent and received in all.

With --follow it looks again every second, until Ctrl-C, and shows what is new or
moved since: as a table what moved in that second (+), as json one object a line
and as csv a record, both with the totals.

With --since it shows what the ledger in the state directory has of that time,
summed up by program and peer from whole hours; that needs no daemon. Where none
runs, the last day of the ledger is shown, and a line says so. Below tier bpf, a
connection that outlives a restart of the daemon is counted again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if zone != "" && !slices.Contains(zones(), zone) {
				return usage(fmt.Errorf("use --zone %s: %q is not known", strings.Join(zones(), "|"), zone))
			}
			if since != "" && follow {
				return usage(errors.New("use --since or --follow: what is past does not move"))
			}
			if follow {
				return p.follow(cmd.Context(), zone, format)
			}
			return p.showFlows(cmd.Context(), zone, since, format)
		},
	}
	formatFlag(cmd, &format, report.Table, report.JSON, report.CSV)
	cmd.Flags().StringVar(&zone, "zone", "", "only peers in this `ZONE`: "+strings.Join(zones(), ", "))
	cmd.Flags().BoolVar(&follow, "follow", false, "show what is new or moves, as it happens")
	cmd.Flags().StringVar(&since, "since", "", "what was seen in the last `DURATION`, such as 24h or 30d")
	_ = cmd.RegisterFlagCompletionFunc("zone", cobra.FixedCompletions(zones(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func zones() []string {
	return []string{inventory.Host.String(), inventory.City.String(), inventory.Approved.String(), inventory.Outside.String()}
}

// showFlows asks the daemon, or reads the ledger.
func (p *program) showFlows(ctx context.Context, zone, since, format string) error {
	var failed error
	if since == "" {
		flows, err := p.flowsNow(ctx, zone)
		if err == nil {
			return p.writeFlows(flows, format)
		}
		failed = err
	}
	r, begin, err := p.history(ctx, since, failed)
	if err != nil {
		return err
	}
	defer r.Close()
	flows, err := pastFlows(ctx, r, begin)
	if err != nil {
		return err
	}
	return p.writeFlows(only(zone, flows), format)
}

func (p *program) flowsNow(ctx context.Context, zone string) ([]report.Flow, error) {
	view, err := p.view(zone)
	if err != nil {
		return nil, err
	}
	flows, err := view.look(ctx, report.Flows)
	if err != nil {
		return nil, internal(err)
	}
	return flows, nil
}

func (p *program) view(zone string) (*flowView, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	daemon, err := p.daemon(cfg)
	return &flowView{daemon, zone}, err
}

func (p *program) writeFlows(flows []report.Flow, format string) error {
	out, err := report.NewFlowWriter(p.stdout, format, style(p.stdout))
	if err != nil {
		return err
	}
	return out.All(flows)
}

// follow shows what changes until ctx ends, nobody reads on or the daemon goes.
func (p *program) follow(ctx context.Context, zone, format string) error {
	view, err := p.view(zone)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // or the runtime ends the program by it
	defer signal.Reset(syscall.SIGPIPE)
	err = p.followOn(ctx, view, format)
	if ctx.Err() != nil || errors.Is(err, syscall.EPIPE) {
		return nil //nolint:nilerr // being asked to stop is no failure
	}
	return internal(err)
}

func (p *program) followOn(ctx context.Context, view *flowView, format string) error {
	const fresh = report.Flows + "?fresh"
	var changes report.Changes
	flows, err := view.look(ctx, fresh)
	if err != nil {
		return err
	}
	changes.Next(flows)
	out, err := report.NewFlowWriter(p.stdout, format, style(p.stdout))
	if err != nil {
		return err
	}
	ticks := time.NewTicker(followEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		if flows, err = view.look(ctx, fresh); err != nil {
			return err
		}
		if err := out.Changes(changes.Next(flows), time.Now()); err != nil {
			return err
		}
	}
}

// flowView is the flows of one zone, or all, as a daemon sees them.
type flowView struct {
	admin *admin
	zone  string // "" all
}

func (v *flowView) look(ctx context.Context, document string) ([]report.Flow, error) {
	data, err := v.admin.get(ctx, document)
	if err != nil {
		return nil, err
	}
	flows, err := report.ReadFlows(data)
	if err != nil {
		return nil, err
	}
	return only(v.zone, flows), nil
}

// only gives those of one zone; of "" all.
func only(zone string, flows []report.Flow) []report.Flow {
	return slices.DeleteFunc(flows, func(f report.Flow) bool { return zone != "" && f.Zone != zone })
}
