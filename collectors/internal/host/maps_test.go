package host

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseMaps(t *testing.T) {
	text := `55d0c0a00000-55d0c0a02000 r--p 00000000 fd:01 1234                       /usr/bin/a b
55d0c0a02000-55d0c0a03000 r-xp 00002000 fd:01 1234                       /usr/bin/a b
7f00-7f01 rw-p 00000000 00:00 0 
7f01-7f02 rw-p 00000000 00:00 0                          [heap]
nonsense
7f02-7f03 r--s 00000000 08:11 77                         /srv/x (deleted)
`
	var got []string
	err := ParseMaps(bufio.NewReader(strings.NewReader(text)), func(m Mapping) bool {
		got = append(got, string(m.Name))
		if a := string(m.Name) == "/usr/bin/a b"; m.Code != a || a && (m.Inode != 1234 || m.Device != 0xfd01) {
			t.Errorf("mapping %+v", m)
		}
		return true
	})
	if want := []string{"/usr/bin/a b", "/srv/x (deleted)"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("mapped %q (%v), want %q", got, err, want)
	}
}

func FuzzMaps(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/maps"); err == nil {
		f.Add(string(own))
	}
	f.Add("a b c 08:1 7 x\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = ParseMaps(bufio.NewReader(strings.NewReader(text)), func(m Mapping) bool {
			if m.Inode == 0 || strings.Contains(string(m.Name), "\n") {
				t.Fatalf("mapping %+v", m)
			}
			return true
		})
	})
}
