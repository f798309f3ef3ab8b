package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// The kernel hands what it does not know of its command line to its first
	// program, as variables.
	guestVariable = "CITYWARD_TEST_GUEST"
	guestModules  = "/modules" // in the order in which they are loaded
	guestFlow     = "/flow"    // the tests of package flow, where those of this one have nothing to do
	guestMark     = "guest: "  // begins the lines that the driver reads
)

// flowSkips are those tests of package flow that need ip(8), nft(8), or files
// beside them.
const flowSkips = "^(TestZones|TestAttempt|TestProcAgreesWithSockDiag|TestTrackedConnections|TestParseEnded|TestParseTrack|FuzzEnded|FuzzTrack)$"

// captureSkips are those tests of this package in which the kernel has no part but to
// load the programs once more: what is pinned, tables that are full, rows that are
// dropped. They run where nothing is emulated.
const captureSkips = "^(TestKernelMatrix|TestGeneratedIsUpToDate|TestCosts" +
	"|TestAnotherBuildTakesOver|TestAnotherLayoutIsAGap|TestCutShortIsAGap|TestPins.*|TestUnpin.*" +
	"|TestFullTableFolds|TestFoldedZonesGoStale|TestZonesThatFindNoRoom|TestStoreNumbers|TestMemory|TestMillionDestinations" +
	"|TestIdleRowsAreDropped|TestNamesThatComeAgain|TestEndedIsListedOnce|TestRecent" +
	"|TestAudit|TestCanary.+|TestNoCgroupMount|TestOutcomes|Fuzz.*)$"

// guest is the first process of a machine that TestKernelMatrix boots: it runs
// the tests there and turns the machine off.
func guest() {
	if err := runGuest(); err != nil {
		fmt.Println(guestMark+"error", err)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func runGuest() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
		{"tmpfs", "/run"},
		{"cgroup2", "/sys/fs/cgroup"},
		{"bpf", "/sys/fs/bpf"},
		{"tracefs", "/sys/kernel/tracing"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	fmt.Print(guestMark, "release ", string(release))
	if err := again("/proc/self/exe", []string{generatorVariable + "=tier"}); err != nil {
		return err
	}
	program, skips := "/proc/self/exe", captureSkips
	if _, err := os.Stat(guestFlow); err == nil {
		program, skips = guestFlow, flowSkips
		if err := again(program, []string{"CITYWARD_TEST_CHILD=tier"}); err != nil {
			return err
		}
	}
	err = again(program, nil, "-test.v", "-test.short", "-test.parallel=8", "-test.skip="+skips, "-test.timeout=1100s")
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		return err
	}
	fmt.Println(guestMark + "end")
	if err != nil {
		return complaints()
	}
	return nil
}

// again runs a program of tests, such as this one, and copies what it says line by
// line, so that the kernel's own words come between lines only.
func again(program string, env []string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{"PATH=/", "HOME=/", "TMPDIR=/tmp", "CITYWARD_GUEST=1"}, env...)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return err
	}
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadString('\n')
		_, _ = os.Stdout.WriteString(line)
		if err == io.EOF {
			return errors.Join(cmd.Wait(), r.Close())
		} else if err != nil {
			return err
		}
	}
}

func loadModules() error {
	files, err := filepath.Glob(guestModules + "/*")
	if err != nil {
		return err
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.FinitModule(int(f.Fd()), "", 0), f.Close()); err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up)
}

// complaints prints the warnings and worse of the kernel's log.
func complaints() error {
	log := make([]byte, 1<<18)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	if err != nil {
		return fmt.Errorf("read the kernel's log: %w", err)
	}
	for line := range strings.Lines(string(log[:n])) {
		if len(line) > 3 && line[1] <= '4' && line[2] == '>' {
			fmt.Print(line)
		}
	}
	return nil
}
