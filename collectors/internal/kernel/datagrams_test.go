package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// boundDatagrams is a socket that datagrams can be sent to by a path.
func boundDatagrams(t *testing.T) (end *os.File, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "datagrams")
	fd, err := socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), path), path
}

// What is sent by no connection passes as well, whether its reader waits for it or
// comes when its sender has ended.
func TestHeldPassesWithoutAConnection(t *testing.T) {
	k := open(t, Options{})
	for name, waits := range map[string]bool{"it waits": true, "it comes later": false} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				end, path := boundDatagrams(t)
				w, job := start(t, here(t), "send-to "+path), "read-late"
				if !waits {
					job = "read-told"
				}
				r := startWith(t, here(t), job, end)
				w.awaitReady(t)
				r.awaitReady(t)
				writer := running(t, k, w.who[0])
				entrust(t, k, writer, 1<<7)
				w.proceed(t)
				w.end(t)
				if !waits {
					r.proceed(t)
				}
				r.end(t)
				rows := holdRows(t, k, r.who[0])
				if len(rows) != 1 {
					t.Fatalf("%d rows: %+v", len(rows), rows)
				}
				for key, row := range rows {
					if key.Stores != 1<<7 || key.How != HowPipeline || row.From != wordOf(writer) || held(t, k, key.Owner) != 1<<7 {
						t.Errorf("%+v: %+v", key, row)
					}
				}
			}
		})
	}
}

// What a socket said before its program held anything passes nothing on.
func TestDatagramsPassNothingOfNobody(t *testing.T) {
	k := open(t, Options{})
	other := start(t, here(t), "wait-idle")
	other.awaitReady(t)
	for name, prepare := range map[string]func(w, r Flow){
		"another": func(Flow, Flow) { entrust(t, k, running(t, k, other.who[0]), 1) },
		"exempt reader": func(w, r Flow) {
			entrust(t, k, running(t, k, w), 1)
			if err := k.Exempt(running(t, k, r), true); err != nil {
				t.Fatal(err)
			}
		},
		"exempt writer": func(w, _ Flow) {
			entrust(t, k, running(t, k, w), 1)
			if err := k.Exempt(running(t, k, w), true); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, reader := passes(t, k, unix.SOCK_DGRAM, prepare)
			if rows := holdRows(t, k, reader); len(rows) != 0 {
				t.Errorf("%+v", rows)
			}
		})
	}
	other.proceed(t)
	other.end(t)
}

// Who asks a service by a datagram that has no connection holds its store's data, at
// the latest when the service reads it.
func TestServiceWithoutAConnection(t *testing.T) {
	k := open(t, Options{})
	end, path := boundDatagrams(t)
	inode := served(t, k, path, 1<<5)
	r := startWith(t, here(t), "read-told", end)
	r.awaitReady(t)
	w := start(t, here(t), "send-to "+path)
	w.awaitReady(t)
	w.proceed(t)
	w.end(t)
	r.proceed(t)
	r.end(t)
	rows := holdRows(t, k, w.who[0])
	if len(rows) != 1 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for key, row := range rows {
		if key.Stores != 1<<5 || key.How != HowService || row.From != 0 || row.Inode != inode || held(t, k, key.Owner) != 1<<5 {
			t.Errorf("%+v: %+v", key, row)
		}
	}
}
