package packaging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// driven are the kernel's modules that the machine needs, in the order of loading.
func driven() []string {
	return []string{
		"drivers/virtio/virtio", "drivers/virtio/virtio_ring", "drivers/virtio/virtio_pci_modern_dev",
		"drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "drivers/block/virtio_blk", "drivers/net/dummy",
	}
}

// A whole Debian 12 with its own kernel and systemd, emulated: the package alone, as
// the service that it installs, misses nothing of what leaves. Other kernels than the
// one that the tests run on let functions be hooked; here is where that is relied on.
func TestDebianMachine(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		cannot(t, "needs root to unpack Debian")
	}
	if runtime.GOARCH != "amd64" {
		cannot(t, "the emulated machine is of amd64, and so is the package in it")
	}
	needs(t, "mmdebstrap", "mke2fs", "cpio", "qemu-system-x86_64")
	console := runMachine(t, buildDeb(t, buildProgram(t), "0.0.1"))
	section := func(name string) string {
		_, rest, _ := strings.Cut(console, "== "+name+"\n")
		text, _, _ := strings.Cut(rest, "\n== ")
		return text
	}
	if !strings.Contains(console, "\n== end\n") {
		t.Fatalf("the machine did not come to its end:\n%s", console)
	}
	for _, capture := range []string{"flows", "opens", "processes"} {
		if want := fmt.Sprintf(`cityward_capture_complete{capture=%q} 1`, capture); !strings.Contains(section("metrics")+"\n", want+"\n") {
			t.Errorf("no %s in:\n%s\n%s", want, section("metrics"), section("doctor"))
		}
	}
	var findings []struct {
		Check, Result, Subject string
		Facts                  struct{ How []string }
	}
	if err := json.Unmarshal([]byte(section("findings")), &findings); err != nil {
		t.Fatalf("%v in:\n%s", err, section("findings"))
	}
	got := make(map[string]string)
	for _, f := range findings {
		if f.Check == "NET-001" {
			_, port, _ := strings.Cut(f.Subject, "203.0.113.7:")
			got[port] = f.Result + " " + strings.Join(f.Facts.How, " ")
		}
	}
	want := map[string]string{
		"4001": "fail direct", "4002": "fail pipeline", "4003": "fail derived", "4004": "fail derived",
		"4005": "fail descendant", "4006": "fail direct", "4007": "fail direct",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("leaks by port: %v, want %v; findings:\n%s", got, want, section("findings"))
	}
}

// runMachine gives what the machine has written on its console until it was off.
func runMachine(t *testing.T, deb string) string {
	t.Helper()
	dir := t.TempDir()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	kernel := filepath.Join(cache, "cityward-test", "kernels", debianSuite+"-amd64")
	if _, err := os.Stat(kernel); err != nil {
		command(t, "./fetch-kernel.sh", kernel, debianSuite, "linux-image-cloud-amd64", "amd64")
	}
	disk, initramfs := makeDisk(t, dir, deb), makeInitramfs(t, dir, filepath.Join(kernel, "modules", "kernel"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var console bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot", "-nic", "none",
		"-drive", "file="+disk+",if=virtio,format=raw,cache=unsafe", "-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", initramfs,
		"-append", "quiet loglevel=1 panic=-1 mitigations=off console=ttyS0")
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Run(); err != nil {
		t.Errorf("qemu: %v", err)
	}
	return regexp.MustCompile(`\r|\x1b\[[0-9;?]*[a-zA-Z]`).ReplaceAllString(console.String(), "")
}

// makeDisk gives a file system with Debian, the package, and what it does once it is up.
func makeDisk(t *testing.T, dir, deb string) string {
	t.Helper()
	root, disk := filepath.Join(dir, "root"), filepath.Join(dir, "disk")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "tar", "-C", root, "-xpf", debianTree(t))
	command(t, "cp", deb, filepath.Join(root, "root/cityward.deb"))
	command(t, "cp", "testdata/machine.sh", filepath.Join(root, "root/machine.sh"))
	unit := filepath.Join(root, "etc/systemd/system/machine.service")
	if err := os.WriteFile(unit, []byte(`[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /root/machine.sh
ExecStopPost=/bin/systemctl poweroff --force --force
`), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "ln", "-s", unit[len(root):], filepath.Join(root, "etc/systemd/system/multi-user.target.wants/machine.service"))
	command(t, "truncate", "--size=1G", disk)
	command(t, "mke2fs", "-q", "-t", "ext4", "-d", root, disk)
	return disk
}

// makeInitramfs gives the file tree that brings the disk up.
func makeInitramfs(t *testing.T, dir, modules string) string {
	t.Helper()
	tree, archive := filepath.Join(dir, "first"), filepath.Join(dir, "initramfs")
	for _, name := range []string{"dev", "disk", "modules"} {
		if err := os.MkdirAll(filepath.Join(tree, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(tree, "init"), "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for i, module := range driven() {
		command(t, "cp", filepath.Join(modules, module+".ko"), filepath.Join(tree, "modules", fmt.Sprintf("%02d", i)))
	}
	command(t, "sh", "-c", `cd "$1" && find . | cpio --quiet -o -H newc >"$2"`, "sh", tree, archive)
	return archive
}
