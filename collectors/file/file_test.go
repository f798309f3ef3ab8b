package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

func compile(t *testing.T, arguments ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	source, out := filepath.Join(dir, "a.c"), filepath.Join(dir, "a")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), "gcc", append(arguments, "-s", "-o", out, source)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func collect(t *testing.T, files map[string][]byte) inventory.Facts {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		mode := os.FileMode(0o755)
		if installed.IsTerms(filepath.Base(name)) && !bytes.HasPrefix(data, []byte("\x7fELF")) {
			mode = 0o644
		}
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, mode)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	c := New(h, installed.NewLocal(h), texts)
	facts, err := c.Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Collect(t.Context(), &inventory.Facts{}); err != nil || !reflect.DeepEqual(again, facts) {
		t.Errorf("a second round differs: %v", err)
	}
	return facts
}

func TestCollect(t *testing.T) {
	program, library := compile(t), compile(t, "-shared", "-fPIC")
	noted := compile(t, "-Xlinker", `--package-metadata={"type":"rpm","os":"fedora","name":"acme","version":"2.1-3"}`)
	image := append([]byte(nil), program...)
	copy(image[8:], "AI\x02") // as the specification has it: no registry at hand has one
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	facts := collect(t, map[string][]byte{
		"opt/acme/bin/one":            noted,
		"opt/acme/lib/liba.so":        library,
		"opt/acme/LICENSE":            []byte("\n  SPDX-License-Identifier: EUPL-1.2\n"),
		"opt/acme/viewer.AppImage":    image,
		"opt/go/tool":                 exe, // names its module: left to the Go room
		"opt/vendor/bin/agent":        program,
		"var/lib/dpkg/info/v.list":    []byte("/.\n/opt/vendor/bin/agent\n/usr/local/bin/owned\n"),
		"usr/local/bin/owned":         program,
		"usr/local/bin/single":        program,
		"usr/local/lib/libb.so.1":     library,
		"srv/portal/run.sh":           []byte("#!/bin/sh\n"),
		"srv/portal/COPYING":          []byte("Terms of the City\n\nAll rights.\n"),
		"home/eva/.local/bin/cut":     program[:100],
		"home/eva/bad\x1b[2J/program": program,
	})
	sum := func(data []byte) string {
		s := sha256.Sum256(data)
		return "?checksum=sha256:" + hex.EncodeToString(s[:])
	}
	eupl := inventory.Licence{Declared: "EUPL-1.2", Expression: "EUPL-1.2", Source: "licence file", Freedom: inventory.Free}
	want := map[string]inventory.Component{
		"/opt/acme":                 {Version: "2.1-3", Supplier: "fedora", PURL: "pkg:generic/acme@2.1-3?path=%2Fopt%2Facme", Licence: eupl},
		"/opt/acme/viewer.AppImage": {PURL: "pkg:generic/viewer.AppImage" + sum(image)},
		"/usr/local/bin/single":     {PURL: "pkg:generic/single" + sum(program)},
		"/usr/local/lib/libb.so.1":  {PURL: "pkg:generic/libb.so.1" + sum(library)},
		"/srv/portal":               {PURL: "pkg:generic/portal?path=%2Fsrv%2Fportal", Licence: inventory.Licence{Declared: "Terms of the City", Source: "licence file"}},
		"/home/eva/.local/bin/cut":  {PURL: "pkg:generic/cut?path=%2Fhome%2Feva%2F.local%2Fbin%2Fcut"},
		"/home/eva/bad\ufffd[2J":    {PURL: "pkg:generic/bad%EF%BF%BD%5B2J?path=%2Fhome%2Feva%2Fbad%EF%BF%BD%5B2J"},
	}
	for _, got := range facts.Components {
		w, ok := want[got.Name]
		w.Name, w.Ecosystem = got.Name, "file"
		if strings.Contains(w.PURL, "?path=") && !strings.HasSuffix(w.Name, "/cut") {
			w.Locations = []inventory.Location{{Path: w.Name}}
		} else {
			w.Files = []string{w.Name}
		}
		if !ok || !reflect.DeepEqual(got, w) {
			t.Errorf("got %+v, want %+v", got, w)
		}
		delete(want, got.Name)
	}
	if len(want) > 0 || len(facts.Gaps) > 0 {
		t.Errorf("missing %+v, gaps %+v", want, facts.Gaps)
	}
}

// Terms are free only where everything that is said of them is.
func TestTerms(t *testing.T) {
	program := compile(t)
	mit, err := os.ReadFile("testdata/MIT")
	if err != nil {
		t.Fatal(err)
	}
	eula := []byte("END USER LICENSE AGREEMENT\n\nYou may not copy it.\n")
	tag := []byte("SPDX-License-Identifier: MIT\n")
	facts := collect(t, map[string][]byte{
		"opt/free/a": program, "opt/free/LICENSE": mit, "opt/free/COPYING": mit,
		"opt/notices/a": program, "opt/notices/LICENSE": append(bytes.Clone(eula), tag...),
		"opt/behind/a": program, "opt/behind/LICENSE": append(bytes.Clone(tag), eula...),
		"opt/far/a": program, "opt/far/LICENSE": slices.Concat(mit, bytes.Repeat([]byte("\n"), 1<<20), eula),
		"opt/beside/a": program, "opt/beside/COPYING": mit, "opt/beside/EULA.txt": eula,
		"opt/huge/a": program, "opt/huge/COPYING": mit, "opt/huge/LICENSE": make([]byte, 3<<20),
		"opt/second/a": program, "opt/second/LICENSE": mit, "opt/second/LICENSE-ENTERPRISE": eula,
		"opt/key/a": program, "opt/key/license.key": []byte("SECRETKEY\n"),
	})
	got := make(map[string]inventory.Freedom)
	for _, c := range facts.Components {
		got[strings.TrimPrefix(c.Name, "/opt/")] = c.Licence.Freedom
		if strings.Contains(c.Licence.Declared, "SECRET") {
			t.Errorf("%s shows %s", c.Name, c.Licence.Declared)
		}
	}
	if len(got) != 8 || got["free"] != inventory.Free {
		t.Errorf("got %v", got)
	}
	delete(got, "free")
	for unit, freedom := range got {
		if freedom == inventory.Free {
			t.Errorf("/opt/%s is free", unit)
		}
	}
}

// Neither a name nor many other files hide a program.
func TestNothingHidesAProgram(t *testing.T) {
	program := compile(t)
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"opt/a/eula": program, "opt/b/z": program, "opt/c/z": program}
	list := "/.\n"
	for i := range 300 {
		owned := fmt.Sprintf("opt/b/a%03d", i)
		files[owned], list = program, list+"/"+owned+"\n"
	}
	files["opt/c/a"] = exe
	files["var/lib/dpkg/info/b.list"] = []byte(list)
	facts := collect(t, files)
	var names []string
	for _, c := range facts.Components {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"/opt/a", "/opt/b", "/opt/c"}) {
		t.Errorf("found %v", names)
	}
}

func TestUnit(t *testing.T) {
	for file, want := range map[string]string{
		"/opt/a/b/c": "/opt/a", "/opt/a": "/opt/a", "/usr/local/bin/a": "/usr/local/bin/a", "/usr/local/lib/a/b": "/usr/local/lib/a",
		"/usr/local/go/bin/go": "/usr/local/go", "/usr/local/a": "/usr/local/a", "/home/eva/x": "/home/eva/x", "/home/eva/x/y": "/home/eva/x",
		"/home/eva/.local/share/a/b": "/home/eva/.local/share/a", "/root/.local/bin/a": "/root/.local/bin/a", "/root/bin/a": "/root/bin/a",
		"/var/www/html/a/b": "/var/www/html", "/srv/bin/x/y": "/srv/bin",
	} {
		if got := unitOf(file); got != want {
			t.Errorf("%s belongs to %s, want %s", file, got, want)
		}
	}
}

func FuzzTerms(f *testing.F) {
	for _, file := range []string{"../../LICENSE", "testdata/spdx"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := termsOf(text)
		if len(l.Declared) > 256 || strings.ContainsAny(l.Declared, "\n\x1b") || l.Declared == "" && l.Freedom != inventory.FreedomUnknown {
			t.Errorf("unsound %+v", l)
		}
	})
}
