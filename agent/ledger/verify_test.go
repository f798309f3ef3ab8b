package ledger

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// written makes a ledger of some rows and gives its directory.
func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l := begin(t, dir, limits())
	for i := range 5 {
		l.Observe(moved(now().Add(time.Duration(i)*time.Hour), 4, 100))
	}
	l.Close()
	if sum := sound(t, dir); sum.Rows != 18 {
		t.Fatalf("%d rows, want 18", sum.Rows)
	}
	return dir
}

// change does what somebody with a SQLite shell could.
func change(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", address(filepath.Join(dir, dbFile)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyFindsChanges(t *testing.T) {
	for name, tt := range map[string]struct{ statement, want string }{
		"a byte":               {"UPDATE log SET body = replace(body, '100', '101') WHERE seq = 5", "row 5 "},
		"a time":               {"UPDATE log SET time = time + 1 WHERE seq = 7", "row 7 "},
		"a kind":               {"UPDATE log SET kind = 'flow' WHERE seq = 1", "row 1 "},
		"a hash":               {"UPDATE log SET hash = zeroblob(32) WHERE seq = 8", "row 8 "},
		"a row less":           {"DELETE FROM log WHERE seq = 9", "row 9 is missing"},
		"the first less":       {"DELETE FROM log WHERE seq = 1", "row 1 is missing"},
		"two swapped":          {"UPDATE log SET seq = CASE seq WHEN 3 THEN -4 ELSE -3 END WHERE seq IN (3, 4); UPDATE log SET seq = -seq WHERE seq < 0", "row 3 "},
		"the end less":         {"DELETE FROM log WHERE seq > 15", "it ends with row 15, and the signed head is row 18"},
		"the end and head":     {"DELETE FROM log WHERE seq > 15; UPDATE seal SET seq = 15, hash = (SELECT hash FROM log WHERE seq = 15)", "row 15, is not signed"},
		"all of it":            {"DELETE FROM log", "it ends with row 0"},
		"no head":              {"DELETE FROM seal", "no signed head"},
		"a begin of their own": {"INSERT INTO seal SELECT 'start', seq, hash, open, time, key, signature FROM seal", "the begin, after row 18, is not signed"},
		"the hour":             {"UPDATE open SET body = replace(body, '100', '101')", "the hour that is not over"},
		"a row more":           {"INSERT INTO log SELECT 19, time, kind, body, hash FROM log WHERE seq = 18", "row 19 "},
		"no body":              {"UPDATE log SET body = x'' WHERE seq = 2", "row 2 "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := written(t)
			change(t, dir, strings.Split(tt.statement, "; ")...)
			if _, err := checked(t, dir); !errors.Is(err, ErrFalse) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestVerifyFindsAnotherKey(t *testing.T) {
	dir := written(t)
	for _, file := range []string{keyFile, publicFile} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := loadKey(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := checked(t, dir); !errors.Is(err, ErrFalse) || !strings.Contains(err.Error(), "is not signed with the key") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyFindsFlippedBytesOfTheFile(t *testing.T) {
	dir := written(t)
	change(t, dir, "PRAGMA wal_checkpoint(TRUNCATE)")
	file := filepath.Join(dir, dbFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte("program3"), []byte("program4"))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := checked(t, dir); !errors.Is(err, ErrFalse) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(file, []byte("no database at all, but long enough to be one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := checked(t, dir); !errors.Is(err, ErrFalse) {
		t.Errorf("of no database: %v", err)
	}
}

// A daemon does not go on with a ledger that somebody changed, and does not throw
// it away.
func TestBrokenLedgerIsSetAside(t *testing.T) {
	dir := written(t)
	for n := 1; n <= maxAside+1; n++ {
		change(t, dir, "UPDATE seal SET seq = seq + 1")
		l := begin(t, dir, limits())
		l.Observe(moved(now(), 1, 1))
		gaps := gapsOf(l)
		l.Close()
		if n > maxAside {
			if !strings.Contains(gaps, "look at them and remove them") {
				t.Errorf("after %d: %s", n, gaps)
			}
			return
		}
		if !strings.Contains(gaps, fmt.Sprintf("%s.broken-%d", dbFile, n)) || l.trouble != "" {
			t.Errorf("after %d: %s", n, gaps)
		}
		sound(t, dir)
	}
}

// A copy of the file alone verifies, where nothing can be written beside it.
func TestVerifyCopy(t *testing.T) {
	dir, to := written(t), t.TempDir()
	change(t, dir, "PRAGMA wal_checkpoint(TRUNCATE)")
	data, err := os.ReadFile(filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, dbFile), data, 0o400); err != nil {
		t.Fatal(err)
	}
	key, err := PublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if sum, err := r.Verify(t.Context(), key); err != nil || sum.Rows != 18 {
		t.Errorf("%+v, %v", sum, err)
	}
	if left, err := os.ReadDir(to); err != nil || len(left) != 1 {
		t.Errorf("reading left %v, %v", left, err)
	}
}
