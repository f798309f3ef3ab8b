package kernel

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted starts a program that serves a mount, whose file is like source, and gives
// that file.
func mounted(t *testing.T, source, how string) (server *program, file string) {
	t.Helper()
	dir := t.TempDir()
	p := start(t, here(t), "serve-mount "+dir+" "+source+" "+how)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	p.awaitReady(t)
	return p, filepath.Join(dir, "file")
}

// unmounted ends a server before the test does.
func unmounted(t *testing.T, server *program, file string) {
	t.Helper()
	if err := unix.Unmount(filepath.Dir(file), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	server.end(t)
}

// Who reads what the server of a mount has of a store holds it, from the server.
func TestMountsGive(t *testing.T) {
	k := open(t, Options{})
	if !k.FollowsMounts() {
		t.Fatal("FUSE is not followed")
	}
	for how, again := range map[string]string{"cached": "read", "direct": "read", "kept": "read", "back": "map"} {
		t.Run(how, func(t *testing.T) {
			l := labs(t, k)
			server, file := mounted(t, l.file, how)
			for _, job := range []string{"read", again} {
				h := l.holds(t, run(t, nil, "files %s %s", job, file), HowPipeline)
				if h.From.PID != server.who[0].Owner.PID || h.From.Start != server.who[0].Owner.Start || h.Name != "FUSE" {
					t.Errorf("%s: %+v, want it from %+v", job, h, server.who[0].Owner)
				}
			}
			l.nothing(t, run(t, nil, "files list %s", filepath.Dir(file)))
			l.holds(t, server.who[0], HowDirect)
			unmounted(t, server, file)
		})
	}
}

// What a holder writes to a mount its server holds, from the writer.
func TestMountsTake(t *testing.T) {
	k := open(t, Options{})
	for _, how := range []string{"cached", "direct", "back"} {
		t.Run(how, func(t *testing.T) {
			l := labs(t, k)
			other, _ := mounted(t, "/proc/version", how)
			server, file := mounted(t, "/proc/version", how)
			writer := run(t, nil, "files copy %s %s", l.file, file)
			h := l.holds(t, server.who[0], HowPipeline)
			if h.From.PID != writer.Owner.PID || h.From.Start != writer.Owner.Start || h.Name != "FUSE" {
				t.Errorf("%+v, want it from %+v", h, writer.Owner)
			}
			l.nothing(t, other.who[0])
			unmounted(t, server, file)
		})
	}
}

// A mapping hands over as well.
func TestMountsTakeByMapping(t *testing.T) {
	l := labs(t, open(t, Options{}))
	server, file := mounted(t, "/proc/version", "back")
	writer := run(t, nil, "files map-late %s %s", file, l.file)
	if h := l.holds(t, server.who[0], HowPipeline); h.From.PID != writer.Owner.PID {
		t.Errorf("%+v, want it from %+v", h, writer.Owner)
	}
}

// Neither who only asks hands anything over, nor is anything given by a server that
// holds nothing; nor do those pass anything on that serve everybody.
func TestMountsOfNobody(t *testing.T) {
	k := open(t, Options{})
	l := labs(t, k)
	server, file := mounted(t, "/proc/version", "cached")
	run(t, nil, "files read %s list %s read %s", l.file, filepath.Dir(file), file)
	l.nothing(t, server.who[0])
	l.nothing(t, run(t, nil, "files read %s write %s", file, file))
	if err := k.Exempt(running(t, k, server.who[0]), true); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "files copy %s %s", l.file, file)
	l.nothing(t, server.who[0])
	unmounted(t, server, file)
}

// A mount that has the number of another that is gone begins anew.
func TestMountsBeginAnew(t *testing.T) {
	l := labs(t, open(t, Options{}))
	server, file := mounted(t, "/proc/version", "cached")
	run(t, nil, "files copy %s %s", l.file, file)
	l.holds(t, server.who[0], HowPipeline)
	before := deviceOfMount(t, file)
	unmounted(t, server, file)
	for range 10 {
		server, file = mounted(t, "/proc/version", "cached")
		number := deviceOfMount(t, file)
		l.nothing(t, run(t, nil, "files write %s", file))
		l.nothing(t, server.who[0])
		unmounted(t, server, file)
		if number == before {
			return
		}
	}
	t.Log("the kernel gave the number to no other mount")
}

func deviceOfMount(t *testing.T, file string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(file), &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}
