package pacman

import (
	"os"
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
	if again, err := c.Collect(t.Context(), seen); err != nil || !reflect.DeepEqual(again, facts) {
		t.Errorf("a second round differs: %v", err)
	}
	return facts
}

// The database was written by pacman 6.0.2, but the entry "broken".
func TestCollect(t *testing.T) {
	h := open(t, "testdata/host")
	st, err := h.Stat("/usr/bin/demo")
	if err != nil {
		t.Fatal(err)
	}
	program := inventory.Process{Executable: "/usr/bin/demo", File: inventory.FileID{Device: st.Dev, Inode: st.Ino}}
	facts := collect(t, New(h), &inventory.Facts{Processes: []inventory.Process{program}})
	want := []inventory.Component{{
		Ecosystem: "pacman", Name: "demo-tool", Version: "1:2.3-1", Arch: "x86_64", Source: "demo", Supplier: "City of Example <it@example.org>",
		PURL:    "pkg:alpm/arch/demo-tool@1:2.3-1?arch=x86_64",
		Licence: inventory.Licence{Declared: "GPL2, MIT", Expression: "GPL-2.0-only AND MIT", Source: "package", Freedom: inventory.Free},
	}}
	if !reflect.DeepEqual(facts.Components, want) {
		t.Errorf("got %+v", facts.Components)
	}
	if len(facts.Owners) != 1 || facts.Owners[0].PURL != want[0].PURL {
		t.Errorf("owners %+v", facts.Owners)
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || !strings.Contains(facts.Gaps[0].Subject, "broken") {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

func FuzzDesc(f *testing.F) {
	data, err := os.ReadFile("testdata/host/var/lib/pacman/local/demo-tool-1:2.3-1/desc")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseDesc(data)
		if err != nil {
			return
		}
		if c := e.component("arch"); c.Name == "" || c.Version == "" || strings.ContainsAny(c.PURL, " \n\x00") || len(c.Licence.Declared) > 256 {
			t.Errorf("unsound %+v", c)
		}
	})
}

// Licences beyond the bound are not free by those before it.
func TestTooManyLicences(t *testing.T) {
	var e entry
	for range mostLicences {
		e.set("%LICENSE%", "MIT")
	}
	if l := licence(e.licences); l.Freedom != inventory.Free {
		t.Errorf("%d give %+v", mostLicences, l)
	}
	e.set("%LICENSE%", "custom:EULA")
	if l := licence(e.licences); l.Freedom == inventory.Free || l.Expression != "" {
		t.Errorf("one more gives %+v", l)
	}
}
