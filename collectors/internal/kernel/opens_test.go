package kernel

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// citizens is the content of a store's file.
const citizens = "one citizen, and another\n"

// fileLab is a store and what lies beside it.
type fileLab struct {
	k             *Kernel
	store, beside string // directories
	file          string // the store's
}

// labs gives a store of number 3 in one directory and another directory.
func labs(t *testing.T, k *Kernel) *fileLab {
	t.Helper()
	dir := t.TempDir()
	l := &fileLab{k: k, store: filepath.Join(dir, "store"), beside: filepath.Join(dir, "beside")}
	l.file = filepath.Join(l.store, "deep", "citizens")
	for _, d := range []string{filepath.Dir(l.file), l.beside} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(l.file, []byte(citizens), 0o600); err != nil {
		t.Fatal(err)
	}
	l.set(t)
	return l
}

func (l *fileLab) set(t *testing.T, more ...StoreDir) {
	t.Helper()
	if err := l.k.SetStores(append(more, storeDir(t, 3, l.store))); err != nil {
		t.Fatal(err)
	}
}

func (l *fileLab) at(name string) string { return filepath.Join(l.beside, name) }

func storeDir(t testing.TB, store uint, path string) StoreDir {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return StoreDir{Store: store, Device: st.Dev, Inode: st.Ino}
}

func holdsOf(r *Reading, who Flow) []Hold {
	return slices.DeleteFunc(slices.Clone(r.Holds), func(h Hold) bool {
		return h.Owner.PID != who.Owner.PID || h.Owner.Start != who.Owner.Start
	})
}

// holds expects who to hold store 3 in one way, and to be a program that is known.
func (l *fileLab) holds(t *testing.T, who Flow, how uint32) Hold {
	t.Helper()
	r := read(t, l.k)
	found := holdsOf(r, who)
	if len(found) != 1 || found[0].How != how || found[0].Stores != 1<<3 || found[0].Times == 0 || found[0].First.IsZero() {
		t.Fatalf("process %d holds %+v, want it by %d", who.Owner.PID, found, how)
	}
	if !slices.ContainsFunc(r.Programs, func(p Program) bool { return p.ID == found[0].Owner }) {
		t.Errorf("the program of %+v is not known", found[0])
	}
	return found[0]
}

func (l *fileLab) nothing(t *testing.T, who Flow) {
	t.Helper()
	if found := holdsOf(read(t, l.k), who); len(found) > 0 {
		t.Errorf("process %d holds %+v", who.Owner.PID, found)
	}
}

func ownMounts(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
}

// Whatever way a program reads a file of a store, it is known, and nobody else.
func TestReadersHold(t *testing.T) {
	k := open(t, Options{})
	t.Logf("opens by %q; misses %q", k.OpensMechanism(), k.OpensMisses())
	for name, test := range map[string]func(*testing.T, *fileLab) Flow{
		"read":   func(t *testing.T, l *fileLab) Flow { return run(t, nil, "files read %s", l.file) },
		"mapped": func(t *testing.T, l *fileLab) Flow { return run(t, nil, "files map %s", l.file) },
		"bind mount in another namespace": func(t *testing.T, l *fileLab) Flow {
			return run(t, ownMounts, "files bind %s %s read %s", l.store, l.beside, l.at("deep/citizens"))
		},
		"file mounted elsewhere": func(t *testing.T, l *fileLab) Flow {
			if err := os.WriteFile(l.at("mount"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return run(t, ownMounts, "files bind %s %s read %s", l.file, l.at("mount"), l.at("mount"))
		},
		"below an overlay": func(t *testing.T, l *fileLab) Flow {
			if !l.overlayable(t) { // the guests' kernels have none
				return run(t, nil, "files read %s", l.file)
			}
			return run(t, ownMounts, "files overlay %s %s %s %s read %s", l.store, l.at("upper"), l.at("work"), l.at("over"), l.at("over/deep/citizens"))
		},
		"hard link outside": func(t *testing.T, l *fileLab) Flow {
			if err := os.Link(l.file, l.at("link")); err != nil {
				t.Fatal(err)
			}
			return run(t, nil, "files read %s", l.at("link"))
		},
		"listed by itself": func(t *testing.T, l *fileLab) Flow {
			if err := os.WriteFile(l.at("alone"), []byte(citizens), 0o600); err != nil {
				t.Fatal(err)
			}
			l.set(t, storeDir(t, 3, l.at("alone")))
			return run(t, nil, "files read %s", l.at("alone"))
		},
		"passed descriptor": func(t *testing.T, l *fileLab) Flow {
			f, err := os.Open(l.file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			return run(t, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} }, "files passed")
		},
		"past the page cache": func(t *testing.T, l *fileLab) Flow {
			fd, err := unix.Open(l.file, unix.O_RDONLY|unix.O_DIRECT, 0)
			if err != nil { // tmpfs before Linux 6.6
				return run(t, nil, "files read %s", l.file)
			}
			_ = unix.Close(fd)
			return run(t, nil, "files raw %s", l.file)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := labs(t, k)
			before := len(holdsOf(read(t, k), self(t)))
			who := test(t, l)
			h := l.holds(t, who, HowDirect)
			if len(h.Name) == 0 || h.Inode == 0 {
				t.Errorf("%+v", h)
			}
			if len(holdsOf(read(t, k), self(t))) > before {
				t.Error("the process that asks holds something")
			}
		})
	}
}

// overlayable makes the directories, and reports whether there are overlays.
func (l *fileLab) overlayable(t *testing.T) bool {
	t.Helper()
	for _, name := range []string{"upper", "work", "over"} {
		if err := os.Mkdir(l.at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(known), "\toverlay\n")
}

// What touches a store without reading it, or reads something else.
func TestOthersHoldNothing(t *testing.T) {
	l := labs(t, open(t, Options{}))
	if err := os.WriteFile(l.at("other"), []byte("of nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, job := range map[string]string{
		"list":      "list " + l.store + " list " + filepath.Dir(l.file),
		"unrelated": "read " + l.at("other") + " map " + l.at("other"),
		"writes":    "write " + filepath.Join(l.store, "new"),
	} {
		t.Run(name, func(t *testing.T) { l.nothing(t, run(t, nil, "files %s", job)) })
	}
	if _, err := os.ReadFile(l.file); err != nil {
		t.Fatal(err)
	}
	l.nothing(t, self(t))
	if err := l.k.SetStores(nil); err != nil {
		t.Fatal(err)
	}
	l.nothing(t, run(t, nil, "files read %s", l.file))
}

// What is open when the stores are set.
func TestOpenedBefore(t *testing.T) {
	k := open(t, Options{})
	l := labs(t, k)
	if err := k.SetStores(nil); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(l.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = environment("files wait")
	cmd.ExtraFiles = []*os.File{f}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 256)
	for all := ""; !strings.Contains(all, "ready"); {
		n, err := out.Read(said)
		if err != nil {
			t.Fatal(err)
		}
		all += string(said[:n])
	}
	start, err := startOf(pidOf(cmd))
	if err != nil {
		t.Fatal(err)
	}
	who := Flow{Owner: Execution{PID: cmd.Process.Pid, Start: start}}
	l.nothing(t, who)
	l.set(t)
	l.holds(t, who, HowDirect)
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
}
