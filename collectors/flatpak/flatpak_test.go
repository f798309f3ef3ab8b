package flatpak

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

// The AppStream description is a real one; the tree around it was laid by hand
// after flatpak-metadata(5).
func TestCollect(t *testing.T) {
	facts := collect(t, New(open(t, "testdata/host")), &inventory.Facts{})
	if len(facts.Components) != 2 || len(facts.Gaps) != 0 {
		t.Fatalf("got %+v", facts)
	}
	platform, app := facts.Components[0], facts.Components[1]
	if platform.Name != "org.freedesktop.Platform" {
		platform, app = app, platform
	}
	if platform.PURL != "pkg:flatpak/org.freedesktop.Platform@22.08?arch=x86_64&branch=22.08" || platform.Licence != (inventory.Licence{}) {
		t.Errorf("got %+v", platform)
	}
	if app.Version != "0.16.1" || app.Licence != (inventory.Licence{Declared: "LGPL-2.1+", Expression: "LGPL-2.1-or-later", Source: "AppStream", Freedom: inventory.Free}) {
		t.Errorf("got %+v", app)
	}
}

func TestDescription(t *testing.T) {
	about, err := parseDescription([]byte(`<component><developer id="x"><name>Acme</name><name xml:lang="de">Spitze</name></developer>
<name>No</name><project_license>LicenseRef-proprietary=https://x</project_license><releases><release version="2"/><release version="1"/></releases></component>`))
	if err != nil || about != (description{"LicenseRef-proprietary=https://x", "2", "Acme"}) {
		t.Errorf("got %+v, %v", about, err)
	}
	if l := about.licence(); l.Freedom != inventory.NonFree {
		t.Errorf("got %+v", l)
	}
	for _, bad := range []string{"<a>", strings.Repeat("<a>", 100000), "<!DOCTYPE x [<!ENTITY a 'b'>]><c>&a;</c>"} {
		if about, err := parseDescription([]byte(bad)); err == nil {
			t.Errorf("%.20s gives %+v", bad, about)
		}
	}
}

func FuzzDescription(f *testing.F) {
	data, err := os.ReadFile("testdata/host/var/lib/flatpak/app/org.freedesktop.appstream.cli/x86_64/stable/active/files/share/metainfo/org.freedesktop.appstream.cli.metainfo.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		about, err := parseDescription(data)
		if l := about.licence(); len(l.Declared) > 256 || len(about.version) > 256 || err != nil && about != (description{}) {
			t.Errorf("unsound %+v, %v", about, err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	for _, kind := range []string{"app/org.freedesktop.appstream.cli/x86_64/stable", "runtime/org.freedesktop.Platform/x86_64/22.08"} {
		data, err := os.ReadFile("testdata/host/var/lib/flatpak/" + kind + "/active/metadata")
		if err != nil {
			f.Fatal(err)
		}
		if err := checkMetadata(string(data)); err != nil {
			f.Error(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkMetadata(text) == nil && !strings.Contains(text, "name") {
			t.Error("a name from nothing")
		}
	})
}
