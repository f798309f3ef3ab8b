package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cityward/agent/ledger"
	"cityward/agent/report"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/configs"
)

func (p *program) policyTest() *cobra.Command {
	var since, format string
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Show what a draft of a policy would change, by what was recorded",
		Long: `Judge the connections and holders of data that the ledger in the state directory
recorded by the policy in force and by that of FILE, a whole configuration, and show
which findings appear, vanish or change. Only checks of connections take part:
` + strings.Join(replayed(), ", ") + `.

Zones are those of each policy as of now, and custody.ignore is heeded. The last
lines say what cannot be replayed. It ends with status 0 whatever appears, and with
2 if FILE has a mistake.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			begin, err := ago(since)
			if err != nil {
				return err
			}
			trial, err := p.try(cmd.Context(), args[0], begin)
			if err != nil {
				return err
			}
			return trial.write(p.stdout, format)
		},
	}
	formatFlag(cmd, &format, report.Table, report.JSON)
	cmd.Flags().StringVar(&since, "since", learnFrom, "by what was recorded in the last `DURATION`, such as 24h or 30d")
	return cmd
}

// replayed are the checks that judge by connections and holders alone.
func replayed() []string {
	return []string{"NET-001", "NET-002", "NET-005", "NET-014", "DAT-008", "DAT-010"}
}

// trial is what a draft changes.
type trial struct {
	Since       time.Time `json:"since"`
	Until       time.Time `json:"until"`
	Flows       int       `json:"flows"`
	Holdings    int       `json:"holdings"`
	Force       string    `json:"in_force"`
	Draft       string    `json:"draft"`
	Changes     []change  `json:"changes"`
	Remain      int       `json:"remain"`
	NotReplayed []string  `json:"not_replayed"`
}

// change is a finding under both policies; null where there is none.
type change struct {
	Change  string   `json:"change"` // appears, vanishes, changes
	Check   string   `json:"check"`
	Subject *string  `json:"subject"`
	Before  *opinion `json:"in_force"`
	After   *opinion `json:"draft"`
}

type opinion struct {
	Severity    string `json:"severity"`
	Result      string `json:"result"`
	Disposition string `json:"disposition"`
	Reason      string `json:"reason"`
}

func (p *program) try(ctx context.Context, file string, since time.Time) (*trial, error) {
	force, err := p.load()
	if err != nil {
		return nil, err
	}
	draft, err := configs.Load(file)
	if err != nil {
		return nil, usage(err)
	}
	r, err := p.openLedger()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	past, err := r.Past(ctx, since)
	if err != nil {
		return nil, internal(err)
	}
	t := &trial{
		Since: since.UTC(), Until: past.Until, Flows: past.Flows, Holdings: past.Holdings, Force: cmp.Or(force.Source, "the embedded default"), Draft: file,
		NotReplayed: blindSpots(past, force, draft),
	}
	t.compare(judge(past, force), judge(past, draft))
	return t, nil
}

// judge gives what a person would have to do with under a policy.
func judge(past *ledger.Past, cfg *configs.Config) map[string]*finding.Finding {
	ids := replayed()
	catalogue := slices.DeleteFunc(checks.All(), func(c checks.Check) bool { return !slices.Contains(ids, c.Rule.ID) })
	found := make(map[string]*finding.Finding)
	for _, f := range checks.Run(catalogue, past.Snapshot(&cfg.Policy, time.Now()), &cfg.Policy) {
		if f.Verdict != finding.Pass && f.Verdict != finding.NotApplicable {
			found[f.Key()] = &f
		}
	}
	return found
}

func (t *trial) compare(force, draft map[string]*finding.Finding) {
	t.Changes = []change{}
	for key, before := range force {
		after := draft[key]
		switch {
		case after == nil:
			t.Changes = append(t.Changes, change{"vanishes", before.Check, orNull(before.Subject), judged(before), nil})
		case after.Verdict != before.Verdict || after.Severity != before.Severity || after.Disposition != before.Disposition:
			t.Changes = append(t.Changes, change{"changes", before.Check, orNull(before.Subject), judged(before), judged(after)})
		default:
			t.Remain++
		}
	}
	for key, after := range draft {
		if force[key] == nil {
			t.Changes = append(t.Changes, change{"appears", after.Check, orNull(after.Subject), nil, judged(after)})
		}
	}
	slices.SortFunc(t.Changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.Change, b.Change), cmp.Compare(a.Check, b.Check), cmp.Compare(a.subject(), b.subject()))
	})
}

func judged(f *finding.Finding) *opinion {
	return &opinion{f.Severity.String(), f.Verdict.String(), f.Disposition, f.Reason}
}

func (c *change) subject() string {
	if c.Subject == nil {
		return ""
	}
	return *c.Subject
}

// blindSpots says what the ledger does not hold.
func blindSpots(past *ledger.Past, force, draft *configs.Config) []string {
	spots := []string{
		"sockets that listen: NET-005 judges by connections that came in alone",
		"what could not be seen at the time, and whether a connection without bytes was ever established: it counts as one",
		"who holds data: it is as recorded, under the stores, paths, services and relays of then",
	}
	if past.Folded > 0 {
		spots = append(spots, fmt.Sprintf("%d flows whose addresses found no room: their zones are as recorded", past.Folded))
	}
	for _, id := range past.Unheld(&draft.Policy) {
		spots = append(spots, "store "+id+" of the draft: nobody is recorded to have held its data")
	}
	for i := range draft.Stores {
		old, known := force.Store(draft.Stores[i].ID)
		if known && (!slices.Equal(old.Paths, draft.Stores[i].Paths) || !slices.Equal(old.Services, draft.Stores[i].Services)) {
			spots = append(spots, "store "+old.ID+": its paths or services change, and so would its holders")
		}
	}
	return spots
}

func (t *trial) write(w io.Writer, format string) error {
	if format == report.JSON {
		data, err := json.MarshalIndent(t, "", "  ")
		if err != nil {
			return fmt.Errorf("write document: %w", err)
		}
		_, err = w.Write(append(data, '\n'))
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(tw, "%d flows and %d holders recorded from %s to %s\nin force: %s\ndraft: %s\n\n", t.Flows, t.Holdings, stamp(t.Since), stamp(t.Until), t.Force, t.Draft)
	if len(t.Changes) == 0 {
		fmt.Fprintln(tw, "no finding appears, vanishes or changes")
	} else {
		fmt.Fprintln(tw, "CHANGE\tCHECK\tSEVERITY\tIN FORCE\tDRAFT\tFINDING")
	}
	for i := range t.Changes {
		c := &t.Changes[i]
		at := c.After
		if at == nil {
			at = c.Before
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Change, c.Check, at.Severity, c.Before.word(), c.After.word(), strings.TrimPrefix(c.subject()+": "+at.Reason, ": "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d more are the same under both\n\nCANNOT BE REPLAYED\n", t.Remain)
	for _, spot := range t.NotReplayed {
		fmt.Fprintf(&b, "  %s\n", spot)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (v *opinion) word() string {
	switch {
	case v == nil:
		return "none"
	case v.Disposition != finding.Open:
		return v.Result + ", " + v.Disposition
	}
	return v.Result
}
