package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// The live tests mount real file systems. The test binary runs itself as
// process 1 of new namespaces, where it does one thing and prints the facts.
const stage = "CITYWARD_STORAGE_STAGE"

func TestMain(m *testing.M) {
	name := os.Getenv(stage)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := perform(name, os.Getenv(stage+"_DIR")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// perform runs in the new namespaces.
func perform(name, dir string) error {
	if name == "nobody" {
		return look(nil)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	paths, err := set(name, dir)
	if err != nil {
		return err
	}
	return look(paths)
}

// look declares the paths as stores and prints what is found of them.
func look(paths []string) error {
	h, err := host.Open("/", time.Now)
	if err != nil {
		return err
	}
	cfg := &configs.Config{}
	for _, p := range paths {
		cfg.Stores = append(cfg.Stores, configs.DataStore{ID: filepath.Base(p), Paths: []string{p}})
	}
	facts, err := New(h, cfg).Collect(context.Background(), &inventory.Facts{})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(facts)
}

// set mounts what a stage needs and names the stores to look at.
func set(name, dir string) ([]string, error) {
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	for _, d := range []string{"plain", "mnt", "work", "upper"} {
		if err := os.MkdirAll(at(d), 0o755); err != nil {
			return nil, err
		}
	}
	switch name {
	case "loop":
		return []string{at("mnt"), at("plain")}, mountImage(at("image"), at("mnt"))
	case "bind":
		if err := os.MkdirAll(at("mnt", "below"), 0o755); err != nil {
			return nil, err
		}
		return []string{at("mnt"), at("plain")}, unix.Mount(at("plain"), at("mnt"), "", unix.MS_BIND, "")
	case "overlay":
		options := "lowerdir=" + at("plain") + ",upperdir=" + at("upper") + ",workdir=" + at("work")
		return []string{at("mnt"), at("plain")}, unix.Mount("overlay", at("mnt"), "overlay", 0, options)
	case "dead":
		fuse, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		// Nobody answers: to look at the mount is to wait for ever.
		options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)
		return []string{at("mnt", "registry")}, unix.Mount("backup@198.51.100.9:/data", at("mnt"), "fuse.sshfs", 0, options)
	}
	return nil, fmt.Errorf("no stage %q", name)
}

// mountImage makes an ext4 in a file and mounts it through a loop device, which
// goes with the mount.
func mountImage(image, target string) error {
	if out, err := exec.Command("mkfs.ext4", "-q", image, "2M").CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, target).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

// play performs a stage and gives the facts it printed.
func play(t *testing.T, name string) inventory.Facts {
	t.Helper()
	return playAs(t, name, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID})
}

func playAs(t *testing.T, name string, attributes *syscall.SysProcAttr) inventory.Facts {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("mounting needs root")
		}
		t.Skip("mounting needs root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), stage+"="+name, stage+"_DIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attributes
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	text, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("stage %s: %v", name, err)
	}
	var facts inventory.Facts
	if err := json.Unmarshal(text, &facts); err != nil {
		t.Fatal(err)
	}
	return facts
}

func pathsOf(t *testing.T, facts inventory.Facts, store string) inventory.StorePath {
	t.Helper()
	for _, row := range facts.Stores {
		if row.ID == store {
			return row.Paths[0]
		}
	}
	t.Fatalf("no store %s in %+v", store, facts.Stores)
	return inventory.StorePath{}
}

func TestLiveLoop(t *testing.T) {
	facts := play(t, "loop")
	image, plain := pathsOf(t, facts, "mnt"), pathsOf(t, facts, "plain")
	if len(image.Chain) == 0 || !strings.HasPrefix(image.Chain[0], "loop") || !slices.Equal(image.Chain[1:], plain.Chain) {
		t.Errorf("chain %q, want a loop device and then %q", image.Chain, plain.Chain)
	}
	if image.Medium != plain.Medium || !slices.Equal(image.Disks, plain.Disks) {
		t.Errorf("image on %s %v, its file on %s %v", image.Medium, image.Disks, plain.Medium, plain.Disks)
	}
	if image.File.Device != image.Mount.Device || image.MountRoot != "/" {
		t.Errorf("file %+v at %q of device %d", image.File, image.MountRoot, image.Mount.Device)
	}
}

func TestLiveBind(t *testing.T) {
	facts := play(t, "bind")
	bound, plain := pathsOf(t, facts, "mnt"), pathsOf(t, facts, "plain")
	if bound.Resolved == plain.Resolved || bound.MountRoot != plain.MountRoot || bound.File != plain.File {
		t.Errorf("bound %+v, plain %+v: want the same directory by two paths", bound, plain)
	}
}

func TestLiveOverlay(t *testing.T) {
	facts := play(t, "overlay")
	over, plain := pathsOf(t, facts, "mnt"), pathsOf(t, facts, "plain")
	if over.Mount.Type != "overlay" || !slices.Equal(over.Chain, plain.Chain) {
		t.Errorf("overlay %+v ends on %q, its upper directory on %q", over.Mount, over.Chain, plain.Chain)
	}
}

func TestLiveDeadMount(t *testing.T) {
	dead := pathsOf(t, play(t, "dead"), "registry")
	if dead.Medium != inventory.MediumNetwork || dead.Mount.PeerAddr != netip.MustParseAddr("198.51.100.9") {
		t.Errorf("dead mount %+v, want a network medium of 198.51.100.9", dead)
	}
}

// This very machine: whatever it is, the root directory has an answer.
// Who has mounts of his own and may not look at the machine's may read another
// directory than the one that was declared, and its permissions.
func TestLiveMountsOfOwn(t *testing.T) {
	facts := playAs(t, "nobody", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	for _, kind := range []string{inventory.KindStorage, inventory.KindAccess} {
		if !slices.ContainsFunc(facts.Gaps, func(g inventory.Gap) bool { return g.Kind == kind && strings.Contains(g.Reason, "mounts of its own") }) {
			t.Errorf("no gap of kind %s: %+v", kind, facts.Gaps)
		}
	}
}

func TestLiveRoot(t *testing.T) {
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	row, facts := collect(t, h, "/")
	root := row.Paths[0]
	if root.Resolved != "/" || root.File == (inventory.FileID{}) || len(facts.Mounts) == 0 {
		t.Errorf("root %+v with %d mounts", root, len(facts.Mounts))
	}
	if root.Medium == inventory.MediumUnknown && len(facts.Gaps) == 0 {
		t.Error("the medium is unknown and no gap says why")
	}
}

func BenchmarkCollect(b *testing.B) {
	h, err := host.Open("/", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	cfg := &configs.Config{}
	for _, dir := range []string{"/srv", "/var/lib", "/home"} {
		cfg.Stores = append(cfg.Stores, configs.DataStore{ID: dir, Paths: []string{dir}})
	}
	c := New(h, cfg)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Collect(b.Context(), &inventory.Facts{}); err != nil {
			b.Fatal(err)
		}
	}
}
