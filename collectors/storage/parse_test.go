package storage

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestParseMount(t *testing.T) {
	m, err := parseMount(`36 35 98:0 /mnt1\040a /mnt2\011b rw,noatime master:1 shared:2 - nfs4 host:/x\134y rw,upper=a\054b,addr=::1`)
	if err != nil {
		t.Fatal(err)
	}
	if m.id != 36 || m.parent != 35 || m.device != unix.Mkdev(98, 0) || m.root != "/mnt1 a" || m.target != "/mnt2\tb" ||
		m.fstype != "nfs4" || m.source != `host:/x\y` || m.option("upper") != "a,b" || m.option("addr") != "::1" {
		t.Errorf("parsed %+v", m)
	}
	if m, err = parseMount("36 35 0:5 / /x rw - tmpfs  rw"); err != nil || m.source != "" || m.options[0] != "rw" {
		t.Errorf("empty source: %+v, %v", m, err)
	}
	// A no-break space is part of a name, not a separator.
	if m, err = parseMount("36 35 0:5 / /a\u00a0b rw - tmpfs t rw"); err != nil || m.target != "/a\u00a0b" {
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
	mounts, malformed, err := parseMounts(strings.NewReader(table))
	if err != nil || malformed != 0 {
		t.Fatal(malformed, err)
	}
	for p, want := range map[string]string{
		"/": "root", "/srv": "stacked", "/srv/x": "stacked", "/srv/x/y/z": "deep", "/srvx/a": "sibling", "/sr": "root",
	} {
		if m, ok := mounts.covering(p); !ok || m.source != want {
			t.Errorf("%s is covered by %+v, want %s", p, m, want)
		}
	}
	var below []string
	for _, m := range mounts.below("/srv") {
		below = append(below, m.source)
	}
	if !slices.Equal(below, []string{"deep"}) {
		t.Errorf("below /srv: %q, want the visible one alone", below)
	}
}

func TestPeers(t *testing.T) {
	for _, test := range []struct {
		fstype, source, options string
		want                    []string
	}{
		{"nfs", "files:/export", "rw,addr=203.0.113.4", []string{"203.0.113.4"}},
		{"nfs4", "[2001:db8::1]:/export", "rw", []string{"2001:db8::1"}},
		{"nfs4", "Files.Example:/export", "rw", []string{"files.example"}},
		{"cifs", "//user@files/share", "rw", []string{"files"}},
		{"smb3", "//203.0.113.4/share", "rw,addr=::ffff:203.0.113.4", []string{"203.0.113.4"}},
		{"fuse.sshfs", "backup@203.0.113.7:/data", "rw", []string{"203.0.113.7"}},
		{"fuse.sshfs", "box:", "rw", []string{"box"}},
		{"fuse", "https://u:p@dav.example:8443/x", "rw", []string{"dav.example"}},
		{"ceph", "203.0.113.1:6789,[2001:db8::2]:6789:/data", "rw", []string{"203.0.113.1", "2001:db8::2"}},
		{"ceph", "admin@9c1a.fs=/", "rw,mon_addr=203.0.113.1:6789/203.0.113.2:6789", []string{"203.0.113.1", "203.0.113.2"}},
		{"ceph", "admin@9c1a.fs=/", "rw", nil},
		{"lustre", "203.0.113.1@tcp,203.0.113.2@tcp:203.0.113.3@tcp1:/scratch", "rw", []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"}},
		{"fuse.glusterfs", "gluster1:/volume", "rw", []string{"gluster1"}},
		{"9p", "203.0.113.8", "rw,trans=tcp,port=564", []string{"203.0.113.8"}},
		{"9p", "share", "rw,trans=virtio", nil},
		{"virtiofs", "tag:x", "rw", nil},
		{"fuse.rclone", "s3:bucket", "rw", nil},
		{"fuse.s3fs", "bucket", "rw", nil},
		{"beegfs", "beegfs_nodev", "rw", nil},
		{"nfs", "a b:/x", "rw", nil},
	} {
		m := &mount{fstype: test.fstype, source: test.source, options: strings.Split(test.options, ",")}
		if got := peersOf(m); !slices.Equal(got, test.want) {
			t.Errorf("%s %s: peers %q, want %q", test.fstype, test.source, got, test.want)
		}
	}
}

func TestBare(t *testing.T) {
	for source, want := range map[string]string{
		"/dev/sda1":                      "/dev/sda1",
		"host:/x@y":                      "host:/x@y",
		"u@host:/x":                      "host:/x",
		"//u:p@host/share/a@b":           "//host/share/a@b",
		"https://u:p@dav.example/a?k=v#": "https://dav.example/a",
		"ftp://u:%zz@x/":                 "ftp://",
	} {
		if got := bare(&mount{source: source}); got != want {
			t.Errorf("bare(%q) = %q, want %q", source, got, want)
		}
	}
}

func TestHosts(t *testing.T) {
	names := parseHosts([]byte("# c\n127.0.0.1 localhost\n::1 localhost ip6\n10.1.1.1\tA.example a # x\nnonsense b\n10.1.1.2\n"))
	want := map[string]string{"localhost": "127.0.0.1", "ip6": "::1", "a.example": "10.1.1.1", "a": "10.1.1.1"}
	if len(names) != len(want) {
		t.Errorf("names %v, want %v", names, want)
	}
	for name, addr := range want {
		if names[name] != netip.MustParseAddr(addr) {
			t.Errorf("%s is %v, want %s", name, names[name], addr)
		}
	}
}

func FuzzMounts(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(string(own), "/usr/bin")
	}
	f.Add(mounts("40 22 0:51 / /srv rw - overlay o rw,upperdir=/a\\054b", "41 40 0:5 / /srv rw - nfs a:/b rw")["/proc/self/mountinfo"], "/srv/x")
	f.Add("1 2 8:1 / / rw - e s\n2 1 8:1 / / rw - e s\n", "/")
	f.Fuzz(func(t *testing.T, text, path string) {
		table, malformed, err := parseMounts(strings.NewReader(text))
		if err != nil {
			return
		}
		if lines := strings.Count(text, "\n") + 1; len(table.mounts)+malformed > lines {
			t.Fatalf("%d mounts and %d malformed of %d lines", len(table.mounts), malformed, lines)
		}
		if m, ok := table.covering(path); ok && !within(path, m.target) {
			t.Fatalf("%q is said to be covered by %q", path, m.target)
		}
		for _, m := range table.below(path) {
			if !within(m.target, path) {
				t.Fatalf("%q is said to be below %q", m.target, path)
			}
		}
	})
}

func FuzzPeers(f *testing.F) {
	for _, fstype := range []string{"nfs4", "ceph", "lustre", "9p", "fuse.sshfs", "fuse"} {
		f.Add(fstype, "user@[2001:db8::1]:/x", "addr=203.0.113.1")
		f.Add(fstype, "203.0.113.1:6789,b:/y", "mon_addr=a/b,trans=tcp")
		f.Add(fstype, "https://u:p@h:1/x?q", "")
	}
	f.Fuzz(func(t *testing.T, fstype, source, options string) {
		m := &mount{fstype: fstype, source: source, options: strings.Split(options, ",")}
		for _, peer := range peersOf(m) {
			if peer == "" || !utf8.ValidString(peer) || strings.ContainsAny(peer, "@/ \n[]") {
				t.Fatalf("peer %q of %q", peer, source)
			}
		}
		if scheme, rest, found := strings.Cut(bare(m), "://"); found && !strings.Contains(scheme, "/") {
			if authority, _, _ := strings.Cut(rest, "/"); strings.Contains(authority, "@") {
				t.Fatalf("bare(%q) = %q keeps a user", source, bare(m))
			}
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost # x\n::1 a b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, addr := range parseHosts(data) {
			if name == "" || !addr.IsValid() {
				t.Fatalf("%q is %v", name, addr)
			}
		}
	})
}
