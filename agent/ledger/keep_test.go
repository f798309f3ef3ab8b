package ledger

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestKept(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, dir, limits())
	l.Keep(nil)
	l.Keep(map[string][]byte{"a": []byte("1"), "b": []byte("2"), "c": []byte("3")})
	l.Keep(map[string][]byte{"a": nil, "b": []byte("4")})
	l.Close()
	l = begin(t, dir, limits())
	if got := l.Kept(); len(got) != 2 || string(got["b"]) != "4" || string(got["c"]) != "3" {
		t.Errorf("kept %q", got)
	}
	l.Keep(map[string][]byte{"b": nil, "c": nil})
	l.Close()
	l = begin(t, dir, limits())
	defer l.Close()
	if got := l.Kept(); len(got) != 0 {
		t.Errorf("kept %q", got)
	}
	sound(t, dir)
}

// What must not wait for the second between two transactions does not.
func TestKeepIsPrompt(t *testing.T) {
	dir := t.TempDir()
	l := start(Options{Dir: dir, Limits: limits(), Log: begin(t, t.TempDir(), limits()).Log, Now: time.Now}, time.Hour)
	defer l.Close()
	for _, key := range []string{"a", "b", "c"} {
		l.Keep(map[string][]byte{key: []byte("x")})
		until(t, "key "+key+" is on the disk", func() bool {
			r, err := Open(dir)
			if err != nil {
				return false
			}
			defer r.Close()
			all, err := readKept(t.Context(), r.db)
			return err == nil && all[key] != nil
		})
	}
}

// Where nothing can be written, memory keeps; a file that comes later gets all.
func TestKeptInMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	l := begin(t, dir, limits())
	l.Keep(map[string][]byte{"a": []byte("1")})
	if got := l.Kept(); string(got["a"]) != "1" || l.Head() != nil {
		t.Errorf("kept %q, head %v", got, l.Head())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Keep(map[string][]byte{"b": []byte("2")})
	l.Close()
	l = begin(t, dir, limits())
	defer l.Close()
	if got := l.Kept(); len(got) != 2 {
		t.Errorf("kept %q", got)
	}
}

// Whoever has the public key can check a head that somebody else noted down.
func TestHead(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, dir, limits())
	defer l.Close()
	until(t, "a head", func() bool { return l.Head() != nil && l.Head().Row > 0 })
	head := l.Head()
	key, err := PublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := seal{what: sealHead, seq: head.Row, time: head.Time.UnixMilli(), key: key, signature: head.Signature}
	for from, into := range map[string]*digest{head.Hash: &s.hash, head.Open: &s.open} {
		if _, err := hex.Decode(into[:], []byte(from)); err != nil {
			t.Fatal(err)
		}
	}
	if !s.sound(key) {
		t.Errorf("the head %+v is not signed", head)
	}
}
