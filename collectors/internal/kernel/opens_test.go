package kernel

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func storeDir(t *testing.T, store uint, path string) StoreDir {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return StoreDir{Store: store, Device: st.Dev, Inode: st.Ino}
}

func holdsOf(r *Reading, who Flow) []Hold {
	var found []Hold
	for _, h := range r.Holds {
		if h.Owner.PID == who.Owner.PID && h.Owner.Start == who.Owner.Start {
			found = append(found, h)
		}
	}
	return found
}

func TestReadIsAHold(t *testing.T) {
	k := openOwn(t, Options{})
	t.Log(k.OpensMechanism(), k.OpensMisses())
	dir := t.TempDir()
	file := filepath.Join(dir, "citizens")
	if err := os.WriteFile(file, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.SetStores([]StoreDir{storeDir(t, 3, dir)}); err != nil {
		t.Fatal(err)
	}
	who := run(t, nil, "files read %s", file)
	h := holdsOf(read(t, k), who)
	if len(h) != 1 {
		t.Fatalf("%+v", h)
	}
	t.Logf("%+v", h[0])
}
