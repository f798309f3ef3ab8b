package container

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/apk"
	"cityward/collectors/dpkg"
	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
	"cityward/collectors/process"
	"cityward/collectors/rpm"
	"cityward/configs"
)

// The programs here run in file trees of their own, made of this machine's real
// busybox-static and what dpkg says of it.

const busybox = "/bin/busybox"

func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root makes file trees that programs run in")
		}
		t.Skip("only root makes file trees that programs run in")
	}
}

// debian makes a tree of the one package, with /bin merged into /usr/bin.
func debian(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "proc", "tmp", "etc", "opt", "var/lib/dpkg/info", "usr/share/doc/busybox-static"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	copyFile(t, busybox, filepath.Join(root, "usr/bin/busybox"))
	copyFile(t, "/usr/share/doc/busybox-static/copyright", filepath.Join(root, "usr/share/doc/busybox-static/copyright"))
	write(t, root, "etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
	write(t, root, "var/lib/dpkg/status", output(t, "dpkg-query", "-s", "busybox-static")+"\n\n")
	write(t, root, "var/lib/dpkg/info/busybox-static.list", output(t, "dpkg-query", "-L", "busybox-static")+"\n")
	return root
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, root, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pivoted runs a program of a tree with the tree as its root, in a mount namespace
// of its own, as container runtimes do, until the test ends.
func pivoted(t testing.TB, root string, args ...string) int {
	t.Helper()
	const script = `mount --rbind "$0" "$0" && cd "$0" && mkdir -p .old && pivot_root . .old &&
		/bin/busybox umount -l /.old && exec /bin/busybox sh -c 'echo ready; exec "$@"' sh "$@"`
	return start(t, exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c", script, root}, args...)...))
}

// start gives the process of a command that has said that it is ready.
func start(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("said %q (%v)", line, err)
	}
	for range 500 { // until it has executed what it is to be
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)); err == nil && !bytes.Contains(name, []byte("echo ready")) {
			return cmd.Process.Pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not go on")
	return 0
}

func collector(t testing.TB) *Collector {
	t.Helper()
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c := New(h, func(h *host.Host) []Reader { return []Reader{dpkg.New(h, licence.New("")), apk.New(h), rpm.New(h)} }, rooms)
	c.patience = time.Minute // the patterns of licences take their time on a busy machine
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// seen is the processes among pids and the first process, as the room for them has
// them.
func seen(t testing.TB, pids ...int) *inventory.Facts {
	t.Helper()
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := process.New(h, &configs.Config{Capture: configs.Capture{Tier: inventory.TierPoll}}, nil).Collect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	facts.Processes = slices.DeleteFunc(facts.Processes, func(p inventory.Process) bool {
		return p.ID.PID != 1 && !slices.Contains(pids, p.ID.PID)
	})
	return &facts
}

// collect joins what was seen with what the collector adds.
func collect(t testing.TB, c *Collector, seen *inventory.Facts) *inventory.Snapshot {
	t.Helper()
	facts, err := c.Collect(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	return inventory.Merge(time.Now(), seen, &facts)
}

func processOf(t testing.TB, s *inventory.Snapshot, pid int) *inventory.Process {
	t.Helper()
	i := slices.IndexFunc(s.Processes, func(p inventory.Process) bool { return p.ID.PID == pid })
	if i < 0 {
		t.Fatalf("process %d is not among those seen", pid)
	}
	return &s.Processes[i]
}

func gapsOf(s *inventory.Snapshot) string {
	var texts []string
	for _, g := range s.Gaps {
		if g.Collector == name {
			texts = append(texts, g.Subject+": "+g.Reason)
		}
	}
	return strings.Join(texts, "\n")
}

func TestProgramsOfAnotherTree(t *testing.T) {
	needRoot(t)
	root := debian(t)
	copyFile(t, busybox, filepath.Join(root, "opt/busybox"))
	chroot := exec.CommandContext(t.Context(), busybox, "sh", "-c", "echo ready; exec /bin/busybox sleep 600")
	chroot.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	for _, test := range []struct {
		name  string
		pid   int
		owned bool
	}{
		{"in its namespace", pivoted(t, root, busybox, "sleep", "600"), true},
		{"in its namespace, of no package", pivoted(t, root, "/opt/busybox", "sleep", "600"), false},
		{"by chroot", start(t, chroot), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := collect(t, collector(t), seen(t, test.pid))
			p := processOf(t, s, test.pid)
			c, ok := s.ContainerOf(p)
			if !ok || c.Packages != 1 || c.System != "debian 12" || c.Unread != "" {
				t.Fatalf("container %+v", c)
			}
			owner, owned := s.Owner(p)
			if owned != test.owned {
				t.Fatalf("%s: owner %+v", p.Executable, owner)
			}
			if owned && (owner.Name != "busybox-static" || !strings.HasPrefix(owner.PURL, "pkg:deb/debian/busybox-static@") ||
				!owner.Contained || !slices.Equal(owner.Images, []string{"file tree of debian 12"}) || owner.Licence.Expression == "") {
				t.Errorf("owner %+v", owner)
			}
			if gaps := gapsOf(s); gaps != "" {
				t.Errorf("gaps %s", gaps)
			}
		})
	}
}

// A directory of the machine that a container has, too, at the same path: here by
// hard links instead of a mount. What the container says of it holds in there alone.
func TestFilesThatTheMachineHasToo(t *testing.T) {
	needRoot(t)
	root, dir := debian(t), t.TempDir()
	tool := filepath.Join(dir, "busybox")
	copyFile(t, busybox, tool)
	if err := errors.Join(os.MkdirAll(filepath.Join(root, dir), 0o755), os.Link(tool, filepath.Join(root, tool))); err != nil {
		t.Fatal(err)
	}
	write(t, root, "var/lib/dpkg/info/busybox-static.list", "/.\n"+tool+"\n/bin/busybox\n")
	outside := start(t, exec.CommandContext(t.Context(), tool, "sh", "-c", "echo ready; exec "+tool+" sleep 600"))
	shared, own := pivoted(t, root, tool, "sleep", "600"), pivoted(t, root, busybox, "sleep", "600")
	s := collect(t, collector(t), seen(t, outside, shared, own))
	if p, q := processOf(t, s, outside), processOf(t, s, shared); p.Executable != q.Executable || p.File != q.File {
		t.Fatalf("not the same: %+v and %+v", p, q)
	}
	if owner, owned := s.Owner(processOf(t, s, outside)); owned {
		t.Errorf("a program of the machine belongs to %+v", owner)
	}
	for _, pid := range []int{shared, own} {
		if _, owned := s.Owner(processOf(t, s, pid)); !owned {
			t.Errorf("%s of the container belongs to nothing", processOf(t, s, pid).Executable)
		}
	}
}

// Upgraded by dpkg itself, a program that goes on with its old file still has its
// package, and the new version is what is installed.
func TestUpgradedInAnotherTree(t *testing.T) {
	needRoot(t)
	root := debian(t)
	install(t, root, "1")
	pid := pivoted(t, root, "/opt/city/busybox", "sleep", "600")
	c := collector(t)
	s := collect(t, c, seen(t, pid))
	if owner, owned := s.Owner(processOf(t, s, pid)); !owned || owner.Name != "city-tool" || owner.Version != "1" {
		t.Errorf("owner %+v", owner)
	}
	install(t, root, "2")
	s = collect(t, c, seen(t, pid))
	p := processOf(t, s, pid)
	if owner, owned := s.Owner(p); !p.Deleted || !owned || owner.Name != "city-tool" {
		t.Errorf("%+v, owner %+v", p, owner)
	}
	c.trees[inventory.Tree{MountNS: p.MountNS, Root: p.Root}].looked = time.Time{} // some time later
	s = collect(t, c, seen(t, pid))
	if owner, owned := s.Owner(processOf(t, s, pid)); !owned || owner.Version != "2" {
		t.Errorf("owner %+v", owner)
	}
}

// install makes a package of this machine's busybox and has dpkg install it.
func install(t *testing.T, root, version string) {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"tree/DEBIAN", "tree/opt/city"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, busybox, filepath.Join(dir, "tree/opt/city/busybox"))
	write(t, dir, "tree/DEBIAN/control", "Package: city-tool\nVersion: "+version+"\nArchitecture: all\nMaintainer: City <it@city.example>\nDescription: a tool\n")
	output(t, "dpkg-deb", "--build", "-Znone", dir+"/tree", dir+"/city-tool.deb")
	output(t, "dpkg", "--root", root, "--force-script-chrootless", "--install", dir+"/city-tool.deb")
}

// A program that has ended has its owner by the namespace, and a package that comes
// later is seen.
func TestEndedAndInstalled(t *testing.T) {
	needRoot(t)
	root := debian(t)
	copyFile(t, busybox, filepath.Join(root, "opt/tool"))
	pid := pivoted(t, root, busybox, "sleep", "600")
	c := collector(t)
	facts := seen(t, pid)
	ended := *processOf(t, inventory.Merge(time.Now(), facts), pid)
	ended.ID.PID, ended.Root, ended.Ended = 1<<22, inventory.FileID{}, time.Now()
	facts.Processes = append(facts.Processes, ended)
	s := collect(t, c, facts)
	if _, owned := s.Owner(&ended); !owned {
		t.Error("a program that has ended has no owner")
	}
	if container, ok := s.ContainerOf(&ended); !ok || container.Packages != 1 {
		t.Errorf("it ran in %+v", container)
	}

	stanza := strings.Replace(output(t, "dpkg-query", "-s", "busybox-static"), "Package: busybox-static", "Package: tool", 1)
	status, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "var/lib/dpkg/status", string(status)+stanza+"\n\n")
	write(t, root, "var/lib/dpkg/info/tool.list", "/.\n/opt\n/opt/tool\n")
	for at := range c.trees {
		c.trees[at].looked = time.Time{} // some time later
	}
	if s := collect(t, c, seen(t, pid)); len(s.Containers) != 1 || s.Containers[0].Packages != 2 {
		t.Errorf("after the installation: %+v", s.Containers)
	}
	if s := collect(t, c, seen(t)); len(s.Containers)+len(s.Components)+len(c.sets)+len(c.trees) != 0 {
		t.Errorf("after the end of all: %+v, %d sets", s.Containers, len(c.sets))
	}
}

// Whatever a tree holds, its databases are looked for in it alone, and none ends the
// round.
func TestHostileTrees(t *testing.T) {
	needRoot(t)
	for _, test := range []struct {
		name   string
		spoil  func(root string) error
		unread bool // nothing is said of packages
	}{
		{"a link out of it", func(root string) error {
			dir := filepath.Join(root, "var/lib/dpkg")
			return errors.Join(os.RemoveAll(dir), os.Symlink("../../../../../../../../../../../var/lib/dpkg", dir))
		}, true},
		{"a link through a process", func(root string) error {
			dir := filepath.Join(root, "var/lib/dpkg")
			return errors.Join(os.RemoveAll(dir), os.Symlink("/proc/1/root/var/lib/dpkg", dir))
		}, true},
		{"a link to itself", func(root string) error {
			file := filepath.Join(root, "var/lib/dpkg/status")
			return errors.Join(os.Remove(file), os.Symlink("status", file))
		}, false},
		{"a FIFO", func(root string) error {
			file := filepath.Join(root, "var/lib/dpkg/status")
			return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o644))
		}, false},
		{"a terabyte of nothing", func(root string) error {
			return os.Truncate(filepath.Join(root, "var/lib/dpkg/status"), 1<<40)
		}, false},
		{"more packages than there are", func(root string) error {
			return os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), manyPackages(200_000), 0o644)
		}, false},
		{"a directory for a system's name", func(root string) error {
			file := filepath.Join(root, "etc/os-release")
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o755))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := debian(t)
			if err := test.spoil(root); err != nil {
				t.Fatal(err)
			}
			pid := pivoted(t, root, busybox, "sleep", "600")
			c := collector(t)
			c.patience = time.Minute // it ends by itself
			began := time.Now()
			s := collect(t, c, seen(t, pid))
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if len(s.Components) > 64<<10 {
				t.Errorf("%d components", len(s.Components))
			}
			if gaps := gapsOf(s); gaps == "" && !test.unread {
				t.Errorf("no gap, containers %+v", s.Containers)
			}
			for _, component := range s.Components {
				if component.Name == "dpkg" { // which is the machine's
					t.Fatal("the machine's packages were read")
				}
			}
		})
	}
}

func manyPackages(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "Package: p%d\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n", i)
	}
	return b.Bytes()
}

// A file system that nobody answers for holds up its own tree alone.
func TestTreeThatDoesNotAnswer(t *testing.T) {
	needRoot(t)
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	root, other := debian(t), debian(t)
	dir := filepath.Join(root, "var/lib/dpkg")
	if err := unix.Mount("silent", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = fuse.Close() // what waits for it gets an error
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	chroot := exec.CommandContext(t.Context(), busybox, "sh", "-c", "echo ready; exec /bin/busybox sleep 600")
	chroot.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	silent, healthy := start(t, chroot), pivoted(t, other, busybox, "sleep", "600")
	c := collector(t)
	collect(t, c, seen(t, healthy)) // which loads the patterns of licences
	c.patience = 300 * time.Millisecond
	for range 2 {
		began := time.Now()
		s := collect(t, c, seen(t, silent, healthy))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if _, owned := s.Owner(processOf(t, s, healthy)); !owned {
			t.Error("the other tree was not read")
		}
		at, ok := s.ContainerOf(processOf(t, s, silent))
		if !ok || at.Unread == "" || !strings.Contains(gapsOf(s), "the container's files do not answer") {
			t.Errorf("container %+v, gaps %s", at, gapsOf(s))
		}
	}
	if err := fuse.Close(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		back := true
		for _, tree := range c.trees {
			back = tree.back() && back
		}
		if back {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("it does not come back when the file system is gone")
}

// Containers of one image share its layers, each by a device of its own: the
// databases are read once, and a component is one component.
func TestSharedLayers(t *testing.T) {
	needRoot(t)
	lower := debian(t)
	var pids []int
	for range 3 {
		dir := t.TempDir()
		for _, name := range []string{"upper", "work", "root"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		root := filepath.Join(dir, "root")
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir)
		if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
		pids = append(pids, pivoted(t, root, busybox, "sleep", "600"))
	}
	c := collector(t)
	s := collect(t, c, seen(t, pids...))
	if len(s.Containers) != 3 || len(s.Components) != 1 || len(c.sets) != 1 {
		t.Fatalf("%d containers, %d components, %d databases", len(s.Containers), len(s.Components), len(c.sets))
	}
	read := make(map[*inventory.Component]bool)
	for _, tree := range c.trees {
		read[&tree.last.components[0]] = true
	}
	if len(read) != 1 {
		t.Errorf("the database was read %d times", len(read))
	}
	for _, pid := range pids {
		if _, owned := s.Owner(processOf(t, s, pid)); !owned {
			t.Errorf("the program of pid %d has no owner", pid)
		}
	}
}
