package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxItems is how many things of one kind are remembered.
const maxItems = 20_000

// maxFacts bounds what a finding says beside its state.
const maxFacts = 16 << 10

// seenAgain is the event of a thing that was written down in a row that goes, and
// is still there.
const seenAgain = "seen"

// state is a thing as rows tell of it. A difference is a change.
type state interface {
	comparable
	key() string
}

// life is the things of one kind that are there.
type life[T state] struct {
	kind     string
	words    words
	patience int  // full rounds that a thing may be out of sight
	forgets  bool // nothing ends; what was pruned is not known any more
	items    map[string]*item[T]
	over     int // things of the last report that found no room
}

// words are what events are called.
type words struct {
	first  string // there when the ledger began
	begin  string
	change string
	end    string
}

// item is one thing.
type item[T state] struct {
	state  T
	first  time.Time // when it came
	since  time.Time // when it came to be as it is
	last   time.Time // when it was last seen
	missed int       // full rounds since then
	seq    uint64    // the last row about it; the writer's
}

// sight is a thing as one report shows it.
type sight[T state] struct {
	state  T
	first  time.Time // when it came to be as it is
	reason string
	facts  map[string]any
}

// event is the body of a row.
type event[T state] struct {
	Event  string         `json:"event"`
	First  time.Time      `json:"first"`
	Since  time.Time      `json:"since"`
	Last   *time.Time     `json:"last,omitempty"` // of an end: when it was last seen
	Before *T             `json:"before,omitempty"`
	Now    T              `json:"now"`
	Reason string         `json:"reason,omitempty"`
	Facts  map[string]any `json:"facts,omitempty"`
}

// observe compares a report with what is known. Only what gone allows can end.
func (l *life[T]) observe(at time.Time, short bool, present map[string]sight[T], gone func(T) bool, add add) {
	begin := l.words.begin
	if l.items == nil {
		l.items, begin = make(map[string]*item[T]), l.words.first
	}
	l.over = 0
	for _, key := range slices.Sorted(maps.Keys(present)) {
		s := present[key]
		known := l.items[key]
		if known == nil && len(l.items) >= maxItems && !l.forget() {
			l.over++
			continue
		}
		if known == nil {
			known = &item[T]{state: s.state, first: s.first, since: s.first}
			l.items[key] = known
			l.add(at, add, known, &event[T]{Event: begin, Reason: s.reason, Facts: s.facts})
		} else if known.state != s.state {
			before := known.state
			known.state, known.since = s.state, s.first
			l.add(at, add, known, &event[T]{Event: l.words.change, Before: &before, Reason: s.reason, Facts: s.facts})
		}
		known.last, known.missed = at, 0
	}
	if l.words.end != "" {
		l.end(at, short, present, gone, add)
	}
}

// end writes down what is out of sight for too long.
func (l *life[T]) end(at time.Time, short bool, present map[string]sight[T], gone func(T) bool, add add) {
	for _, key := range slices.Sorted(maps.Keys(l.items)) {
		known := l.items[key]
		if _, there := present[key]; there || !gone(known.state) {
			continue
		}
		if !short {
			known.missed++
		}
		if l.patience > 0 && known.missed <= l.patience {
			continue
		}
		delete(l.items, key)
		last := known.last
		l.add(at, add, known, &event[T]{Event: l.words.end, Last: &last})
	}
}

func (l *life[T]) add(at time.Time, add add, it *item[T], e *event[T]) {
	e.First, e.Since, e.Now = it.first.UTC(), it.since.UTC(), it.state
	e.Reason = clip(e.Reason)
	if facts, err := json.Marshal(e.Facts); err != nil || len(facts) > maxFacts {
		e.Facts = nil
	}
	add(at, l.kind, e).written = func(seq uint64) { it.seq = seq }
}

// forget makes room where things are known only by having been there.
func (l *life[T]) forget() bool {
	if l.forgets {
		clear(l.items)
	}
	return l.forgets
}

// carry writes down again what the rows through one told last.
func (l *life[T]) carry(through uint64, at time.Time, add add) {
	for _, key := range slices.Sorted(maps.Keys(l.items)) {
		known := l.items[key]
		switch {
		case known.seq > through:
		case l.forgets:
			delete(l.items, key)
		default:
			l.add(at, add, known, &event[T]{Event: seenAgain})
		}
	}
}

// load reads what was there when an earlier run ended.
func (l *life[T]) load(ctx context.Context, db *sql.DB, left time.Time) error {
	rows, err := db.QueryContext(ctx, "SELECT seq, body FROM log WHERE kind = ? ORDER BY seq", l.kind)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var seq uint64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return err
		}
		var e event[T]
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("row %d: %w", seq, err)
		}
		if l.items == nil {
			l.items = make(map[string]*item[T])
		}
		if e.Event == l.words.end && e.Event != "" {
			delete(l.items, e.Now.key())
		} else if e.Event != "" {
			l.items[e.Now.key()] = &item[T]{state: e.Now, first: e.First, since: e.Since, last: left, seq: seq}
		}
	}
	return rows.Err()
}
