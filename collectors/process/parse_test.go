package process

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"cityward/collectors/internal/host"
)

func TestParseCredentials(t *testing.T) {
	const head = "Name:\tUid: 7\\n\nUmask:\t0022\n"
	tests := []struct {
		text string
		want credentials
		ok   bool
	}{
		{head + "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t4 27 4294967294 \n", credentials{2, 6, []int{4, 27, 4294967294}}, true},
		{head + "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t \n", credentials{0, 0, nil}, true},
		{head + "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n", credentials{0, 0, nil}, true},
		{head + "Uid:\t0\t0\t0\t0\n", credentials{}, false},
		{head + "Uid:\t0\t-1\t0\t0\nGid:\t0\t0\t0\t0\n", credentials{}, false},
		{head + "Uid:\t0\nGid:\t0\t0\t0\t0\n", credentials{}, false},
		{head + "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\tx\n", credentials{}, false},
		{"", credentials{}, false},
	}
	for _, test := range tests {
		got, err := parseCredentials([]byte(test.text))
		if (err == nil) != test.ok || test.ok && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %+v, %v", test.text, got, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/status"); err == nil {
		f.Add(own)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseCredentials(data); err == nil && (c.user < 0 || c.group < 0) {
			t.Errorf("got %+v", c)
		}
	})
}

func TestParseNames(t *testing.T) {
	const text = "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n\n# note\n+nis::::::\nbad\n:x:9:9\nweb:x:33\nneg:x:-1:0\n\x1b[1m:x:44:1\n"
	got, want := parseNames([]byte(text)), map[int]string{0: "root", 33: "web", 44: "\ufffd[1m"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzNames(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/bash\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for id, name := range parseNames(data) {
			if id < 0 || !utf8.ValidString(name) {
				t.Errorf("got %d %q", id, name)
			}
		}
	})
}

func TestNamesFollowTheFile(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "passwd")
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	n := names{path: "/passwd"}
	steps := []struct{ text, want string }{{"", "7"}, {"old:x:7:7\n", "old"}, {"other:x:7:7\n", "other"}}
	for _, step := range steps {
		if step.text != "" {
			if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.refresh(h); err != nil {
			t.Fatal(err)
		}
		if got := n.of(7); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := n.refresh(h); err == nil || n.of(7) != "other" {
		t.Errorf("unreadable: got %q, %v", n.of(7), err)
	}
}

func TestParseArguments(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"\x00\x00", nil},
		{"sh\x00-c\x00a\nb\x00", []string{"sh", "-c", "a\ufffdb"}},
		{"x\x00\x00y", []string{"x", "", "y"}},
		{"postgres: writer\x00\x00\x00", []string{"postgres: writer"}},
	}
	for _, test := range tests {
		if got := parseArguments([]byte(test.text)); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q", test.text, got)
		}
	}
}
