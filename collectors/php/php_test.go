package php

import (
	"os"
	"reflect"
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
	if again, err := c.Collect(t.Context(), seen); err != nil || !reflect.DeepEqual(again, facts) {
		t.Errorf("a second round differs: %v", err)
	}
	return facts
}

func at(t testing.TB, root string) *Collector {
	h := open(t, root)
	return New(h, installed.NewLocal(h), texts)
}

const wiki = "testdata/host/srv/wiki/vendor/composer/installed.json"

// The lists are those of DokuWiki and Icinga Web 2, as Debian has them.
func TestCollect(t *testing.T) {
	facts := collect(t, at(t, "testdata/host"), &inventory.Facts{})
	if len(facts.Components) != 10 || len(facts.Identities) != 5 || len(facts.Gaps) != 0 {
		t.Fatalf("got %d components, %d identities, gaps %+v", len(facts.Components), len(facts.Identities), facts.Gaps)
	}
	found := make(map[string]inventory.Component)
	for _, c := range facts.Components {
		found[c.PURL] = c
	}
	for purl, want := range map[string]inventory.Licence{
		"pkg:composer/geshi/geshi@dev-master":                {Declared: "GPL-2.0+", Expression: "GPL-2.0-or-later", Source: "installed.json", Freedom: inventory.Free},
		"pkg:composer/marcusschwarz/lesserphp@v0.5.5":        {Declared: "MIT, GPL-3.0", Expression: "MIT OR GPL-3.0-only", Source: "installed.json", Freedom: inventory.Free},
		"pkg:composer/simplepie/simplepie@1.5.6":             {Declared: "BSD-3-Clause", Expression: "BSD-3-Clause", Source: "installed.json", Freedom: inventory.Free},
		"pkg:composer/splitbrain/php-archive@1.2.1":          {Declared: "MIT", Expression: "MIT", Source: "installed.json", Freedom: inventory.Free},
		"pkg:composer/openpsa/universalfeedcreator@v1.8.4.1": {Declared: "LGPL-2.1-or-later", Expression: "LGPL-2.1-or-later", Source: "installed.json", Freedom: inventory.Free},
	} {
		if found[purl].Licence != want {
			t.Errorf("%s: %+v", purl, found[purl])
		}
	}
	if got := found["pkg:composer/splitbrain/slika@1.0.5"]; got.Supplier != "Andreas Gohr" || got.Name != "splitbrain/slika" ||
		!slices.Equal(got.Locations, []inventory.Location{{Path: "/srv/wiki/vendor/splitbrain/slika", Recorded: true}}) {
		t.Errorf("got %+v", got)
	}
	if want := (inventory.Identity{Ecosystem: "dpkg", Package: "icingaweb2", PURL: "pkg:composer/dompdf/dompdf@v2.0.1"}); facts.Identities[0] != want {
		t.Errorf("got %+v", facts.Identities)
	}
}

func TestList(t *testing.T) {
	one, err := parseList([]byte(`[{"name":"Acme/Tool","version":"1\u001b[2J","license":["proprietary"]},{"version":"2"},{"name":"x","license":"MIT"}]`))
	if err != nil || len(one) != 2 || one[0].PURL != "pkg:composer/acme/tool@1%EF%BF%BD%5B2J" || one[0].Licence.Freedom != inventory.NonFree || one[1].Name != "x" {
		t.Errorf("got %+v, %v", one, err)
	}
	if lies := one[0].Locations; len(lies) != 1 || lies[0].Path != "../acme/tool" {
		t.Errorf("without a path it lies in %+v", lies)
	}
	for _, outside := range []string{"../../../x", "/usr/bin", "..", "../..", "x", "../a/../../b"} {
		c, err := parseList([]byte(`[{"name":"a/b","install-path":"` + outside + `"}]`))
		if err != nil || len(c) != 1 || len(c[0].Locations) != 0 {
			t.Errorf("%s: %+v, %v", outside, c, err)
		}
	}
	many := "[" + strings.Repeat(`{"name":"a/b"},`, mostPackages) + `{"name":"a/c"}]`
	for _, bad := range []string{"", "{}", "null1", "[", `{"packages":1}`, strings.Repeat("[", 20000), many} {
		if c, err := parseList([]byte(bad)); err == nil {
			t.Errorf("%.20q gives %d", bad, len(c))
		}
	}
}

func FuzzList(f *testing.F) {
	data, err := os.ReadFile(wiki)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`[{"name":"acme/tool","version":"1","license":["MIT","GPL-2.0"],"authors":[{"name":"x"}]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		components, err := parseList(data)
		if err != nil && components != nil {
			t.Error("components beside an error")
		}
		for _, c := range components {
			if c.Name == "" || strings.ContainsAny(c.PURL, " \n\x00") || len(c.Licence.Declared) > 256 {
				t.Errorf("unsound %+v", c)
			}
		}
	})
}
