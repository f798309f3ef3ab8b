package host

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMount(t *testing.T) {
	m, err := parseMount(`36 35 98:0 /mnt1\040a /mnt2\011b rw,noatime master:1 shared:2 - nfs4 host:/x\134y rw,upper=a\054b,addr=::1`)
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != 36 || m.Parent != 35 || m.Device != unix.Mkdev(98, 0) || m.Root != "/mnt1 a" || m.Target != "/mnt2\tb" ||
		m.Type != "nfs4" || m.Source != `host:/x\y` || m.Option("upper") != "a,b" || m.Option("addr") != "::1" {
		t.Errorf("parsed %+v", m)
	}
	if m, err = parseMount("36 35 0:5 / /x rw - tmpfs  rw"); err != nil || m.Source != "" || m.Options[0] != "rw" {
		t.Errorf("empty source: %+v, %v", m, err)
	}
	// A no-break space is part of a name, not a separator.
	if m, err = parseMount("36 35 0:5 / /a\u00a0b rw - tmpfs t rw"); err != nil || m.Target != "/a\u00a0b" {
		t.Errorf("no-break space: %+v, %v", m, err)
	}
	for _, line := range []string{"", "36 35 98:0 / /x rw - ext4", "36 35 98 / /x rw - ext4 s rw", "x 35 98:0 / /x rw - ext4 s rw", "36 35 98:0 / x rw - ext4 s rw"} {
		if m, err := parseMount(line); err == nil {
			t.Errorf("%q parsed as %+v", line, m)
		}
	}
}

func TestCovering(t *testing.T) {
	table := `1 0 8:1 / / rw - ext4 root rw
2 1 8:2 / /srv rw - ext4 first rw
3 2 8:3 / /srv rw - ext4 stacked rw
4 1 8:4 / /srv/x rw - ext4 hidden rw
5 3 8:5 / /srv/x/y rw - ext4 deep rw
6 1 8:6 / /srvx rw - ext4 sibling rw
7 7 8:7 / /self rw - ext4 own-parent rw
`
	mounts, malformed, err := ParseMounts(strings.NewReader(table))
	if err != nil || malformed != 0 {
		t.Fatal(malformed, err)
	}
	for p, want := range map[string]string{
		"/": "root", "/srv": "stacked", "/srv/x": "stacked", "/srv/x/y/z": "deep", "/srvx/a": "sibling", "/sr": "root",
	} {
		if m, ok := mounts.Covering(p); !ok || m.Source != want {
			t.Errorf("%s is covered by %+v, want %s", p, m, want)
		}
	}
	var below []string
	for _, m := range mounts.Below("/srv") {
		below = append(below, m.Source)
	}
	if !slices.Equal(below, []string{"deep"}) {
		t.Errorf("below /srv: %q, want the visible one alone", below)
	}
}

func FuzzMounts(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(string(own), "/usr/bin")
	}
	f.Add("40 22 0:51 / /srv rw shared:1 - overlay o rw,upperdir=/a\\054b\n41 40 0:5 / /srv rw - nfs a:/b rw\n", "/srv/x")
	f.Add("1 2 8:1 / / rw - e s\n2 1 8:1 / / rw - e s\n", "/")
	f.Fuzz(func(t *testing.T, text, path string) {
		table, malformed, err := ParseMounts(strings.NewReader(text))
		if err != nil {
			return
		}
		if lines := strings.Count(text, "\n") + 1; len(table.Mounts)+malformed > lines {
			t.Fatalf("%d mounts and %d malformed of %d lines", len(table.Mounts), malformed, lines)
		}
		if m, ok := table.Covering(path); ok && !Within(path, m.Target) {
			t.Fatalf("%q is said to be covered by %q", path, m.Target)
		}
		for _, m := range table.Below(path) {
			if !Within(m.Target, path) {
				t.Fatalf("%q is said to be below %q", m.Target, path)
			}
		}
	})
}

func TestWaits(t *testing.T) {
	for line, want := range map[string]bool{
		"1 0 8:1 / / rw - ext4 /dev/sda1 rw":     false,
		"1 0 0:40 / / rw - btrfs /dev/sda1 rw":   false,
		"1 0 0:41 / / rw - nfs4 a:/b rw":         true,
		"1 0 0:42 / / rw - fuse.sshfs a:b rw":    true,
		"1 0 8:2 / / rw - fuseblk /dev/sda2 rw":  true,
		"1 0 0:43 / / rw - autofs systemd-1 rw":  true,
		"1 0 0:44 / / rw - of-next-year none rw": true,
	} {
		m, err := parseMount(line)
		if err != nil || m.Waits() != want {
			t.Errorf("%q: waits %v, %v", line, m.Waits(), err)
		}
	}
}
