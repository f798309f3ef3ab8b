package rpm

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/rpmdb"
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
	seen := &inventory.Facts{Machine: &inventory.Machine{OS: "rocky"}}
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

// The database has three packages, each with the files /bin/sh and
// /usr/bin/NAME, a key, and an entry that is damaged.
func TestCollect(t *testing.T) {
	h := open(t, "testdata/host")
	c := New(h)
	component := func(name, version string, licence inventory.Licence) inventory.Component {
		licence.Source = "package"
		return inventory.Component{
			Ecosystem: "rpm", Name: name, Version: "2:" + version + "-1.el9", Arch: "x86_64", Source: name + "-src", Supplier: "Builders",
			PURL: "pkg:rpm/rocky/" + name + "@" + version + "-1.el9?arch=x86_64&epoch=2", Licence: licence,
		}
	}
	want := []inventory.Component{
		component("bash", "5.1.8", inventory.Licence{Declared: "GPLv3+", Expression: "GPL-3.0-or-later", Freedom: inventory.Free}),
		component("python3-libs", "3.9.18", inventory.Licence{Declared: "Python", Expression: "LicenseRef-Callaway-Python", Freedom: inventory.Free}),
		component("acme-agent", "2.0", inventory.Licence{Declared: "Commercial", Expression: "LicenseRef-Commercial", Freedom: inventory.NonFree}),
	}
	facts := collect(t, c, runs(t, h))
	if !reflect.DeepEqual(facts.Components, want) {
		t.Errorf("got %+v, want %+v", facts.Components, want)
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || facts.Gaps[0].Kind != inventory.KindComponents || len(facts.Owners) != 0 {
		t.Errorf("gaps %+v, owners %+v", facts.Gaps, facts.Owners)
	}
	seen := runs(t, h, "/usr/bin/sh", "/usr/bin/acme-agent", "/var/lib/rpm/Packages.db")
	facts = collect(t, c, seen)
	if len(facts.Owners) != 2 || facts.Owners[0].PURL != want[2].PURL || facts.Owners[1].PURL != want[0].PURL {
		t.Errorf("owners %+v", facts.Owners)
	}
	if again := collect(t, c, seen); !reflect.DeepEqual(again, facts) {
		t.Error("a second round differs")
	}
}

func TestNone(t *testing.T) {
	if facts := collect(t, New(open(t, t.TempDir())), &inventory.Facts{}); !reflect.DeepEqual(facts, inventory.Facts{}) {
		t.Errorf("got %+v", facts)
	}
}

// Changes beside the file are not seen, and that is said.
func TestPending(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/host")); err != nil {
		t.Fatal(err)
	}
	c := New(open(t, root))
	collect(t, c, &inventory.Facts{})
	if err := os.WriteFile(filepath.Join(root, "var/lib/rpm/Packages.db-wal"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if facts := collect(t, c, &inventory.Facts{}); len(facts.Gaps) != 2 || len(facts.Components) != 3 {
		t.Errorf("got %+v", facts)
	}
}

func TestDescribe(t *testing.T) {
	c := describe(&rpmdb.Header{Name: "lib\x1bc++", Version: "1.0~rc1", Built: "odd.src.rpm"}, "Fedora")
	if c.PURL != "pkg:rpm/fedora/lib%EF%BF%BDc%2B%2B@1.0~rc1" || c.Name != "lib\ufffdc++" || c.Source != "" || c.Licence != (inventory.Licence{}) {
		t.Errorf("got %+v", c)
	}
}

func BenchmarkCold(b *testing.B) {
	h := open(b, "testdata/host")
	for b.Loop() {
		collect(b, New(h), &inventory.Facts{})
	}
}

func BenchmarkWarm(b *testing.B) {
	c := New(open(b, "testdata/host"))
	collect(b, c, &inventory.Facts{})
	for b.Loop() {
		collect(b, c, &inventory.Facts{})
	}
}
