package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent/alerts"
	"cityward/agent/ledger"
	"cityward/configs"
)

func (p *program) alertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "Try the receivers of alerts",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "test",
		Short: "Send a marked test alert to every configured receiver",
		Long: `Send a marked test alert to every receiver that the configuration names, and say
which of them took it. An Alertmanager lets it end after five minutes. Ends with
status 4 where one did not take it. The daemon is not asked: it may run or not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.testAlerts(cmd.Context()) },
	})
	return cmd
}

func (p *program) testAlerts(ctx context.Context) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	receivers := cfg.Alerts.Receivers
	if len(receivers) == 0 {
		return usage(errors.New("send test alert: no receiver is configured, see [[alerts.receiver]] in cityward config default"))
	}
	name, err := os.Hostname()
	if err != nil {
		return internal(fmt.Errorf("send test alert: %w", err))
	}
	failures := make([]error, len(receivers))
	var asked sync.WaitGroup
	for i := range receivers {
		asked.Go(func() { failures[i] = alerts.Try(ctx, receivers[i], name, time.Now()) })
	}
	asked.Wait()
	failed := 0
	for i, err := range failures {
		verdict := "took it"
		if err != nil {
			failed++
			verdict = err.Error()
		}
		if _, err := fmt.Fprintf(p.stdout, "%s: %s\n", receivers[i].Name, verdict); err != nil {
			return internal(err)
		}
	}
	if failed > 0 {
		return internal(fmt.Errorf("send test alert: %d of %d receivers did not take it", failed, len(receivers)))
	}
	return nil
}

// alsoFor hands the receivers of each sound configuration to the room of alerts.
func alsoFor(told *alerts.Room, load func() (*configs.Config, error)) func() (*configs.Config, error) {
	return func() (*configs.Config, error) {
		cfg, err := load()
		if err == nil {
			told.Configure(cfg.Alerts)
		}
		return cfg, err
	}
}

// headOf shows the alerts where the ledger stands.
func headOf(history *ledger.Ledger) func() *alerts.Head {
	return func() *alerts.Head {
		head := history.Head()
		if head == nil {
			return nil
		}
		shown := alerts.Head(*head)
		return &shown
	}
}
