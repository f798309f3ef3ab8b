package loaded

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cityward/collectors/inventory"
)

// The stand-in for Java is a shell by that name: what counts is what it has open.
func TestOpenArchives(t *testing.T) {
	dir := t.TempDir()
	shell, err := os.ReadFile("/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	java := filepath.Join(dir, "java")
	if err := os.WriteFile(java, shell, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app.jar", "web.war", "notes.txt", "old.jar"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const opens = `exec 3<app.jar 4<app.jar 5<web.war 6<notes.txt 7<old.jar; rm old.jar; echo ready; read`
	p := child(t, dir, java, "-c", opens)
	other := child(t, dir, "bash", "-c", `exec 3<app.jar; echo ready; read`)
	h, proc := machine(t, time.Now)
	f := read(t, &Reader{}, h, proc, p, other)
	got := make(map[string]bool)
	for _, l := range f.Libraries {
		if name, err := filepath.Rel(dir, l.Path); err == nil && filepath.IsLocal(name) {
			got[name] = l.Replaced
			if l.Replaced && !slices.Equal(l.Users, []inventory.Execution{p.ID}) {
				t.Errorf("%s is used by %v", name, l.Users)
			}
		}
	}
	if len(got) != 3 || got["app.jar"] || got["web.war"] || !got["old.jar"] {
		t.Errorf("open archives, and whether they were replaced: %v", got)
	}
	if only := read(t, &Reader{}, h, proc, other); slices.ContainsFunc(only.Libraries, func(l inventory.Library) bool { return archive(l.Path) }) {
		t.Errorf("a shell has archives: %+v", only.Libraries)
	}
}
