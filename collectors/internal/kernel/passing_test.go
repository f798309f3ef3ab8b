package kernel

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// served makes a store's service of a Unix socket.
func served(t *testing.T, k *Kernel, path string, stores uint64) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if err := k.SetServices([]ServiceSocket{{Stores: stores, Device: st.Dev, Inode: st.Ino}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.SetServices(nil); err != nil {
			t.Error(err)
		}
	})
	return st.Ino
}

// Who asks a service holds the store's data, however short it lives, and whether
// the service has accepted it or not.
func TestServiceSockets(t *testing.T) {
	k := open(t, Options{})
	for _, network := range []string{"unix", "unixpacket", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "service")
			if network == "unixgram" {
				c, err := net.ListenPacket(network, path)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
			} else {
				l, err := net.Listen(network, path)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
			}
			before := run(t, nil, "ask-service %s %s", network, path)
			inode := served(t, k, path, 1<<5)
			who := run(t, nil, "ask-service %s %s", network, path)
			rows := holdRows(t, k, who)
			if len(rows) != 1 {
				t.Fatalf("%d rows: %+v", len(rows), rows)
			}
			for key, row := range rows {
				if key.Stores != 1<<5 || key.How != HowService || row.From != 0 || row.Inode != inode || row.Times != 1 || string(row.Name[:8]) != "service\x00" {
					t.Errorf("%+v: %+v", key, row)
				}
				if held(t, k, key.Owner) != 1<<5 {
					t.Error("it holds nothing")
				}
			}
			if rows := holdRows(t, k, before); len(rows) != 0 {
				t.Errorf("who asked before: %+v", rows)
			}
		})
	}
}

// datagramsPass reports whether the kernel tells where datagrams go.
func datagramsPass(k *Kernel) bool {
	return k.programs[flowsProgOnMaySend] != nil || k.programs[flowsProgOnCopy] != nil
}

// passes lets a program write to one end of a pair, and another read from the other.
func passes(t *testing.T, k *Kernel, kind int, prepare func(writer, reader Flow)) (writer Execution, reader Flow) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(ends[0]), "near"), os.NewFile(uintptr(ends[1]), "far")
	w := startWith(t, here(t), "write", near)
	r := startWith(t, here(t), "read-late", far)
	w.awaitReady(t)
	r.awaitReady(t)
	if prepare != nil {
		prepare(w.who[0], r.who[0])
	}
	writer = running(t, k, w.who[0])
	w.proceed(t)
	w.end(t)
	r.end(t)
	return writer, r.who[0]
}

// unskipped does something again that did not come to its end while the kernel, by
// its own count, skipped a program: a loss that the capture tells of.
func unskipped(t *testing.T, k *Kernel, do func() bool) {
	t.Helper()
	for range 5 {
		before, _, err := k.skipped(true)
		done := do()
		after, _, again := k.skipped(true)
		if err := errors.Join(err, again); err != nil {
			t.Fatal(err)
		}
		if done || after == before {
			return
		}
		t.Logf("the kernel skipped %d runs", after-before)
	}
}

func TestHeldPassesBySocket(t *testing.T) {
	k := open(t, Options{})
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM, "packet": unix.SOCK_SEQPACKET} {
		t.Run(name, func(t *testing.T) {
			if kind == unix.SOCK_DGRAM && !datagramsPass(k) {
				if misses := strings.Join(k.OpensMisses(), "; "); !strings.Contains(misses, "datagrams") {
					t.Errorf("datagrams do not pass, and it is not said: %s", misses)
				}
				return
			}
			var writer Execution
			var rows map[holdKey]holdRow
			unskipped(t, k, func() bool {
				var reader Flow
				writer, reader = passes(t, k, kind, func(w, _ Flow) { entrust(t, k, running(t, k, w), 1<<7) })
				rows = holdRows(t, k, reader)
				return len(rows) > 0
			})
			if len(rows) != 1 {
				t.Fatalf("%d rows: %+v", len(rows), rows)
			}
			for key, row := range rows {
				// The socket of a datagram is its sender's, which may have closed it.
				if key.Stores != 1<<7 || key.How != HowPipeline || row.From != wordOf(writer) || row.Inode == 0 && kind != unix.SOCK_DGRAM || held(t, k, key.Owner) != 1<<7 {
					t.Errorf("%+v: %+v", key, row)
				}
			}
		})
	}
}

// What is sent may be read before the kernel tells that it was sent: so it also
// passes to who has read from there just before.
func TestPassesToWhoHasRead(t *testing.T) {
	k := open(t, Options{})
	other := start(t, here(t), "wait-idle")
	other.awaitReady(t)
	entrust(t, k, running(t, k, other.who[0]), 1<<6) // nothing is looked at without a holder
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM, "packet": unix.SOCK_SEQPACKET} {
		t.Run(name, func(t *testing.T) {
			ends, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			w := startWith(t, here(t), "write-lines", os.NewFile(uintptr(ends[0]), "near"))
			r := startWith(t, here(t), "read-stay", os.NewFile(uintptr(ends[1]), "far"))
			w.awaitReady(t)
			w.say(t)
			r.awaitReady(t)
			if rows := holdRows(t, k, r.who[0]); len(rows) != 0 {
				t.Fatalf("it holds what nobody had: %+v", rows)
			}
			writer, reader := running(t, k, w.who[0]), running(t, k, r.who[0])
			entrust(t, k, writer, 1<<7)
			w.say(t)
			w.proceed(t)
			w.end(t)
			rows := holdRows(t, k, r.who[0])
			if len(rows) != 1 || held(t, k, wordOf(reader)) != 1<<7 {
				t.Errorf("%x holds %x: %+v", wordOf(reader), held(t, k, wordOf(reader)), rows)
			}
			for key, row := range rows {
				if key.Stores != 1<<7 || key.How != HowPipeline || row.From != wordOf(writer) || row.Inode == 0 {
					t.Errorf("%+v: %+v", key, row)
				}
			}
			r.proceed(t)
			r.end(t)
		})
	}
	other.proceed(t)
	other.end(t)
}

func TestNothingPassesWithoutAHolder(t *testing.T) {
	k := open(t, Options{})
	other := start(t, here(t), "wait-idle")
	other.awaitReady(t)
	for name, prepare := range map[string]func(w, r Flow){
		"no holder": func(Flow, Flow) {},
		"another":   func(Flow, Flow) { entrust(t, k, running(t, k, other.who[0]), 1) },
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
			_, reader := passes(t, k, unix.SOCK_STREAM, prepare)
			if rows := holdRows(t, k, reader); len(rows) != 0 {
				t.Errorf("%+v", rows)
			}
		})
	}
	_, reader := passes(t, k, unix.SOCK_STREAM, func(w, r Flow) {
		entrust(t, k, running(t, k, w), 1)
		for _, yes := range []bool{true, false, false} {
			if err := k.Exempt(running(t, k, r), yes); err != nil {
				t.Fatal(err)
			}
		}
	})
	if rows := holdRows(t, k, reader); len(rows) != 1 {
		t.Errorf("exempt no more: %+v", rows)
	}
	other.proceed(t)
	other.end(t)
}
