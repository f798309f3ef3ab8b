package rpmdb

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
)

// header makes the header of a package as rpm writes it: index entries, then
// data.
func header(name, version, licence string) []byte {
	var index, data bytes.Buffer
	be := binary.BigEndian
	add := func(tag, kind, count uint32, value []byte) {
		for kind == typeInt32 && data.Len()%4 != 0 {
			data.WriteByte(0)
		}
		_ = binary.Write(&index, be, []uint32{tag, kind, uint32(data.Len()), count})
		data.Write(value)
	}
	text := func(tag uint32, value string) { add(tag, typeString, 1, append([]byte(value), 0)) }
	text(tagName, name)
	text(tagVersion, version)
	text(tagRelease, "1.el9")
	text(tagArch, "x86_64")
	text(tagLicense, licence)
	text(tagVendor, "(none)")
	text(tagPackager, "Builders")
	text(tagSource, name+"-src-"+version+"-1.el9.src.rpm")
	add(tagEpoch, typeInt32, 1, []byte{0, 0, 0, 2})
	add(tagDirIndexes, typeInt32, 2, []byte{0, 0, 0, 1, 0, 0, 0, 0})
	add(tagBaseNames, typeStrings, 2, []byte("sh\x00"+name+"\x00"))
	add(tagDirNames, typeStrings, 2, []byte("/usr/bin/\x00/bin/\x00"))
	head := be.AppendUint32(be.AppendUint32(nil, uint32(index.Len()/16)), uint32(data.Len()))
	return slices.Concat(head, index.Bytes(), data.Bytes())
}

// ndb makes a database of SUSE's format, of one page of slots.
func ndb(blobs ...[]byte) []byte {
	le := binary.LittleEndian
	file := make([]byte, 4096)
	copy(file, "RpmP")
	le.PutUint32(file[12:], 1)
	for i := 32; i < len(file); i += 16 {
		copy(file[i:], "Slot")
	}
	for i, blob := range blobs {
		slot := file[32+16*i:]
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32(len(file)/16))
		start := make([]byte, 16)
		copy(start, "BlbS")
		le.PutUint32(start[4:], uint32(i+1))
		le.PutUint32(start[12:], uint32(len(blob)))
		file = slices.Concat(file, start, blob)
		file = append(file, make([]byte, 16-len(file)%16)...)
	}
	return file
}

// berkeley makes a hash of Berkeley DB: a page about the file, one of entries,
// then those of the values.
func berkeley(order binary.ByteOrder, blobs ...[]byte) []byte {
	const size, head = 512, 26
	file := make([]byte, 2*size)
	order.PutUint32(file[12:], 0x00061561)
	order.PutUint32(file[20:], size)
	file[25] = 8
	entries := file[size : 2*size]
	entries[25] = 13
	order.PutUint16(entries[20:], uint16(2*len(blobs)))
	for i, blob := range blobs {
		at := size - 12*(i+1)
		order.PutUint16(file[size+head+4*i+2:], uint16(at))
		file[size+at] = 3
		order.PutUint32(file[size+at+4:], uint32(len(file)/size))
		order.PutUint32(file[size+at+8:], uint32(len(blob)))
		for rest := blob; len(rest) > 0; {
			page := make([]byte, size)
			page[25] = 7
			n := copy(page[head:], rest)
			if rest = rest[n:]; len(rest) > 0 {
				order.PutUint32(page[16:], uint32(len(file)/size+1))
			}
			file = append(file, page...)
		}
	}
	order.PutUint32(file[32:], uint32(len(file)/size-1))
	return file
}

// sqlite makes a database of the present format.
func sqlite(t testing.TB, statement string, blobs ...[]byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO Packages (blob) VALUES (?)", blob); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const table = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"

// each reads a database that is the file of a machine.
func each(t testing.TB, name string, data []byte) (found []string, lost int, err error) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "var/lib/rpm")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if path := Find(h); path != "/var/lib/rpm/"+name {
		t.Fatalf("found %q", path)
	}
	lost, err = Each(t.Context(), h, "/var/lib/rpm/"+name, func(h *Header) {
		files := 0
		h.Files(func([]byte) { files++ })
		if h.Release != "1.el9" || h.Arch != "x86_64" || h.Epoch != 2 || h.Vendor != "" || h.Packager != "Builders" || files != 2 {
			t.Errorf("got %+v, %d files", h, files)
		}
		found = append(found, h.Name+" "+h.Version+" "+h.Licence)
	})
	return found, lost, err
}

func TestFormats(t *testing.T) {
	bash, large := header("bash", "5.1", "GPLv3+"), header("large", "1", strings.Repeat("MIT and ", 300)+"MIT")
	want := []string{"bash 5.1 GPLv3+", "large 1 " + strings.Repeat("MIT and ", 300) + "MIT"}
	for name, data := range map[string][]byte{
		"rpmdb.sqlite": sqlite(t, table, bash, large, []byte("damaged")),
		"Packages.db":  ndb(bash, large, []byte("damaged")),
		"Packages":     berkeley(binary.LittleEndian, bash, large, []byte("damaged")),
	} {
		if got, lost, err := each(t, name, data); !slices.Equal(got, want) || lost != 1 || err != nil {
			t.Errorf("%s: got %q, lost %d, %v", name, got, lost, err)
		}
	}
	if got, _, err := each(t, "Packages", berkeley(binary.BigEndian, bash)); len(got) != 1 || err != nil {
		t.Errorf("the other byte order: got %q, %v", got, err)
	}
}

func TestHostile(t *testing.T) {
	loop := berkeley(binary.LittleEndian, bytes.Repeat([]byte("x"), 2000))
	binary.LittleEndian.PutUint32(loop[2*512+16:], 2) // the first page of the value follows itself
	if _, lost, err := each(t, "Packages", loop); lost != 1 || err != nil {
		t.Errorf("a loop of pages: lost %d, %v", lost, err)
	}
	kind := berkeley(binary.LittleEndian, bytes.Repeat([]byte("x"), 2000))
	kind[3*512+25] = 5 // a page of the value is of another kind
	if _, lost, err := each(t, "Packages", kind); lost != 1 || err != nil {
		t.Errorf("a page of another kind: lost %d, %v", lost, err)
	}
	beyond := berkeley(binary.LittleEndian, header("a", "1", ""))
	binary.LittleEndian.PutUint16(beyond[512+26+2:], 60000)
	if _, lost, err := each(t, "Packages", beyond); lost != 1 || err != nil {
		t.Errorf("an entry beyond its page: lost %d, %v", lost, err)
	}
	whole := berkeley(binary.LittleEndian, header("a", "1", ""), header("b", "1", ""))
	if _, _, err := each(t, "Packages", whole[:len(whole)-512]); !errors.Is(err, errFormat) {
		t.Errorf("cut off: %v", err)
	}
	long := ndb(header("a", "1", ""))
	binary.LittleEndian.PutUint32(long[4096+12:], 1<<31)
	if _, lost, err := each(t, "Packages.db", long); lost != 1 || err != nil {
		t.Errorf("a length beyond the file: lost %d, %v", lost, err)
	}
	view := sqlite(t, "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT 'x' UNION ALL SELECT blob FROM n) SELECT * FROM n")
	if _, _, err := each(t, "rpmdb.sqlite", view); !errors.Is(err, errFormat) {
		t.Errorf("a table without end: %v", err)
	}
	if _, _, err := each(t, "Packages", []byte("no database")); !errors.Is(err, errFormat) {
		t.Errorf("no database: %v", err)
	}
}

func TestFiles(t *testing.T) {
	h, err := Parse(header("bash", "5.1", "GPLv3+"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	h.Files(func(moved []byte) { files = append(files, string(moved)) })
	if want := []string{"/usr/bin/sh", "/usr/usr/bin/bash"}; !slices.Equal(files, want) {
		t.Errorf("got %q, want %q", files, want)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(header("bash", "5.1", "GPLv3+"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Parse(data)
		if err != nil {
			return
		}
		files := 0
		h.Files(func(path []byte) {
			if files++; !bytes.HasPrefix(path, []byte("/usr")) {
				t.Errorf("got %q", path)
			}
		})
		if h.Name == "" || 4*files > len(data) {
			t.Errorf("unsound %+v, %d files", h, files)
		}
	})
}

func FuzzFormats(f *testing.F) {
	f.Add(ndb(header("bash", "5.1", "GPLv3+")))
	f.Add(berkeley(binary.LittleEndian, header("bash", "5.1", "GPLv3+")))
	f.Fuzz(func(_ *testing.T, data []byte) {
		lost := 0
		none := func([]byte) error { return nil }
		_ = readNDB(bytes.NewReader(data), int64(len(data)), none, &lost)
		_ = readHash(bytes.NewReader(data), int64(len(data)), none, &lost)
	})
}
