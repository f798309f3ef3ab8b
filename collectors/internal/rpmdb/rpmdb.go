// Package rpmdb reads the databases of RPM: SQLite, and the two that were before
// it, NDB on SUSE and a hash of Berkeley DB. There is a library for it,
// anchore/go-rpmdb; of version 0.2.2 a damaged file makes an endless loop or ends
// the process from a goroutine of its own, and every error leaves one behind.
package rpmdb

import (
	"context"
	"errors"
	"io"
	"os"

	"cityward/collectors/internal/host"
)

// Bounds of a database and of one package in it.
const (
	sizeFile     = 1 << 30
	sizeHeader   = 64 << 20
	mostPackages = 64 << 10
)

var (
	errFormat = errors.New("not a database of RPM, or a damaged one")
	errMany   = errors.New("too many packages")
	// ErrPending says that SQLite has changes that are not in its file yet, which a
	// reader that writes nothing cannot see.
	ErrPending = errors.New("changes that were not written back are not seen")
)

// Find gives the path of the database, "" if there is none.
func Find(h *host.Host) string {
	for _, dir := range []string{"/usr/lib/sysimage/rpm", "/var/lib/rpm"} {
		for _, name := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			if st, err := h.Stat(dir + "/" + name); err == nil && st.Size > 0 {
				return dir + "/" + name
			}
		}
	}
	return ""
}

// Each calls visit with the header of each package, in the order of the database.
// lost counts those that are damaged.
func Each(ctx context.Context, h *host.Host, path string, visit func(*Header)) (lost int, err error) {
	f, err := h.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > sizeFile {
		return 0, host.ErrTooLarge
	}
	count := 0
	blob := func(data []byte) error {
		if count++; count > mostPackages {
			return errMany
		}
		header, err := Parse(data)
		if err != nil {
			lost++
		} else {
			visit(header)
		}
		return ctx.Err()
	}
	err = read(ctx, f, info.Size(), blob, &lost)
	if st, pending := h.Stat(path + "-wal"); err == nil && pending == nil && st.Size > 0 {
		err = ErrPending
	}
	return lost, err
}

// read tells the formats apart by what they begin with.
func read(ctx context.Context, f *os.File, size int64, blob func([]byte) error, lost *int) error {
	var head [32]byte
	if _, err := f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case string(head[:16]) == "SQLite format 3\x00":
		return readSQLite(ctx, f, blob)
	case string(head[:4]) == "RpmP":
		return readNDB(f, size, blob, lost)
	}
	return readHash(f, size, blob, lost)
}
