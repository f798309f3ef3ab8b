package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// errBroken is that of a ledger that somebody changed.
var errBroken = errors.New("ledger is broken")

// broken tells a file that is no sound database from one that cannot be read.
func broken(err error) error {
	if failed, ok := errors.AsType[*sqlite.Error](err); ok {
		if code := failed.Code() & 0xff; code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	return err
}

// maxAside is how many broken ledgers are kept. The evidence in them is a
// person's to look at and to remove; beyond these, nothing is written.
const maxAside = 3

// setAside moves a broken ledger out of the way and says where it is.
func setAside(dir string) (string, error) {
	for n := 1; n <= maxAside; n++ {
		to := fmt.Sprintf("%s.broken-%d", filepath.Join(dir, dbFile), n)
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// The write-ahead log goes first: without it the file is old, but sound; with
		// another's it would be neither.
		for _, suffix := range []string{"-wal", "-shm", ""} {
			err := os.Rename(filepath.Join(dir, dbFile+suffix), to+suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", fmt.Errorf("set ledger aside: %w", err)
			}
		}
		return to, nil
	}
	return "", fmt.Errorf("set ledger aside: %d broken ones are there already, look at them and remove them", maxAside)
}

// asides lists the broken ledgers of a directory.
func asides(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, dbFile+".broken-[0-9]")) // the pattern is sound
	return found
}
