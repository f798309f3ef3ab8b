package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/agent"
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

// modules is a Node.js program of its own with a package that an installer would
// put there, and lies in dir.
func modules(t *testing.T, dir string) {
	t.Helper()
	for file, text := range map[string]string{
		"package.json":                     `{"name": "portal", "version": "1.0.0"}`,
		"server.js":                        "setInterval(() => {}, 60000);",
		"node_modules/waiter/package.json": `{"name": "waiter", "version": "2.0.0", "license": "MIT"}`,
		"node_modules/waiter/bin/wait.js":  "setInterval(() => {}, 60000);",
	} {
		file = filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// Scripts of Python's and Node.js's own packages are followed to those, and pass
// where an installer put them.
func TestScriptsOfLanguagePackages(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("/var/lib", "cityward-test-") //nolint:usetesting // users may write to where that is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "venv", dir+"/venv").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	modules(t, dir)
	for _, command := range [][]string{
		{dir + "/venv/bin/python", "-m", "pip", "install", "-r", "/dev/stdin"},
		{dir + "/venv/bin/pip3", "install", "-r", "/dev/stdin"},
		{"/usr/bin/node", dir + "/server.js"},
		{"/usr/bin/node", dir + "/node_modules/waiter/bin/wait.js"},
	} {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		_, err := cmd.StdinPipe() // whose end it waits for
		if err = errors.Join(err, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		showsArguments(t, cmd.Process.Pid)
	}
	a := forced(t, inventory.TierPoll)
	want := map[string]string{"__main__.py": "pkg:pypi/pip", "pip3": "pkg:pypi/pip", "server.js": "pkg:npm/portal", "wait.js": "pkg:npm/waiter"}
	r := a.Round(t.Context())
	if found := scriptsBelow(t, r, dir); !maps.Equal(found, want) {
		t.Errorf("scripts %q, gaps %v", found, r.Snapshot.Gaps)
	}
	for _, f := range r.Findings {
		if f.Check == "SWF-003" && strings.Contains(f.Reason, dir) && !strings.Contains(f.Reason, "server.js") {
			t.Errorf("%s: %s", f.Subject, f.Reason)
		}
	}
}

// showsArguments waits until a program has begun: exec closes descriptors, for which
// its starter waits, and names the executable before it lays out the arguments.
func showsArguments(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil {
			t.Fatal(err)
		} else if len(data) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d shows no arguments", pid)
}

// scriptsBelow gives the packages of the scripts that run below a directory, by the
// script's last name.
func scriptsBelow(t *testing.T, r *agent.Report, dir string) map[string]string {
	t.Helper()
	doc, err := report.Document(r, report.Inventory)
	if err != nil {
		t.Fatal(err)
	}
	var listed struct{ Programs []listedProgram }
	if err := json.Unmarshal(doc, &listed); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, p := range listed.Programs {
		if script, ok := strings.CutPrefix(p.Script, dir+"/"); ok {
			found[path.Base(script)], _, _ = strings.Cut(p.ScriptPackage, "@")
		}
	}
	return found
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
