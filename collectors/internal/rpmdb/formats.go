package rpmdb

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver, which the ledger has as well
)

// readSQLite reads the one table that matters. The file is opened as one that
// nobody changes, so that nothing is written beside it; who reads while RPM works
// sees a change of the file and reads again.
func readSQLite(ctx context.Context, f *os.File, blob func([]byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // a schema may ask for endless work
	defer cancel()
	db, err := sql.Open("sqlite", fmt.Sprintf("file:/proc/self/fd/%d?mode=ro&immutable=1&_pragma=trusted_schema(0)&_pragma=query_only(1)", f.Fd()))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var kind string
	if err := db.QueryRowContext(ctx, "SELECT type FROM sqlite_schema WHERE name = 'Packages'").Scan(&kind); err != nil || kind != "table" {
		return errors.Join(errFormat, ctx.Err())
	}
	rows, err := db.QueryContext(ctx, "SELECT blob FROM Packages WHERE length(blob) <= ? ORDER BY hnum", sizeHeader)
	if err != nil {
		return errors.Join(errFormat, ctx.Err())
	}
	defer rows.Close()
	for rows.Next() {
		var data sql.RawBytes
		if err := rows.Scan(&data); err != nil {
			return err
		}
		if err := blob(data); err != nil {
			return err
		}
	}
	return rows.Err()
}

// readNDB reads the format of SUSE: 32 bytes, then slots of 16 bytes in pages of
// 4096, each of which says in which block of 16 bytes a package begins.
func readNDB(r io.ReaderAt, size int64, blob func([]byte) error, lost *int) error {
	const block, page, most = 16, 4096, 2048
	var head [32]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return errFormat
	}
	pages := int64(binary.LittleEndian.Uint32(head[12:]))
	if binary.LittleEndian.Uint32(head[4:]) != 0 || pages == 0 || pages > most || pages*page > size {
		return errFormat
	}
	slots := make([]byte, pages*page-2*block)
	if _, err := r.ReadAt(slots, 2*block); err != nil {
		return errFormat
	}
	total := int64(0) // packages do not share what is theirs
	for ; len(slots) >= block; slots = slots[block:] {
		if string(slots[:4]) != "Slot" {
			return errFormat
		}
		if binary.LittleEndian.Uint32(slots[4:]) == 0 {
			continue
		}
		at := block * int64(binary.LittleEndian.Uint32(slots[8:]))
		var start [block]byte
		_, err := r.ReadAt(start[:], at)
		length := int64(binary.LittleEndian.Uint32(start[12:]))
		if err != nil || string(start[:4]) != "BlbS" || string(start[4:8]) != string(slots[4:8]) || length > min(sizeHeader, size-at-block) {
			*lost++
			continue
		}
		if total += length; total > size {
			return errFormat
		}
		data := make([]byte, length)
		if _, err := r.ReadAt(data, at+block); err != nil {
			*lost++
			continue
		}
		if err := blob(data); err != nil {
			return err
		}
	}
	return nil
}

// hash is a file of Berkeley DB with the access method Hash.
type hash struct {
	r     io.ReaderAt
	order binary.ByteOrder
	page  int64 // size
	count int64 // of pages
	left  int64 // pages that values may still have: none shares one
}

// readHash reads the values that have pages of their own, as headers do.
func readHash(r io.ReaderAt, size int64, blob func([]byte) error, lost *int) error {
	const magic, header = 0x00061561, 26
	var head [72]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return errFormat
	}
	h := hash{r: r, order: binary.LittleEndian}
	if binary.BigEndian.Uint32(head[12:]) == magic {
		h.order = binary.BigEndian
	}
	h.page = int64(h.order.Uint32(head[20:]))
	if h.order.Uint32(head[12:]) != magic || head[24] != 0 || head[25] != 8 || h.page < 512 || h.page > 64<<10 || h.page&(h.page-1) != 0 {
		return errFormat
	}
	whole := int64(h.order.Uint32(head[32:])) + 1
	h.count = min(size/h.page, whole)
	h.left = h.count
	page := make([]byte, h.page)
	for number := int64(1); number < h.count; number++ {
		if _, err := r.ReadAt(page, number*h.page); err != nil {
			return errFormat
		}
		if page[25] != 2 && page[25] != 13 { // hash, unsorted or sorted
			continue
		}
		entries := int(h.order.Uint16(page[20:]))
		for i := 1; i < entries && header+2*i+2 <= len(page); i += 2 { // keys and values in turn
			at := int(h.order.Uint16(page[header+2*i:]))
			if at < len(page) && page[at] != 3 { // not one on other pages
				continue
			}
			if at+12 > len(page) {
				*lost++
				continue
			}
			data, ok := h.value(int64(h.order.Uint32(page[at+4:])), int64(h.order.Uint32(page[at+8:])))
			if !ok {
				*lost++
				continue
			}
			if err := blob(data); err != nil {
				return err
			}
		}
	}
	if h.count < whole { // it was cut off
		return errFormat
	}
	return nil
}

// value puts together what lies on a chain of pages.
func (h *hash) value(number, length int64) ([]byte, bool) {
	const header = 26
	if length > min(sizeHeader, h.count*h.page) {
		return nil, false
	}
	data := make([]byte, 0, length)
	page := make([]byte, h.page)
	for int64(len(data)) < length {
		if h.left--; number <= 0 || number >= h.count || h.left < 0 {
			return nil, false
		}
		if _, err := h.r.ReadAt(page, number*h.page); err != nil || page[25] != 7 {
			return nil, false
		}
		data = append(data, page[header:min(h.page, header+length-int64(len(data)))]...)
		number = int64(h.order.Uint32(page[16:]))
	}
	return data, true
}
