package dotnet

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

const deps = "testdata/host/opt/autorest/AutoRest.CSharp.deps.json"

// The list is that of a program of Microsoft's; the nuspec was written by hand
// after NuGet's schema.
func TestCollect(t *testing.T) {
	facts := collect(t, at(t, "testdata/host"), &inventory.Facts{})
	if len(facts.Gaps) != 0 {
		t.Errorf("gaps %+v", facts.Gaps)
	}
	found := make(map[string]inventory.Component)
	for _, c := range facts.Components {
		found[c.PURL] = c
	}
	for _, purl := range []string{"pkg:generic/AutoRest.CSharp@3.0.0-beta.20251203.1", "pkg:nuget/Azure.Core@1.47.1", "pkg:nuget/Humanizer.Core@2.13.14"} {
		if c, ok := found[purl]; !ok || c.Licence != (inventory.Licence{}) {
			t.Errorf("%s: %+v", purl, c)
		}
	}
	if got := found["pkg:nuget/YamlDotNet@11.2.1"].Licence; got != (inventory.Licence{Declared: "MIT", Expression: "MIT", Source: "nuspec", Freedom: inventory.Free}) {
		t.Errorf("licence %+v", got)
	}
	if _, ok := found["pkg:nuget/StyleCop.Analyzers@1.2.0-beta.354"]; ok || len(found) < 30 {
		t.Errorf("%d libraries, among them one of the build: %t", len(found), ok)
	}
}

// A program that runs elsewhere, by the runtime or by itself.
func TestRunning(t *testing.T) {
	h := open(t, "testdata/run")
	c := New(h, installed.NewLocal(h), texts)
	st, err := h.Stat("/usr/bin/dotnet")
	if err != nil {
		t.Fatal(err)
	}
	process := inventory.Process{
		Executable: "/usr/bin/dotnet", Arguments: []string{"dotnet", "exec", "/data/app/App.dll"},
		File: inventory.FileID{Device: st.Dev, Inode: st.Ino},
	}
	facts := collect(t, c, &inventory.Facts{Processes: []inventory.Process{process}})
	want := []string{"pkg:nuget/Microsoft.NETCore.App.Runtime.linux-x64@8.0.1", "pkg:nuget/Newtonsoft.Json@13.0.3"}
	var got []string
	for _, c := range facts.Components {
		got = append(got, c.PURL)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestSpec(t *testing.T) {
	const free, unknown = inventory.Free, inventory.FreedomUnknown
	for text, want := range map[string]inventory.Licence{
		`<package><metadata><licenseUrl>https://licenses.nuget.org/Apache-2.0%20</licenseUrl></metadata></package>`: {Declared: "Apache-2.0%20", Source: "nuspec"},
		`<package><metadata><licenseUrl>https://licenses.nuget.org/MIT+OR+Apache-2.0</licenseUrl></metadata></package>`: {
			Declared: "MIT OR Apache-2.0", Expression: "MIT OR Apache-2.0", Source: "nuspec", Freedom: free,
		},
		`<package><metadata><license type="file">EULA.txt</license><licenseUrl>https://aka.ms/x</licenseUrl></metadata></package>`: {Declared: "EULA.txt", Source: "nuspec", Freedom: unknown},
		`<package/>`: {},
	} {
		if got, err := parseSpec([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"<a>", `<?xml version="1.0" encoding="ebcdic"?><a/>`, "<license>" + strings.Repeat("<a>", 20000)} {
		if got, err := parseSpec([]byte(bad)); err == nil {
			t.Errorf("%.20s gives %+v", bad, got)
		}
	}
}

func FuzzDeps(f *testing.F) {
	for _, file := range []string{deps, "testdata/run/data/app/App.deps.json"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		components, _ := parseDeps(data)
		for _, c := range components {
			if c.Name == "" || strings.ContainsAny(c.PURL, " \n\x00") {
				t.Errorf("unsound %+v", c)
			}
		}
	})
}

func FuzzSpec(f *testing.F) {
	data, err := os.ReadFile("testdata/host/root/.nuget/packages/yamldotnet/11.2.1/yamldotnet.nuspec")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := parseSpec(data); len(l.Declared) > 256 || err != nil && l != (inventory.Licence{}) {
			t.Errorf("unsound %+v, %v", l, err)
		}
	})
}
