package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cityward/agent"
	"cityward/agent/report"
	"cityward/checks"
	"cityward/collectors"
	"cityward/configs"
)

const defaultConfig = "/etc/cityward/cityward.toml"

// program is what all subcommands share.
type program struct {
	stdout, stderr io.Writer
	configFile     string
	root           string
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	p := &program{stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "cityward",
		Short: "Know what runs on the city's servers, and that citizens' data stays on them",
		Long: `Cityward inventories running software, licences and connections, checks that
citizens' data stays on hardware the city controls, and exports metrics for
Prometheus. What it could not see is unknown, counted and shown.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&p.configFile, "config", "", "configuration `FILE` (default "+defaultConfig+" if it is there, else the embedded one)")
	flags.StringVar(&p.root, "root", "/", "look at the machine whose files lie below `DIR`")
	root.AddCommand(
		p.runCommand(), p.scanCommand(), p.inventoryCommand(), p.flowsCommand(), p.custodyCommand(), p.findingsCommand(), p.checksCommand(), p.configCommand(),
		p.doctorCommand(), p.ledgerCommand(), p.alertsCommand(), p.policyCommand(), p.serviceCommand(), p.versionCommand(),
	)
	return root
}

// load reads the configuration that the flags and the machine name.
func (p *program) load() (*configs.Config, error) {
	file := p.configFile
	if file == "" {
		if _, err := os.Stat(defaultConfig); errors.Is(err, fs.ErrNotExist) {
			return configs.Default(), nil
		}
		file = defaultConfig
	}
	cfg, err := configs.Load(file)
	if err != nil {
		return nil, usage(err)
	}
	return cfg, nil
}

// look makes one round on the machine, or rounds for a while so that more of
// what passes by is seen.
func (p *program) look(ctx context.Context, catalogue []checks.Check, watch time.Duration) (*agent.Report, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	once := *cfg
	once.Capture.Pins = "" // those are the daemon's
	set, err := collectors.Build(collectors.All(), p.root, &once, time.Now)
	if err != nil {
		return nil, usage(err)
	}
	defer set.Close()
	bar := newProgress(p.stderr)
	a := agent.New(agent.Options{
		Config: cfg, Set: set, Checks: catalogue, Now: time.Now, Progress: bar.show,
		Log: slog.New(slog.DiscardHandler), // a report says in its gaps what a log would
	})
	report := a.Round(ctx)
	for end := time.Now().Add(watch); time.Now().Before(end) && ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, time.Until(end))):
			report = a.Round(ctx)
		}
	}
	bar.close()
	if ctx.Err() != nil {
		return nil, internal(fmt.Errorf("look at this machine: %w", context.Cause(ctx)))
	}
	p.warnUnprivileged(report)
	return report, nil
}

// warnUnprivileged says in one line what an ordinary user could not see.
func (p *program) warnUnprivileged(r *agent.Report) {
	if os.Geteuid() == 0 || p.root != "/" {
		return
	}
	var kinds []string
	for _, g := range r.Snapshot.Gaps {
		if len(kinds) == 0 || kinds[len(kinds)-1] != g.Kind { // gaps are sorted by kind
			kinds = append(kinds, g.Kind)
		}
	}
	if len(kinds) > 0 {
		fmt.Fprintf(p.stderr, "cityward: not run as root, so it could not see all %s; checks that need them are unknown\n", join(kinds))
	}
}

func join(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// write opens where a document goes: standard output, or the file of --output.
func (p *program) write(file string, document func(io.Writer) error) error {
	if file == "" {
		return document(p.stdout)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // a report tells much about a machine
	if err != nil {
		return usage(fmt.Errorf("write report: %w", err))
	}
	err = document(f)
	return errors.Join(err, f.Close())
}

// style suits a person at a terminal, whose NO_COLOR is heeded, or a file.
func style(w io.Writer) report.Style {
	if !terminal(w) {
		return report.Style{}
	}
	return report.Style{Local: true, Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// formatFlag adds --format with the formats that the command knows.
func formatFlag(cmd *cobra.Command, format *string, known ...string) {
	cmd.Flags().StringVar(format, "format", known[0], strings.Join(known, " or "))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if slices.Contains(known, *format) {
			return nil
		}
		return usage(fmt.Errorf("use --format %s: %q is not known", strings.Join(known, "|"), *format))
	}
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp))
}
