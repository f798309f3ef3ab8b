package kernel

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memoryLab is a [fileLab] whose other directory is in memory.
func memoryLab(t *testing.T, k *Kernel, options string) *fileLab {
	t.Helper()
	l := labs(t, k)
	mountMemory(t, l.beside, options)
	return l
}

func mountMemory(t testing.TB, dir, options string) {
	t.Helper()
	if err := unix.Mount("memory", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// memoryDir is a file system in memory of its own.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	mountMemory(tb, dir, "")
	return dir
}

// files runs a job with the names of this lab.
func (l *fileLab) files(t *testing.T, job string) Flow {
	t.Helper()
	return run(t, nil, "files %s", strings.NewReplacer("FILE", l.file, "COPY", l.at("copy"), "AGAIN", l.at("again")).Replace(job))
}

// Whoever reads a file in memory that a holder wrote holds the data.
func TestDerivedInMemory(t *testing.T) {
	k := open(t, Options{})
	for name, test := range map[string]struct{ write, read string }{
		"the first to read":  {"copy FILE COPY", "pause peek COPY"},
		"asks for its size":  {"copy FILE COPY peek COPY", "read COPY"},
		"maps it":            {"copy FILE COPY peek COPY", "map COPY"},
		"written later":      {"write COPY pause append FILE COPY", "pause peek COPY"},
		"read by its writer": {"copy FILE COPY pause read COPY", "read COPY"},
		"copied twice":       {"copy FILE COPY copy COPY AGAIN", "read AGAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			l := memoryLab(t, k, "")
			by := l.files(t, test.write)
			h := l.holds(t, l.files(t, test.read), HowDerived)
			if h.From.PID != by.Owner.PID || h.From.Start != by.Owner.Start || h.Inode == 0 || h.Name == "" {
				t.Errorf("%+v, want it from %+v", h, by.Owner)
			}
		})
	}
}

// Who does something else with a file in memory than reading what a holder wrote.
func TestOthersInMemoryHoldNothing(t *testing.T) {
	k := open(t, Options{})
	for name, test := range map[string]struct{ holder, other string }{
		"asks by name":            {"copy FILE COPY pause peek COPY", "stat COPY"},
		"writes only":             {"copy FILE COPY pause", "write COPY"},
		"what the holder read":    {"peek FILE read COPY pause", "read COPY"},
		"what the holder allowed": {"peek FILE mode COPY pause", "read COPY"},
		"empty":                   {"peek FILE make AGAIN pause", "read AGAIN"},
	} {
		if name == "empty" && k.OpensMechanism() == OpensByFunctions {
			continue // who opens it holds, whatever is in it
		}
		t.Run(name, func(t *testing.T) {
			l := memoryLab(t, k, "")
			l.files(t, "write COPY pause")
			l.holds(t, l.files(t, test.holder), HowDirect)
			l.nothing(t, l.files(t, test.other))
		})
	}
}

// What has no name but descriptors, memfd_create(2), is a file in memory, too.
func TestDerivedWithoutName(t *testing.T) {
	k := open(t, Options{})
	l := labs(t, k)
	fd, err := unix.MemfdCreate("shared", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	shared := os.NewFile(uintptr(fd), "shared")
	defer shared.Close()
	pass := func(job string) Flow {
		time.Sleep(20 * time.Millisecond)
		if _, err := shared.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		return run(t, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{shared} }, "files %s", job)
	}
	by := pass("give " + l.file)
	for _, job := range []string{"passed", "passed", "peek /proc/self/fd/3", "map /proc/self/fd/3"} {
		if h := l.holds(t, pass(job), HowDerived); h.From.PID != by.Owner.PID || h.From.Start != by.Owner.Start {
			t.Errorf("%s: %+v, want it from %+v", job, h, by.Owner)
		}
	}
}

// Those of a store itself, of programs that are gone in a millisecond as well.
func TestShortReadersInMemory(t *testing.T) {
	k := open(t, Options{})
	l := memoryLab(t, k, "")
	file := l.at("citizens")
	if err := os.WriteFile(file, []byte(citizens), 0o600); err != nil {
		t.Fatal(err)
	}
	l.set(t, storeDir(t, 3, l.beside))
	n, job := 2000, "many 1 "+file // asks for the size
	if testing.Short() {
		n = 50
	}
	by := make(map[int]bool)
	for range n {
		cmd := exec.CommandContext(t.Context(), "/bin/cat", file)
		if _, err := os.Stat(cmd.Path); err != nil { // the guests have none
			cmd = exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = environment("files " + job)
		}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		by[cmd.Process.Pid] = true
	}
	r := read(t, k)
	for _, h := range r.Holds {
		if by[h.Owner.PID] && h.How == HowDirect && h.Stores == 1<<3 && h.Name == "citizens" {
			delete(by, h.Owner.PID)
		}
	}
	if c := &r.Counts; len(by) > 0 || c.Holds+c.Derived > 0 {
		t.Errorf("of %d programs %d are not known to hold anything, counts %+v", n, len(by), r.Counts)
	}
}
