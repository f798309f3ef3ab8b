package custody

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// The live tests look at real programs: the test binary, run again to take hold
// of a file in one way and then to wait.
const part = "CITYWARD_CUSTODY_PART"

func TestMain(m *testing.M) {
	name := os.Getenv(part)
	if name == "" {
		os.Exit(m.Run())
	}
	kept, err := take(name, os.Getenv(part+"_DIR"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the test has looked
	for _, f := range kept {
		f.Close()
	}
}

// take takes hold of a file. dir has store/records, and outside/alias, a second
// name of it.
func take(name, dir string) ([]*os.File, error) {
	records := filepath.Join(dir, "store", "records")
	one := func(path string) ([]*os.File, error) {
		f, err := os.Open(path)
		return []*os.File{f}, err
	}
	switch name {
	case "open":
		return one(records)
	case "many": // as a server has them: some files, more that are none
		var all []*os.File
		for range 4 {
			f, err := os.Open(filepath.Join(dir, "store-2", "records"))
			r, w, pipeErr := os.Pipe()
			n, nullErr := os.Open(os.DevNull)
			if err := firstOf(err, pipeErr, nullErr); err != nil {
				return nil, err
			}
			all = append(all, f, r, w, n)
		}
		return all, nil
	case "directory":
		return one(filepath.Dir(records))
	case "beside":
		return one(filepath.Join(dir, "store-2", "records"))
	case "alias":
		return one(filepath.Join(dir, "outside", "alias"))
	case "map":
		return nil, mapFile(records)
	case "map-alias":
		return nil, mapFile(filepath.Join(dir, "outside", "alias"))
	case "deleted":
		gone := filepath.Join(dir, "store", "gone")
		if err := os.WriteFile(gone, []byte("x"), 0o600); err != nil {
			return nil, err
		}
		f, err := one(gone)
		return f, firstOf(err, os.Remove(gone))
	case "bind", "bind-map":
		other := filepath.Join(dir, "outside")
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return nil, err
		}
		if err := unix.Mount(filepath.Join(dir, "store"), other, "", unix.MS_BIND, ""); err != nil {
			return nil, err
		}
		if name == "bind-map" {
			return nil, mapFile(filepath.Join(other, "records"))
		}
		return one(filepath.Join(other, "records"))
	case "chroot":
		if err := unix.Chroot(dir); err != nil {
			return nil, err
		}
		return one("/store/records")
	}
	return nil, fmt.Errorf("no part %q", name)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mapFile maps a file and closes it.
func mapFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	return err
}

// start runs a part until the test ends and gives its process.
func start(t testing.TB, name, dir string, flags uintptr) inventory.Process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), part+"="+name, part+"_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
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
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("part %s: %q, %v", name, line, err)
	}
	return process(cmd.Process.Pid)
}

// lay makes the directories that the parts need.
func lay(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"store", "store-2", "outside"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	records := filepath.Join(dir, "store", "records")
	if err := firstOf(
		os.WriteFile(records, make([]byte, 8192), 0o600),
		os.WriteFile(filepath.Join(dir, "store-2", "records"), nil, 0o600),
		os.Link(records, filepath.Join(dir, "outside", "alias")),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHolders(t *testing.T) {
	dir := lay(t)
	cfg, row := store(t, filepath.Join(dir, "store"))
	for _, test := range []struct {
		part  string
		flags uintptr
		holds string // begin of the evidence, "" none
	}{
		{"open", 0, "open: "},
		{"map", 0, "mapped: "},
		{"alias", 0, "open: "},
		{"map-alias", 0, "mapped: "},
		{"deleted", 0, "open: "},
		{"directory", 0, ""},
		{"beside", 0, ""},
		{"bind", unix.CLONE_NEWNS, "open: "},
		{"bind-map", unix.CLONE_NEWNS, "mapped: "},
		{"chroot", 0, "open: "},
	} {
		t.Run(test.part, func(t *testing.T) {
			if privileged := test.flags != 0 || test.part == "chroot"; privileged && os.Geteuid() != 0 {
				if os.Getenv("CI") != "" {
					t.Fatal("namespaces need root")
				}
				t.Skip("namespaces need root")
			}
			child := start(t, test.part, dir, test.flags)
			facts, err := New(machine(t), cfg, nil).Collect(t.Context(), &inventory.Facts{
				Processes: []inventory.Process{child, process(os.Getpid())}, Stores: []inventory.DataStore{row},
			})
			if err != nil {
				t.Fatal(err)
			}
			if gaps := gapsOf(facts, "registry"); len(gaps) > 0 {
				t.Errorf("gaps %q", gaps)
			}
			if test.holds == "" {
				if len(facts.Holdings) > 0 {
					t.Errorf("holdings %+v, want none", facts.Holdings)
				}
				return
			}
			if len(facts.Holdings) != 1 {
				t.Fatalf("%d holdings, want one: %+v", len(facts.Holdings), facts.Holdings)
			}
			h := facts.Holdings[0]
			if h.Store != "registry" || h.Process != child.ID || h.How != inventory.HowDirect || !h.Since.Equal(noon()) ||
				!strings.HasPrefix(h.Evidence, test.holds) {
				t.Errorf("holding %+v", h)
			}
		})
	}
}

// A program that ended is no gap and no holder; one that runs stays a holder.
func TestMemory(t *testing.T) {
	dir := lay(t)
	cfg, row := store(t, filepath.Join(dir, "store"))
	c := New(machine(t), cfg, nil)
	seen := &inventory.Facts{Stores: []inventory.DataStore{row}}
	t.Run("while it runs", func(t *testing.T) {
		seen.Processes = []inventory.Process{start(t, "open", dir, 0)}
		for range 2 {
			facts, err := c.Collect(t.Context(), seen)
			if err != nil || len(facts.Holdings) != 1 {
				t.Fatalf("holdings %+v, %v", facts.Holdings, err)
			}
		}
	})
	// It ended, but the list of programs is older than that.
	facts, err := New(machine(t), cfg, nil).Collect(t.Context(), seen)
	if err != nil || len(facts.Holdings) != 0 || len(facts.Gaps) != 1 {
		t.Errorf("after its end: %+v, %v", facts, err)
	}
	seen.Processes = nil
	if facts, err = c.Collect(t.Context(), seen); err != nil || len(facts.Holdings) != 0 {
		t.Errorf("after its end holdings %+v, %v", facts.Holdings, err)
	}
}

// 300 programs with 20 descriptors each, none of the store: nothing is left out
// because it was known before. Processor time is what counts, and is reported.
func BenchmarkCollect(b *testing.B) {
	for name, same := range map[string]bool{"another-device": false, "same-device": true} {
		b.Run(name, func(b *testing.B) {
			dir := lay(b)
			cfg, row := store(b, filepath.Join(dir, "store"))
			if !same {
				row.Paths[0].Mount.Device, row.Paths[0].File.Device = 1, 1
			}
			seen := &inventory.Facts{Stores: []inventory.DataStore{row}}
			for range 300 {
				p := start(b, "many", dir, 0)
				p.MountNS = 1
				seen.Processes = append(seen.Processes, p)
			}
			c := New(machine(b), cfg, nil)
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				if _, err := c.Collect(b.Context(), seen); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
