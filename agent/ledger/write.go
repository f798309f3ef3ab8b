package ledger

import (
	"context"
	"path/filepath"
	"slices"
	"time"
)

// flush writes one batch: all that waits, or of very much a part, so that a small
// ledger can make room for the next. more says that something still waits.
func (l *Ledger) flush(ctx context.Context) (more bool, err error) {
	l.mu.Lock()
	n, lost := l.part(), l.lost
	rows := slices.Clone(l.queue[:n])
	b := &batch{at: l.time(), rows: rows, hours: &openHours{reset: l.reset}}
	if lost > 0 {
		body := encode(struct {
			Rows uint64 `json:"rows"`
		}{lost})
		b.rows = append(slices.Clone(rows), &entry{time: b.at, kind: KindLost, body: body})
	}
	b.hours.changed, b.hours.sum = l.hours.take()
	clear(l.queue[:n])
	l.queue, l.reset, l.lost = l.queue[n:], false, 0
	b.kept = l.kept.take()
	more = len(l.queue) > 0
	l.mu.Unlock()

	if err := l.store.commit(ctx, b); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queue = append(rows, l.queue...)
		l.reset, l.lost = true, l.lost+lost
		l.hours.touch()
		l.kept.again(b.kept)
		l.trim()
		return false, err
	}
	return more, nil
}

// part is how many rows a batch takes: at most a twentieth of the ledger's bound,
// of which a tenth is always free.
func (l *Ledger) part() int {
	room := l.Limits.MaxSize / 20
	for i, e := range l.queue {
		if room -= int64(len(e.body)) + 100; room < 0 && i > 0 {
			return i
		}
	}
	return len(l.queue)
}

// time is that of the last report.
func (l *Ledger) time() time.Time {
	if l.seen.IsZero() {
		return l.Now()
	}
	return l.seen
}

// prune removes the oldest rows. What is still there and was last written down
// among them is written down again by the same transaction.
func (l *Ledger) prune(ctx context.Context) error {
	aged := time.Since(l.aged) >= ageEvery
	if aged {
		l.aged = time.Now()
	}
	for range 100 { // a bound that was lowered may take many
		through, why, err := l.store.excess(ctx, l.Limits, aged, l.Now())
		if err != nil || through == 0 {
			return err
		}
		var rows []*entry
		collect := func(at time.Time, kind string, body any) *entry {
			rows = append(rows, &entry{time: at, kind: kind, body: encode(body)})
			return rows[len(rows)-1]
		}
		l.mu.Lock()
		at := l.time()
		l.lives.carry(through, at, collect)
		l.mu.Unlock()
		collect(at, KindPruned, struct {
			Through uint64 `json:"through"`
			Reason  string `json:"reason"`
		}{through, why})
		if err := l.store.commit(ctx, &batch{at: at, rows: rows, cut: through}); err != nil {
			return err
		}
		l.Log.Info("old rows were removed from the ledger", "through", through, "reason", why, "file", filepath.Join(l.Dir, dbFile))
		aged = false
	}
	return nil
}
