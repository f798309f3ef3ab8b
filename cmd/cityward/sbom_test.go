package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The console blocks of docs/sbom.md are run one after the other in one directory.
func TestSBOMDocument(t *testing.T) {
	steps := consoleBlocks(t, filepath.Join(repository(t), "docs/sbom.md"))
	if len(steps) < 6 {
		t.Fatalf("only %d commands were found", len(steps))
	}
	dir, bin := t.TempDir(), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, s := range steps {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", s.command)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.command, err, out)
		}
		if shown := strings.Join(s.shown, "\n"); strings.TrimSuffix(string(out), "\n") != shown {
			t.Errorf("%s: docs/sbom.md shows\n%s\nthe program writes\n%s", s.command, shown, out)
		}
	}
}
