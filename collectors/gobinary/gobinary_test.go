package gobinary

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
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

// running gives facts in which this test runs.
func running(t testing.TB, h *host.Host) *inventory.Facts {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe, err = filepath.EvalSymlinks(exe)
	if err != nil {
		t.Fatal(err)
	}
	st, err := h.Stat(exe)
	if err != nil {
		t.Fatal(err)
	}
	return &inventory.Facts{Processes: []inventory.Process{{Executable: exe, File: inventory.FileID{Device: st.Dev, Inode: st.Ino}}}}
}

func purls(facts inventory.Facts) []string {
	var all []string
	for i := range facts.Components {
		all = append(all, facts.Components[i].PURL)
	}
	return all
}

// This test is a Go program that runs.
func TestRunning(t *testing.T) {
	h := open(t, "/")
	c := at(h)
	seen := running(t, h)
	facts := collect(t, c, seen)
	release := strings.TrimPrefix(runtime.Version(), "go")
	for _, want := range []string{"pkg:golang/golang.org/x/sys@v", "pkg:golang/std@" + release} {
		if !slices.ContainsFunc(purls(facts), func(p string) bool { return strings.HasPrefix(p, want) }) {
			t.Errorf("no %s among %q", want, purls(facts))
		}
	}
	if again := collect(t, c, seen); !reflect.DeepEqual(again, facts) {
		t.Error("a second round differs")
	}
}

// The same in a tree: a package owns one of two programs.
func TestPlaces(t *testing.T) {
	exe, err := os.ReadFile(running(t, open(t, "/")).Processes[0].Executable)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write := func(path string, data []byte) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/local/bin/script", []byte("#!/bin/sh\n"))
	write("usr/local/bin/short", []byte("x"))
	write("usr/local/bin/damaged", slices.Concat([]byte("\x7fELF"), exe[64:4096]))
	write("opt/acme/bin/owned", exe)
	write("var/lib/dpkg/info/acme.list", []byte("/.\n/opt/acme/bin/owned\n"))
	c := at(open(t, root))
	facts := collect(t, c, &inventory.Facts{})
	if !slices.ContainsFunc(purls(facts), func(p string) bool { return strings.HasPrefix(p, "pkg:golang/std@") }) || slices.Contains(purls(facts), "pkg:golang/cityward") {
		t.Errorf("of an owned program: %q", purls(facts))
	}
	write("srv/city/bin/own", exe)
	facts = collect(t, c, &inventory.Facts{})
	if !slices.Contains(purls(facts), "pkg:golang/cityward") || len(facts.Gaps) != 0 {
		t.Errorf("of one that nobody owns: %q, %+v", purls(facts), facts.Gaps)
	}
}

func TestModules(t *testing.T) {
	b, err := modulesOf(&debug.BuildInfo{
		GoVersion: "go1.26.1 X:nocoverageredesign",
		Path:      "example.org/City/tool/cmd/tool",
		Main:      debug.Module{Path: "example.org/City/tool", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "github.com/docker/docker", Version: "v27.0.0+incompatible"},
			{Path: "github.com/old/name", Version: "v1.0.0", Replace: &debug.Module{Path: "github.com/new/name", Version: "v1.0.1"}},
			{Path: "example.org/own", Version: "v0.1.0", Replace: &debug.Module{Path: "../own", Version: "(devel)"}},
			{Path: "bad\x1b[2J\nname", Version: "v1"},
		},
	})
	want := []string{
		"pkg:golang/example.org/city/tool", "pkg:golang/github.com/docker/docker@v27.0.0%2Bincompatible",
		"pkg:golang/github.com/new/name@v1.0.1", "pkg:golang/example.org/own@v0.1.0",
		"pkg:golang/bad%EF%BF%BD%5B2j%EF%BF%BDname@v1", "pkg:golang/std@1.26.1",
	}
	if got := purls(inventory.Facts{Components: b.modules}); err != nil || !slices.Equal(got, want) || !b.main {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := modulesOf(&debug.BuildInfo{Deps: make([]*debug.Module, mostModules+1)}); err == nil {
		t.Error("too many modules are no error")
	}
}

// endless is a program whose maker claims any length.
type endless struct{ head []byte }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(e.head)) {
		copy(p, e.head[off:])
	}
	return len(p), nil
}

func FuzzProgram(f *testing.F) {
	exe, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	file, err := os.Open(exe)
	if err != nil {
		f.Fatal(err)
	}
	head, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, r := range []io.ReaderAt{bytes.NewReader(data), endless{data}} {
			b, err := parse(r, 1<<20)
			if err != nil {
				continue
			}
			for _, c := range b.modules {
				if c.Name == "" || strings.ContainsAny(c.PURL, " \n\x00") {
					t.Errorf("unsound %+v", c)
				}
			}
		}
	})
}

func FuzzModules(f *testing.F) {
	f.Add("path\texample.org/a\nmod\texample.org/a\tv1.0.0\th1:x=\ndep\texample.org/b\tv0.0.1\th1:y=\n=>\texample.org/c\tv1.1.1\t\n")
	f.Fuzz(func(t *testing.T, text string) {
		info, err := debug.ParseBuildInfo(text)
		if err != nil {
			return
		}
		b, _ := modulesOf(info)
		for _, c := range b.modules {
			if c.Name == "" || strings.ContainsAny(c.PURL, " \n\x00") || c.PURL == "pkg:golang/" {
				t.Errorf("unsound %+v", c)
			}
		}
	})
}

func BenchmarkCold(b *testing.B) {
	h := open(b, "/")
	seen := running(b, h)
	for b.Loop() {
		collect(b, at(h), seen)
	}
}

func BenchmarkWarm(b *testing.B) {
	h := open(b, "/")
	c, seen := at(h), running(b, h)
	found := len(collect(b, c, seen).Components)
	for b.Loop() {
		collect(b, c, seen)
	}
	b.ReportMetric(float64(found), "components")
}

func at(h *host.Host) *Collector { return New(h, installed.NewLocal(h)) }
