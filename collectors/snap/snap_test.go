package snap

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

// No registry at hand has snaps: the tree was laid by hand after the snap format.
func TestCollect(t *testing.T) {
	h := open(t, "testdata/host")
	st, err := h.Stat("/snap/hello/42/bin/hello")
	if err != nil {
		t.Fatal(err)
	}
	program := inventory.Process{Executable: "/snap/hello/42/bin/hello", File: inventory.FileID{Device: st.Dev, Inode: st.Ino}}
	facts := collect(t, New(h), &inventory.Facts{Processes: []inventory.Process{program}})
	want := []inventory.Component{{
		Ecosystem: "snap", Name: "closed", Version: "1.0.3", Arch: "amd64", PURL: "pkg:snap/closed@1.0.3?arch=amd64",
		Licence: inventory.Licence{Declared: "Proprietary", Source: "snap.yaml", Freedom: inventory.NonFree},
	}, {
		Ecosystem: "snap", Name: "hello", Version: "2.10", PURL: "pkg:snap/hello@2.10",
		Licence: inventory.Licence{Declared: "GPL-3.0-or-later", Expression: "GPL-3.0-or-later", Source: "snap.yaml", Freedom: inventory.Free},
	}}
	if !reflect.DeepEqual(facts.Components, want) {
		t.Errorf("got %+v", facts.Components)
	}
	if len(facts.Owners) != 1 || facts.Owners[0] != (inventory.Owner{Path: program.Executable, File: program.File, PURL: "pkg:snap/hello@2.10"}) {
		t.Errorf("owners %+v", facts.Owners)
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || !strings.Contains(facts.Gaps[0].Subject, "gone_3") {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "name: a", "name: [a]\nversion: 1", "name: \"a\nversion: 1", "name: &a [*a]\nversion: 1", "name: " + strings.Repeat("[", 2000)} {
		if c, err := parse([]byte(bad)); err == nil {
			t.Errorf("%.20q gives %+v", bad, c)
		}
	}
	c, err := parse([]byte("name: a\nversion: \"1\\e[2J\"\nlicense: unset\n"))
	if err != nil || c.Version != "1\ufffd[2J" || c.Licence != (inventory.Licence{}) {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{"hello/42", "closed/7"} {
		data, err := os.ReadFile("testdata/host/snap/" + file + "/meta/snap.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err == nil && (c.Name == "" || c.Version == "" || strings.ContainsAny(c.PURL, " \n\x00") || len(c.Licence.Declared) > 256) {
			t.Errorf("unsound %+v", c)
		}
	})
}
