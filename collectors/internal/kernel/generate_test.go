package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// madeBy is the compiler of the committed objects, that of Debian 12. Another one
// makes others.
const madeBy = "clang version 14."

// What is committed is what the source gives, byte for byte.
func TestGeneratedIsUpToDate(t *testing.T) {
	for _, program := range []string{"clang", "llvm-strip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	version, err := exec.CommandContext(t.Context(), "clang", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(version), madeBy) {
		first, _, _ := strings.Cut(string(version), "\n")
		t.Skipf("the objects are made by %s, and this is %s", madeBy, first)
	}
	for _, header := range []string{"/usr/include/bpf/bpf_helpers.h", "/usr/include/x86_64-linux-gnu/asm/types.h"} {
		if _, err := os.Stat(header); err != nil {
			t.Skip(err)
		}
	}
	_, generate, ok := strings.Cut(readFile(t, "generate.go"), "//go:generate ")
	before, after, known := strings.Cut(generate, " bpf2go ")
	if !ok || !known {
		t.Fatal("generate.go does not run bpf2go")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", before+" bpf2go -output-dir "+dir+" "+after)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	committed, err := filepath.Glob("flows_*_bpfel.*")
	if err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 4 || len(committed) != len(made) {
		t.Errorf("%d files are committed, %d made", len(committed), len(made))
	}
	for _, file := range committed {
		if anew, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !bytes.Equal(anew, []byte(readFile(t, file))) {
			t.Errorf("%s is not what its source gives (%v): run go generate", file, err)
		}
	}
}
