package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cityward/configs"
	"cityward/packaging"
)

// maxExposure is what systemd-analyze may say of the unit at most, from 0 (shut
// in) to 10. Unconfined exporters have 9.2.
const maxExposure = 2.9

// cannot ends a test whose means are missing here: plainly, and in CI as a failure.
func cannot(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			cannot(t, "needs %s: packaging/install-test-deps.sh installs it", name)
		}
	}
}

// command runs a program to its end and gives what it printed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestUnitExposure(t *testing.T) {
	needs(t, "systemd-analyze")
	file := filepath.Join(t.TempDir(), "cityward.service")
	if err := os.WriteFile(file, []byte(packaging.Unit()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := command(t, "systemd-analyze", "security", "--offline=true", "--no-pager", file)
	found := regexp.MustCompile(`Overall exposure level for cityward.service: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no exposure level in:\n%s", out)
	}
	exposure, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	if exposure > maxExposure {
		t.Errorf("exposure is %.1f, want at most %.1f:\n%s", exposure, maxExposure, out)
	}
}

// The promise that the agent watches and neither calls out nor writes is held by
// systemd, not by the agent's good will.
func TestUnitKeepsThePromise(t *testing.T) {
	for _, line := range []string{
		"User=cityward",
		"AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
		"CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
		"NoNewPrivileges=yes",
		"IPAddressDeny=any",
		"IPAddressAllow=localhost",
		"ProtectSystem=strict",
		"ReadWritePaths=-" + configs.Default().Capture.Pins,
	} {
		if !strings.Contains(packaging.Unit(), "\n"+line+"\n") {
			t.Errorf("the unit has no line %q", line)
		}
	}
	if strings.Count(packaging.Unit(), "\nReadWritePaths=") != 1 {
		t.Error("the unit opens a path for writing beside its own directories and the pins")
	}
}

func TestUnitTemplate(t *testing.T) {
	template := packaging.UnitTemplate()
	if got := strings.ReplaceAll(template, "{{Path | cmdEscape}}", "/usr/bin/cityward"); got != packaging.Unit() {
		t.Errorf("with the packaged path the template is not the packaged unit:\n%s", got)
	}
	if !strings.Contains(template, "\nExecStart={{Path | cmdEscape}} run") {
		t.Error("the program's path in ExecStart is no placeholder")
	}
	if n := strings.Count(template, "{{"); n != 1 {
		t.Errorf("%d placeholders, want 1: kardianos/service would expand them", n)
	}
}

func TestSysusersNamesTheUnitsUser(t *testing.T) {
	line, err := os.ReadFile("sysusers.d/cityward.conf")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(line))
	if len(fields) < 2 || fields[0] != "u" {
		t.Fatalf("not a user of sysusers.d(5): %q", line)
	}
	for _, key := range []string{"User", "Group"} {
		if line := fmt.Sprintf("\n%s=%s\n", key, fields[1]); !strings.Contains(packaging.Unit(), line) {
			t.Errorf("the unit has no line %q", strings.TrimSpace(line))
		}
	}
}
