package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // pure Go, so that the binary stays static
)

// schema: the log, where it stands, and the hours that are not full yet, whose
// rows change until they are. The views are for people with a SQLite shell.
const schema = `
CREATE TABLE log (seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
CREATE INDEX log_kind ON log (kind, time);
CREATE TABLE seal (what TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, open BLOB NOT NULL, time INTEGER NOT NULL, key BLOB NOT NULL, signature BLOB NOT NULL);
CREATE TABLE open (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE VIEW flows AS SELECT seq, body->>'$.hour' AS hour, body->>'$.program.executable' AS executable, body->>'$.program.unit' AS unit,
	body->>'$.program.container' AS container, body->>'$.program.user' AS user, body->>'$.program.package' AS package,
	body->>'$.direction' AS direction, body->>'$.protocol' AS protocol, body->>'$.zone' AS zone, body->>'$.remote.address' AS remote_address,
	body->>'$.remote.port' AS remote_port, body->>'$.local.port' AS local_port, body->>'$.remote.country' AS country,
	body->>'$.remote.operator' AS operator, body->>'$.sent_bytes' AS sent_bytes, body->>'$.received_bytes' AS received_bytes,
	body->>'$.connections' AS connections FROM log WHERE kind = 'flow';
CREATE VIEW findings AS SELECT seq, datetime(time/1000, 'unixepoch') AS at, body->>'$.event' AS event, body->>'$.first' AS first, body->>'$.last' AS last,
	body->>'$.now.check' AS "check", body->>'$.now.subject' AS subject, body->>'$.now.severity' AS severity, body->>'$.now.result' AS result,
	body->>'$.now.disposition' AS disposition FROM log WHERE kind = 'finding';
CREATE VIEW holdings AS SELECT seq, datetime(time/1000, 'unixepoch') AS at, body->>'$.event' AS event, body->>'$.now.store' AS store,
	body->>'$.now.executable' AS executable, body->>'$.now.unit' AS unit, body->>'$.now.user' AS user, body->>'$.now.how' AS how FROM log WHERE kind = 'holding';
CREATE VIEW components AS SELECT seq, datetime(time/1000, 'unixepoch') AS at, body->>'$.event' AS event, body->>'$.now.ecosystem' AS ecosystem,
	body->>'$.now.name' AS name, body->>'$.now.version' AS version, body->>'$.before.version' AS before FROM log WHERE kind = 'component';
`

// store is the file, open to write. It is for one goroutine.
type store struct {
	db   *sql.DB
	dir  string
	key  ed25519.PrivateKey
	lock *os.File
	file os.FileInfo
	seq  uint64 // of the last row
	hash digest
	open digest   // of the hours that are not over
	left [][]byte // hours that an earlier run left open
}

// address gives the data source name of a file and its settings.
func address(file string, settings ...string) string {
	query := url.Values{"_pragma": settings}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: query.Encode()}).String()
}

// openStore opens the ledger of a directory, or makes it.
func openStore(ctx context.Context, dir string, maxSize int64) (_ *store, err error) {
	s := &store{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if s.key, err = loadKey(dir); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, dbFile)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o640) //nolint:gosec // its group may read it, as the admin socket
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	s.file, err = f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	// A cut of power takes no more than a kill: each commit is on the disk (FULL).
	// The cache is small, since what is written is hardly read.
	s.db, err = sql.Open("sqlite", address(file, "auto_vacuum(incremental)", "journal_mode(wal)", "synchronous(full)", "cache_size(-512)",
		"busy_timeout(2000)", "journal_size_limit(4194304)", fmt.Sprintf("max_page_count(%d)", maxSize/4096)))
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	s.db.SetMaxOpenConns(1)
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("open ledger: %w", broken(err))
	}
	return s, nil
}

// prepare makes the tables of a new file, and looks where the chain of an old one
// stands: whether all of it holds is for verify to say.
func (s *store) prepare(ctx context.Context) error {
	if err := s.keepWAL(ctx); err != nil {
		return err
	}
	var tables int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if tables == 0 {
		return s.within(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, schema)
			return err
		})
	}
	head, err := readSeal(ctx, s.db, sealHead)
	if errors.Is(err, sql.ErrNoRows) {
		var rows int
		if err := s.db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM open)").Scan(&rows); err != nil || rows == 0 {
			return err // made, and never written to
		}
		return fmt.Errorf("%w: it has rows and no head", errBroken)
	}
	if err != nil {
		return err
	}
	if !head.sound(s.public()) {
		return fmt.Errorf("%w: its head is not signed with %s", errBroken, filepath.Join(s.dir, keyFile))
	}
	var last uint64
	var hash []byte
	err = s.db.QueryRowContext(ctx, "SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1").Scan(&last, &hash)
	if err == nil && (last != head.seq || string(hash) != string(head.hash[:])) || errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: its last row is not the one that the head signs", errBroken)
	}
	if err != nil {
		return err
	}
	if s.left, err = readOpen(ctx, s.db); err != nil {
		return err
	}
	if digestOf(s.left) != head.open {
		return fmt.Errorf("%w: the hour that was not full is not the one that the head signs", errBroken)
	}
	s.seq, s.hash, s.open = head.seq, head.hash, head.open
	return nil
}

// keepWAL leaves the write-ahead log in place when the file is closed: who may
// only read could not make one, and without it could not read.
func (s *store) keepWAL(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error {
		control, ok := driver.(sqlite.FileControl)
		if !ok {
			return errors.New("the driver has no file control")
		}
		_, err := control.FileControlPersistWAL("main", 1)
		return err
	})
}

// within does all of something or nothing.
func (s *store) within(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the error that counts is there already
		return err
	}
	return tx.Commit()
}

// batch is what one transaction writes.
type batch struct {
	at    time.Time
	rows  []*entry
	hours *openHours // nil: those on the disk stay as they are
	cut   uint64     // rows through this one go; 0 none
}

// openHours are hours that are not over.
type openHours struct {
	reset   bool           // what is on the disk became rows
	changed map[int][]byte // by their number
	sum     digest         // of all, these among them
}

// commit appends a batch and signs the new head.
func (s *store) commit(ctx context.Context, b *batch) error {
	seq, hash, sum := s.seq, s.hash, s.open
	err := s.within(ctx, func(tx *sql.Tx) error {
		if b.hours != nil {
			if err := b.hours.write(ctx, tx); err != nil {
				return err
			}
			sum = b.hours.sum
		}
		insert, err := tx.PrepareContext(ctx, "INSERT INTO log VALUES (?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, e := range b.rows {
			seq++
			row := Row{Seq: seq, Time: e.time, Kind: e.kind, Body: e.body}
			hash = row.after(hash)
			if _, err := insert.ExecContext(ctx, seq, e.time.UnixMilli(), e.kind, string(e.body), hash[:]); err != nil {
				return err
			}
		}
		if b.cut > 0 {
			if err := s.cut(ctx, tx, b.cut, b.at); err != nil {
				return err
			}
		}
		head := seal{what: sealHead, seq: seq, hash: hash, open: sum, time: b.at.UnixMilli()}
		return s.sign(ctx, tx, &head)
	})
	if err == nil && b.cut > 0 {
		err = s.shrink(ctx)
	}
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	for i, e := range b.rows {
		if e.written != nil {
			e.written(s.seq + uint64(i) + 1)
		}
	}
	s.seq, s.hash, s.open = seq, hash, sum
	return nil
}

func (h *openHours) write(ctx context.Context, tx *sql.Tx) error {
	if h.reset {
		if _, err := tx.ExecContext(ctx, "DELETE FROM open"); err != nil {
			return err
		}
	}
	for id, body := range h.changed {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO open VALUES (?, ?)", id, string(body)); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) sign(ctx context.Context, tx *sql.Tx, at *seal) error {
	at.sign(s.key)
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO seal VALUES (?, ?, ?, ?, ?, ?, ?)",
		at.what, at.seq, at.hash[:], at.open[:], at.time, []byte(at.key), at.signature)
	return err
}

// inPlace reports whether the file is still what its name leads to: what is
// written to another is written for nobody.
func (s *store) inPlace() bool {
	there, err := os.Stat(filepath.Join(s.dir, dbFile))
	return err == nil && os.SameFile(there, s.file)
}

func (s *store) public() ed25519.PublicKey {
	public, _ := s.key.Public().(ed25519.PublicKey)
	return public
}

// size is that of all files.
func (s *store) size() int64 {
	var size int64
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(filepath.Join(s.dir, dbFile+suffix)); err == nil {
			size += info.Size()
		}
	}
	return size
}

func (s *store) close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// digestOf is over the hashes of all, in their order.
func digestOf(bodies [][]byte) digest {
	sums := make([]byte, 0, len(bodies)*sha256.Size)
	for _, body := range bodies {
		sum := sha256.Sum256(body)
		sums = append(sums, sum[:]...)
	}
	return sha256.Sum256(sums)
}
