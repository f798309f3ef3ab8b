package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "cityward"

// room is a line of the import table: the packages that match may import, of
// ours, only what is listed. A pattern ending in /* matches one folder more.
type room struct {
	pattern string
	may     []string
}

// The house plan. The first line that matches a package is its rule.
func importTable() []room {
	return []room{
		{"configs", nil},
		{"packaging", nil},
		{"collectors/inventory", nil},
		{"checks/finding", nil},
		{"collectors/internal/installed", []string{"collectors/inventory", "collectors/internal/host", "collectors/internal/licence", "collectors/internal/program", "collectors/internal/rpmdb"}},
		{"collectors/internal/licence", []string{"collectors/inventory", "collectors/internal/spdx"}},
		{"collectors/internal/loaded", []string{"collectors/inventory", "collectors/internal/host", "collectors/internal/installed"}},
		{"collectors/internal/rpmdb", []string{"collectors/internal/host"}},
		{"collectors/internal/spdx", []string{"collectors/inventory"}},
		{"collectors/internal/*", nil},
		{"collectors/custody", []string{"configs", "collectors/inventory", "collectors/internal/*"}},
		{"collectors/flow", []string{"configs", "collectors/inventory", "collectors/internal/*"}},
		{"collectors/process", []string{"configs", "collectors/inventory", "collectors/internal/*"}},
		{"collectors/*", []string{"configs", "collectors/inventory", "collectors/internal/host", "collectors/internal/installed", "collectors/internal/licence", "collectors/internal/loaded", "collectors/internal/program", "collectors/internal/rpmdb", "collectors/internal/spdx"}},
		{"collectors", []string{"configs", "collectors/*", "collectors/internal/*"}},
		{"checks/*", []string{"configs", "collectors/inventory", "checks/finding"}},
		{"checks", []string{"configs", "collectors/inventory", "checks/*"}},
		{"agent", []string{"configs", "collectors", "collectors/inventory", "checks", "checks/finding"}},
		{"agent/*", []string{"configs", "agent", "collectors/inventory", "checks", "checks/finding"}},
		{"cmd/cityward", []string{"*", "*/*"}},
	}
}

type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "./...")
	cmd.Dir = repository(t)
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// repository is the folder of go.mod.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func matches(pattern, name string) bool {
	ok, _ := filepath.Match(pattern, name)
	return ok
}

func TestImportsFollowTheTable(t *testing.T) {
	used := make(map[string]bool)
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		table := importTable()
		i := slices.IndexFunc(table, func(r room) bool { return matches(r.pattern, name) })
		if i < 0 {
			t.Errorf("%s is in no line of the import table", name)
			continue
		}
		used[table[i].pattern] = true
		for _, imported := range p.Imports {
			ours, isOurs := strings.CutPrefix(imported, module+"/")
			if !isOurs {
				continue
			}
			if !slices.ContainsFunc(table[i].may, func(m string) bool { return matches(m, ours) }) {
				t.Errorf("%s imports %s, which its line of the import table does not allow", name, ours)
			}
		}
	}
	for _, r := range importTable() {
		if !used[r.pattern] {
			t.Errorf("the import table names %s, which does not exist", r.pattern)
		}
	}
}

// A check is pure: the snapshot and the policy are all it has.
func TestChecksArePure(t *testing.T) {
	for _, p := range listPackages(t) {
		if !strings.HasPrefix(p.ImportPath, module+"/checks") {
			continue
		}
		for _, impure := range []string{"os", "net", "net/http", "log", "log/slog", "syscall", "golang.org/x/sys/unix", "math/rand"} {
			if slices.Contains(p.Imports, impure) {
				t.Errorf("%s imports %s", p.ImportPath, impure)
			}
		}
	}
}

func TestHouseRules(t *testing.T) {
	for _, p := range listPackages(t) {
		docs := 0
		for _, name := range p.GoFiles {
			file := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			tree, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if tree.Doc != nil {
				docs++
			}
			short := strings.TrimPrefix(p.ImportPath, module+"/") + "/" + name
			checkFile(t, short, fset, tree)
		}
		if docs != 1 {
			t.Errorf("%s has %d package comments, want one", p.ImportPath, docs)
		}
	}
}

func checkFile(t *testing.T, name string, fset *token.FileSet, tree *ast.File) {
	t.Helper()
	if lines := fset.Position(tree.End()).Line; lines > 500 && !ast.IsGenerated(tree) {
		t.Errorf("%s has %d lines: one room, or two?", name, lines)
	}
	for _, imported := range tree.Imports {
		if imported.Path.Value == `"os/exec"` {
			t.Errorf("%s imports os/exec: the agent runs no other program", name)
		}
	}
	for _, decl := range tree.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				t.Errorf("%s has init()", name)
			}
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				checkVariables(t, name, d)
			}
		}
	}
}

// checkVariables allows at package level what never changes: sentinels,
// embedded files and assertions that a type has an interface's methods.
func checkVariables(t *testing.T, name string, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for _, id := range v.Names {
			embedded := d.Doc != nil && strings.Contains(rawText(d.Doc), "//go:embed")
			sentinel := strings.HasPrefix(id.Name, "Err") || strings.HasPrefix(id.Name, "err")
			if id.Name != "_" && !embedded && !sentinel {
				t.Errorf("%s has the package variable %s", name, id.Name)
			}
		}
	}
}

// rawText keeps directives, which CommentGroup.Text drops.
func rawText(g *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text + "\n")
	}
	return b.String()
}

func TestModuleReplacesNothing(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repository(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(strings.TrimSpace(line), "replace") {
			t.Errorf("go.mod: %s", line)
		}
	}
}
