package installed

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
)

func tree(t *testing.T, files map[string]string) *host.Host {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestOwned(t *testing.T) {
	h := tree(t, map[string]string{
		"var/lib/dpkg/info/a.list": "/.\n/usr/lib/python3/a\n/lib/b\n" + strings.Repeat("x", 100<<10) + "\n/usr/c",
		"lib/apk/db/installed":     "P:d\nF:usr/bin\nR:d\nF:lib\nR:e\n\n",
	})
	paths := []string{"/usr/lib/python3/a", "/usr/lib/b", "/usr/c", "/usr/bin/d", "/usr/lib/e", "/usr/lib/none"}
	var o Owned
	has, lost, err := o.Among(t.Context(), h, paths)
	if err != nil || lost != (Tally{}) {
		t.Fatal(lost, err)
	}
	for i, path := range paths {
		// The last line of a file list has an end; of one without it nothing is known.
		if got := !has(path).None(); got != (i < 5) {
			t.Errorf("%s: %t", path, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := o.Among(ctx, h, []string{"/usr/lib/other"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if has, _, err := o.Among(t.Context(), h, []string{"/usr/lib/other"}); err != nil || !has("/usr/lib/other").None() || has("/usr/c") != (Package{"dpkg", "a"}) {
		t.Errorf("after that: %v", err)
	}
}

func TestGlob(t *testing.T) {
	h := tree(t, map[string]string{"opt/[a]/bin/x": "", "opt/b/bin/y": "", "opt/.c/bin/z": "", "opt/file": ""})
	tree := Tree{Host: h}
	tree.Begin()
	if got, want := tree.Glob("/opt", "*/bin"), []string{"/opt/[a]/bin", "/opt/b/bin", "/opt/file/bin"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got, want := tree.Glob("/opt/[a]", "b*/*"), []string{"/opt/[a]/bin/x"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if tree.Lost != (Tally{}) {
		t.Errorf("lost %+v", tree.Lost)
	}
}

func TestLines(t *testing.T) {
	var got []string
	err := Lines(bufio.NewReaderSize(strings.NewReader("a\r\n\n"+strings.Repeat("b", 40)+"\nc"), 16), func(line []byte) bool {
		got = append(got, string(line))
		return true
	})
	if want := []string{"a", "", strings.Repeat("b", 16), "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPURL(t *testing.T) {
	for want, got := range map[string]string{
		"pkg:npm/%40a/b@1.0":                         PURL("npm", "@a", "b", "1.0"),
		"pkg:golang/example.org/a/b":                 PURL("golang", "/example.org//a/", "b", ""),
		"pkg:rpm/fedora/g%2B%2B@1%2F2?arch=x%26y":    PURL("rpm", "fedora", "g++", "1/2", "arch", "x&y", "epoch", ""),
		"pkg:rpm/fedora/a@1:2~b?arch=noarch&epoch=1": PURL("rpm", "fedora", "a", "1:2~b", "arch", "noarch", "epoch", "1"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
