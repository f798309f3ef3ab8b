package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Debian tree holds packages of products, and a program of another product runs
// from /opt: SWF-002 names each with its substitute, and inventory does.
func TestSubstitutesEndToEnd(t *testing.T) {
	root := t.TempDir()
	fixture := os.DirFS("../../collectors/testdata/host")
	if err := os.CopyFS(root, fixture); err != nil {
		t.Fatal(err)
	}
	status := filepath.Join(root, "var/lib/dpkg/status")
	text, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mssql-server", "mongodb-org-server", "amazon-ssm-agent"} {
		text = append(text, "\nPackage: "+name+"\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: amd64\nVersion: 1.2\nDescription: x\n"...)
	}
	writeFile(t, status, string(text))
	// Process 733 of the fixture, which ran /opt/acme/bin/rts, is Splunk's forwarder now.
	moveProgram(t, root, "/opt/splunkforwarder/bin/splunkd")

	verdicts := make(map[string]string)
	reasons := make(map[string]string)
	var doc []struct{ Subject, Result, Reason string }
	if err := json.Unmarshal(cityward(t, "--root", root, "checks", "run", "SWF-002", "--format", "json"), &doc); err != nil {
		t.Fatal(err)
	}
	for _, f := range doc {
		verdicts[f.Subject], reasons[f.Subject] = f.Result, f.Reason
	}
	for subject, want := range map[string][2]string{
		"Microsoft SQL Server":       {"fail", "PostgreSQL"},
		"MongoDB Community Server":   {"fail", "FerretDB"},
		"Splunk Universal Forwarder": {"fail", "Fluent Bit"},
		"Amazon SSM Agent":           {"review", "OpenSSH"},
		"other components":           {"review", "acme-agent"},
	} {
		if verdicts[subject] != want[0] || !strings.Contains(reasons[subject], want[1]) {
			t.Errorf("%s: %q, %q", subject, verdicts[subject], reasons[subject])
		}
	}
	table := string(cityward(t, "--root", root, "inventory"))
	_, table, found := strings.Cut(table, "COULD BE REPLACED")
	if !found || !strings.Contains(table, "Splunk Universal Forwarder") || !strings.Contains(table, "rsyslog (GPL-3.0-or-later, Debian package rsyslog)") {
		t.Errorf("the inventory has\n%s", table)
	}
}

// moveProgram gives the fixture's program of /opt another executable.
func moveProgram(t *testing.T, root, executable string) {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*/exe"))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(links, func(link string) bool {
		target, err := os.Readlink(link)
		return err == nil && strings.HasPrefix(target, "/opt/")
	})
	if i < 0 {
		t.Fatal("no program of the fixture runs from /opt")
	}
	file := filepath.Join(root, executable)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, "")
	if err := os.Remove(links[i]); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(executable, links[i]); err != nil {
		t.Fatal(err)
	}
}

// cityward runs a command and gives its output; findings end it with a status of
// their own.
func cityward(t *testing.T, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	run(t.Context(), args, &out, io.Discard)
	return out.Bytes()
}
