package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const shellStat = "4321 (sh) S 1 4321 4321 34816 4330 4194304 117 0 0 0 0 0 0 0 20 0 1 0 123456 2629632 384 18446744073709551615 " +
	"94300000000000 94300000080000 140720000000000 0 0 0 0 0 65538 1 0 0 17 1 0 0 0 0 0 94300000090000 94300000095000 94300010000000 140720000001000 140720000001007 140720000001007 140720000002000 0\n"

func openLive(t testing.TB) (*Host, *Proc) {
	t.Helper()
	h, err := Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.OpenProc()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, p
}

func TestParseStat(t *testing.T) {
	want := Stat{Name: "sh", State: 'S', Parent: 1, Flags: 4194304, Threads: 1, Start: 123456, Image: 140720000001000}
	names := []string{"sh", "a b", "a) S 1 (b", "\n) R 7\n(", "", "\xff\xfe"}
	for _, name := range names {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			got, err := ParseStat([]byte(strings.Replace(shellStat, "(sh)", "("+name+")", 1)))
			want.Name = name
			if err != nil || got != want {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
	kernel, err := ParseStat([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0"))
	if err != nil || !kernel.Kernel() || kernel.Dead() {
		t.Errorf("kernel thread: got %+v, %v", kernel, err)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 )x(", "1 (x)", "1 (x) S 1 2", "1 (x) S q 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 3"} {
		if got, err := ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(shellStat))
	if own, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(own)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseStat(data)
		if err == nil && !bytes.Contains(data, []byte("("+s.Name+")")) {
			t.Errorf("name %q is not in %q", s.Name, data)
		}
	})
}

func TestParseMagic(t *testing.T) {
	tests := []struct {
		link, kind string
		want       uint64
		ok         bool
	}{
		{"socket:[1234]", "socket", 1234, true},
		{"net:[4026531833]", "net", 4026531833, true},
		{"net:[18446744073709551615]", "net", 0, false},
		{"/srv/socket:[1]", "socket", 0, false},
		{"socket:[]", "socket", 0, false},
		{"socket:[12", "socket", 0, false},
		{"socket:[1 2]", "socket", 0, false},
		{"socket:", "socket", 0, false},
		{"pipe:[12]", "socket", 0, false},
	}
	for _, test := range tests {
		got, err := ParseMagic([]byte(test.link), test.kind)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%s: got %d, %v", test.link, got, err)
		}
	}
}

// record lays out a struct linux_dirent64.
func record(name string) []byte {
	size := (19 + len(name) + 1 + 7) &^ 7
	r := make([]byte, size)
	binary.NativeEndian.PutUint16(r[16:], uint16(size))
	copy(r[19:], name)
	return r
}

func FuzzDirectory(f *testing.F) {
	f.Add(slices.Concat(record("."), record("0"), record("17"), record("self")))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, n := range appendNumbers(nil, data) {
			if n < 0 {
				t.Errorf("negative number %d", n)
			}
		}
	})
}

func TestProcAgreesWithOS(t *testing.T) {
	h, p := openLive(t)
	self := os.Getpid()
	pids, err := h.PIDs()
	if err != nil || !slices.Contains(pids, self) || !slices.IsSorted(pids) {
		t.Errorf("pids: %v, %v", pids, err)
	}
	stat, err := p.ReadStat(self)
	if err != nil || stat.Parent != os.Getppid() || stat.Start == 0 || stat.Image == 0 || stat.Kernel() || stat.Dead() {
		t.Errorf("stat: %+v, %v", stat, err)
	}
	exe, err := p.Readlink(self, "exe")
	if want, _ := os.Executable(); err != nil || string(exe) != want {
		t.Errorf("exe: %q, %v; want %q", exe, err, want)
	}
	var want unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &want); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Stat(self, "exe"); err != nil || got.Ino != want.Ino || got.Dev != want.Dev {
		t.Errorf("stat exe: %d, %v; want %d", got.Ino, err, want.Ino)
	}
	cmdline, err := p.Read(self, "cmdline", 5)
	if err != nil || string(cmdline) != os.Args[0][:5] {
		t.Errorf("cmdline: %q, %v", cmdline, err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if fds, err := p.Numbers(self, "fd", []int{-1}); err != nil || fds[0] != -1 || !slices.Contains(fds, int(f.Fd())) {
		t.Errorf("descriptors: %v, %v", fds, err)
	}
	if id, err := p.NamespaceID(self, "net"); err != nil || id == 0 {
		t.Errorf("namespace: %d, %v", id, err)
	}
}

func TestProcBelowAnotherRoot(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "proc/77/fd")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"fd/3": "socket:[99]", "exe": "/bin/tool"} {
		if err := os.Symlink(target, filepath.Join(root, "proc/77", link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{"bin/tool": "#!", "proc/77/stat": shellStat} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "proc/77/cgroup"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p, err := h.OpenProc()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	if stat, err := p.ReadStat(77); err != nil || stat.Name != "sh" {
		t.Errorf("stat: %+v, %v", stat, err)
	}
	if link, err := p.Readlink(77, "fd/3"); err != nil || string(link) != "socket:[99]" {
		t.Errorf("descriptor: %q, %v", link, err)
	}
	if st, err := p.Stat(77, "exe"); err != nil || st.Size != 2 {
		t.Errorf("executable: size %d, %v", st.Size, err)
	}
	if _, err := p.Read(77, "cgroup", 100); !errors.Is(err, ErrIrregular) {
		t.Errorf("FIFO: got %v, want %v", err, ErrIrregular)
	}
	if _, err := p.ReadStat(78); !Gone(err) {
		t.Errorf("absent process: got %v", err)
	}
}

func TestText(t *testing.T) {
	for _, raw := range []string{"", "plain", "a\nb\x1b[31m\x00", "\xff\xfeé", strings.Repeat("é", 20), "\u202egnp.exe", "ja\u200bva"} {
		got := Text(raw, 9)
		if len(got) > 9 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\x1b\x00\u202e\u200b") {
			t.Errorf("%q: got %q", raw, got)
		}
	}
}

func BenchmarkReadStat(b *testing.B) {
	_, p := openLive(b)
	self := os.Getpid()
	for b.Loop() {
		if _, err := p.ReadStat(self); err != nil {
			b.Fatal(err)
		}
	}
}
