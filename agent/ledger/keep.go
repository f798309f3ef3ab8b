package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"maps"
	"time"
)

// keptSchema is for what other rooms must find again after a restart, such as
// alerts that nobody has taken yet. It changes and goes, so it is no part of the
// chain: what was found stands there anyway.
const keptSchema = `CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;`

// kept is what is in that table, or will be. Where nothing can be written, it is
// here alone.
type kept struct {
	all     map[string][]byte
	changed map[string]struct{} // not on the disk as in all
	reset   bool                // the disk may hold anything
}

func newKept() kept {
	return kept{all: make(map[string][]byte), changed: make(map[string]struct{})}
}

// Keep writes down bodies by their keys, without delay where it can; one of nil
// goes. A body must be text, and nobody may change it. It never waits for the disk.
func (l *Ledger) Keep(changes map[string][]byte) {
	if len(changes) == 0 {
		return
	}
	l.mu.Lock()
	for key, body := range changes {
		if body == nil {
			delete(l.kept.all, key)
		} else {
			l.kept.all[key] = body
		}
		l.kept.changed[key] = struct{}{}
	}
	l.mu.Unlock()
	for _, told := range []chan struct{}{l.wake, l.urgent} {
		select {
		case told <- struct{}{}:
		default: // it is told already
		}
	}
}

// Kept gives all that is kept.
func (l *Ledger) Kept() map[string][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.kept.all)
}

// takeOver adds what an earlier run left.
func (k *kept) takeOver(left map[string][]byte) {
	for key, body := range left {
		if _, newer := k.changed[key]; !newer {
			k.all[key] = body
		}
	}
}

// take gives what has to be written; nil nothing.
func (k *kept) take() *keptRows {
	if len(k.changed) == 0 && !k.reset {
		return nil
	}
	rows := &keptRows{reset: k.reset, bodies: make(map[string][]byte, len(k.changed))}
	for key := range k.changed {
		rows.bodies[key] = k.all[key]
	}
	if k.reset {
		rows.bodies = maps.Clone(k.all)
	}
	clear(k.changed)
	k.reset = false
	return rows
}

// again takes back what could not be written.
func (k *kept) again(rows *keptRows) {
	if rows == nil {
		return
	}
	k.reset = k.reset || rows.reset
	for key := range rows.bodies {
		k.changed[key] = struct{}{}
	}
}

// keptRows is what one transaction changes.
type keptRows struct {
	reset  bool              // all others go
	bodies map[string][]byte // nil: it goes
}

func (r *keptRows) write(ctx context.Context, tx *sql.Tx) error {
	if r == nil {
		return nil
	}
	if r.reset {
		if _, err := tx.ExecContext(ctx, "DELETE FROM kept"); err != nil {
			return err
		}
	}
	if len(r.bodies) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO kept VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for key, body := range r.bodies {
		if body == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM kept WHERE key = ?", key)
		} else {
			_, err = insert.ExecContext(ctx, key, string(body))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxKept bounds what is read of a file that anybody may have written.
const maxKept = 250_000

func readKept(ctx context.Context, db querier) (map[string][]byte, error) {
	rows, err := db.QueryContext(ctx, "SELECT key, body FROM kept WHERE length(body) <= ? LIMIT ?", maxBody, maxKept)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[string][]byte)
	for rows.Next() {
		var key string
		var body []byte
		if err := rows.Scan(&key, &body); err != nil {
			return nil, err
		}
		all[key] = body
	}
	return all, rows.Err()
}

// Head is where the chain stands, as others may note it down: with the public key
// they can tell later whether the ledger still has that row.
type Head struct {
	Row       uint64
	Hash      string // of the row, in hexadecimal digits
	Open      string // digest of the hours that were not full, likewise
	Time      time.Time
	Signature []byte // by the key of this machine, over the four
}

func (s *seal) shown() *Head {
	return &Head{
		Row: s.seq, Hash: hex.EncodeToString(s.hash[:]), Open: hex.EncodeToString(s.open[:]), Time: time.UnixMilli(s.time).UTC(), Signature: s.signature,
	}
}

// Head is what was last signed; nil before anything was.
func (l *Ledger) Head() *Head { return l.head.Load() }
