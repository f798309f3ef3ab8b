package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An ordinary user may look, is told in one line what could not be seen, and
// gets no pass from what was not.
func TestWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root, to become another user")
		}
		t.Skip("needs root, to become another user")
	}
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	config := filepath.Join(dir, "cityward.toml")
	text := "[city]\nnetworks = [\"10.77.0.0/16\"]\n[[data_store]]\nid = \"store\"\nclass = \"citizen\"\npaths = [\"" + store + "\"]\n"
	for _, err := range []error{os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Mkdir(store, 0o700), os.WriteFile(config, []byte(text), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "cityward"), "--config", config, "scan", "--format", "json")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if said := stderr.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "not run as root") || !strings.Contains(said, "holdings") {
		t.Errorf("it says %q, want one line that names what could not be seen", said)
	}
	var scan struct {
		Checks []struct{ Check, Result string }
	}
	if err := json.Unmarshal(out, &scan); err != nil {
		t.Fatal(err)
	}
	// What a user may see suffices for these: packages, the policy itself, and
	// that others may not enter the store.
	justified := map[string]bool{"SWF-001": true, "AGT-002": true, "ACC-002": true}
	for _, c := range scan.Checks {
		if c.Result == "pass" && !justified[c.Check] {
			t.Errorf("%s passes for a user who cannot see", c.Check)
		}
	}
	if len(scan.Checks) < 12 {
		t.Errorf("only %d checks were judged", len(scan.Checks))
	}
}
