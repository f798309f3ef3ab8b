package dpkg

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

// dpkg gives the output of a program of dpkg about this machine.
func dpkg(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("this machine has no dpkg to compare with")
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out) // dpkg -S fails if any one path has no owner
}

func TestSameAsDpkgQuery(t *testing.T) {
	var want []string
	out := dpkg(t, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package}\n")
	for line := range strings.Lines(out) {
		if state, rest, _ := strings.Cut(strings.TrimSpace(line), " "); !slices.Contains([]string{"config-files", "not-installed", "half-installed"}, state) {
			want = append(want, rest)
		}
	}
	facts := collect(t, New(open(t, "/"), texts), nil)
	var got []string
	for _, c := range facts.Components {
		source := c.Source
		if source == "" {
			source = c.Name
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", c.Name, c.Version, c.Arch, source))
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%d packages, dpkg-query has %d; first that differ: %s", len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return got[i] + ", " + want[i]
		}
	}
	return "one is longer"
}

// executables lists programs of this machine, at most limit, spread over all.
func executables(t *testing.T, limit int) []string {
	t.Helper()
	found := make(map[string]bool)
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local/bin", "/bin", "/sbin"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || strings.Count(path, "/") > 4 {
				return fs.SkipDir
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				if resolved, err := filepath.EvalSymlinks(path); err == nil {
					found[resolved] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Logf("%s: %v", dir, err)
		}
	}
	all := slices.Sorted(maps.Keys(found))
	var some []string
	for i := range min(limit, len(all)) {
		some = append(some, all[i*len(all)/min(limit, len(all))])
	}
	return some
}

func TestSameAsDpkgSearch(t *testing.T) {
	h := open(t, "/")
	paths := executables(t, 300)
	diverted := dpkg(t, "dpkg-divert", "--list")
	for line := range strings.Lines(diverted) {
		// "diversion of FROM to TO by PACKAGE"
		if words := strings.Fields(line); len(words) >= 5 && !strings.HasPrefix(words[2], "/usr/share") {
			for _, path := range []string{words[2], words[4]} {
				if resolved, err := filepath.EvalSymlinks(path); err == nil && resolved == path {
					paths = append(paths, path)
				}
			}
		}
	}
	args := []string{"-S"}
	for _, path := range paths {
		args = append(args, path)
		if short, ok := strings.CutPrefix(path, "/usr"); ok {
			args = append(args, short)
		}
	}
	listed := make(map[string]string) // as dpkg spells paths, without what is diverted
	for line := range strings.Lines(dpkg(t, "dpkg", args...)) {
		if packages, path, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "diversion by") &&
			!strings.HasPrefix(line, "local diversion") && !strings.Contains(diverted, " "+path+" ") {
			listed[path] = packages
		}
	}
	facts := collect(t, New(h, texts), running(t, h, paths...))
	names := make(map[string]string)
	for _, c := range facts.Components {
		names[c.PURL] = c.Name
	}
	owners := ownersOf(facts)
	compared := 0
	for _, path := range paths {
		want, ok := listed[path]
		if short, merged := strings.CutPrefix(path, "/usr"); !ok && merged {
			want = listed[short]
		}
		if strings.Contains(diverted, " "+path+" ") {
			if owners[path] == "" {
				t.Errorf("%s is diverted and has no owner", path)
			}
			continue
		}
		compared++
		want, _, _ = strings.Cut(want, ":") // name, or name:arch
		if got := names[owners[path]]; got != want && !strings.Contains(want, got+",") {
			t.Errorf("%s: owner %q, dpkg -S has %q", path, got, want)
		}
	}
	if compared < 100 || len(owners) < 50 {
		t.Errorf("compared %d of %d paths, %d owned", compared, len(paths), len(owners))
	}
	t.Logf("compared %d paths, %d owned", compared, len(owners))
}

// generate writes a tree of n packages with files, licences and lists.
func generate(tb testing.TB, n int) string {
	tb.Helper()
	root := tb.TempDir()
	texts, err := os.ReadFile("testdata/debian/usr/share/doc/dash/copyright")
	if err != nil {
		tb.Fatal(err)
	}
	var status strings.Builder
	for i := range n {
		name := fmt.Sprintf("package-%04d", i)
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: libs\nInstalled-Size: 104\n"+
			"Maintainer: Team %d <team-%d@lists.debian.org>\nArchitecture: amd64\nSource: source-%d (1.2)\nVersion: 1:1.%d-1+b1\n"+
			"Depends: %s\nDescription: a package\n%s\n", name, i/9, i/9, i/3, i, strings.Repeat("libc6 (>= 2.34), ", 8),
			strings.Repeat(" Some lines say what it is good for and which others are useful beside it.\n", 8))
		var list strings.Builder
		fmt.Fprintf(&list, "/.\n/usr\n/usr/bin\n/usr/bin/program-%04d\n", i)
		for j := range 150 {
			fmt.Fprintf(&list, "/usr/share/%s/some/directory/file-%04d.txt\n", name, j)
		}
		write(tb, root, "var/lib/dpkg/info/"+name+".list", list.String())
		write(tb, root, "usr/share/doc/"+name+"/copyright", string(texts)+"\nLicense: text\n"+
			strings.Repeat(" A line of the terms, of about the length of lines in such files.\n", 250))
	}
	write(tb, root, "var/lib/dpkg/status", status.String())
	for i := range 100 {
		write(tb, root, fmt.Sprintf("usr/bin/program-%04d", i), "x")
	}
	return root
}

func bench(b *testing.B, root string, seen func(c *Collector) *inventory.Facts) {
	h := open(b, root)
	facts := seen(New(h, texts))
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			collect(b, New(h, texts), facts)
		}
	})
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		c := New(h, texts)
		collect(b, c, facts)
		for b.Loop() {
			collect(b, c, facts)
		}
	})
	b.Run("new program", func(b *testing.B) {
		b.ReportAllocs()
		c := New(h, texts)
		collect(b, c, facts)
		for b.Loop() {
			c.owners = ownership{}
			collect(b, c, facts)
		}
	})
}

func BenchmarkGenerated(b *testing.B) {
	bench(b, generate(b, 1000), func(c *Collector) *inventory.Facts {
		var paths []string
		for i := range 300 {
			paths = append(paths, fmt.Sprintf("/usr/bin/program-%04d", i%100))
		}
		return running(b, c.host, paths...)
	})
}

// BenchmarkMachine reads the machine it runs on, whatever that has.
func BenchmarkMachine(b *testing.B) {
	bench(b, "/", func(c *Collector) *inventory.Facts {
		seen := debian()
		paths, err := filepath.Glob("/usr/bin/[a-p]*")
		if err != nil {
			b.Fatal(err)
		}
		for i := range min(300, len(paths)) {
			if _, err := os.Stat(paths[i]); err == nil {
				seen.Processes = append(seen.Processes, running(b, c.host, paths[i]).Processes...)
			}
		}
		return seen
	})
}
