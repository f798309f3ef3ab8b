package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/common/promslog"
	"github.com/spf13/cobra"

	"cityward/agent"
	"cityward/agent/alerts"
	"cityward/agent/httpd"
	"cityward/agent/ledger"
	"cityward/agent/metrics"
	"cityward/agent/report"
	"cityward/checks"
	"cityward/collectors"
	"cityward/configs"
)

// overrides are the flags that users of Prometheus exporters know; each wins
// over the configuration.
type overrides struct{ listen, webConfig, logLevel, logFormat string }

func (p *program) runCommand() *cobra.Command {
	var flags overrides
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground; what the service manager starts",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*configs.Config, error) { return p.loadWith(&flags) }
			return p.serve(cmd.Context(), load)
		},
	}
	cmd.Flags().StringVar(&flags.listen, "web.listen-address", "", "`ADDRESS` to serve metrics on, instead of listen.metrics")
	cmd.Flags().StringVar(&flags.webConfig, "web.config.file", "", "exporter-toolkit `FILE` with TLS and authentication, instead of listen.web_config")
	cmd.Flags().StringVar(&flags.logLevel, "log.level", "", "debug, info, warn or error, instead of log.level")
	cmd.Flags().StringVar(&flags.logFormat, "log.format", "", "logfmt or json, instead of log.format")
	return cmd
}

func (p *program) loadWith(flags *overrides) (*configs.Config, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	for _, o := range []struct {
		flag  string
		value *string
	}{
		{flags.listen, &cfg.Listen.Metrics},
		{flags.webConfig, &cfg.Listen.WebConfig},
		{flags.logLevel, &cfg.Log.Level},
		{flags.logFormat, &cfg.Log.Format},
	} {
		if o.flag != "" {
			*o.value = o.flag
		}
	}
	return cfg, nil
}

func (p *program) logger(cfg *configs.Config) (*slog.Logger, error) {
	level, format := promslog.NewLevel(), promslog.NewFormat()
	if err := errors.Join(level.Set(cfg.Log.Level), format.Set(cfg.Log.Format)); err != nil {
		return nil, usage(fmt.Errorf("set up log: %w", err))
	}
	return promslog.New(&promslog.Config{Level: level, Format: format, Writer: p.stderr}), nil
}

// latest is the last report, for whoever asks on the admin socket, and who can
// make another.
type latest struct {
	report atomic.Pointer[agent.Report]
	looker *agent.Agent
}

// Document implements [httpd.Documents].
func (l *latest) Document(name string) ([]byte, error) {
	r := l.report.Load()
	if r == nil {
		return nil, errors.New("make document: no round is finished yet")
	}
	return report.Document(r, name)
}

// Fresh implements [httpd.Documents].
func (l *latest) Fresh(ctx context.Context, name string) ([]byte, error) {
	r, err := l.looker.Fresh(ctx)
	if err != nil {
		return nil, err
	}
	return report.Document(r, name)
}

// serve wires the daemon and runs it until ctx ends.
func (p *program) serve(ctx context.Context, load func() (*configs.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	log, err := p.logger(cfg)
	if err != nil {
		return err
	}
	limitHeap()
	cfg.State = ledger.StateDir()
	set, err := collectors.Build(collectors.All(), p.root, cfg, time.Now)
	if err != nil {
		return usage(err)
	}
	defer set.Close()
	if err := set.Unpinned(); err != nil {
		log.Warn("capture in the kernel ends with the daemon", "err", err)
	}

	reload := make(chan struct{}, 1)
	askReload := func() {
		select {
		case reload <- struct{}{}:
		default: // one is asked for already
		}
	}
	b := buildInfo()
	figures := metrics.New(b.version, b.revision, b.goVersion)
	history, told := remember(cfg, log)
	defer history.Close()
	defer told.Close()
	figures.Registry().MustRegister(history, told)
	last, own := &latest{}, &resident{}
	server, err := httpd.New(ctx, httpd.Options{
		Metrics: cfg.Listen.Metrics, WebConfig: cfg.Listen.WebConfig, Insecure: cfg.Listen.Insecure, Admin: cfg.Listen.Admin,
		Gatherer: figures.Registry(), Documents: last, Reload: askReload, Log: log,
	})
	if err != nil {
		return usage(err)
	}
	last.looker = agent.New(agent.Options{
		Config: cfg, Load: alsoFor(told, load), Set: set, Wake: set.Wake(), Checks: checks.All(), Log: log, Now: time.Now,
		Gaps: history.Gaps, Since: history.Since(),
		Published: func(r *agent.Report) {
			told.Observe(r) // the first: what is wrong must not wait for a page of metrics
			figures.Observe(r)
			history.Observe(r)
			last.report.Store(r)
			server.Ready()
			if r.Rounds == 1 && !r.Short {
				notify(log, daemon.SdNotifyReady)
			}
			if err := own.after(r.Rounds, r.Short); err != nil {
				log.Debug("the program stays resident as a whole", "err", err)
			}
			log.Debug("round finished", "round", r.Rounds, "short", r.Short, "seconds", r.Duration.Seconds(), "gaps", len(r.Snapshot.Gaps))
		},
	})
	log.Info("started", "version", b.version, "revision", b.revision, "config", cfg.Source, "metrics", server.Addr().String(), "root", p.root)
	dropPrivileges(log, needed(set.Refused() == nil, cfg.Capture.Tier))
	err = p.together(ctx, log, last.looker, server, reload, askReload)
	if set.Refused() == nil && set.Unpinned() == nil && cfg.Capture.Pins != "" {
		log.Info("capture goes on without the daemon; cityward service unpin ends it", "pins", cfg.Capture.Pins)
	}
	return err
}

// remember opens the ledger, and begins to tell what an earlier run left to tell.
func remember(cfg *configs.Config, log *slog.Logger) (*ledger.Ledger, *alerts.Room) {
	history := ledger.New(ledger.Options{Dir: ledger.StateDir(), Limits: cfg.Ledger, Log: log, Now: time.Now})
	return history, alerts.New(alerts.Options{
		Config: cfg.Alerts, Encode: report.Finding, Kept: history.Kept(), Keep: history.Keep, Head: headOf(history), Log: log, Now: time.Now,
	})
}

// together runs the rounds and the listeners; the end of either ends both.
func (p *program) together(ctx context.Context, log *slog.Logger, looker *agent.Agent, server *httpd.Server, reload <-chan struct{}, askReload func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go onHangup(ctx, askReload)
	go watchdog(ctx, log, looker)
	served := make(chan error, 1)
	go func() {
		defer stop()
		served <- server.Serve(ctx)
	}()
	err := looker.Run(ctx, reload)
	notify(log, daemon.SdNotifyStopping)
	stop()
	if err = errors.Join(err, <-served); err != nil {
		return internal(err)
	}
	log.Info("stopped")
	return nil
}

// onHangup asks for a reload at each SIGHUP, as systemctl reload sends.
func onHangup(ctx context.Context, reload func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			reload()
		}
	}
}

// notify tells systemd about the daemon, where systemd listens; sd_notify(3).
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// watchdog tells systemd that rounds get done; sd_watchdog_enabled(3). Rounds
// take turns with a dozen collectors that each have their own time-out, so a
// round that lasts longer than the watchdog's time is stuck.
func watchdog(ctx context.Context, log *slog.Logger, looker *agent.Agent) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil || limit == 0 {
		return
	}
	ticks := time.NewTicker(limit / 3)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if looker.Busy() < limit {
				notify(log, daemon.SdNotifyWatchdog)
			}
		}
	}
}
