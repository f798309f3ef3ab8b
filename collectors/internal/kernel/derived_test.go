package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func pidOf(cmd *exec.Cmd) string { return strconv.Itoa(cmd.Process.Pid) }

// Files that carry a store's data elsewhere: who reads them holds it, by the one
// that carried it.
func TestDerivedFiles(t *testing.T) {
	k := open(t, Options{})
	for name, test := range map[string]func(*testing.T, *fileLab) (by Flow, file string){
		"copied": func(t *testing.T, l *fileLab) (Flow, string) {
			return run(t, nil, "files copy %s %s", l.file, l.at("copy")), l.at("copy")
		},
		"copied twice": func(t *testing.T, l *fileLab) (Flow, string) {
			run(t, nil, "files copy %s %s", l.file, l.at("copy"))
			return run(t, nil, "files copy %s %s", l.at("copy"), l.at("again")), l.at("again")
		},
		"opened before": func(t *testing.T, l *fileLab) (Flow, string) {
			return run(t, nil, "files early %s %s", l.at("early"), l.file), l.at("early")
		},
		"mapped before": func(t *testing.T, l *fileLab) (Flow, string) {
			if err := os.WriteFile(l.at("mapped"), []byte("of nobody\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			syscall.Sync() // a page that is to be written anyway is not told of again
			return run(t, nil, "files map-late %s %s", l.at("mapped"), l.file), l.at("mapped")
		},
		"moved": func(t *testing.T, l *fileLab) (Flow, string) {
			return run(t, nil, "files move %s %s", l.file, l.at("moved")), l.at("moved")
		},
		"linked, then forgotten": func(t *testing.T, l *fileLab) (Flow, string) {
			by := run(t, nil, "files link %s %s", l.file, l.at("linked"))
			if err := os.Remove(l.file); err != nil {
				t.Fatal(err)
			}
			return by, l.at("linked")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := labs(t, k)
			by, file := test(t, l)
			if name == "mapped before" && inMemory(t, file) { // nothing tells, see OpensMisses
				l.nothing(t, run(t, nil, "files read %s", file))
				return
			}
			h := l.holds(t, run(t, nil, "files read %s", file), HowDerived)
			if h.From.PID != by.Owner.PID || h.From.Start != by.Owner.Start || h.Name != filepath.Base(file) {
				t.Errorf("%+v, want it from %+v", h, by.Owner)
			}
		})
	}
	t.Run("directory moved", func(t *testing.T) {
		l := labs(t, k)
		run(t, nil, "files move %s %s", filepath.Dir(l.file), l.at("deep"))
		l.holds(t, run(t, nil, "files read %s", l.at("deep/citizens")), HowDirect)
	})
	t.Run("written by others", func(t *testing.T) {
		l := labs(t, k)
		run(t, nil, "files write %s", l.at("other"))
		l.nothing(t, run(t, nil, "files read %s", l.at("other")))
	})
}

// inMemory reports whether a file is on tmpfs.
func inMemory(t *testing.T, file string) bool {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(file, &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == unix.TMPFS_MAGIC
}

// Programs that a holder begins or becomes hold what it held.
func TestDescendantsHold(t *testing.T) {
	l := labs(t, open(t, Options{}))
	who := run(t, nil, "files read %s child nothing become", l.file)
	r := read(t, l.k)
	own := holdsOf(r, who)
	if len(own) != 2 {
		t.Fatalf("%+v", own)
	}
	slices.SortFunc(own, func(a, b Hold) int { return int(a.How) - int(b.How) })
	if own[0].How != HowDirect || own[1].How != HowDescendant || own[1].From != own[0].Owner || own[1].Owner == own[0].Owner {
		t.Errorf("%+v", own)
	}
	var children []Hold
	for _, h := range r.Holds {
		if h.From == own[0].Owner && h.Owner.PID != who.Owner.PID {
			children = append(children, h)
		}
	}
	// Go's library forks once for itself.
	executed := slices.IndexFunc(children, func(h Hold) bool { return h.Owner.Image == own[0].Owner.Image+1 })
	if executed < 0 || slices.ContainsFunc(children, func(h Hold) bool { return h.How != HowDescendant || h.Stores != 1<<3 }) {
		t.Errorf("children %+v", children)
	}
	// Once they were read, they go.
	read(t, l.k)
	if again := holdsOf(read(t, l.k), who); len(again) > 0 {
		t.Errorf("%+v are still there", again)
	}
}

// What user space finds is passed on as well.
func TestMark(t *testing.T) {
	l := labs(t, openOwn(t, Options{}))
	me := executionsOf(read(t, l.k), self(t))
	if len(me) != 1 {
		t.Fatalf("%+v", me)
	}
	if err := l.k.Mark(me[0].ID, 1<<3); err != nil {
		t.Fatal(err)
	}
	if h := l.holds(t, run(t, nil, "files nothing"), HowDescendant); h.From != me[0].ID {
		t.Errorf("%+v", h)
	}
	if err := os.WriteFile(l.at("report"), []byte("of citizens\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.readers(t, l.at("report"))
	if !slices.ContainsFunc(r, func(h Hold) bool { return h.How == HowDerived && h.From == me[0].ID }) {
		t.Errorf("%+v", r)
	}
}

func (l *fileLab) readers(t *testing.T, file string) []Hold {
	t.Helper()
	who := run(t, nil, "files read %s", file)
	return holdsOf(read(t, l.k), who)
}

// Programs that are gone in a millisecond: all are known, each by its own.
func TestShortReaders(t *testing.T) {
	l := labs(t, open(t, Options{}))
	n, program, args := 2000, "/bin/cat", []string{l.file}
	if testing.Short() {
		n = 50
	}
	if _, err := os.Stat(program); err != nil {
		program, args = "/proc/self/exe", nil
	}
	pids := make(map[int]bool)
	for range n {
		cmd := exec.CommandContext(t.Context(), program, args...)
		if args == nil {
			cmd.Env = environment("files read " + l.file)
		}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids[cmd.Process.Pid] = true
	}
	r := read(t, l.k)
	paths := make(map[Execution]string)
	for i := range r.Programs {
		paths[r.Programs[i].ID] = r.Programs[i].Path
	}
	seen := 0
	for _, h := range r.Holds {
		if !pids[h.Owner.PID] { // of another test
			continue
		}
		if h.How != HowDirect || h.Name != "citizens" || paths[h.Owner] == "" {
			t.Errorf("%+v of %q", h, paths[h.Owner])
			continue
		}
		seen++
	}
	t.Logf("%d of %d", seen, n)
	if seen != n || r.Counts.Holds+r.Counts.Derived > 0 {
		t.Errorf("%d of %d, counts %+v", seen, n, r.Counts)
	}
	events, err := l.k.Events(nil)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, e := range events {
		if e.Kind == EventHold && e.How == HowDirect && e.Stores == 1<<3 && pids[e.Owner.PID] {
			told++
		}
	}
	if c, err := l.k.Counts(); err != nil || told != n && c.Events == 0 { // the ring may be full of others' flows
		t.Errorf("%d events, want %d, %v", told, n, err)
	}
}

// A pinned capture goes on with the stores that it was given.
func TestHoldsWhileNobodyReads(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		k := reopen(t, Options{Pins: dir})
		l := labs(t, k)
		mechanism := k.OpensMechanism()
		closed(t, k)
		who := run(t, nil, "files copy %s %s", l.file, l.at("copy"))
		l.k = reopen(t, Options{Pins: dir})
		l.set(t)
		if l.k.OpensMechanism() != mechanism {
			t.Errorf("opens by %q, by %q before", l.k.OpensMechanism(), mechanism)
		}
		l.holds(t, who, HowDirect)
		l.holds(t, run(t, nil, "files read %s", l.at("copy")), HowDerived)
		closed(t, l.k)
	})
}
