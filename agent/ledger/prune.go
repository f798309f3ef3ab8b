package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cityward/configs"
)

// excess says through which row the log is to be cut, and why; 0 not at all. Age
// takes a day of history at most each time: a clock that is far ahead for an hour
// must not empty the ledger.
func (s *store) excess(ctx context.Context, limits configs.Ledger, aged bool, now time.Time) (through uint64, why string, err error) {
	var first uint64
	var began int64
	err = s.db.QueryRowContext(ctx, "SELECT seq, time FROM log ORDER BY seq LIMIT 1").Scan(&first, &began)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("prune ledger: %w", err)
	}
	most := min(first+rowsEachTime, s.seq) // one row stays, since the head signs it
	var pages, free, size int64
	if err := s.db.QueryRowContext(ctx, "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&pages, &free, &size); err != nil {
		return 0, "", fmt.Errorf("prune ledger: %w", err)
	}
	if (pages-free)*size > limits.MaxSize/10*9 {
		return min(first+(s.seq-first)/10, most-1), "size", nil
	}
	if !aged {
		return 0, "", nil
	}
	cutoff := now.AddDate(0, 0, -limits.Days).UnixMilli()
	if began >= cutoff {
		return 0, "", nil
	}
	cutoff = min(cutoff, began+(24*time.Hour).Milliseconds())
	var stays uint64 // with all that follows, whatever the clock said
	err = s.db.QueryRowContext(ctx, "SELECT seq FROM log WHERE time >= ? ORDER BY seq LIMIT 1", cutoff).Scan(&stays)
	if errors.Is(err, sql.ErrNoRows) {
		stays, err = most, nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("prune ledger: %w", err)
	}
	return min(stays, most) - 1, "age", nil
}

// cut removes the rows through one, and signs after which hash the rest begins.
func (s *store) cut(ctx context.Context, tx *sql.Tx, through uint64, at time.Time) error {
	var hash []byte
	if err := tx.QueryRowContext(ctx, "SELECT hash FROM log WHERE seq = ?", through).Scan(&hash); err != nil {
		return err
	}
	if len(hash) != len(digest{}) {
		return fmt.Errorf("%w: row %d has no hash", errBroken, through)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM log WHERE seq <= ?", through); err != nil {
		return err
	}
	return s.sign(ctx, tx, &seal{what: sealStart, seq: through, hash: digest(hash), time: at.UnixMilli()})
}

// shrink gives a file that is larger than its bound, since that was lowered, back
// to the file system by and by.
func (s *store) shrink(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, "PRAGMA incremental_vacuum(2500)")
	return err
}
