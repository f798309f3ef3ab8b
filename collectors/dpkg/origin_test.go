package dpkg

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

// The index has three stanzas of bookworm's main, without descriptions. Of bash the
// archive has a newer build by now.
func TestOrigin(t *testing.T) {
	index, err := os.ReadFile("testdata/bookworm_Packages")
	if err != nil {
		t.Fatal(err)
	}
	const lists, debian = "var/lib/apt/lists/", "deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages"
	acme := "Package: acme-agent\nVersion: 3.1+build7\nArchitecture: amd64\n\nPackage: libc6\nVersion: 2.36-9+deb12u14\nArchitecture: arm64\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  map[string]string
	}{
		"compressed": {nil, nil},
		"plain":      {map[string]string{debian: string(index)}, map[string]string{"dash": "Debian", "adduser": "Debian"}},
		"two archives": {map[string]string{
			debian: string(index), "apt.example_._InRelease": "Origin: ACME \x1b[1m\n", "apt.example_._Packages": acme + "\n" + string(index),
		}, map[string]string{"acme-agent": "ACME \ufffd[1m"}},
		"an archive without a name": {map[string]string{debian: string(index), "apt.example_._Packages": acme}, map[string]string{"dash": "Debian", "adduser": "Debian"}},
		"the same archive twice":    {map[string]string{debian: string(index), "deb.debian.org_debian_dists_bookworm_contrib_binary-amd64_Packages": string(index)}, map[string]string{"dash": "Debian", "adduser": "Debian"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := debianTree(t)
			for file, text := range test.files {
				write(t, root, lists+file, text)
			}
			h := open(t, root)
			facts := collect(t, New(h, texts), nil)
			for _, c := range facts.Components {
				if c.Origin != test.want[c.Name] {
					t.Errorf("%s: %q, want %q", c.Name, c.Origin, test.want[c.Name])
				}
			}
			contained, err := New(h, texts).Read(t.Context(), "debian", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range contained.Components {
				if c.Origin != "" {
					t.Errorf("a container's %s: %q", c.Name, c.Origin)
				}
			}
		})
	}
}

// What is in Debian's index of main is of main also where another archive is known and
// its maintainer has no address at Debian.
func TestMainByIndex(t *testing.T) {
	const lists = "var/lib/apt/lists/"
	for index, want := range map[string]inventory.Freedom{
		"deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages":    inventory.Free,
		"deb.debian.org_debian_dists_bookworm_contrib_binary-amd64_Packages": inventory.FreedomUnknown,
		"apt.example_dists_stable_main_binary-amd64_Packages":                inventory.FreedomUnknown,
	} {
		root := debianTree(t)
		write(t, root, lists+"apt.example_dists_stable_InRelease", "Origin: ACME\n")
		write(t, root, lists+index, "Package: acme-agent\nVersion: 3.1+build7\nArchitecture: amd64\n")
		for _, c := range collect(t, New(open(t, root), texts), nil).Components {
			if c.Name == "acme-agent" && (c.Licence.Freedom != want || (c.Area == areaMain) != (want == inventory.Free)) {
				t.Errorf("%s: %+v", index, c)
			}
		}
	}
}

func FuzzIndex(f *testing.F) {
	index, err := os.ReadFile("testdata/bookworm_Packages")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := parseIndex(t.Context(), bufio.NewReaderSize(bytes.NewReader(text), 64), func(key []byte) {
			if bytes.Count(key, []byte{0}) != 2 {
				t.Errorf("key %q", key)
			}
		}); err != nil {
			t.Error(err)
		}
	})
}

// An index with as many packages as Debian's main has.
func BenchmarkOrigin(b *testing.B) {
	index, err := os.ReadFile("testdata/bookworm_Packages")
	if err != nil {
		b.Fatal(err)
	}
	root := b.TempDir()
	write(b, root, "var/lib/apt/lists/a_dists_b_InRelease", "Origin: Debian\n")
	write(b, root, "var/lib/apt/lists/a_dists_b_main_binary-amd64_Packages", strings.Repeat(string(index), 63000/3))
	st, err := os.Stat(filepath.Join(root, "var/lib/apt/lists/a_dists_b_main_binary-amd64_Packages"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(st.Size())
	h := open(b, root)
	b.ReportAllocs()
	for b.Loop() {
		db := &database{components: []inventory.Component{{Name: "dash", Version: "0.5.12-2", Arch: "amd64"}}}
		if err := db.originate(context.Background(), h); err != nil || db.components[0].Origin != "Debian" {
			b.Fatal(db.components[0], err)
		}
	}
}
