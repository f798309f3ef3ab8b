package storage

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cityward/collectors/internal/host"
)

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
		m := &host.Mount{Type: test.fstype, Source: test.source, Options: strings.Split(test.options, ",")}
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
		if got := bare(&host.Mount{Source: source}); got != want {
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

func FuzzPeers(f *testing.F) {
	for _, fstype := range []string{"nfs4", "ceph", "lustre", "9p", "fuse.sshfs", "fuse"} {
		f.Add(fstype, "user@[2001:db8::1]:/x", "addr=203.0.113.1")
		f.Add(fstype, "203.0.113.1:6789,b:/y", "mon_addr=a/b,trans=tcp")
		f.Add(fstype, "https://u:p@h:1/x?q", "")
	}
	f.Fuzz(func(t *testing.T, fstype, source, options string) {
		m := &host.Mount{Type: fstype, Source: source, Options: strings.Split(options, ",")}
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
