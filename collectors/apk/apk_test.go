package apk

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

func open(t testing.TB, root string) *host.Host {
	t.Helper()
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func collect(t testing.TB, c *Collector, seen *inventory.Facts) inventory.Facts {
	t.Helper()
	facts, err := c.Collect(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// runs gives facts in which programs run.
func runs(t testing.TB, h *host.Host, executables ...string) *inventory.Facts {
	t.Helper()
	seen := &inventory.Facts{Machine: &inventory.Machine{OS: "alpine"}}
	for i, executable := range executables {
		st, err := h.Stat(executable)
		if err != nil {
			t.Fatal(err)
		}
		seen.Processes = append(seen.Processes, inventory.Process{
			ID: inventory.Execution{PID: 7 + i}, Executable: executable, File: inventory.FileID{Device: st.Dev, Inode: st.Ino},
		})
	}
	return seen
}

func TestCollect(t *testing.T) {
	h := open(t, "testdata/host")
	c := New(h)
	const free, unknown = inventory.Free, inventory.FreedomUnknown
	want := []inventory.Component{
		{Ecosystem: "apk", Name: "busybox", Version: "1.37.0-r12", Arch: "x86_64", Supplier: "Soren <soren@alpine.example>", PURL: "pkg:apk/alpine/busybox@1.37.0-r12?arch=x86_64", Licence: inventory.Licence{Declared: "GPL-2.0-only", Expression: "GPL-2.0-only", Source: "package", Freedom: free}},
		{Ecosystem: "apk", Name: "musl-utils", Version: "1.2.5-r9", Arch: "x86_64", Source: "musl", Supplier: "Natanael <natanael@alpine.example>", PURL: "pkg:apk/alpine/musl-utils@1.2.5-r9?arch=x86_64", Licence: inventory.Licence{Declared: "MIT AND BSD-2-Clause AND GPL-2.0-or-later", Expression: "MIT AND BSD-2-Clause AND GPL-2.0-or-later", Source: "package", Freedom: free}},
		{Ecosystem: "apk", Name: "nginx", Version: "1.26.3-r0", Arch: "x86_64", PURL: "pkg:apk/alpine/nginx@1.26.3-r0?arch=x86_64", Licence: inventory.Licence{Declared: "BSD-2-Clause", Expression: "BSD-2-Clause", Source: "package", Freedom: free}},
		{Ecosystem: "apk", Name: "acme-agent", Version: "2.0", Arch: "noarch", PURL: "pkg:apk/alpine/acme-agent@2.0?arch=noarch", Licence: inventory.Licence{Declared: "custom", Source: "package", Freedom: unknown}},
	}
	facts := collect(t, c, runs(t, h))
	if !reflect.DeepEqual(facts.Components, want) {
		t.Errorf("got %+v, want %+v", facts.Components, want)
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || facts.Gaps[0].Kind != inventory.KindComponents || len(facts.Owners) != 0 {
		t.Errorf("gaps %+v, owners %+v", facts.Gaps, facts.Owners)
	}
	seen := runs(t, h, "/usr/bin/nginx", "/bin/busybox", "/lib/apk/db/installed")
	facts = collect(t, c, seen)
	if len(facts.Owners) != 2 || facts.Owners[0].PURL != want[0].PURL || facts.Owners[1].PURL != want[2].PURL {
		t.Errorf("owners %+v", facts.Owners)
	}
	if again := collect(t, c, seen); !reflect.DeepEqual(again, facts) {
		t.Error("a second round differs")
	}
}

func TestNone(t *testing.T) {
	facts := collect(t, New(open(t, t.TempDir())), &inventory.Facts{})
	if !reflect.DeepEqual(facts, inventory.Facts{}) {
		t.Errorf("got %+v", facts)
	}
}

func TestUnreadable(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "lib/apk/db/installed"), 0o755); err != nil {
		t.Fatal(err)
	}
	facts := collect(t, New(open(t, root)), &inventory.Facts{})
	if len(facts.Gaps) != 1 || facts.Gaps[0].Subject != "/lib/apk/db/installed" {
		t.Errorf("got %+v", facts.Gaps)
	}
}

// A database that was cut off shows what it still has, and a gap.
func TestCut(t *testing.T) {
	all, lost, err := parseInstalled(bufio.NewReader(strings.NewReader("P:a\nV:1\n\nP:b\nV:1")), "alpine", nil)
	if len(all) != 2 || lost != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v, lost %d, %v", all, lost, err)
	}
}

func TestCancelledWithin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := New(open(t, "testdata/host"))
	if err := c.read(ctx, "/lib/apk/db/installed", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzInstalled(f *testing.F) {
	data, err := os.ReadFile("testdata/host/lib/apk/db/installed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Fuzz(func(t *testing.T, text string) {
		wanted := map[string]int{"/bin/busybox": -1, "/usr/bin/nginx": -1}
		all, _, err := parseInstalled(bufio.NewReaderSize(strings.NewReader(text), 256), "alpine", wanted)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Name == "" || c.Version == "" || strings.ContainsAny(c.PURL, " \n\x00") || strings.Count(c.PURL, "/") != 2 {
				t.Errorf("unsound %+v", c)
			}
		}
		for path, i := range wanted {
			if i >= len(all) {
				t.Errorf("%s belongs to package %d of %d", path, i, len(all))
			}
		}
	})
}

// large is the database of a large machine: 1000 packages of 100 files.
func large(b *testing.B) *host.Host {
	b.Helper()
	var text strings.Builder
	for i := range 1000 {
		id := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		text.WriteString("P:" + id + "\nV:1.0-r0\nA:x86_64\nL:MIT AND GPL-2.0-or-later\nF:usr/share/" + id + "\n")
		text.WriteString(strings.Repeat("R:some-file-of-a-package\na:0:0:755\nZ:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 100) + "\n")
	}
	root := b.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "lib/apk/db"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "lib/apk/db/installed"), []byte(text.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	return open(b, root)
}

func BenchmarkCold(b *testing.B) {
	h := large(b)
	for b.Loop() {
		collect(b, New(h), &inventory.Facts{})
	}
}

func BenchmarkWarm(b *testing.B) {
	c := New(large(b))
	collect(b, c, &inventory.Facts{})
	for b.Loop() {
		collect(b, c, &inventory.Facts{})
	}
}
