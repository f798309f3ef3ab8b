package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// release is the part of goreleaser.yaml that names our files.
type release struct {
	Before struct{ Hooks []string }
	Builds []struct {
		Main    string
		Flags   []string
		LDFlags []string
	}
	Archives []struct{ Files []yaml.Node }
	NFPMs    []map[string]any `yaml:"nfpms"`
}

// repository is the folder of goreleaser.yaml.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// readRelease reads goreleaser.yaml and makes what it wants made beforehand.
func readRelease(t *testing.T) release {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t), "goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var r release
	if err := yaml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Builds) == 0 || len(r.Archives) == 0 || len(r.NFPMs) == 0 {
		t.Fatalf("goreleaser.yaml has %d builds, %d archives, %d nfpms: want one of each at least",
			len(r.Builds), len(r.Archives), len(r.NFPMs))
	}
	for _, hook := range r.Before.Hooks {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", hook)
		cmd.Dir = repository(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", hook, err, out)
		}
	}
	return r
}

func TestReleaseNamesFilesThatExist(t *testing.T) {
	r := readRelease(t)
	var paths []string
	for _, b := range r.Builds {
		paths = append(paths, b.Main)
	}
	for _, a := range r.Archives {
		for _, node := range a.Files {
			var file struct{ Src string }
			if node.Decode(&file) != nil {
				file.Src = node.Value
			}
			paths = append(paths, file.Src)
		}
	}
	for _, n := range r.NFPMs {
		for _, c := range n["contents"].([]any) {
			paths = append(paths, c.(map[string]any)["src"].(string))
		}
		for _, script := range n["scripts"].(map[string]any) {
			paths = append(paths, script.(string))
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join(repository(t), path)); err != nil {
			t.Errorf("goreleaser.yaml names %q: %v", path, err)
		}
	}
}

// buildProgram compiles the program as a release does, but for the stamp of the
// version control, which a test's tree may not have.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "cityward")
	b := readRelease(t).Builds[0]
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.Join(b.LDFlags, " "), "-o", program, b.Main)
	cmd.Dir = repository(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// buildDeb makes the Debian package of goreleaser.yaml with nfpm alone, since
// goreleaser itself takes minutes to build and wants a tagged commit.
func buildDeb(t *testing.T, program, version string) string {
	t.Helper()
	config, err := yaml.Marshal(nfpmConfig(readRelease(t).NFPMs[0], program, version))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, deb := filepath.Join(dir, "nfpm.yaml"), filepath.Join(dir, "cityward.deb")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=packaging/tools/go.mod",
		"nfpm", "package", "--config", file, "--packager", "deb", "--target", deb)
	cmd.Dir = repository(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nfpm: %v\n%s", err, out)
	}
	return deb
}

// nfpmConfig says in nfpm's words what goreleaser would have told it.
func nfpmConfig(n map[string]any, program, version string) map[string]any {
	contents := append([]any{map[string]any{
		"src": program, "dst": filepath.Join(n["bindir"].(string), "cityward"),
		"file_info": map[string]any{"mode": 0o755},
	}}, n["contents"].([]any)...)
	config := map[string]any{
		"name": n["package_name"], "arch": runtime.GOARCH, "platform": "linux", "version": version,
		"depends": n["dependencies"], "contents": contents,
	}
	for _, key := range []string{"section", "priority", "maintainer", "description", "homepage", "license", "scripts"} {
		config[key] = n[key]
	}
	return config
}

func TestDebianPolicy(t *testing.T) {
	needs(t, "lintian")
	deb := buildDeb(t, buildProgram(t), "0.0.1")
	// What is accepted stands with its reason in deb/lintian-overrides.
	command(t, "lintian", "--allow-root", "--fail-on", "error", deb)
}

// publiccode.yml 0.7.0 names what a catalogue of public software must be told.
func TestPublicCode(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository(t), "publiccode.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct{ least, most int }{
		"publiccodeYmlVersion":            {5, 5},
		"name":                            {1, 100},
		"url":                             {1, 200},
		"platforms":                       {1, 10},
		"developmentStatus":               {1, 20},
		"softwareType":                    {1, 30},
		"description/en/shortDescription": {1, 150},
		"description/en/longDescription":  {150, 10000},
		"description/en/features":         {1, 100},
		"legal/license":                   {1, 50},
		"maintenance/type":                {1, 20},
		"maintenance/contacts":            {1, 10},
		"localisation/localisationReady":  {1, 1},
		"localisation/availableLanguages": {1, 30},
	} {
		if size := sizeAt(file, path); size < want.least || size > want.most {
			t.Errorf("%s has length %d, want %d to %d", path, size, want.least, want.most)
		}
	}
}

// sizeAt gives the length of what a path of keys leads to, 0 if nothing is there.
func sizeAt(value any, path string) int {
	for key := range strings.SplitSeq(path, "/") {
		inner, ok := value.(map[string]any)
		if !ok {
			return 0
		}
		value = inner[key]
	}
	switch v := value.(type) {
	case string:
		return len(v)
	case []any:
		return len(v)
	case bool:
		return 1
	}
	return 0
}
