package container

import (
	"archive/zip"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/collectors/gobinary"
	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
	"cityward/collectors/java"
	"cityward/collectors/node"
	"cityward/collectors/python"
)

func rooms(h *host.Host) []Language {
	texts := licence.New("")
	return []Language{python.New(h, texts), node.New(h, texts), java.New(h, texts), gobinary.New(h, nil)}
}

// serving makes a tree with an application of each language, which its real
// interpreters run: the machine's own /usr is mounted there.
func serving(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "etc", "opt/app", "srv/app/node_modules/waiter", "var/lib/dpkg/info"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, busybox, filepath.Join(root, busybox)) // for chroot(2) alone, where nothing is mounted
	write(t, root, "etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
	write(t, root, "var/lib/dpkg/status", "")
	write(t, root, "srv/app/package.json", `{"name": "portal", "version": "1.0.0", "license": "EUPL-1.2"}`)
	write(t, root, "srv/app/server.js", "console.log('ready'); setInterval(() => {}, 60000);\n")
	write(t, root, "srv/app/node_modules/waiter/package.json", `{"name": "waiter", "version": "2.0.0", "license": "MIT"}`)
	output(t, "/usr/bin/python3", "-m", "venv", "--without-pip", filepath.Join(root, "opt/venv"))
	packages, err := filepath.Glob(filepath.Join(root, "opt/venv/lib/python3*/site-packages"))
	if err != nil || len(packages) != 1 {
		t.Fatal(packages, err)
	}
	if err := os.Mkdir(filepath.Join(packages[0], "forms-3.1.dist-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(packages[0], "forms"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, packages[0], "forms/__main__.py", "import time\ntime.sleep(600)\n")
	write(t, packages[0], "forms-3.1.dist-info/RECORD", "forms/__main__.py,,\n")
	write(t, packages[0], "forms-3.1.dist-info/METADATA", "Metadata-Version: 2.4\nName: forms\nVersion: 3.1\nLicense-Expression: BUSL-1.1\n")
	archive(t, filepath.Join(root, "opt/app/ledger.jar"))
	write(t, root, "srv/app/main.go", "package main\n\nimport \"time\"\n\nfunc main() {\n\tprintln(\"ready\")\n\ttime.Sleep(time.Hour)\n}\n")
	write(t, root, "srv/app/go.mod", "module city.example/gateway\n\ngo 1.24\n")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "gateway", ".")
	build.Dir, build.Env = filepath.Join(root, "srv/app"), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod -buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return root
}

// archive writes a Java archive that Maven has made.
func archive(t testing.TB, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	entry, err := w.Create("META-INF/maven/example.city/ledger/pom.properties")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := entry.Write([]byte("groupId=example.city\nartifactId=ledger\nversion=4.2\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// served runs a program of such a tree. Each is in a mount namespace of its own, as
// two containers of one image are.
func served(t testing.TB, root string, args ...string) int {
	t.Helper()
	const script = `mount --rbind "$0" "$0" && mount --bind /usr "$0/usr" && cd "$0" && mkdir -p .old && pivot_root . .old &&
		/bin/busybox umount -l /.old && cd /srv/app && exec /bin/sh -c 'echo ready; exec "$@"' sh "$@"`
	return start(t, exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c", script, root}, args...)...))
}

// What the programs of a container are made of is found in its tree and told apart
// from the machine's own.
func TestLanguagesOfAnotherTree(t *testing.T) {
	needRoot(t)
	root := serving(t)
	c := collector(t)
	site, portal, gateway := served(t, root, "/opt/venv/bin/python3", "-m", "forms"), served(t, root, "/usr/bin/node", "server.js"), served(t, root, "/srv/app/gateway")
	jail := exec.CommandContext(t.Context(), busybox, "sh", "-c", "echo ready; exec /srv/app/gateway")
	jail.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	jailed := start(t, jail)
	s := collect(t, c, seen(t, site, portal, gateway, jailed))
	got := make(map[string]*inventory.Component)
	for i := range s.Components {
		got[s.Components[i].PURL] = &s.Components[i]
	}
	for purl, want := range map[string]string{
		"pkg:npm/portal@1.0.0": "EUPL-1.2", "pkg:npm/waiter@2.0.0": "MIT", "pkg:pypi/forms@3.1": "BUSL-1.1",
		"pkg:maven/example.city/ledger@4.2": "", "pkg:golang/city.example/gateway": "",
	} {
		found := got[purl]
		if found == nil {
			t.Errorf("no %s", purl)
			continue
		}
		if found.Licence.Expression != want || !found.Contained || !slices.Equal(found.Images, []string{"file tree of debian 12"}) ||
			len(found.Files) > 0 || slices.ContainsFunc(found.Locations, func(l inventory.Location) bool { return l.Tree == inventory.Tree{} }) {
			t.Errorf("%+v", found)
		}
	}
	for pid, want := range map[int]string{site: "pkg:pypi/forms@3.1", portal: "pkg:npm/portal@1.0.0"} {
		p := processOf(t, s, pid)
		script := s.Script(p.ID)
		if script == nil {
			t.Fatalf("%s runs no script", p.Executable)
		}
		if found, recorded, ok := s.ScriptSoftware(p, script); !ok || found.PURL != want || recorded != (pid == site) {
			t.Errorf("%s: %+v, %t", script.Path, found, recorded)
		}
	}
	for _, pid := range []int{gateway, jailed} {
		p := processOf(t, s, pid)
		if found, ok := s.Software(p); !ok || found.PURL != "pkg:golang/city.example/gateway" {
			t.Errorf("%s: %+v", p.Executable, found)
		}
	}
	machine := inventory.Process{Executable: "/srv/app/gateway", MountNS: s.First().MountNS, Root: s.First().Root}
	if found, ok := s.Software(&machine); ok {
		t.Errorf("the machine's program is the container's %+v", found)
	}
	if gaps := gapsOf(s); gaps != "" {
		t.Errorf("gaps %s", gaps)
	}
}

// While the same programs run, what they are made of is looked for once a minute.
func TestLanguagesAreSeldomRead(t *testing.T) {
	needRoot(t)
	root := serving(t)
	c := collector(t)
	now := time.Now()
	h, err := host.Open("/", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	c.host = h
	has := func(s *inventory.Snapshot, name string) bool {
		return slices.ContainsFunc(s.Components, func(c inventory.Component) bool { return strings.HasPrefix(c.PURL, "pkg:npm/"+name+"@") })
	}
	programs := seen(t, served(t, root, "/usr/bin/node", "server.js"))
	if s := collect(t, c, programs); !has(s, "waiter") || has(s, "helper") {
		t.Fatal("before")
	}
	if err := os.Mkdir(filepath.Join(root, "srv/app/node_modules/helper"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, root, "srv/app/node_modules/helper/package.json", `{"name": "helper", "version": "1.0.0"}`)
	now = now.Add(every)
	if s := collect(t, c, programs); !has(s, "waiter") || has(s, "helper") {
		t.Error("it was read again at once")
	}
	now = now.Add(seldom)
	if s := collect(t, c, programs); !has(s, "waiter") || !has(s, "helper") {
		t.Error("it was not read again")
	}
}

// broken is a room that fails, as one that does not come to its end in time.
type broken struct{}

func (broken) Collect(context.Context, *inventory.Facts) (inventory.Facts, error) {
	return inventory.Facts{}, context.DeadlineExceeded
}

// Where packages of languages cannot be read, the system's are there all the same.
func TestLanguagesThatCannotBeRead(t *testing.T) {
	needRoot(t)
	c := collector(t)
	c.rooms = func(*host.Host) []Language { return []Language{broken{}} }
	pid := pivoted(t, debian(t), busybox, "sleep", "600")
	s := collect(t, c, seen(t, pid))
	if _, owned := s.Owner(processOf(t, s, pid)); !owned {
		t.Error("the program has no owner")
	}
	if gaps := gapsOf(s); !strings.Contains(gaps, "packages of languages: context deadline exceeded") {
		t.Errorf("gaps %q", gaps)
	}
}
