package container

import (
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cityward/collectors/dpkg"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// withMachine adds what the machine's own packages are and own.
func withMachine(t *testing.T, c *Collector, facts *inventory.Facts) *inventory.Snapshot {
	t.Helper()
	machine, err := dpkg.New(c.host, licence.New("")).Collect(t.Context(), facts)
	if err != nil {
		t.Fatal(err)
	}
	facts.Append(&machine)
	return collect(t, c, facts)
}

// A container that has a program of the machine at its path, by a mount: the
// machine's package owns it on the machine alone.
func TestProgramOfTheMachineInAContainer(t *testing.T) {
	needRoot(t)
	root := debian(t)
	write(t, root, "var/lib/dpkg/info/busybox-static.list", "/.\n/usr/share/doc/busybox-static/copyright\n")
	tool := filepath.Join(root, "usr/bin/busybox")
	if err := unix.Mount(busybox, tool, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(tool, unix.MNT_DETACH) })
	inside := pivoted(t, root, busybox, "sleep", "600")
	outside := start(t, exec.CommandContext(t.Context(), busybox, "sh", "-c", "echo ready; exec "+busybox+" sleep 600"))
	s := withMachine(t, collector(t), seen(t, inside, outside))
	p, q := processOf(t, s, inside), processOf(t, s, outside)
	if p.File != q.File || filepath.Base(p.Executable) != filepath.Base(q.Executable) {
		t.Fatalf("not the same: %+v and %+v", p, q)
	}
	if owner, owned := s.Owner(p); owned {
		t.Errorf("in the container it belongs to %+v", owner)
	}
	if owner, owned := s.Owner(q); !owned || owner.Name != "busybox-static" {
		t.Errorf("on the machine it belongs to %+v", owner)
	}
}

// Any user may make a tree with a package database in it: it owns nothing, neither
// there nor, by the path that the machine has for it, on the machine.
func TestTreeOfAUser(t *testing.T) {
	needRoot(t)
	root := debian(t)
	tool := filepath.Join(root, "usr/bin/busybox")
	write(t, root, "var/lib/dpkg/info/busybox-static.list", "/.\n/usr/bin/busybox\n"+tool+"\n")
	namespaced := func(args ...string) int {
		return start(t, exec.CommandContext(t.Context(), "unshare", append([]string{"--user", "--map-root-user"}, args...)...))
	}
	const program = "echo ready; exec /bin/busybox sleep 600"
	chrooted := namespaced("chroot", root, "/bin/busybox", "sh", "-c", program)
	mounted := namespaced("--mount", "sh", "-c", `mount --rbind "$0" "$0" && cd "$0" && mkdir .old && pivot_root . .old && exec /bin/busybox sh -c "$1"`, root, program)
	outside := start(t, exec.CommandContext(t.Context(), tool, "sh", "-c", "echo ready; exec "+tool+" sleep 600"))
	pids := []int{chrooted, mounted, outside}
	s := collect(t, collector(t), seen(t, pids...))
	if len(s.Containers) != 2 || s.Containers[0].Packages != 1 || s.Containers[1].Packages != 1 {
		t.Fatalf("containers %+v, gaps %s", s.Containers, gapsOf(s))
	}
	for _, pid := range pids {
		if owner, owned := s.Owner(processOf(t, s, pid)); owned {
			t.Errorf("%s belongs to %+v", processOf(t, s, pid).Executable, owner)
		}
	}
}

// A program that locks itself up, as many services do, is still of the tree that it
// came from, on the machine as in a unit's namespace.
func TestProgramThatLocksItselfUp(t *testing.T) {
	needRoot(t)
	const jail = `chroot $ARGV[0] or die $!; $| = 1; print "ready\n"; sleep 600`
	perl := []string{"perl", "-e", jail, debian(t)}
	pids := []int{
		start(t, exec.CommandContext(t.Context(), perl[0], perl[1:]...)),
		start(t, exec.CommandContext(t.Context(), "unshare", append([]string{"--mount"}, perl...)...)),
	}
	s := withMachine(t, collector(t), seen(t, pids...))
	if len(s.Containers) != 0 {
		t.Errorf("containers %+v", s.Containers)
	}
	for _, pid := range pids {
		if owner, owned := s.Owner(processOf(t, s, pid)); !owned || owner.Name != "perl-base" && owner.Name != "perl" {
			t.Errorf("%s belongs to %+v", processOf(t, s, pid).Executable, owner)
		}
	}
}
