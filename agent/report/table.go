package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"cityward/agent"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
)

// Rows shown of the longer tables; the rest is counted, and whole in JSON.
const (
	maxPrograms = 12
	maxFlows    = 10
	maxFindings = 12
)

// Style is how a table looks. The zero value is for files.
type Style struct {
	Colour bool
	Local  bool // times as the reader's clock shows them, not RFC 3339 UTC
}

// ScanTable writes the result of a scan for people: what runs, where it
// connects, where data lies, what is wrong with that, what could not be seen.
func ScanTable(w io.Writer, r *agent.Report, style Style) error {
	t := newTable(w, r, style)
	t.machine()
	t.software()
	t.programs(t.Programs(), maxPrograms)
	t.connections()
	t.stores()
	t.verdicts()
	t.findings(maxFindings)
	t.unseen()
	return t.err
}

// InventoryTable writes software and licences for people.
func InventoryTable(w io.Writer, r *agent.Report, running bool, style Style) error {
	t := newTable(w, r, style)
	t.software()
	if !running {
		t.components()
	}
	t.programs(t.Programs(), 0)
	t.substitutes()
	return t.err
}

// ChecksTable writes verdicts and findings for people.
func ChecksTable(w io.Writer, r *agent.Report, style Style) error {
	t := newTable(w, r, style)
	t.verdicts()
	t.findings(0)
	return t.err
}

type table struct {
	documenter
	w     io.Writer
	style Style
	err   error
}

func newTable(w io.Writer, r *agent.Report, style Style) *table {
	return &table{documenter: documenter{Report: r, Snapshot: r.Snapshot}, w: w, style: style}
}

func (t *table) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

// rows writes aligned columns below a heading.
func (t *table) rows(heading string, rows [][]string) {
	t.printf("\n%s\n", t.paint("1", heading))
	if t.err != nil {
		return
	}
	tw := tabwriter.NewWriter(t.w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, "  "+strings.Join(row, "\t"))
	}
	t.err = tw.Flush()
}

func (t *table) paint(code, text string) string { return t.style.paint(code, text) }

func (s Style) paint(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// time suits a column.
func (s Style) time(at time.Time) string {
	if s.Local {
		return at.Local().Format(time.DateTime)
	}
	return at.UTC().Format(time.RFC3339)
}

func (t *table) machine() {
	m := t.Machine
	if m == nil {
		m = &inventory.Machine{}
	}
	t.printf("%s  %s · Linux %s %s · %s\n", t.paint("1", "Cityward"), cmp.Or(m.OSName, m.OS, "unknown system"),
		cmp.Or(m.Kernel, "unknown"), m.Arch, t.when())
	hardware := "unknown: the firmware's tables could not be read"
	if m.DMI {
		hardware = strings.TrimSpace(m.Vendor + " " + m.Product)
	}
	t.printf("  hardware  %s, virtualization %s, platform %s\n", cmp.Or(hardware, "unnamed"),
		cmp.Or(m.Virtualization, "unknown"), cmp.Or(m.PlatformName, m.Platform, "no cloud recognised"))
	for _, c := range t.Captures {
		state := "complete"
		if !c.Complete {
			state = "not complete"
		}
		t.printf("  %-9s watched by %s: %s\n", c.Name, c.Tier, state)
	}
}

// when is the time of the round.
func (t *table) when() string {
	if t.style.Local {
		return t.Taken.Local().Format("2006-01-02 15:04:05 MST")
	}
	return t.Taken.UTC().Format(time.RFC3339)
}

func (t *table) software() {
	var installed, running inventory.Share
	for i := range t.Components {
		installed.Add(t.Components[i].Licence.Freedom)
	}
	for _, p := range t.Programs() {
		if p.Runs() {
			running.Add(p.Freedom())
		}
	}
	t.rows("SOFTWARE", [][]string{
		{"", "all", "free", "non-free", "unknown", "share of free software"},
		append([]string{"installed components"}, cells(installed)...),
		append([]string{"running programs"}, cells(running)...),
	})
}

func cells(s inventory.Share) []string {
	share := "unknown"
	if s.Total() > 0 {
		share = fmt.Sprintf("%.1f to %.1f %%", 100*s.Low(), 100*s.High())
	}
	return []string{strconv.Itoa(s.Total()), strconv.Itoa(s.Free), strconv.Itoa(s.NonFree), strconv.Itoa(s.Unknown), share}
}

func (t *table) components() {
	rows := [][]string{{"ECOSYSTEM", "COMPONENT", "VERSION", "LICENCE", "FREEDOM"}}
	for i := range t.Components {
		c := &t.Components[i]
		rows = append(rows, []string{c.Ecosystem, c.Name, c.Version, cmp.Or(c.Licence.Expression, c.Licence.Declared, "unknown"), c.Licence.Freedom.String()})
	}
	t.rows("COMPONENTS", rows)
}

// Replaceable is the check whose findings name substitutes.
const Replaceable = "SWF-002"

// substitutes lists what that check found, with what could take its place.
func (t *table) substitutes() {
	rows := [][]string{{"PRODUCT", "KIND", "FREE SUBSTITUTES", "EFFORT"}}
	judged := false
	for i := range t.Findings {
		f := &t.Findings[i]
		free, named := f.Facts["substitutes"].([]string)
		judged = judged || f.Check == Replaceable
		if f.Check != Replaceable || !named {
			continue
		}
		rows = append(rows, []string{f.Subject, fmt.Sprint(f.Facts["kind"]), strings.Join(free, ", "), fmt.Sprint(f.Facts["effort"])})
	}
	switch {
	case !judged:
		rows = [][]string{{"unknown: " + Replaceable + " was not judged"}}
	case len(rows) == 1:
		rows = [][]string{{"nothing was found that the table of substitutes knows"}}
	}
	t.rows("COULD BE REPLACED", rows)
}

// programs lists what listens first: that is what others can reach.
func (t *table) programs(programs []inventory.Program, limit int) {
	slices.SortStableFunc(programs, func(a, b inventory.Program) int { return cmp.Compare(rank(&a), rank(&b)) })
	rows := [][]string{{"PROGRAM", "USER", "PACKAGE", "LICENCE", "FREEDOM", "LISTENS ON"}}
	for i := range programs {
		if limit > 0 && i == limit {
			rows = append(rows, []string{fmt.Sprintf("… %d more: cityward inventory --running", len(programs)-limit)})
			break
		}
		p := &programs[i]
		name := shorten(cmp.Or(p.Executable, p.Name), 44)
		if !p.Runs() {
			name += " (ended)"
		}
		rows = append(rows, []string{
			name, p.User, cmp.Or(packageName(p.Component), "none"),
			shorten(cmp.Or(p.Component.Licence.Expression, "unknown"), 32), p.Freedom().String(), shorten(strings.Join(p.Listening, " "), 40),
		})
	}
	t.rows("PROGRAMS THAT RUN", rows)
}

func rank(p *inventory.Program) int {
	switch {
	case len(p.Listening) > 0:
		return 0
	case p.Freedom() != inventory.Free:
		return 1
	}
	return 2
}

func packageName(c *inventory.Component) string {
	if c.Name == "" {
		return ""
	}
	return c.Name + " " + c.Version
}

func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

func (t *table) connections() {
	flows := slices.Clone(t.Flows)
	slices.SortStableFunc(flows, func(a, b inventory.Flow) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), -cmp.Compare(a.Sent, b.Sent))
	})
	rows := [][]string{{"ZONE", "PROGRAM", "", "PEER", "COUNTRY", "SENT", "RECEIVED"}}
	for i := range flows {
		if i == maxFlows {
			rows = append(rows, []string{fmt.Sprintf("… %d more: --format json", len(flows)-maxFlows)})
			break
		}
		f := &flows[i]
		arrow, place := "→", cmp.Or(t.country(f), "unknown")
		if f.Direction == inventory.In {
			arrow = "←"
		}
		if f.Zone == inventory.Host {
			place = "here"
		}
		rows = append(rows, []string{f.Zone.String(), shorten(t.programName(f.Process), 44), arrow, f.Protocol + " " + peer(f), place, bytes(f.Sent), bytes(f.Received)})
	}
	if len(flows) == 0 {
		rows = [][]string{{"none is open now"}}
	}
	t.rows("CONNECTIONS", rows)
}

func (t *table) country(f *inventory.Flow) string {
	place, _ := t.Place(f.Remote.Addr())
	return place.Country
}

func peer(f *inventory.Flow) string {
	name := folded
	switch {
	case f.Remote.IsValid() && f.Direction == inventory.In:
		name = f.Remote.Addr().String()
	case f.Remote.IsValid():
		name = f.Remote.String()
	}
	return farEnd(f.Direction, name, f.Local.Port())
}

func (t *table) programName(id inventory.Execution) string {
	if p, ok := t.Process(id); ok {
		return cmp.Or(p.Executable, p.Name)
	}
	if id.PID == 0 {
		return "unknown"
	}
	return id.String() + " (ended)"
}

func bytes(n uint64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < len("kMGTPE")-1 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[prefix])
}

func (t *table) stores() {
	rows := [][]string{{"STORE", "CLASS", "MEDIUM", "PEER", "ENCRYPTED", "HOLDERS"}}
	for _, s := range t.Stores {
		rows = append(rows, []string{s.ID, s.Class, s.Medium, cmp.Or(s.Peer, "none"), s.Encrypted, strconv.Itoa(len(t.HoldingsOf(s.ID)))})
	}
	if len(t.Stores) == 0 {
		rows = [][]string{{"none is declared: cityward policy init drafts a policy"}}
	}
	t.rows("DATA STORES", rows)
	rows = [][]string{{"ENGINE", "DIRECTORY", "MEDIUM", "ENCRYPTED", "FOUND BY"}}
	for _, c := range t.Candidates {
		rows = append(rows, []string{c.Engine, c.Path, cmp.Or(c.Storage.Medium, "unknown"), cmp.Or(c.Storage.Encrypted, "unknown"), c.Reason})
	}
	if len(t.Candidates) == 0 {
		rows = [][]string{{"no known data engine runs here"}}
	}
	t.rows("CANDIDATES FOR DATA STORES", rows)
}

func (t *table) verdicts() {
	rows := [][]string{{"CHECK", "SEVERITY", "RESULT", "TITLE"}}
	for _, r := range t.Results {
		rows = append(rows, []string{r.Check, r.Severity.String(), t.verdict(r), r.Title})
	}
	t.rows("CHECKS", rows)
}

// verdict is coloured by what a person has to do about it. Escape codes would
// upset the columns unless each cell has one, so each has.
func (t *table) verdict(r checks.Result) string {
	codes := map[finding.Verdict]string{finding.Pass: "32", finding.Fail: "31", finding.Review: "33", finding.Unknown: "35", finding.NotApplicable: "90"}
	text := r.Verdict.String()
	if r.Disposition == finding.Waived {
		text += " (waived)"
	}
	return t.paint(codes[r.Verdict], text)
}

func (t *table) unseen() {
	rows := [][]string{}
	for _, g := range t.Gaps {
		lost := ""
		if g.Lost > 0 {
			lost = fmt.Sprintf("(%d)", g.Lost)
		}
		subject := g.Subject
		if subject == g.Kind {
			subject = ""
		}
		rows = append(rows, []string{g.Kind, strings.Join(strings.Fields(g.Reason+" "+lost+" "+subject), " ")})
	}
	if len(rows) == 0 {
		rows = [][]string{{"nothing: all that was looked at could be seen"}}
	}
	t.rows("NOT SEEN", rows)
}
