package node

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	for _, arguments := range [][]string{{"node", "dist/server.js"}, {"node", "--inspect", "/srv/portal/dist/server.js"}, {"portal: worker"}} {
		seen := runs(t, h, "/usr/bin/node", arguments...)
		facts := collect(t, c, seen)
		check(t, facts)
		if again := collect(t, c, seen); !reflect.DeepEqual(again, facts) {
			t.Error("a second round differs")
		}
	}
	if facts := collect(t, c, &inventory.Facts{}); len(facts.Components) != 3 || len(facts.Gaps) != 0 {
		t.Errorf("with no program: %+v", facts)
	}
}

func check(t *testing.T, facts inventory.Facts) {
	t.Helper()
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	want := []struct {
		purl, supplier, declared, expression string
		freedom                              inventory.Freedom
	}{
		{"pkg:npm/%40npmcli/fs@4.0.0", "GitHub Inc.", "ISC", "ISC", free},
		{"pkg:npm/closed@2.0.0", "", "UNLICENSED", "LicenseRef-UNLICENSED", non},
		{"pkg:npm/express@4.19.2", "TJ Holowaychuk <tj@vision-media.example>", "MIT", "MIT", free},
		{"pkg:npm/npm@10.9.0", "GitHub Inc.", "Artistic-2.0", "Artistic-2.0", free},
		{"pkg:npm/old@0.1.0%2Bbuild", "", "MIT, Apache-2.0", "MIT OR Apache-2.0", free},
		{"pkg:npm/own-terms@1.0.0", "", "SEE LICENSE IN LICENSE.txt", "LicenseRef-own-terms", unknown},
		{"pkg:npm/semver@7.6.3", "", "ISC", "ISC", free},
	}
	where := map[string][]inventory.Location{
		"pkg:npm/express@4.19.2": {{Path: "/srv/portal/node_modules/express", Recorded: true}},
		"pkg:npm/semver@7.6.3": {
			{Path: "/usr/lib/node_modules/npm/node_modules/semver", Recorded: true},
			{Path: "/srv/portal/node_modules/express/node_modules/semver", Recorded: true},
		},
	}
	if len(facts.Components) != len(want) {
		t.Fatalf("got %d components: %+v", len(facts.Components), facts.Components)
	}
	for i, w := range want {
		got := facts.Components[i]
		licence := inventory.Licence{Declared: w.declared, Expression: w.expression, Source: "package.json", Freedom: w.freedom}
		if lies := where[w.purl]; lies != nil && !slices.Equal(got.Locations, lies) {
			t.Errorf("%s lies in %+v", w.purl, got.Locations)
		}
		if got.PURL != w.purl || got.Supplier != w.supplier || got.Licence != licence || got.Ecosystem != "node" {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || !strings.Contains(facts.Gaps[0].Subject, "broken") {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

// Packages within packages without end are cut off, and that is said.
func TestDeep(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "usr/lib")
	for range mostDepth + 4 {
		dir = filepath.Join(dir, "node_modules", "a")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name":"a\u001b","version":"1"}`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	facts := collect(t, New(open(t, root), texts), &inventory.Facts{})
	if len(facts.Components) != 1 || facts.Components[0].Name != "a\ufffd" || len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 {
		t.Errorf("got %+v", facts)
	}
}

func FuzzManifest(f *testing.F) {
	files, err := filepath.Glob("testdata/host/srv/portal/node_modules/*/package.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"name":"@a/b","version":"1","license":{"type":"(MIT OR ISC)"},"author":{"name":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		c := m.component()
		if c.Name == "" || c.Version == "" || strings.ContainsAny(c.PURL, " \n\x00") || strings.Count(c.PURL, "/") > 2 || len(c.Licence.Declared) > 256 {
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
	found := len(collect(b, c, &inventory.Facts{}).Components)
	for b.Loop() {
		collect(b, c, &inventory.Facts{})
	}
	b.ReportMetric(float64(found), "components")
}
