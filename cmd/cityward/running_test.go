package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cityward/agent/report"
	"cityward/collectors/inventory"
)

type listedProgram struct {
	Executable    string `json:"executable"`
	PIDs          []int  `json:"pids"`
	Package       string `json:"package"`
	Script        string `json:"script"`
	ScriptPackage string `json:"script_package"`
}

// listedPrograms gives what the inventory's document lists of an executable.
func listedPrograms(t *testing.T, doc []byte, executable string) []listedProgram {
	t.Helper()
	var inventory struct{ Programs []listedProgram }
	if err := json.Unmarshal(doc, &inventory); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(inventory.Programs, func(p listedProgram) bool { return p.Executable != executable })
}

// Programs that live a millisecond, and scripts that live a few, are in the
// inventory with their package although no round saw them run.
func TestShortProgramsAreInTheInventory(t *testing.T) {
	needRoot(t)
	script := filepath.Join(t.TempDir(), "job.pl")
	if err := os.WriteFile(script, []byte("exit 0;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := forced(t, inventory.TierBPF)
	a.Round(t.Context())
	const n = 200
	for range n {
		if err := exec.CommandContext(t.Context(), "/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{script, "--password=rosebud"}, {"/usr/bin/debconf-escape", "-e"}} {
		if out, err := exec.CommandContext(t.Context(), "/usr/bin/perl", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r := a.Round(t.Context())
	ended := 0
	for i := range r.Snapshot.Processes {
		if p := &r.Snapshot.Processes[i]; p.Executable == "/usr/bin/true" && !p.Ended.IsZero() {
			ended++
		}
	}
	if ended < n {
		t.Errorf("%d of %d executions are listed", ended, n)
	}
	doc, err := report.Document(r, report.Inventory)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(doc), "rosebud") {
		t.Error("an argument is shown")
	}
	for _, p := range listedPrograms(t, doc, "/usr/bin/true") {
		if !strings.HasPrefix(p.Package, "pkg:deb/debian/coreutils@") || p.Script != "" {
			t.Errorf("%+v", p)
		}
	}
	if len(listedPrograms(t, doc, "/usr/bin/true")) == 0 {
		t.Error("/usr/bin/true is not listed")
	}
	scripts := make(map[string]string)
	for _, p := range listedPrograms(t, doc, "/usr/bin/perl") {
		scripts[p.Script] = p.ScriptPackage
	}
	if owner, listed := scripts[script]; !listed || owner != "" {
		t.Errorf("scripts %q", scripts)
	}
	if !strings.HasPrefix(scripts["/usr/bin/debconf-escape"], "pkg:deb/debian/debconf@") {
		t.Errorf("scripts %q", scripts)
	}
}
