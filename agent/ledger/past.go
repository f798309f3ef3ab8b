package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// End tells until when the ledger was written.
func (r *Reader) End(ctx context.Context) (time.Time, error) {
	head, err := readSeal(ctx, r.db, sealHead)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, errors.New("read ledger: it has no row")
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read ledger: %w", err)
	}
	return time.UnixMilli(head.time).UTC(), nil
}

// Flows sums up what moved since a time, by flow, the hours that began before it
// but reach into it among them.
func (r *Reader) Flows(ctx context.Context, since time.Time) ([]*Flow, error) {
	var sums flowSums
	err := r.Hours(ctx, since, sums.add)
	return sums.flows, err
}

// Hours gives what each flow moved in each hour that reaches into a time, the hour
// that is not over last.
func (r *Reader) Hours(ctx context.Context, since time.Time, take func(*Flow)) error {
	read := func(body []byte) error {
		f, err := parseFlow(body)
		if err == nil && !f.Last.Before(since) {
			take(f)
		}
		return err
	}
	err := r.Rows(ctx, Query{Kind: KindFlow, Since: since}, func(row *Row) error { return read(row.Body) })
	if err != nil {
		return err
	}
	open, err := readOpen(ctx, r.db)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	for _, body := range open {
		if err := read(body); err != nil {
			return err
		}
	}
	return nil
}

// Finding is one that was there, by the rows about it.
type Finding struct {
	Check       string
	Subject     string
	Severity    string
	Result      string
	Disposition string
	Since       time.Time
	Resolved    time.Time // zero while it is open
	Reason      string
	Facts       map[string]any
}

// Findings gives those that are open at the end of the ledger and, if asked, those
// that were resolved, the oldest first. What the same finding was before it came
// back is one of its own.
func (r *Reader) Findings(ctx context.Context, resolved bool) ([]*Finding, error) {
	lives, err := lived[findingState](ctx, r, KindFinding)
	if err != nil {
		return nil, err
	}
	var found []*Finding
	for _, l := range lives {
		if !resolved && !l.ended.IsZero() {
			continue
		}
		found = append(found, &Finding{
			l.Now.Check, l.Now.Subject, l.Now.Severity, l.Now.Result, l.Now.Disposition, l.Since, l.ended, l.Reason, l.Facts,
		})
	}
	return found, nil
}

// Holding is one program's hold on one store's data, in the shape that "cityward
// custody" has.
type Holding struct {
	Store        string         `json:"store"`
	Program      *Program       `json:"program"`
	How          string         `json:"how"`
	Since        time.Time      `json:"since"`
	Until        *time.Time     `json:"until,omitempty"` // null while it lasts
	From         *Program       `json:"from"`
	Evidence     *string        `json:"evidence"`
	Destinations []*Destination `json:"destinations"`
}

// Destination is where a holder sent bytes while it held the data.
type Destination struct {
	Address   *string   `json:"address"`
	Port      *uint16   `json:"port"`
	Zone      string    `json:"zone"`
	Transfer  *string   `json:"transfer"`
	Sent      uint64    `json:"sent_bytes"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Direction string    `json:"-"`
	Local     uint16    `json:"-"` // port
}

// Holdings gives who held data at some time since one, and where they sent bytes
// then.
func (r *Reader) Holdings(ctx context.Context, since time.Time) ([]*Holding, error) {
	lives, err := lived[holdingState](ctx, r, KindHolding)
	if err != nil {
		return nil, err
	}
	var held []*Holding
	by := make(map[holderKey][]*Holding)
	for _, l := range lives {
		if !l.ended.IsZero() && l.ended.Before(since) {
			continue
		}
		h := &Holding{
			Store: l.Now.Store, How: l.Now.How, Since: l.First, Evidence: known(l.Reason), From: fromOf(l.Facts), Destinations: []*Destination{},
			Program: programOf(l.Now.Executable, l.Now.User, l.Now.Unit, l.Now.Container, l.Now.Package),
		}
		if !l.ended.IsZero() {
			h.Until = &l.ended
		}
		held = append(held, h)
		key := holderKey{h.Store, h.Program.key()}
		by[key] = append(by[key], h)
	}
	err = r.Hours(ctx, since, func(f *Flow) {
		for _, store := range f.Stores {
			for _, h := range by[holderKey{store, f.Program.key()}] {
				h.sent(f)
			}
		}
	})
	slices.SortStableFunc(held, func(a, b *Holding) int { return cmp.Or(cmp.Compare(a.Store, b.Store), a.Since.Compare(b.Since)) })
	return held, err
}

type holderKey struct {
	store   string
	program programKey
}

// sent adds a flow of an hour in which the data was held.
func (h *Holding) sent(f *Flow) {
	if h.Until != nil && f.First.After(*h.Until) || f.Last.Before(h.Since) {
		return
	}
	d := &Destination{Zone: f.Zone, Sent: f.Sent, First: f.First, Last: f.Last, Direction: f.Direction}
	if f.Remote != nil {
		d.Address, d.Port = &f.Remote.Address, &f.Remote.Port
	}
	if f.Local != nil {
		d.Local = f.Local.Port
	}
	i := slices.IndexFunc(h.Destinations, d.same)
	if i < 0 {
		h.Destinations = append(h.Destinations, d)
		return
	}
	sum := h.Destinations[i]
	sum.Sent += d.Sent
	sum.First, sum.Last = earlier(sum.First, d.First), later(sum.Last, d.Last)
}

func (d *Destination) same(other *Destination) bool {
	port := func(p *uint16) uint16 {
		if p == nil {
			return 0
		}
		return *p
	}
	return d.Zone == other.Zone && d.Direction == other.Direction && d.Local == other.Local &&
		plain(d.Address) == plain(other.Address) && port(d.Port) == port(other.Port)
}

// programKey tells programs apart; the zero one is not known.
type programKey struct{ Executable, User, Unit, Container string }

func (p *Program) key() programKey {
	if p == nil {
		return programKey{}
	}
	return programKey{plain(p.Executable), plain(p.User), plain(p.Unit), plain(p.Container)}
}

// programOf gives nil where nothing is known, as flows do.
func programOf(executable, user, unit, container, purl string) *Program {
	if executable == "" && unit == "" && container == "" {
		return nil
	}
	return &Program{known(executable), known(user), known(unit), known(container), known(purl)}
}

// fromOf reads what [source] wrote.
func fromOf(facts map[string]any) *Program {
	from, _ := facts["from"].(map[string]any)
	if from == nil {
		return nil
	}
	name := func(key string) string {
		text, _ := from[key].(string)
		return text
	}
	return programOf(name("executable"), name("user"), name("unit"), name("container"), "")
}

// span is a thing from its begin to its end, as rows tell of it.
type span[T state] struct {
	event[T]
	ended time.Time // zero while it lasts
}

// lived gives all things of a kind that the rows tell of, in the order in which
// they came.
func lived[T state](ctx context.Context, r *Reader, kind string) ([]*span[T], error) {
	var all []*span[T]
	there, endings := make(map[string]*span[T]), endings()
	err := r.Rows(ctx, Query{Kind: kind}, func(row *Row) error {
		var e event[T]
		if err := json.Unmarshal(row.Body, &e); err != nil {
			return fmt.Errorf("read row %d: %w", row.Seq, err)
		}
		if e.Event == "" { // too large to be written
			return nil
		}
		key := e.Now.key()
		l := there[key]
		if l == nil {
			l = &span[T]{event: e}
			there[key], all = l, append(all, l)
		}
		l.tell(&e)
		if slices.Contains(endings, e.Event) {
			l.ended = row.Time.UTC()
			if e.Last != nil {
				l.ended = *e.Last
			}
			delete(there, key)
		}
		return nil
	})
	return all, err
}

// tell takes over what a row says; one that says less than another before leaves
// its evidence.
func (l *span[T]) tell(e *event[T]) {
	l.Now, l.Since = e.Now, e.Since
	if e.Reason != "" {
		l.Reason, l.Facts = e.Reason, e.Facts
	}
}

// endings are the words of those kinds that end.
func endings() []string {
	all := newLives()
	return []string{all.findings.words.end, all.holdings.words.end, all.components.words.end}
}
