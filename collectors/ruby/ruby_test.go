package ruby

import (
	"os"
	"path/filepath"
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

// The gemspecs are Debian's and Ruby's own, but computed-1.gemspec.
func TestCollect(t *testing.T) {
	facts := collect(t, at(t, "testdata/host"), &inventory.Facts{})
	want := []inventory.Component{{
		Ecosystem: "ruby", Name: "io-console", Version: "0.5.11", Supplier: "Nobu Nakada", PURL: "pkg:gem/io-console@0.5.11",
		Licence:   inventory.Licence{Declared: "Ruby, BSD-2-Clause", Expression: "Ruby OR BSD-2-Clause", Source: "gemspec", Freedom: inventory.Free},
		Locations: []inventory.Location{{Path: "/srv/app/vendor/bundle/ruby/3.1.0/gems/io-console-0.5.11", Recorded: true}},
	}, {
		Ecosystem: "ruby", Name: "rake", Version: "13.0.6", Supplier: "Hiroshi SHIBATA", PURL: "pkg:gem/rake@13.0.6",
		Licence:   inventory.Licence{Declared: "MIT", Expression: "MIT", Source: "gemspec", Freedom: inventory.Free},
		Locations: []inventory.Location{{Path: "/srv/app/vendor/bundle/ruby/3.1.0/gems/rake-13.0.6", Recorded: true}},
	}}
	if !reflect.DeepEqual(facts.Components, want) {
		t.Errorf("got %+v", facts.Components)
	}
	identities := []inventory.Identity{
		{Ecosystem: "dpkg", Package: "libruby3.1:amd64", PURL: "pkg:gem/csv@3.2.2"},
		{Ecosystem: "dpkg", Package: "libruby3.1:amd64", PURL: "pkg:gem/json@2.6.1"},
		{Ecosystem: "dpkg", Package: "ruby-rack", PURL: "pkg:gem/rack@2.2.22"},
	}
	if !slices.Equal(facts.Identities, identities) {
		t.Errorf("got %+v", facts.Identities)
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || !strings.Contains(facts.Gaps[0].Subject, "computed") {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

func TestSpec(t *testing.T) {
	head := "# stub: nokogiri 1.15.0 x86_64-linux lib\n# stub: a b c\nGem::Specification.new do |s|\n"
	c, err := parseSpec(head + `  s.name = "nokogiri".freeze
  s.version = "1.15.0"
  s.authors = ["Andr\u{e9} \"A\" \\\#{x}\e[1m".freeze]
  s.licenses = ["MIT".freeze, "Nonstandard".freeze]
`)
	if err != nil || c.PURL != "pkg:gem/nokogiri@1.15.0?platform=x86_64-linux" || c.Supplier != `André "A" \#{x}e[1m` {
		t.Errorf("got %+v, %v", c, err)
	}
	if c.Licence.Freedom != inventory.FreedomUnknown || c.Licence.Declared != "MIT, Nonstandard" {
		t.Errorf("licence %+v", c.Licence)
	}
	for _, bad := range []string{"", "s.name = nil", "s.name = \"a", "s.name = \"a\"\ns.version = VERSION", "s.name = \"\\u00\"\ns.version = \"1\""} {
		if c, err := parseSpec(bad); err == nil {
			t.Errorf("%q gives %+v", bad, c)
		}
	}
}

func FuzzSpec(f *testing.F) {
	files, err := filepath.Glob("testdata/host/*/*/*/*/*/*/specifications/*.gemspec")
	more, _ := filepath.Glob("testdata/host/usr/lib/ruby/gems/*/specifications/default/*.gemspec")
	if files = append(files, more...); err != nil || len(files) < 4 {
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
		c, err := parseSpec(text)
		if err == nil && (c.Name == "" || c.Version == "" || strings.ContainsAny(c.PURL, " \n\x00") || len(c.Licence.Declared) > 256) {
			t.Errorf("unsound %+v", c)
		}
	})
}
