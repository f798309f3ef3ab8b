package dpkg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

func open(t testing.TB, root string) *host.Host {
	t.Helper()
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func collect(t testing.TB, c *Collector, seen *inventory.Facts) inventory.Facts {
	t.Helper()
	if seen == nil {
		seen = &inventory.Facts{}
	}
	facts, err := c.Collect(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func debian() *inventory.Facts {
	return &inventory.Facts{Machine: &inventory.Machine{OS: "debian"}}
}

// debianTree copies the fixture, for tests that change it.
func debianTree(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	if err := filepath.WalkDir("testdata/debian", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(root, strings.TrimPrefix(path, "testdata/debian"))
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	return root
}

func write(t testing.TB, root, path, text string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestComponents(t *testing.T) {
	facts := collect(t, New(open(t, "testdata/debian"), texts), debian())
	type row struct {
		purl, source, supplier, area, expression, origin string
		freedom                                          inventory.Freedom
	}
	glibc := "GNU Libc Maintainers <debian-glibc@lists.debian.org>"
	pg := "Debian PostgreSQL Maintainers <team+postgresql@tracker.debian.org>"
	want := []row{
		{"pkg:deb/debian/acme-agent@3.1%2Bbuild7?arch=amd64", "", "Acme GmbH", "", "", "", inventory.FreedomUnknown},
		{"pkg:deb/debian/adduser@3.134?arch=all", "", "Debian Adduser Developers <adduser@packages.debian.org>", "main", "GPL-2.0-or-later", "archive area, copyright file", inventory.Free},
		{"pkg:deb/debian/bash@5.2.15-2%2Bb9?arch=amd64", "", "Matthias Klose <doko@debian.org>", "main", "GPL-3.0-or-later", "archive area, text of the copyright file", inventory.Free},
		{"pkg:deb/debian/dash@0.5.12-2?arch=amd64", "", "Andrej Shadura <andrewsh@debian.org>", "main", "BSD-3-Clause", "archive area, copyright file", inventory.Free},
		{"pkg:deb/debian/g%2B%2B@4:12.2.0-3?arch=amd64", "gcc-defaults", "Debian GCC Maintainers <debian-gcc@lists.debian.org>", "main", "BSD-3-Clause", "archive area, copyright file", inventory.Free},
		{"pkg:deb/debian/intel-microcode@3.20250812.1~deb12u1?arch=amd64", "", "Henrique de Moraes Holschuh <hmh@debian.org>", "non-free-firmware", "LicenseRef-intel-binary-only", "archive area, copyright file", inventory.NonFree},
		{"pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64", "glibc", glibc, "main", "", "archive area", inventory.Free},
		{"pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=i386", "glibc", glibc, "main", "", "archive area", inventory.Free},
		{"pkg:deb/debian/libpq-dev@15.18-0%2Bdeb12u1?arch=amd64", "postgresql-15", pg, "main", "BSD-3-Clause", "archive area, copyright file", inventory.Free},
		{"pkg:deb/debian/postgresql-common@248%2Bdeb12u1?arch=all", "", pg, "main", "", "archive area", inventory.Free},
		{"pkg:deb/debian/steam-installer@1:1.0.0.75%2Bds-6?arch=amd64", "", "Debian Games Team <pkg-games-devel@lists.alioth.debian.org>", "contrib", "", "archive area", inventory.Free},
	}
	var got []row
	for _, c := range facts.Components {
		got = append(got, row{c.PURL, c.Source, c.Supplier, c.Area, c.Licence.Expression, c.Licence.Source, c.Licence.Freedom})
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("row %d:\ngot  %+v\nwant %+v", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
	gaps := []inventory.Gap{gap("firmware-half", "half-installed: dpkg was stopped while it unpacked these packages", 1)}
	if !reflect.DeepEqual(facts.Gaps, gaps) {
		t.Errorf("gaps %+v, want %+v", facts.Gaps, gaps)
	}
}

// A repository that is not Debian's leaves the area of all packages open, but
// for those that say it themselves.
func TestForeignArchive(t *testing.T) {
	for name, path := range map[string]string{
		"release":       "var/lib/apt/lists/apt.example_dists_stable_InRelease",
		"index alone":   "var/lib/apt/lists/apt.example_._Packages",
		"other release": "var/lib/apt/lists/mirror.example_debian_dists_bookworm_Release",
	} {
		t.Run(name, func(t *testing.T) {
			root := debianTree(t)
			write(t, root, path, "Origin: Example\nSuite: stable\n")
			got := make(map[string]inventory.Component)
			for _, c := range collect(t, New(open(t, root), texts), nil).Components {
				got[c.Name] = c
			}
			if c := got["dash"]; c.Area != "" || c.Licence.Freedom != inventory.Free || c.Licence.Source != "copyright file" {
				t.Errorf("dash is judged by its text: %+v", c)
			}
			if c := got["libc6"]; c.Licence.Freedom != inventory.FreedomUnknown {
				t.Errorf("nothing is known of libc6: %+v", c)
			}
			if c := got["steam-installer"]; c.Area != "contrib" || c.Licence.Freedom != inventory.FreedomUnknown {
				t.Errorf("another archive's contrib shows nothing: %+v", c)
			}
			if c := got["intel-microcode"]; c.Licence.Freedom != inventory.NonFree {
				t.Errorf("non-free is non-free anywhere: %+v", c)
			}
		})
	}
}

// Images of containers have no lists of apt's. What surrounds a free licence in a text
// of Debian's maintainers is then no reason to doubt, and only there.
func TestWithoutLists(t *testing.T) {
	const grant, more = "This is free software under the GNU General Public License, version 2 or later.\n\n", "Users must not forget what comes with it. "
	for name, test := range map[string]struct {
		maintainer, section, vendor, text string
		lists                             bool
		want                              inventory.Freedom
	}{
		"of Debian":            {"T <team@tracker.debian.org>", "net", "debian", grant + strings.Repeat(more, 20), false, inventory.Free},
		"with another archive": {"T <team@tracker.debian.org>", "net", "debian", grant + strings.Repeat(more, 20), true, inventory.FreedomUnknown},
		"of another system":    {"T <team@tracker.debian.org>", "net", "example", grant + strings.Repeat(more, 20), false, inventory.FreedomUnknown},
		"of somebody":          {"T <t@acme.example>", "net", "debian", grant + strings.Repeat(more, 20), false, inventory.FreedomUnknown},
		"not free":             {"T <team@tracker.debian.org>", "non-free/net", "debian", grant + strings.Repeat(more, 20), false, inventory.NonFree},
		"without a licence":    {"T <team@tracker.debian.org>", "net", "debian", strings.Repeat(more, 20), false, inventory.FreedomUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "var/lib/dpkg/status", "Package: p\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: "+test.maintainer+"\nSection: "+test.section+"\n")
			write(t, root, "usr/share/doc/p/copyright", test.text)
			if test.lists {
				write(t, root, "var/lib/apt/lists/apt.example_InRelease", "Origin: Example\n")
			}
			facts, err := New(open(t, root), texts).Read(t.Context(), test.vendor, nil)
			if err != nil || len(facts.Components) != 1 {
				t.Fatalf("%+v, %v", facts.Components, err)
			}
			if c := facts.Components[0]; c.Licence.Freedom != test.want || c.Area == areaMain {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestNoDatabase(t *testing.T) {
	facts := collect(t, New(open(t, t.TempDir()), texts), nil)
	want := []inventory.Gap{gap("/var/lib/dpkg", "no dpkg database, and none of another system that is known", 0)}
	if !reflect.DeepEqual(facts.Gaps, want) || len(facts.Components) > 0 {
		t.Errorf("got %+v", facts)
	}
}

// An image without dpkg has one file a package and no file lists.
func TestImage(t *testing.T) {
	root := t.TempDir()
	write(t, root, "var/lib/dpkg/status.d/netbase", "Package: netbase\nVersion: 6.4\nArchitecture: all\nMaintainer: Marco d'Itri <md@linux.it>")
	write(t, root, "var/lib/dpkg/status.d/netbase.md5sums", "d41d8cd98f00b204e9800998ecf8427e  etc/protocols\n")
	facts := collect(t, New(open(t, root), texts), nil)
	if len(facts.Components) != 1 || facts.Components[0].PURL != "pkg:deb/linux/netbase@6.4?arch=all" {
		t.Errorf("components %+v", facts.Components)
	}
	if !hasGap(facts.Gaps, "netbase", "without a file list", 1) {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

func hasGap(gaps []inventory.Gap, subject, reason string, lost int) bool {
	return slices.ContainsFunc(gaps, func(g inventory.Gap) bool {
		return g.Collector == "dpkg" && g.Kind != "" && g.Subject == subject && strings.Contains(g.Reason, reason) && g.Lost == lost
	})
}

// Each way in which the database can be damaged leaves a gap, and what is sound
// beside the damage is read.
func TestDamage(t *testing.T) {
	const status = "/var/lib/dpkg/status"
	sound := func(t *testing.T, root string) string {
		data, err := os.ReadFile(root + status)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	replace := func(what, with string) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			write(t, root, status, strings.Replace(sound(t, root), what, with, 1))
		}
	}
	for _, test := range []struct {
		name            string
		damage          func(t *testing.T, root string)
		components      int
		subject, reason string
		lost            int
	}{
		{"empty", func(t *testing.T, root string) { write(t, root, status, "") }, 1, "acme-agent", "the status is not whole", 12},
		{"gone", func(t *testing.T, root string) { remove(t, root+status) }, 1, status, "no such file", 0},
		{"torn within a line", func(t *testing.T, root string) {
			text := sound(t, root)
			write(t, root, status, text[:strings.Index(text, "2-3")])
		}, 10, status, "damaged entries", 1},
		{"torn between stanzas", func(t *testing.T, root string) {
			text := sound(t, root)
			write(t, root, status, text[:strings.Index(text, "Package: removed")])
		}, 10, "removed-but-configured", "the status is not whole", 2},
		{"zero bytes", replace("Section: shells\nMaintainer: Andrej", "Section: she\x00\x00\nMaintainer: Andrej"), 10, status, "damaged entries", 1},
		{"all zero bytes", func(t *testing.T, root string) { write(t, root, status, strings.Repeat("\x00", 1<<16)) }, 1, status, "damaged entries", 1},
		{"no colon", replace("Priority: required", "Priority required"), 11, status, "damaged entries", 1},
		{"no version", replace("Version: 0.5.12-2\n", ""), 10, status, "damaged entries", 1},
		{"unknown state", replace("install ok half-configured", "install ok half-baked"), 10, status, "damaged entries", 1},
		{"name of a path", replace("Package: dash", "Package: ../../etc"), 10, status, "damaged entries", 1},
		{"architecture of a path", replace("Architecture: i386", "Architecture: ../i386"), 10, status, "damaged entries", 1},
		{"huge line", replace("Priority: important", "Junk: "+strings.Repeat("x", 10<<20)), 10, status, "damaged entries", 1},
		{"huge value", replace("Version: 3.134", "Version: "+strings.Repeat("3", 100<<10)), 10, status, "damaged entries", 1},
		{"huge line of blanks", replace("Priority: important\n", strings.Repeat(" ", 1<<20)+"\n"), 10, status, "damaged entries", 1},
		{"directory", func(t *testing.T, root string) { remove(t, root+status); mkdir(t, root+status) }, 1, status, "not a regular file", 0},
		{"fifo", func(t *testing.T, root string) { remove(t, root+status); mkfifo(t, root+status) }, 1, status, "not a regular file", 0},
		{"list gone", func(t *testing.T, root string) { remove(t, root+"/var/lib/dpkg/info/dash.list") }, 11, "dash", "without a file list", 1},
		{"lists gone", func(t *testing.T, root string) { remove(t, root+"/var/lib/dpkg/info") }, 11, "/var/lib/dpkg/info", "no such file", 0},
		{"diversions torn", func(t *testing.T, root string) {
			write(t, root, "var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\n")
		}, 11, "/var/lib/dpkg/diversions", "incomplete diversion", 0},
		{"copyright is a fifo", func(t *testing.T, root string) {
			remove(t, root+"/usr/share/doc/adduser/copyright")
			mkfifo(t, root+"/usr/share/doc/adduser/copyright")
		}, 11, "/usr/share/doc/adduser/copyright: not a regular file", "copyright files cannot be read", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := debianTree(t)
			test.damage(t, root)
			facts := collect(t, New(open(t, root), texts), nil)
			if len(facts.Components) != test.components {
				t.Errorf("%d components, want %d", len(facts.Components), test.components)
			}
			if !hasGap(facts.Gaps, test.subject, test.reason, test.lost) {
				t.Errorf("no gap %s: %s (%d) among %+v", test.subject, test.reason, test.lost, facts.Gaps)
			}
		})
	}
}

// A file that may not be read is not a file that is not there. The user of the
// file system is dropped for one thread, so that the test holds for root, too.
func TestUnreadable(t *testing.T) {
	root := debianTree(t)
	for _, path := range []string{"/var/lib/dpkg/status", "/usr/share/doc/adduser/copyright"} {
		if err := os.Chmod(root+path, 0); err != nil {
			t.Fatal(err)
		}
	}
	c := New(open(t, root), texts)
	write(t, root, "var/lib/dpkg/status.d/adduser", "Package: adduser\nVersion: 1\nArchitecture: all\n")
	var facts inventory.Facts
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			if err = unix.Setfsuid(65534); err != nil {
				return
			}
		}
		facts, err = c.Collect(t.Context(), &inventory.Facts{})
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if !hasGap(facts.Gaps, "/var/lib/dpkg/status", "permission denied", 0) ||
		!hasGap(facts.Gaps, "/usr/share/doc/adduser/copyright: permission denied", "copyright files cannot be read", 1) {
		t.Errorf("gaps %+v", facts.Gaps)
	}
}

func TestRounds(t *testing.T) {
	root := debianTree(t)
	c := New(open(t, root), texts)
	first := collect(t, c, debian())
	second := collect(t, c, debian())
	if !reflect.DeepEqual(first, second) {
		t.Error("two quiet rounds differ")
	}
	if &first.Components[0] != &second.Components[0] {
		t.Error("a quiet round reads anew")
	}
	if grown := append(first.Components, inventory.Component{}); &grown[0] == &first.Components[0] {
		t.Error("the caller can write into the collector's memory")
	}
	write(t, root, "var/lib/dpkg/updates/0002", "Package: dash\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n")
	if third := collect(t, c, debian()); len(third.Components) != len(first.Components)-1 {
		t.Errorf("dash was removed: %d components, before %d", len(third.Components), len(first.Components))
	}
	if fresh := collect(t, New(c.host, texts), debian()); !reflect.DeepEqual(fresh, collect(t, c, debian())) {
		t.Error("what is kept between rounds changes the answer")
	}
}

func TestCancelled(t *testing.T) {
	c := New(open(t, "testdata/debian"), texts)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Collect(ctx, &inventory.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if facts := collect(t, c, nil); len(facts.Components) == 0 {
		t.Error("a cancelled round spoils the next")
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
