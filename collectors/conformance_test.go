package collectors

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/collectors/inventory"
	"cityward/configs"
)

// What every collector of the catalogue has to do, whatever it looks at.

const policy = `
[city]
networks = ["10.20.0.0/16"]

[[data_store]]
id = "registry"
class = "citizen"
paths = ["/srv/registry"]
services = ["tcp:5432"]

[[data_store]]
id = "archive"
class = "confidential"
paths = ["/srv/filer"]

[geo]
country = "/var/lib/geo/country.mmdb"
`

func testConfig(t testing.TB) *configs.Config {
	t.Helper()
	cfg, err := configs.Parse("test.toml", []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func noon() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

// round runs the catalogue as the agent does and returns each collector's part.
func round(ctx context.Context, t *testing.T, set *Set) (map[string]inventory.Facts, map[string]error) {
	t.Helper()
	var seen inventory.Facts
	parts, failures := make(map[string]inventory.Facts), make(map[string]error)
	for _, entry := range set.Entries() {
		before := seen
		began := time.Now()
		part, err := entry.Collect(ctx, &before)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %s", entry.Name, took)
		}
		if !reflect.DeepEqual(before, seen) {
			t.Errorf("%s changed what it was given", entry.Name)
		}
		parts[entry.Name], failures[entry.Name] = part, err
		seen.Append(&part)
	}
	return parts, failures
}

func build(t *testing.T, root string) *Set { return buildWith(t, root, testConfig(t)) }

func buildWith(t *testing.T, root string, cfg *configs.Config) *Set {
	t.Helper()
	set, err := Build(All(), root, cfg, noon)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return set
}

func TestCatalogue(t *testing.T) {
	names := make(map[string]bool)
	for _, spec := range All() {
		if names[spec.Name] {
			t.Errorf("%s is listed twice", spec.Name)
		}
		names[spec.Name] = true
		if len(spec.Kinds) == 0 {
			t.Errorf("%s names no kind of evidence", spec.Name)
		}
	}
	rooms, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		name := room.Name()
		if room.IsDir() && name != "internal" && name != "inventory" && name != "testdata" && !names[name] {
			t.Errorf("collectors/%s is not in the catalogue", name)
		}
	}
}

// After a reload no collector may work by the old policy: all heed a new one but
// those that work by none.
func TestReloadReachesAll(t *testing.T) {
	for _, entry := range build(t, t.TempDir()).Entries() {
		_, heeds := entry.Collector.(Configurer)
		if needs := entry.Name != "process" && entry.Name != "running"; heeds != needs {
			t.Errorf("%s heeds a new configuration: %t, want %t", entry.Name, heeds, needs)
		}
	}
}

// readsSoftware tells the collectors that only list what is installed.
func readsSoftware(name string) bool {
	return slices.Contains([]string{"running", "dpkg", "apk", "rpm", "container", "python", "node", "gobinary", "java", "rust", "ruby", "php", "dotnet", "flatpak", "file", "pacman", "snap"}, name)
}

// With nothing to read, every collector must say that it sees nothing.
func TestEmptyRootIsNeverSilent(t *testing.T) {
	set := build(t, t.TempDir())
	parts, failures := round(t.Context(), t, set)
	for _, entry := range set.Entries() {
		if failures[entry.Name] == nil && len(parts[entry.Name].Gaps) == 0 &&
			entry.Name != "engine" && (!readsSoftware(entry.Name) || entry.Name == "dpkg") {
			t.Errorf("%s sees an empty machine and reports neither an error nor a gap", entry.Name)
		}
	}
	// That there is no software at all is said once, by dpkg's collector: a
	// machine needs no Python. Engines are looked for among the processes, whose absence is reported
	// by the one who looks for processes.
	if failures["process"] == nil && len(parts["process"].Gaps) == 0 {
		t.Error("no process is no gap")
	}
}

func TestSameTwice(t *testing.T) {
	set := build(t, "testdata/host")
	first, _ := round(t.Context(), t, set)
	second, _ := round(t.Context(), t, set)
	fresh, _ := round(t.Context(), t, build(t, "testdata/host"))
	for name, part := range first {
		if !reflect.DeepEqual(part, second[name]) {
			t.Errorf("%s: two rounds differ:\n%+v\n%+v", name, part, second[name])
		}
		if !reflect.DeepEqual(part, fresh[name]) {
			t.Errorf("%s: the first rounds of two agents differ:\n%+v\n%+v", name, part, fresh[name])
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, failures := round(ctx, t, build(t, "testdata/host"))
	for name, err := range failures {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a cancelled context gives %v", name, err)
		}
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	set := build(t, "/")
	round(t.Context(), t, set)
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
}

// damage is one way in which a file of a machine can be bad. Root may read any
// file, so what cannot be read is made of something else than a file.
type damage struct {
	name string
	do   func(path string) error
}

func damages() []damage {
	return []damage{
		{"a directory", func(path string) error { return replace(path, func() error { return os.Mkdir(path, 0o755) }) }},
		{"a FIFO", func(path string) error { return replace(path, func() error { return syscall.Mkfifo(path, 0o644) }) }},
		{"a link to itself", func(path string) error {
			return replace(path, func() error { return os.Symlink(filepath.Base(path), path) })
		}},
		{"cut in half", func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, info.Size()/2)
		}},
		{"bytes of no meaning", func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("\x00\xff\xfe\n: =)(\x1b[31m", 300)), 0o644)
		}},
		{"1 GB of nothing", func(path string) error { return os.Truncate(path, 1<<30) }},
		{"one endless line", func(path string) error { return os.WriteFile(path, make([]byte, 3<<20), 0o644) }},
	}
}

func replace(path string, with func() error) error {
	return errors.Join(os.Remove(path), with())
}

// Each file of a machine in turn is bad: no collector may crash, hang, or give
// text that would upset a terminal.
func TestBadFiles(t *testing.T) {
	cfg := testConfig(t)
	cfg.State = t.TempDir() // texts that were read once need no patterns of licences again
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			root := t.TempDir()
			overlay(t, root, "testdata/host")
			for _, room := range []string{"dotnet", "flatpak", "pacman", "php", "ruby", "snap"} {
				overlay(t, root, room+"/testdata/host")
			}
			files := regularFiles(t, root)
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.do(file); err != nil {
					t.Fatal(err)
				}
				set := buildWith(t, root, cfg)
				parts, _ := round(t.Context(), t, set)
				if err := set.Rest(); err != nil {
					t.Fatal(err)
				}
				for name, part := range parts {
					if bad := badText(reflect.ValueOf(part)); bad != "" {
						t.Errorf("%s gives %q when %s is %s", name, bad, strings.TrimPrefix(file, root), d.name)
					}
				}
				if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, content, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if len(files) < 30 {
				t.Errorf("only %d files were damaged", len(files))
			}
		})
	}
}

// overlay adds what a tree has to another; files that both have stay.
func overlay(t *testing.T, root, tree string) {
	t.Helper()
	part := t.TempDir()
	if err := os.CopyFS(part, os.DirFS(tree)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(part, func(path string, d fs.DirEntry, err error) error {
		at := filepath.Join(root, strings.TrimPrefix(path, part))
		if _, there := os.Lstat(at); err != nil || there == nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(at, 0o755)
		}
		return os.Rename(path, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func regularFiles(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// badText finds a string with control characters or broken UTF-8 anywhere
// below v. Arguments are exempt: they are matched, never shown.
func badText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		text := v.String()
		if strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f }) || strings.ToValidUTF8(text, "") != text {
			return text
		}
	case reflect.Slice:
		for i := range v.Len() {
			if bad := badText(v.Index(i)); bad != "" {
				return bad
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return badText(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Name != "Arguments" {
				if bad := badText(v.Field(i)); bad != "" {
					return bad
				}
			}
		}
	}
	return ""
}
