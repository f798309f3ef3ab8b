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
	"sync"
	"testing"
	"time"
)

// debianKernel is a kernel of Debian's and what is known of it.
type debianKernel struct {
	suite, arch string
	release     string            // begins so
	tier        string            // of package flow, whose tests run where it is not "bpf"
	refused     string            // part of why there is no better one
	misses      map[string]string // test, with all that are part of it: why it cannot pass
}

func debianKernels() []debianKernel {
	return []debianKernel{
		// BPF has neither compare-and-swap (Linux 5.12) nor the socket of a file
		// (5.11) there. Which of them is said depends on the program that is tried first.
		{"bullseye", "amd64", "5.10.", "events", "unsupported operation: load programs: program ", nil},
		{"bookworm", "amd64", "6.1.", "bpf", "", nil},
		{"trixie", "amd64", "6.12.", "bpf", "", nil},
		{"trixie", "arm64", "6.12.", "bpf", "", nil},
		{"sid", "amd64", "7.", "bpf", "", because("Linux 7.1 has no UDP-Lite any more", "TestScenarios/UDP-Lite")},
	}
}

func because(reason string, tests ...string) map[string]string {
	misses := make(map[string]string)
	for _, name := range tests {
		misses[name] = reason
	}
	return misses
}

// The same tests as here, on the kernels that Debian's users have. What a kernel
// cannot do is listed above and must not work: the list is what we say of it.
func TestKernelMatrix(t *testing.T) {
	t.Parallel() // after all the others, which hear each other
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
	dir := t.TempDir()
	tests := func(arch, name, of string) func() (string, error) {
		return sync.OnceValues(func() (string, error) {
			program := filepath.Join(dir, name)
			return program, command(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", "test", "-c", "-ldflags=-s -w", "-o", program, of)
		})
	}
	programs := map[string]func() (string, error){"amd64": tests("amd64", "amd64", "."), "arm64": tests("arm64", "arm64", ".")}
	flow := tests("amd64", "flow", "../../flow")
	for _, k := range debianKernels() {
		t.Run(k.suite+"-"+k.arch, func(t *testing.T) {
			t.Parallel()
			kernel := filepath.Join(cache, "cityward-test", "kernels", k.suite+"-"+k.arch)
			if _, err := os.Stat(kernel); err != nil {
				if err := command(t, nil, "../../../packaging/fetch-kernel.sh", kernel, k.suite, "linux-image-cloud-"+k.arch, k.arch); err != nil {
					t.Fatal(err)
				}
			}
			program, err := programs[k.arch]()
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{"init": program}
			if k.tier != "bpf" {
				if files[guestFlow[1:]], err = flow(); err != nil {
					t.Fatal(err)
				}
			}
			image := pack(t, files, filepath.Join(kernel, "modules"))
			began := time.Now()
			console := boot(t, k.arch, filepath.Join(kernel, "vmlinuz"), image)
			if !strings.Contains(console, guestMark) {
				t.Logf("the first boot came to nothing after %s, which happens under load", time.Since(began))
				console = boot(t, k.arch, filepath.Join(kernel, "vmlinuz"), image)
			}
			t.Logf("%s ran for %s", after(console, guestMark+"release "), time.Since(began).Round(100*time.Millisecond))
			judge(t, k, console)
		})
	}
}

// pack makes the first file tree of the machine: programs and some modules.
func pack(t *testing.T, files map[string]string, modulesDir string) string {
	t.Helper()
	var a initramfs
	a.folder(guestModules[1:])
	for _, name := range slices.Sorted(maps.Keys(files)) {
		a.file(name, []byte(readFile(t, files[name])))
	}
	for i, m := range withDependencies(t, modulesDir, modules()) {
		a.file(fmt.Sprintf("%s/%02d-%s", guestModules[1:], i, m.name), m.content)
	}
	a.end()
	image := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(image, a.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return image
}

func command(t *testing.T, env []string, name string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// boot gives all that the machine has written on its console when it is off, or
// until its time was up. It is emulated, since a hypervisor in a hypervisor may
// hang, and has one processor, since two of them emulated may.
func boot(t *testing.T, arch, kernel, image string) string {
	t.Helper()
	emulator, terminal := []string{"qemu-system-x86_64", "-cpu", "max"}, "ttyS0"
	if arch == "arm64" {
		// The architecture's own way to sign pointers takes too long to emulate.
		emulator, terminal = []string{"qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"}, "ttyAMA0"
	}
	// Nobody is to be kept out, and each way into the kernel would cost more.
	parameters := "quiet loglevel=1 panic=-1 mitigations=off console=" + terminal + " " + guestVariable + "=yes"
	args := append(emulator[1:], "-accel", "tcg", "-m", "512", "-nographic", "-no-reboot",
		"-kernel", kernel, "-initrd", image, "-append", parameters)
	ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Second)
	defer cancel()
	var console bytes.Buffer
	cmd := exec.CommandContext(ctx, emulator[0], args...)
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Run(); err != nil {
		t.Logf("%s: %v", emulator[0], err)
	}
	return strings.ReplaceAll(console.String(), "\r", "")
}

// judge compares what the tests came to with what is known of the kernel.
func judge(t *testing.T, k debianKernel, console string) {
	t.Helper()
	if release := after(console, guestMark+"release "); !strings.HasPrefix(release, k.release) {
		t.Errorf("the kernel is %q, not %s", release, k.release)
	}
	capture, flows := after(console, guestMark+"capture "), after(console, guestMark+"flows ")
	t.Log("capture", capture)
	switch {
	case k.tier == "bpf" && capture != "bpf":
		t.Errorf("the capture is %q", capture)
	case k.tier != "bpf" && (!strings.HasPrefix(capture, "none: ") || !strings.Contains(capture, k.refused)):
		t.Errorf("the capture is %q, not refused because of %q", capture, k.refused)
	case k.tier != "bpf" && (!strings.HasPrefix(flows, k.tier+": ") || !strings.Contains(flows, k.refused)):
		t.Errorf("the tier is %q, not %s because of %q", flows, k.tier, k.refused)
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

// outcomes are those of the tests that have no parts; a test that fails although
// all of its parts pass stands for them.
func outcomes(console string) map[string]bool {
	passed := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) \(`).FindAllStringSubmatch(console, -1) {
		passed[m[2]] = m[1] == "PASS"
	}
	for _, name := range slices.Sorted(maps.Keys(passed)) {
		var parts []string
		all := true
		for other, ok := range passed {
			if strings.HasPrefix(other, name+"/") {
				parts = append(parts, other)
				all = all && ok
			}
		}
		switch ok, known := passed[name]; {
		case !known || len(parts) == 0:
		case !ok && all:
			for _, part := range parts {
				delete(passed, part)
			}
		default:
			delete(passed, name)
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

// after is the rest of the line that begins so.
func after(s, begin string) string {
	_, s, _ = strings.Cut(s, begin)
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func TestOutcomes(t *testing.T) {
	const console = `
--- PASS: TestA (0.00s)
--- SKIP: TestB (0.00s)
--- FAIL: TestC (0.00s)
    --- PASS: TestC/x (0.00s)
    --- FAIL: TestC/y (0.00s)
--- FAIL: TestD (0.00s)
    --- PASS: TestD/x (0.00s)
        --- PASS: TestD/x/y (0.00s)
`
	want := map[string]bool{"TestA": true, "TestB": false, "TestC/x": true, "TestC/y": false, "TestD": false}
	if got := outcomes(console); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	misses := map[string]string{"TestC": "reason", "TestD/x": "another"}
	for test, want := range map[string]string{"TestC/y": "TestC", "TestC": "TestC", "TestD": "", "TestD/x/y": "TestD/x", "TestCC": ""} {
		if got := missing(misses, test); got != want {
			t.Errorf("%s is missed by %q, want %q", test, got, want)
		}
	}
}
