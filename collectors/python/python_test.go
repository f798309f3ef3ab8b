package python

import (
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

// runs gives facts in which one program runs.
func runs(t testing.TB, h *host.Host, executable string, arguments ...string) *inventory.Facts {
	t.Helper()
	st, err := h.Stat(executable)
	if err != nil {
		t.Fatal(err)
	}
	return &inventory.Facts{Processes: []inventory.Process{{
		ID: inventory.Execution{PID: 7}, Executable: executable, Arguments: arguments,
		File: inventory.FileID{Device: st.Dev, Inode: st.Ino},
	}}}
}

func collect(t testing.TB, c *Collector, seen *inventory.Facts) inventory.Facts {
	t.Helper()
	facts, err := c.Collect(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestCollect(t *testing.T) {
	h := open(t, "testdata/host")
	c := New(h, texts)
	seen := runs(t, h, "/usr/bin/python3.11", "/srv/portal/venv/bin/python", "manage.py")
	facts := collect(t, c, seen)
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	want := []struct {
		purl, supplier, declared, expression, source string
		freedom                                      inventory.Freedom
	}{
		{"pkg:pypi/acme-forms@3.1%2Bcity.1", "ACME", "License :: Other/Proprietary License", "LicenseRef-Other-Proprietary-License", "Classifier", non},
		{"pkg:pypi/certifi@2025.1.31", "Kenneth Reitz", "MPL-2.0", "MPL-2.0", "License", free},
		{"pkg:pypi/django@5.2", "Django Software Foundation <foundation@djangoproject.example>", "BSD-3-Clause", "BSD-3-Clause", "License", free},
		{"pkg:pypi/httplib2@0.20.4", "", "MIT", "MIT", "License", free},
		{"pkg:pypi/odd@1", "", "LicenseRef-Odd AND MIT", "LicenseRef-Odd AND MIT", "License-Expression", unknown},
		{"pkg:pypi/python-dateutil@2.9.0.post0", "", "License :: OSI Approved :: BSD License, License :: OSI Approved :: Apache Software License", "", "Classifier", free},
		{"pkg:pypi/typing-extensions@4.12.2", "", "License :: OSI Approved :: Python Software Foundation License", "LicenseRef-Python-Software-Foundation-License", "Classifier", free},
		{"pkg:pypi/urllib3@2.5.0", "Seth <seth@urllib3.example>, Quentin <quentin@urllib3.example>", "MIT", "MIT", "License-Expression", free},
	}
	if len(facts.Components) != len(want) {
		t.Fatalf("got %d components: %+v", len(facts.Components), facts.Components)
	}
	for i, w := range want {
		got := facts.Components[i]
		licence := inventory.Licence{Declared: w.declared, Expression: w.expression, Source: w.source, Freedom: w.freedom}
		if got.PURL != w.purl || got.Supplier != w.supplier || got.Licence != licence || got.Ecosystem != "python" {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || !strings.Contains(facts.Gaps[0].Subject, "nameless") || facts.Gaps[0].Kind != inventory.KindComponents {
		t.Errorf("gaps %+v", facts.Gaps)
	}
	if again := collect(t, c, seen); !reflect.DeepEqual(again, facts) {
		t.Error("a second round differs")
	}
}

// A path with the signs of a pattern is a path.
func TestHostilePaths(t *testing.T) {
	root := t.TempDir()
	site := filepath.Join(root, "usr/lib/python3/dist-packages")
	if err := os.MkdirAll(filepath.Join(site, "loop.egg-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"usr/local": "..", "usr/lib/python3/site-packages": "dist-packages", "opt": "usr"} {
		if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(site, "a.egg-info"), []byte("Name: a\x1b[2J\nVersion: 1\nLicense: M\x00IT\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "python3"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h := open(t, root)
	facts := collect(t, New(h, texts), runs(t, h, "/python3", "/*/[/bin/python", "/../../bin/x"))
	if len(facts.Components) != 1 || facts.Components[0].Name != "a\ufffd[2J" || facts.Components[0].PURL != "pkg:pypi/a%EF%BF%BD%5B2j@1" {
		t.Errorf("got %+v", facts.Components)
	}
}

// A change shows in the next round.
func TestChange(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "usr/local/lib/python3.12/site-packages/a-1.dist-info/METADATA")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	c := New(open(t, root), texts)
	for _, version := range []string{"1", "2.0"} {
		if err := os.WriteFile(file, []byte("Name: a\nVersion: "+version+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if facts := collect(t, c, &inventory.Facts{}); len(facts.Components) != 1 || facts.Components[0].Version != version {
			t.Errorf("version %s: %+v", version, facts.Components)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	files, err := filepath.Glob("testdata/host/*/*/*/*/*/*/METADATA")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMetadata(strings.NewReader(text))
		if err != nil {
			return
		}
		c := m.component()
		if c.Name == "" || c.Version == "" || strings.ContainsAny(c.PURL, " \n\x00") || strings.Count(c.PURL, "/") != 1 || len(c.Licence.Declared) > 256 {
			t.Errorf("unsound %+v", c)
		}
		if c.Licence.Declared == "" && c.Licence != (inventory.Licence{}) {
			t.Errorf("an answer from nothing: %+v", c.Licence)
		}
	})
}

func BenchmarkCold(b *testing.B) {
	h := open(b, "/")
	for b.Loop() {
		collect(b, New(h, texts), &inventory.Facts{})
	}
}

func BenchmarkWarm(b *testing.B) {
	c := New(open(b, "/"), texts)
	b.ReportMetric(float64(len(collect(b, c, &inventory.Facts{}).Components)), "components")
	for b.Loop() {
		collect(b, c, &inventory.Facts{})
	}
}
