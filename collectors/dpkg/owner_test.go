package dpkg

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

func fileOf(t testing.TB, h *host.Host, path string) inventory.FileID {
	t.Helper()
	st, err := h.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return inventory.FileID{Device: st.Dev, Inode: st.Ino}
}

// running gives a process of each path, seen as the process collector sees it.
func running(t testing.TB, h *host.Host, paths ...string) *inventory.Facts {
	t.Helper()
	seen := debian()
	for i, path := range paths {
		seen.Processes = append(seen.Processes, inventory.Process{
			ID:         inventory.Execution{PID: i + 1, Start: 1},
			Executable: path,
			File:       fileOf(t, h, path),
			MountNS:    1,
			PIDNS:      2,
		})
	}
	return seen
}

func ownersOf(facts inventory.Facts) map[string]string {
	owners := make(map[string]string)
	for _, o := range facts.Owners {
		owners[o.Path] = o.PURL
	}
	return owners
}

func TestOwners(t *testing.T) {
	h := open(t, "testdata/debian")
	c := New(h, texts)
	pg := "pkg:deb/debian/postgresql-common@248%2Bdeb12u1?arch=all"
	want := map[string]string{
		"/usr/bin/acme-agent":                            "pkg:deb/debian/acme-agent@3.1%2Bbuild7?arch=amd64",
		"/usr/bin/bash":                                  "pkg:deb/debian/bash@5.2.15-2%2Bb9?arch=amd64", // listed as /bin/bash
		"/usr/bin/dash":                                  "pkg:deb/debian/dash@0.5.12-2?arch=amd64",
		"/usr/bin/pg_config":                             pg, // it diverts libpq-dev's
		"/usr/bin/pg_config.libpq-dev":                   "pkg:deb/debian/libpq-dev@15.18-0%2Bdeb12u1?arch=amd64",
		"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64",
		"/usr/sbin/adduser":                              "pkg:deb/debian/adduser@3.134?arch=all",
	}
	seen := running(t, h, append(slices.Sorted(maps.Keys(want)), "/usr/bin/sh.distrib")...)
	got := ownersOf(collect(t, c, seen))
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if again := ownersOf(collect(t, c, seen)); !maps.Equal(again, want) {
		t.Errorf("second round: %v", again)
	}
	if one := ownersOf(collect(t, c, running(t, h, "/usr/bin/dash"))); len(one) != 1 {
		t.Errorf("only dash runs: %v", one)
	}
}

// A local diversion moves the file of every package.
func TestLocalDiversion(t *testing.T) {
	root := debianTree(t)
	write(t, root, "var/lib/dpkg/diversions", "/usr/bin/dash\n/usr/bin/dash.real\n:\n")
	write(t, root, "usr/bin/dash.real", "the package's")
	h := open(t, root)
	got := ownersOf(collect(t, New(h, texts), running(t, h, "/usr/bin/dash", "/usr/bin/dash.real")))
	want := map[string]string{"/usr/bin/dash.real": "pkg:deb/debian/dash@0.5.12-2?arch=amd64"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Without merged directories /bin/dash and /usr/bin/dash are two files.
func TestUnmerged(t *testing.T) {
	root := debianTree(t)
	remove(t, filepath.Join(root, "bin"))
	write(t, root, "bin/dash", "the package's")
	h := open(t, root)
	got := ownersOf(collect(t, New(h, texts), running(t, h, "/bin/dash", "/usr/bin/dash")))
	want := map[string]string{"/bin/dash": "pkg:deb/debian/dash@0.5.12-2?arch=amd64"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The same path is the same file only in the same root.
func TestWhoseFile(t *testing.T) {
	h := open(t, "testdata/debian")
	const path = "/usr/bin/dash"
	file := fileOf(t, h, path)
	replaced := inventory.FileID{Device: file.Device, Inode: file.Inode + 1<<32}
	other := inventory.FileID{Device: file.Device + 1, Inode: file.Inode}
	first := inventory.Process{ID: inventory.Execution{PID: 1}, MountNS: 1, PIDNS: 2}
	for _, test := range []struct {
		name    string
		process inventory.Process
		owned   bool
	}{
		{"the file", inventory.Process{File: file, MountNS: 1, PIDNS: 2}, true},
		{"the file, namespaces not known", inventory.Process{File: file}, true},
		{"the file, from a namespace", inventory.Process{File: file, MountNS: 5, PIDNS: 6}, true},
		{"another file in a container", inventory.Process{File: other, MountNS: 5, PIDNS: 6}, false},
		{"another file in a chroot", inventory.Process{File: other, MountNS: 1, PIDNS: 2}, false},
		{"replaced", inventory.Process{File: replaced, Deleted: true, MountNS: 1, PIDNS: 2}, true},
		{"replaced, in a service's namespace", inventory.Process{File: replaced, Deleted: true, MountNS: 5, PIDNS: 2}, true},
		{"replaced, in a container on the same disk", inventory.Process{File: replaced, Deleted: true, MountNS: 5, PIDNS: 6}, false},
		{"replaced, in a container with the host's processes", inventory.Process{File: replaced, Deleted: true, MountNS: 5, PIDNS: 2, Container: "c"}, false},
		{"replaced, in a container on another disk", inventory.Process{File: other, Deleted: true, MountNS: 5, PIDNS: 2}, false},
		{"replaced, namespaces not known", inventory.Process{File: replaced, Deleted: true}, false},
		{"file not known", inventory.Process{MountNS: 1, PIDNS: 2}, true},
		{"file not known, from a namespace", inventory.Process{MountNS: 5, PIDNS: 2}, false},
		{"kernel thread", inventory.Process{File: file, Kernel: true}, false},
		{"memory", inventory.Process{File: file, Memory: true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.process
			p.ID = inventory.Execution{PID: 7, Start: 7}
			p.Executable = path
			seen := debian()
			seen.Processes = []inventory.Process{first, p}
			facts := collect(t, New(h, texts), seen)
			want := []inventory.Owner{{Path: path, File: p.File, PURL: "pkg:deb/debian/dash@0.5.12-2?arch=amd64"}}
			if !test.owned {
				want = nil
			}
			if !slices.Equal(facts.Owners, want) {
				t.Errorf("owners %+v, want %+v", facts.Owners, want)
			}
		})
	}
}

// A list that cannot be read is a gap for as long as its answers are used.
func TestUnreadableList(t *testing.T) {
	root := debianTree(t)
	list := filepath.Join(root, "var/lib/dpkg/info/dash.list")
	remove(t, list)
	mkfifo(t, list)
	h := open(t, root)
	c := New(h, texts)
	for range 2 {
		facts := collect(t, c, running(t, h, "/usr/bin/dash", "/usr/bin/bash"))
		if owners := ownersOf(facts); len(owners) != 1 || owners["/usr/bin/bash"] == "" {
			t.Errorf("owners %v", owners)
		}
		if !hasGap(facts.Gaps, "/var/lib/dpkg/info/dash.list: not a regular file", "file lists cannot be read", 1) {
			t.Errorf("gaps %+v", facts.Gaps)
		}
	}
}

// After the upgrade of a package, its programs have the new version's owner.
func TestUpgrade(t *testing.T) {
	root := debianTree(t)
	h := open(t, root)
	c := New(h, texts)
	collect(t, c, running(t, h, "/usr/bin/dash"))
	if err := os.Remove(filepath.Join(root, "usr/bin/dash")); err != nil {
		t.Fatal(err)
	}
	write(t, root, "usr/bin/dash", "new")
	write(t, root, "var/lib/dpkg/updates/0002", "Package: dash\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 0.6\n\n")
	got := ownersOf(collect(t, c, running(t, h, "/usr/bin/dash")))
	if got["/usr/bin/dash"] != "pkg:deb/debian/dash@0.6?arch=amd64" {
		t.Errorf("got %v", got)
	}
}
