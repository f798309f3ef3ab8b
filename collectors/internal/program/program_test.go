package program

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// compile builds a C file with GCC, and notes with the linker.
func compile(t testing.TB, arguments ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	source, out := filepath.Join(dir, "a.c"), filepath.Join(dir, "a")
	if err := os.WriteFile(source, []byte("int f(void) { return 0; }\nint main(void) { return f(); }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "gcc", append(arguments, "-o", out, source)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      Image
	}{
		"program":        {nil, Image{}},
		"static program": {[]string{"-static-pie"}, Image{}},
		"library":        {[]string{"-shared", "-fPIC"}, Image{Library: true}},
		"object":         {[]string{"-c"}, Image{Object: true}},
		"with metadata": {
			[]string{"-Xlinker", `--package-metadata={"type":"deb","os":"debian","name":"acme","version":"1.2-3","architecture":"amd64"}`},
			Image{Package: Package{Type: "deb", OS: "debian", Name: "acme", Version: "1.2-3", Arch: "amd64"}},
		},
	} {
		data := compile(t, append([]string{"-Wl,--build-id=0xc0ffee"}, c.arguments...)...)
		image, ok, err := Read(bytes.NewReader(data), SizeRead)
		if !c.want.Object {
			c.want.BuildID = "c0ffee"
		}
		if err != nil || !ok || image != c.want {
			t.Errorf("%s: got %+v, %t, %v, want %+v", name, image, ok, err, c.want)
		}
	}
}

// This test is a program of Go's.
func TestGo(t *testing.T) {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	image, ok, err := Read(exe, SizeRead)
	if err != nil || !ok || image.Library || image.Go == "" {
		t.Errorf("got %+v, %t, %v", image, ok, err)
	}
	if _, ok, err := Read(exe, 1<<10); ok || err != ErrBudget { //nolint:errorlint // it is never wrapped
		t.Errorf("little may be read: %t, %v", ok, err)
	}
}

func TestOthers(t *testing.T) {
	head := append([]byte("\x7fELF\x02\x01\x01\x00AI\x02"), make([]byte, 60)...)
	if got := AppImageType(head); got != 2 {
		t.Errorf("an AppImage has type %d", got)
	}
	for _, data := range []string{"", "#!", "\x7fELF", strings.Repeat("\x7fELF", 100)} {
		if image, ok, err := Read(strings.NewReader(data), SizeRead); ok || err != nil || image != (Image{}) {
			t.Errorf("%.10q: %+v, %t, %v", data, image, ok, err)
		}
	}
}

// endless is a file whose maker claims any length.
type endless struct{ head []byte }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(e.head)) {
		copy(p, e.head[off:])
	}
	return len(p), nil
}

func FuzzRead(f *testing.F) {
	for _, arguments := range [][]string{nil, {"-shared", "-fPIC"}, {"-c"}, {"-Xlinker", `--package-metadata={"name":"a"}`}} {
		f.Add(compile(f, slices.Concat(arguments, []string{"-s"})...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if image, ok, _ := Read(bytes.NewReader(data), 1<<20); !ok && image != (Image{}) {
			t.Errorf("got %+v", image)
		}
		_, _, _ = Read(endless{data}, 1<<20)
	})
}
