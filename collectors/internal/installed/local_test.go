package installed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
)

// machine lays files, executable ones by their content, and opens them under a
// clock that can be set.
func machine(t *testing.T, files map[string]string) (h *host.Host, root string, now *time.Time) {
	t.Helper()
	root = t.TempDir()
	for name, content := range files {
		put(t, filepath.Join(root, name), content)
	}
	now = new(time.Time)
	*now = time.Now()
	h, err := host.Open(root, func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h, root, now
}

func put(t *testing.T, name, content string) {
	t.Helper()
	mode := os.FileMode(0o644)
	if content != "" && (content[0] == '#' || content[0] == '\x7f') {
		mode = 0o755
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, l *Local, seen *Seen) []LocalFile {
	t.Helper()
	found, err := l.Find(t.Context(), seen)
	if err != nil || found.Lost != (Tally{}) || found.Over != (Tally{}) {
		t.Errorf("%+v, %v", found, err)
	}
	return found.Files
}

func TestLocal(t *testing.T) {
	const elf, script = "\x7fELF\x02", "#!/bin/sh\n"
	h, root, now := machine(t, map[string]string{
		"opt/acme/bin/tool":                             elf,
		"opt/acme/lib/libtool.so.1":                     elf,
		"opt/acme/LICENSE":                              "terms",
		"opt/acme/tool.deps.json":                       "{}",
		"opt/acme/readme":                               "not executable",
		"opt/acme/node_modules/x/y":                     elf,
		"opt/acme/.git/hooks/pre-commit":                script,
		"srv/wiki/vendor/autoload.php":                  "<?php",
		"srv/wiki/vendor/composer/installed.json":       "[]",
		"srv/wiki/vendor/acme/bin/x":                    script,
		"home/eva/gems/specifications/a-1.gemspec":      "",
		"home/eva/gems/gems/a-1/a.gemspec":              "",
		"home/eva/gems/gems/a-1/bin/a":                  script,
		"root/go/pkg/mod/x/y":                           script,
		"usr/local/bin/run":                             script,
		"usr/lib/elsewhere/specifications/none.gemspec": "",
	})
	// Links lead to directories above, and in a circle.
	for name, target := range map[string]string{"opt/acme/up": "..", "opt/acme/self": "self", "srv/wiki/abs": "/srv"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := []LocalFile{
		{"/home/eva/gems/specifications/a-1.gemspec", Gemspec},
		{"/opt/acme/LICENSE", Terms},
		{"/opt/acme/bin/tool", ELF},
		{"/opt/acme/lib/libtool.so.1", Library},
		{"/opt/acme/tool.deps.json", Deps},
		{"/srv/wiki/vendor/composer/installed.json", Composer},
		{"/usr/local/bin/run", Script},
	}
	l := NewLocal(h)
	var one, other Seen
	if got := find(t, l, &one); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	// The second room of a round shares the walk, the first one of the next does not.
	put(t, filepath.Join(root, "opt/acme/bin/more"), elf)
	if got := find(t, l, &other); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	for range localTurns - 1 {
		find(t, l, &one)
	}
	if got := find(t, l, &one); len(got) != len(want)+1 {
		t.Errorf("when each directory had its turn after a change: %+v", got)
	}
	// What no directory shows is seen an hour later.
	if err := os.Chmod(filepath.Join(root, "opt/acme/bin/more"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range localTurns {
		if got := find(t, l, &one); len(got) != len(want)+1 {
			t.Errorf("at once: %+v", got)
		}
	}
	*now = now.Add(maxListingAge + time.Second)
	if got := find(t, l, &one); !slices.Equal(got, want) {
		t.Errorf("an hour later: %+v", got)
	}
}

func TestLocalBounds(t *testing.T) {
	files := make(map[string]string)
	deep := "opt/deep" + strings.Repeat("/d", mostLocalDepth+3)
	files[deep+"/tool"] = "\x7fELF"
	h, _, _ := machine(t, files)
	found, err := NewLocal(h).Find(t.Context(), new(Seen))
	if err != nil || len(found.Files) != 0 || found.Over.count == 0 {
		t.Errorf("too deep: %+v, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewLocal(h).Find(ctx, new(Seen)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	wide := make(map[string]string)
	for i := range 3 {
		wide[fmt.Sprintf("opt/%d/x", i)] = ""
	}
	h, root, _ := machine(t, wide)
	for i := range 100 {
		if err := os.Mkdir(filepath.Join(root, "opt/1", strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(root, "srv/city/run"), "#!/bin/sh\n")
	l := NewLocal(h)
	l.most = 100
	found, err = l.Find(t.Context(), new(Seen))
	if err != nil || found.Over.count < 3 || len(found.Files) != 1 {
		t.Errorf("too wide, and the next place: %d lost, %+v, %v", found.Over.count, found.Files, err)
	}
}

func TestOwnedByPacman(t *testing.T) {
	h, _, _ := machine(t, map[string]string{
		"var/lib/pacman/local/a-b-1:2-3/files": "%FILES%\nusr/\nusr/lib/a\n\n%BACKUP%\netc/a\tx\n",
		"var/lib/pacman/local/ALPM_DB_VERSION": "9\n",
	})
	has, lost, err := new(Owned).Among(t.Context(), h, []string{"/usr/lib/a", "/usr/lib/b"})
	if err != nil || lost != (Tally{}) || has("/usr/lib/a") != (Package{"pacman", "a-b"}) || !has("/usr/lib/b").None() {
		t.Errorf("%+v, %+v, %v", has("/usr/lib/a"), lost, err)
	}
}
