package rust

import (
	"bytes"
	"compress/zlib"
	"errors"
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
	"cityward/collectors/internal/program"
	"cityward/collectors/inventory"
)

// crates is the list of ripgrep as Debian builds it, from the crates that its
// package names, in the form that cargo-auditable specifies.
const crates = "testdata/ripgrep.json"

func pack(t testing.TB, list []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(list); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func readCrates(t testing.TB) []byte {
	t.Helper()
	list, err := os.ReadFile(crates)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// compile gives a program of GCC's with a section that objcopy put in: no registry
// at hand has a program that cargo-auditable built.
func compile(t testing.TB, section string, content []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	source, out, data := filepath.Join(dir, "a.c"), filepath.Join(dir, "a"), filepath.Join(dir, "section")
	if err := errors.Join(os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600), os.WriteFile(data, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"gcc", "-s", "-o", out, source}, {"objcopy", "--add-section", section + "=" + data, out}} {
		if text, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestCollect(t *testing.T) {
	auditable := compile(t, section, pack(t, readCrates(t)))
	root := t.TempDir()
	for name, data := range map[string][]byte{
		"opt/tools/bin/rg":            auditable,
		"usr/local/bin/broken":        compile(t, section, []byte("not zlib")),
		"usr/local/bin/plain":         compile(t, ".other", []byte("x")),
		"opt/acme/bin/rg":             auditable,
		"var/lib/dpkg/info/acme.list": []byte("/.\n/opt/acme/bin/rg\n"),
	} {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	c := New(h, installed.NewLocal(h))
	facts, err := c.Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Collect(t.Context(), &inventory.Facts{}); err != nil || !reflect.DeepEqual(again, facts) {
		t.Error("a second round differs")
	}
	var purls []string
	for _, c := range facts.Components {
		purls = append(purls, c.PURL)
		if program := c.Name == "ripgrep"; program != slices.Equal(c.Files, []string{"/opt/tools/bin/rg"}) {
			t.Errorf("%s is %q", c.Name, c.Files)
		}
	}
	for _, want := range []string{"pkg:cargo/ripgrep@13.0.0?source=local", "pkg:cargo/memchr@2.5.0", "pkg:cargo/regex@1.7.0"} {
		if !slices.Contains(purls, want) {
			t.Errorf("no %s among %q", want, purls)
		}
	}
	if slices.ContainsFunc(purls, func(p string) bool { return strings.Contains(p, "/cc@") }) {
		t.Error("a crate of the build alone is listed")
	}
	if want := (inventory.Identity{Ecosystem: "dpkg", Package: "acme", PURL: "pkg:cargo/ripgrep@13.0.0?source=local"}); !slices.Equal(facts.Identities, []inventory.Identity{want}) {
		t.Errorf("identities %+v", facts.Identities)
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 || !strings.Contains(facts.Gaps[0].Subject, "broken") {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

// What unpacks to more than it may is not unpacked.
func TestBomb(t *testing.T) {
	bomb := pack(t, make([]byte, sizeList+1))
	if _, err := parseSection(bomb); !errors.Is(err, program.ErrBudget) {
		t.Errorf("%d bytes that unpack to more than %d: %v", len(bomb), sizeList, err)
	}
	many := `{"packages":[` + strings.Repeat(`{"name":"a","version":"1"},`, mostCrates) + `{"name":"b"}]}`
	if _, err := parseList([]byte(many)); !errors.Is(err, program.ErrBudget) {
		t.Errorf("too many crates: %v", err)
	}
	if _, err := parseList([]byte(strings.Repeat("[", 1<<20))); !errors.Is(err, errList) {
		t.Errorf("too deep: %v", err)
	}
	b, err := parseList([]byte(`{"packages":[{"name":"a\u001b[2J","version":"1","source":"git"}]}`))
	if err != nil || b.crates[0].PURL != "pkg:cargo/a%EF%BF%BD%5B2J@1?source=git" {
		t.Errorf("got %+v, %v", b, err)
	}
}

func FuzzProgram(f *testing.F) {
	f.Add(compile(f, section, pack(f, readCrates(f))))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parse(bytes.NewReader(data), 1<<20)
		check(t, b, err)
	})
}

func FuzzSection(f *testing.F) {
	f.Add(pack(f, readCrates(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseSection(data)
		check(t, b, err)
	})
}

func FuzzList(f *testing.F) {
	f.Add(readCrates(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseList(data)
		check(t, b, err)
	})
}

func check(t *testing.T, b build, err error) {
	t.Helper()
	if err != nil && len(b.crates) > 0 || b.root >= len(b.crates) && b.root > 0 {
		t.Errorf("got %+v, %v", b, err)
	}
	for _, c := range b.crates {
		if c.Name == "" || strings.ContainsAny(c.PURL, " \n\x00") {
			t.Errorf("unsound %+v", c)
		}
	}
}

// A program whose list is empty is listed by nobody: that is said.
func TestEmptyList(t *testing.T) {
	for _, list := range []string{`{}`, `{"packages":[]}`, `{"packages":[{"name":"cc","version":"1.0.0","kind":"build"}]}`} {
		if b, err := parseList([]byte(list)); !errors.Is(err, errList) {
			t.Errorf("%s gives %+v, %v", list, b, err)
		}
	}
}
