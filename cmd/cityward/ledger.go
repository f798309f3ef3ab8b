package main

import (
	"context"
	"crypto/ed25519"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent/ledger"
	"cityward/agent/report"
	"cityward/configs"
)

func (p *program) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Verify and read what the daemon has written down",
		Long: `Verify and read the ledger in the state directory, $STATE_DIRECTORY or else
/var/lib/cityward, while the daemon runs or without one. With --root, that of the
machine whose files lie there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.ledgerVerify(), p.ledgerQuery(), p.ledgerExport())
	return cmd
}

// stateDir is where the ledger of the machine that is looked at lies.
func (p *program) stateDir() string {
	if p.root != "/" {
		return filepath.Join(p.root, "/var/lib/cityward")
	}
	return ledger.StateDir()
}

// openLedger opens it to read, and says what to do where it is not there.
func (p *program) openLedger() (*ledger.Reader, error) {
	r, err := ledger.Open(p.stateDir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage(fmt.Errorf("read ledger: none is in %s: the daemon writes it, see cityward run", p.stateDir()))
	case errors.Is(err, fs.ErrPermission):
		return nil, usage(fmt.Errorf("read ledger in %s: permission denied: be root or in the group cityward", p.stateDir()))
	case err != nil:
		return nil, internal(err)
	}
	return r, nil
}

func (p *program) ledgerVerify() *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that nobody changed the ledger",
		Long: `Check that each row follows from the row before, from the first that was not
pruned to the last, and that the last is signed with the key of this machine. Ends
with status 1 and the place of the first break if not.

The key is that in the state directory. Who could change it could make another
ledger: note the key down elsewhere and give it with --key.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := p.ledgerKey(text)
			if err != nil {
				return usage(err)
			}
			r, err := p.openLedger()
			if err != nil {
				return err
			}
			defer r.Close()
			sum, err := r.Verify(cmd.Context(), key)
			if errors.Is(err, ledger.ErrFalse) {
				return &statusError{exitFindings, err}
			}
			if err != nil {
				return internal(err)
			}
			_, err = fmt.Fprintf(p.stdout, "verified: rows %d to %d since %s, head of %s, key %s\n", sum.First, sum.Last,
				sum.Began.UTC().Format(time.RFC3339), sum.Head.UTC().Format(time.RFC3339), ledger.FormatKey(sum.Key))
			return err
		},
	}
	cmd.Flags().StringVar(&text, "key", "", "public `KEY` that was noted down, instead of ledger.pub in the state directory")
	return cmd
}

func (p *program) ledgerKey(text string) (ed25519.PublicKey, error) {
	if text != "" {
		return ledger.ParsePublicKey(text)
	}
	return ledger.PublicKey(p.stateDir())
}

func (p *program) ledgerQuery() *cobra.Command {
	var kind, since, format string
	var last int
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Show rows of the ledger",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kind != "" && !slices.Contains(ledger.Kinds(), kind) {
				return usage(fmt.Errorf("use --kind %s: %q is not known", strings.Join(ledger.Kinds(), "|"), kind))
			}
			begin, err := ago(since)
			if err != nil {
				return err
			}
			r, err := p.openLedger()
			if err != nil {
				return err
			}
			defer r.Close()
			return p.showRows(cmd.Context(), r, ledger.Query{Kind: kind, Since: begin, Last: last}, format)
		},
	}
	formatFlag(cmd, &format, report.Table, report.JSON, report.CSV)
	cmd.Flags().StringVar(&kind, "kind", "", "only rows of this `KIND`: "+strings.Join(ledger.Kinds(), ", "))
	cmd.Flags().StringVar(&since, "since", "", "only rows of the last `DURATION`, such as 24h or 30d")
	cmd.Flags().IntVar(&last, "last", 100, "only the last `N` rows; 0 for all")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(ledger.Kinds(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (p *program) ledgerExport() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all rows with their hashes, one JSON object a line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin, err := ago(since)
			if err != nil {
				return err
			}
			r, err := p.openLedger()
			if err != nil {
				return err
			}
			defer r.Close()
			return p.showRows(cmd.Context(), r, ledger.Query{Since: begin}, "lines")
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only rows of the last `DURATION`, such as 24h or 30d")
	return cmd
}

// ago gives the time that long ago; the zero time for "".
func ago(duration string) (time.Time, error) {
	if duration == "" {
		return time.Time{}, nil
	}
	d, err := configs.ParseDuration(duration)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is in the future", duration)
	}
	if err != nil {
		return time.Time{}, usage(fmt.Errorf("use --since: %w", err))
	}
	return time.Now().Add(-d), nil
}

// ledgerRow is one row as JSON shows it.
type ledgerRow struct {
	Seq  uint64          `json:"row"`
	Time time.Time       `json:"time"`
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body"`
	Hash string          `json:"hash"`
}

func (p *program) showRows(ctx context.Context, r *ledger.Reader, q ledger.Query, format string) error {
	out := &rowWriter{w: p.stdout, format: format}
	err := out.begin()
	if err == nil {
		err = r.Rows(ctx, q, out.row)
	}
	if err == nil {
		err = out.end()
	}
	if err != nil {
		return internal(err)
	}
	return nil
}

// rowWriter writes rows as they come: there may be millions.
type rowWriter struct {
	w      io.Writer
	format string
	rows   int
}

func (w *rowWriter) begin() error {
	switch w.format {
	case report.CSV:
		return w.record("row", "time", "kind", "body", "hash")
	case report.JSON:
		return w.print("[")
	case report.Table:
		return w.print(fmt.Sprintf("%-8s  %-20s  %-9s  %s\n", "ROW", "TIME", "KIND", "BODY"))
	}
	return nil
}

func (w *rowWriter) row(row *ledger.Row) error {
	w.rows++
	at := row.Time.UTC()
	switch w.format {
	case report.CSV:
		return w.record(strconv.FormatUint(row.Seq, 10), at.Format(time.RFC3339Nano), row.Kind, string(row.Body), hex.EncodeToString(row.Hash))
	case report.Table:
		return w.print(fmt.Sprintf("%-8d  %-20s  %-9s  %s\n", row.Seq, at.Format(time.RFC3339), row.Kind, row.Body))
	}
	data, err := json.Marshal(ledgerRow{row.Seq, at, row.Kind, row.Body, hex.EncodeToString(row.Hash)})
	if err != nil {
		return fmt.Errorf("write row %d: %w", row.Seq, err)
	}
	switch {
	case w.format != report.JSON:
		return w.print(string(data) + "\n")
	case w.rows > 1:
		return w.print(",\n  " + string(data))
	}
	return w.print("\n  " + string(data))
}

func (w *rowWriter) end() error {
	if w.format == report.JSON {
		return w.print("\n]\n")
	}
	return nil
}

func (w *rowWriter) print(text string) error {
	_, err := io.WriteString(w.w, text)
	return err
}

func (w *rowWriter) record(cells ...string) error {
	out := csv.NewWriter(w.w)
	if err := out.Write(cells); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}
