package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrFalse is that of a ledger that does not verify.
var ErrFalse = errors.New("the ledger does not verify")

// Reader reads a ledger, while a daemon writes or without one.
type Reader struct {
	db *sql.DB
}

// Open opens the ledger of a state directory to read.
func Open(dir string) (*Reader, error) {
	file := filepath.Join(dir, dbFile)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	how := "&mode=ro"
	if _, err := os.Stat(file + "-wal"); errors.Is(err, fs.ErrNotExist) {
		how += "&immutable=1" // a copy: where a daemon writes there is one always
	}
	db, err := sql.Open("sqlite", address(file, "query_only(true)", "busy_timeout(5000)")+how)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &Reader{db}, nil
}

// Close closes it.
func (r *Reader) Close() error { return r.db.Close() }

// Summary is what was verified.
type Summary struct {
	Rows        uint64
	First, Last uint64    // numbers of rows
	Began       time.Time // of the first row
	Head        time.Time // when the head was signed
	Pruned      uint64    // the last row that was removed; 0 none
	Key         ed25519.PublicKey
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// readSeal reads where the chain stands; sql.ErrNoRows where nothing says.
func readSeal(ctx context.Context, db querier, what string) (*seal, error) {
	s := &seal{what: what}
	var hash, open, key []byte
	err := db.QueryRowContext(ctx, "SELECT seq, hash, open, time, key, signature FROM seal WHERE what = ?", what).
		Scan(&s.seq, &hash, &open, &s.time, &key, &s.signature)
	if err != nil {
		return nil, err
	}
	if copy(s.hash[:], hash)+copy(s.open[:], open) != 2*len(s.hash) {
		return nil, fmt.Errorf("%w: the %s has no hash", errBroken, what)
	}
	s.key = key
	return s, nil
}

// readOpen reads the hours that are not full.
func readOpen(ctx context.Context, db querier) ([][]byte, error) {
	rows, err := db.QueryContext(ctx, "SELECT body FROM open ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var bodies [][]byte
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, rows.Err()
}

// Verify follows the chain from its begin to its head, by a public key. The error
// is ErrFalse with the place where it breaks, or another where it cannot be read.
func (r *Reader) Verify(ctx context.Context, key ed25519.PublicKey) (*Summary, error) {
	tx, err := r.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one state of it, whatever is written meanwhile
	if err != nil {
		return nil, fmt.Errorf("verify ledger: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	sum, err := verify(ctx, tx, key)
	if err = broken(err); errors.Is(err, errBroken) {
		err = fmt.Errorf("%w: %w", ErrFalse, err)
	}
	if err != nil && !errors.Is(err, ErrFalse) {
		err = fmt.Errorf("verify ledger: %w", err)
	}
	return sum, err
}

func falsely(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFalse, fmt.Sprintf(format, args...))
}

func verify(ctx context.Context, db querier, key ed25519.PublicKey) (*Summary, error) {
	head, err := readSeal(ctx, db, sealHead)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, falsely("it has no signed head")
	}
	if err != nil {
		return nil, err
	}
	if !head.sound(key) {
		return nil, falsely("its head, row %d, is not signed with the key %s", head.seq, FormatKey(key))
	}
	start, err := readSeal(ctx, db, sealStart)
	if errors.Is(err, sql.ErrNoRows) {
		start, err = &seal{}, nil // no row was removed ever
	} else if err == nil && !start.sound(key) {
		return nil, falsely("the begin, after row %d, is not signed with the key %s", start.seq, FormatKey(key))
	}
	if err != nil {
		return nil, err
	}
	open, err := readOpen(ctx, db)
	if err != nil {
		return nil, err
	}
	sum := &Summary{Pruned: start.seq, First: start.seq + 1, Last: head.seq, Head: time.UnixMilli(head.time), Key: key}
	if err := follow(ctx, db, start, head, sum); err != nil {
		return nil, err
	}
	if digestOf(open) != head.open {
		return nil, falsely("the hour that is not over was changed")
	}
	return sum, nil
}

// follow goes from row to row.
func follow(ctx context.Context, db querier, start, head *seal, sum *Summary) error {
	rows, err := db.QueryContext(ctx, "SELECT seq, time, kind, body, hash FROM log ORDER BY seq")
	if err != nil {
		return err
	}
	defer rows.Close()
	hash, seq := start.hash, start.seq
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return err
		}
		seq++
		if row.Seq != seq {
			return falsely("row %d is missing, the next that is there is %d", seq, row.Seq)
		}
		if hash = row.after(hash); !bytes.Equal(hash[:], row.Hash) {
			return falsely("row %d of %s is not what was written, or does not follow the row before", seq, row.Time.UTC().Format(time.RFC3339))
		}
		if sum.Rows++; sum.Rows == 1 {
			sum.Began = row.Time
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if seq != head.seq || hash != head.hash {
		return falsely("it ends with row %d, and the signed head is row %d", seq, head.seq)
	}
	return nil
}

func scan(rows *sql.Rows) (*Row, error) {
	var row Row
	var at int64
	var body []byte
	if err := rows.Scan(&row.Seq, &at, &row.Kind, &body, &row.Hash); err != nil {
		return nil, fmt.Errorf("%w: a row cannot be read: %w", errBroken, err)
	}
	row.Time, row.Body = time.UnixMilli(at), body
	return &row, nil
}

// Query chooses rows.
type Query struct {
	Kind  string    // "" all
	Since time.Time // zero all
	Last  int       // of what is left, that many of the newest; 0 all
}

// Rows gives rows, in their order. They are read in parts, so that whoever is slow
// to take them does not hold up the daemon.
func (r *Reader) Rows(ctx context.Context, q Query, take func(*Row) error) error {
	const part = 1000
	where := "FROM log WHERE seq > ? AND (? = '' OR kind = ?) AND time >= ?"
	since := q.Since.UnixMilli()
	if q.Since.IsZero() {
		since = -1 << 62
	}
	var after uint64
	if q.Last > 0 {
		err := r.db.QueryRowContext(ctx, "SELECT seq "+where+" ORDER BY seq DESC LIMIT 1 OFFSET ?", 0, q.Kind, q.Kind, since, q.Last).Scan(&after)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read ledger: %w", err)
		}
	}
	for {
		rows, err := r.part(ctx, "SELECT seq, time, kind, body, hash "+where+" ORDER BY seq LIMIT ?", after, q.Kind, q.Kind, since, part)
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		for _, row := range rows {
			if err := take(row); err != nil {
				return err
			}
			after = row.Seq
		}
		if len(rows) < part {
			return nil
		}
	}
}

func (r *Reader) part(ctx context.Context, query string, args ...any) ([]*Row, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var part []*Row
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		part = append(part, row)
	}
	return part, rows.Err()
}
