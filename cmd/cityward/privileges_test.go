package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

const (
	nobody = 65533 // a user without any file or process

	// What is left of the rights when the daemon is at work.
	keptInKernel = 1<<unix.CAP_BPF | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH
	keptBelow    = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH
)

// asNobody makes a command one of a user who has what the service has.
func asNobody(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH},
	}
}

// privilegedDaemon is a daemon whose configuration a test may change.
type privilegedDaemon struct {
	daemonProcess
	config string
}

func (d *privilegedDaemon) configure(t *testing.T, network, tier, pins string) {
	t.Helper()
	dir := filepath.Dir(d.config)
	writeFile(t, d.config, fmt.Sprintf("[city]\nnetworks = [%q]\n[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n[round]\ninterval = \"1s\"\n[capture]\ntier = %q\npins = %q\n",
		network, filepath.Join(dir, "admin.sock"), tier, pins))
}

func startPrivileged(t *testing.T, file, tier, pins string, change func(*exec.Cmd)) *privilegedDaemon {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	d := &privilegedDaemon{config: filepath.Join(dir, "cityward.toml")}
	d.configure(t, "10.77.0.0/16", tier, pins)
	d.start(t, file, change)
	return d
}

func (d *privilegedDaemon) start(t *testing.T, file string, change func(*exec.Cmd)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), file, "--config", d.config, "run")
	d.daemonProcess = daemonProcess{cmd, filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(d.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if change != nil {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.end() })
}

func (d *privilegedDaemon) end() {
	if d.ProcessState == nil {
		_ = d.Process.Kill() // it may have ended
		_ = d.Wait()
	}
}

// builtDaemon builds the program as it is released, where another user may run it.
func builtDaemon(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "cityward")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, open := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// When the first round is done, no thread can do what only the beginning needed,
// and the daemon still sees, and takes a new policy.
func TestDropsPrivileges(t *testing.T) {
	needRoot(t)
	file := builtDaemon(t)
	for name, test := range map[string]struct {
		tier   string
		change func(*exec.Cmd)
		want   uint64
	}{
		"root":    {"auto", nil, keptInKernel},
		"service": {"auto", asNobody, keptInKernel},
		"events":  {inventory.TierEvents, nil, keptBelow},
		"poll":    {inventory.TierPoll, nil, keptBelow &^ (1 << unix.CAP_NET_ADMIN)},
		"portable": {
			inventory.TierGopsutil, nil, 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH,
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir() // nobody's, too
			if err := errors.Join(os.Chmod(state, 0o777), os.Chmod(filepath.Dir(state), 0o755)); err != nil {
				t.Fatal(err)
			}
			t.Setenv("STATE_DIRECTORY", state)
			d := startPrivileged(t, file, test.tier, "", test.change)
			d.scrapeUntil(t, `cityward_collector_success\{collector="flow"\} 1`)
			wantCapabilities(t, d.Process.Pid, test.want)
			if test.tier != "auto" {
				return
			}
			d.sees(t)
			d.configure(t, "10.78.0.0/16", test.tier, "")
			if err := d.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			d.says(t, "msg=.*reloaded")
			d.sees(t)
			wantCapabilities(t, d.Process.Pid, test.want)
			for line := range strings.Lines(d.log()) {
				if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") || strings.Contains(line, "not permitted") {
					t.Errorf("log: %s", line)
				}
			}
		})
	}
}

// wantCapabilities looks at every thread of a process; proc_pid_status(5).
func wantCapabilities(t *testing.T, pid int, want uint64) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, file := range threads {
		status, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // a thread that ended
		}
		if err != nil {
			t.Fatal(err)
		}
		for set, want := range map[string]uint64{"CapPrm": want, "CapEff": want, "CapInh": 0, "CapAmb": 0} {
			if line := fmt.Sprintf("\n%s:\t%016x\n", set, want); !strings.Contains(string(status), line) {
				t.Errorf("%s: %s is not %016x in:\n%s", file, set, want, status)
			}
		}
	}
}

// says waits for a line of the log.
func (d *privilegedDaemon) says(t *testing.T, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for end := time.Now().Add(20 * time.Second); !want.MatchString(d.log()); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log does not say %s:\n%s", pattern, d.log())
		}
	}
}

// sees wants what this process sends to be counted, by the kernel.
func (d *privilegedDaemon) sees(t *testing.T) {
	t.Helper()
	before := bytesCounted(t, d.scrapeUntil(t, `cityward_capture_tier_info\{capture="flows",tier="bpf"\} 1`))
	sendDatagrams(t)
	d.counts(t, before+datagrams*datagramBytes)
}

// counts waits until at least n bytes of the kind that sendDatagrams sends were
// counted. Flows would not do: where another test on the same kernel fills the
// table, they are folded into one, with every byte.
func (d *privilegedDaemon) counts(t *testing.T, n int) {
	t.Helper()
	seen, page := -1, ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		page = d.scrapeUntil(t, "cityward_flow_sent_bytes_total")
		if seen = bytesCounted(t, page); seen >= n {
			return
		}
	}
	t.Errorf("%d bytes counted, want %d or more; metrics:\n%s\nlog:\n%s", seen, n, page, d.log())
}

const datagrams, datagramBytes = 50, 9001

// sendDatagrams sends each to another port of this machine, and to another address
// than it comes from: a port that senders had may come again at a receiver, which
// would make what was sent an answer.
func sendDatagrams(t *testing.T) {
	t.Helper()
	for range datagrams {
		at, err := net.ListenPacket("udp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		defer at.Close() // not sooner, so that no port comes twice
		from, err := net.Dial("udp", at.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = from.Write(make([]byte, datagramBytes))
		if err := fmt.Sprint(err, from.Close()); err != "<nil> <nil>" {
			t.Fatal(err)
		}
	}
}

func bytesCounted(t *testing.T, page string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^cityward_flow_sent_bytes_total\{direction="out",peer_zone="host",protocol="udp"\} (\S+)$`).FindStringSubmatch(page)
	if found == nil {
		return 0
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestReduced(t *testing.T) {
	before := [2]unix.CapUserData{{Effective: 0b0110, Permitted: 0b1110, Inheritable: 0b1110}, {Effective: 0b1, Permitted: 0b11, Inheritable: 0b1}}
	want := [2]unix.CapUserData{{Effective: 0b0010, Permitted: 0b1010}, {Permitted: 0b10}}
	if got := reduced(before, 0b10<<32|0b1011); got != want {
		t.Errorf("%+v, want %+v: what is not held is not asked for", got, want)
	}
}

// A build with the C library cannot reach all threads, and must not look as if it
// did.
func TestDropWithC(t *testing.T) {
	if err := drop(^uint64(0)); err != nil && !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Error(err)
	}
}

// inOwnMounts runs a test in a mount namespace with a BPF file system, so that
// whatever happens to it, nothing stays attached.
func inOwnMounts(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	const variable = "CITYWARD_TEST_MOUNTS"
	needRoot(t)
	if os.Getenv(variable) == t.Name() {
		dir := t.TempDir()
		if err := unix.Mount("bpf", dir, "bpf", 0, "mode=700"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		test(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A daemon that is killed leaves the capture behind; the next one has what it
// counted meanwhile.
func TestKilledDaemonMissesNothing(t *testing.T) {
	inOwnMounts(t, func(t *testing.T, dir string) {
		file := builtDaemon(t)
		pins := filepath.Join(dir, "cityward")
		if err := os.Mkdir(pins, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(pins, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		d := startPrivileged(t, file, "auto", pins, asNobody)
		d.sees(t)
		d.end() // by SIGKILL
		sendDatagrams(t)
		d.start(t, file, asNobody)
		d.scrapeUntil(t, `cityward_capture_tier_info\{capture="flows",tier="bpf"\} 1`)
		d.counts(t, datagrams*datagramBytes)
		if strings.Contains(d.log(), "ends with the daemon") {
			t.Errorf("the capture is not pinned:\n%s", d.log())
		}
		wantCapabilities(t, d.Process.Pid, keptInKernel)
	})
}

// Pins that are another user's are left alone: the daemon captures without, and
// says that.
func TestPinsOfAnother(t *testing.T) {
	inOwnMounts(t, func(t *testing.T, dir string) {
		file := builtDaemon(t)
		pins := filepath.Join(dir, "cityward")
		for _, made := range []bool{false, true} { // nobody may make it; it is root's
			if made {
				if err := os.Mkdir(pins, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			d := startPrivileged(t, file, "auto", pins, asNobody)
			d.sees(t)
			d.says(t, "level=WARN .*capture in the kernel ends with the daemon.*permi")
			d.end()
		}
		entries, err := os.ReadDir(pins)
		if err != nil || len(entries) > 0 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}

func TestNeededIsWhatTheServiceHas(t *testing.T) {
	for tier, inKernel := range map[string]bool{"auto": true, inventory.TierBPF: true} {
		if got := needed(inKernel, tier); got != keptInKernel {
			t.Errorf("%s: %x", tier, got)
		}
	}
	if got := needed(false, "auto"); got != keptBelow {
		t.Errorf("where the kernel refuses: %x", got)
	}
	var named uint64
	for _, p := range privileges() {
		named |= 1 << p.bit
	}
	for _, bits := range []uint64{keptInKernel, keptBelow} {
		if bits&^named != 0 {
			t.Errorf("doctor does not name all of %x", bits)
		}
	}
	if !slices.ContainsFunc(privileges(), func(p privilege) bool { return p.bit == unix.CAP_PERFMON }) {
		t.Error("doctor does not name CAP_PERFMON")
	}
}
