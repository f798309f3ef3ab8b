package installed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// Terms that were not read keep a package from being free by those that were.
func TestTermsThatAreNotRead(t *testing.T) {
	const free = "Copyright 2020 A. Maker\n\nIt is in the public domain.\n"
	texts := licence.New("")
	for name, test := range map[string]struct {
		more func(dir string) error
		free bool
	}{
		"alone":       {func(string) error { return nil }, true},
		"a directory": {func(dir string) error { return os.Mkdir(filepath.Join(dir, "LICENSE.d"), 0o755) }, true},
		"huge": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "LICENSE.EULA"), make([]byte, 3<<20), 0o600)
		}, false},
		"a FIFO": {func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "LICENSE.more"), 0o600) }, false},
		"many": {func(dir string) error {
			for name := range strings.FieldsSeq("LICENSE.a LICENSE.b LICENSE.c LICENSE.d") {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(free), 0o600); err != nil {
					return err
				}
			}
			return nil
		}, false},
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "LICENSE"), []byte(free), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := test.more(root); err != nil {
			t.Fatal(err)
		}
		h, err := host.Open(root, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		l := texts.Complete(inventory.Licence{}, Licences(h, "/")...)
		if (l.Freedom == inventory.Free) != test.free {
			t.Errorf("%s: %+v", name, l)
		}
		_ = h.Close()
	}
}
