package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestWalk(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"store/b/deep", "store/a", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"store/b/deep/one", "store/a/two", "elsewhere/three"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/elsewhere", filepath.Join(root, "store/c")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(root, "store/a/two"), filepath.Join(root, "store/z")); err != nil {
		t.Fatal(err)
	}
	h, err := Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()

	var seen []string
	visited, missed, err := h.Walk("/store", 100, func(w *Walked) error {
		seen = append(seen, w.Path)
		if wantLinks := w.Path == "/store/z" || w.Path == "/store/a/two"; w.Regular() && wantLinks != (w.Links == 2) {
			t.Errorf("%s has %d links", w.Path, w.Links)
		}
		if w.Path == "/store/b" {
			return ErrSkip
		}
		return nil
	})
	want := []string{"/store", "/store/a", "/store/b", "/store/c", "/store/z", "/store/a/two"}
	if err != nil || missed != 0 || visited != len(want) || !slices.Equal(seen, want) {
		t.Errorf("visited %q (%d, missed %d, %v), want %q", seen, visited, missed, err, want)
	}

	none := func(*Walked) error { return nil }
	if visited, missed, err = h.Walk("/store", 3, none); visited != 3 || missed == 0 || err != nil {
		t.Errorf("limit of 3: visited %d, missed %d, %v", visited, missed, err)
	}
	stop := errors.New("stop")
	if _, _, err = h.Walk("/store", 3, func(*Walked) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want the visitor's", err)
	}
	if _, _, err = h.Walk("/nothing", 3, none); !Gone(err) {
		t.Errorf("error %v, want that it is gone", err)
	}
}
