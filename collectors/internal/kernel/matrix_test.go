package kernel

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// debianKernel is a kernel of Debian's and what is known of it.
type debianKernel struct {
	suite, arch string
	release     string            // begins so
	tier        string            // begins so
	misses      map[string]string // test, with all that are part of it: why it cannot pass
}

func debianKernels() []debianKernel {
	return []debianKernel{
		{suite: "bullseye", arch: "amd64", release: "5.10.", tier: "none"},
		{suite: "bookworm", arch: "amd64", release: "6.1.", tier: "none"},
		{suite: "trixie", arch: "amd64", release: "6.12.", tier: "bpf"},
		{suite: "trixie", arch: "arm64", release: "6.12.", tier: "bpf"},
		{suite: "sid", arch: "amd64", release: "7.", tier: "bpf"},
	}
}

// The same tests as here, on the kernels that Debian's users have. What a kernel
// cannot do is listed above and must not work: the list is what we say of it.
func TestKernelMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	for _, program := range []string{"apt-get", "dpkg-deb", "xz", "qemu-system-x86_64", "qemu-system-aarch64"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range debianKernels() {
		t.Run(k.suite+"-"+k.arch, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(cache, "cityward-test", "kernels", k.suite+"-"+k.arch)
			if _, err := os.Stat(dir); err != nil {
				command(t, nil, "../../../packaging/fetch-kernel.sh", dir, k.suite, "linux-image-cloud-"+k.arch, k.arch)
			}
			began := time.Now()
			console := boot(t, k.arch, filepath.Join(dir, "vmlinuz"), pack(t, k.arch, filepath.Join(dir, "modules")))
			t.Logf("%s after %s", between(console, guestMark+"release ", "\n"), time.Since(began).Round(100*time.Millisecond))
			judge(t, k, console)
		})
	}
}

// pack makes the first file tree of the machine: this test and some modules.
func pack(t *testing.T, arch, modulesDir string) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "test")
	command(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", "test", "-c", "-ldflags=-s -w", "-o", program, ".")
	var a initramfs
	a.folder(guestModules[1:])
	a.file("init", []byte(readFile(t, program)))
	for i, m := range withDependencies(t, modulesDir, modules()) {
		a.file(fmt.Sprintf("%s/%02d-%s", guestModules[1:], i, m.name), m.content)
	}
	a.end()
	image := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(image, a.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return image
}

func command(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// boot gives all that the machine has written on its console when it is off. It
// is emulated: a hypervisor in a hypervisor may hang.
func boot(t *testing.T, arch, kernel, image string) string {
	t.Helper()
	emulator := []string{"qemu-system-x86_64"}
	terminal := "ttyS0"
	if arch == "arm64" {
		emulator = []string{"qemu-system-aarch64", "-M", "virt"}
		terminal = "ttyAMA0"
	}
	parameters := "quiet loglevel=1 panic=-1 console=" + terminal + " " + guestVariable + "=yes"
	args := append(emulator[1:], "-accel", "tcg", "-cpu", "max", "-m", "512", "-smp", "2", "-nographic", "-no-reboot",
		"-kernel", kernel, "-initrd", image, "-append", parameters)
	ctx, cancel := context.WithTimeout(t.Context(), 180*time.Second)
	defer cancel()
	var console bytes.Buffer
	cmd := exec.CommandContext(ctx, emulator[0], args...)
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v", emulator[0], err)
	}
	return strings.ReplaceAll(console.String(), "\r", "")
}

// judge compares what the tests came to with what is known of the kernel.
func judge(t *testing.T, k debianKernel, console string) {
	t.Helper()
	if release := between(console, guestMark+"release ", "\n"); !strings.HasPrefix(release, k.release) {
		t.Errorf("the kernel is %q, not %s", release, k.release)
	}
	tier := between(console, guestMark+"tier ", "\n")
	t.Log("tier", tier)
	if !strings.HasPrefix(tier, k.tier) {
		t.Errorf("its tier is %q, not %s", tier, k.tier)
	}
	if !strings.Contains(console, guestMark+"end\n") {
		t.Error("the tests did not come to their end")
	}
	passed := outcomes(console)
	if len(passed) == 0 {
		t.Error("no test ran")
	}
	known := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(passed)) {
		miss := missing(k.misses, name)
		known[miss] = true
		switch {
		case miss == "" && !passed[name]:
			t.Errorf("%s does not pass", name)
		case miss != "" && passed[name]:
			t.Errorf("%s passes, and is listed as a miss: %s", name, k.misses[miss])
		}
	}
	for name := range k.misses {
		if !known[name] {
			t.Errorf("%s is listed as a miss, and was not run", name)
		}
	}
	if t.Failed() {
		t.Log("console:\n" + console)
	}
}

// outcomes are those of the tests that have no parts, and of the tests that fail
// although all of their parts pass.
func outcomes(console string) map[string]bool {
	all, passed := make(map[string]bool), make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) \(`).FindAllStringSubmatch(console, -1) {
		all[m[2]] = m[1] == "PASS"
	}
	for name, ok := range all {
		parts, failed := 0, 0
		for other, ok := range all {
			if strings.HasPrefix(other, name+"/") {
				parts++
				if !ok {
					failed++
				}
			}
		}
		if parts == 0 || !ok && failed == 0 {
			passed[name] = ok
		}
	}
	return passed
}

// missing is the entry of misses that speaks of the test, "" if none does.
func missing(misses map[string]string, test string) string {
	for ; test != ""; test = test[:max(strings.LastIndexByte(test, '/'), 0)] {
		if misses[test] != "" {
			return test
		}
	}
	return ""
}

func between(s, begin, end string) string {
	_, s, _ = strings.Cut(s, begin)
	s, _, _ = strings.Cut(s, end)
	return s
}
