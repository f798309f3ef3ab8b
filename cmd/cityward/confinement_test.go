package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The daemon runs no other program and calls nobody. Here the kernel holds it
// to that: a seccomp filter kills the process at its first execve or connect.
func TestDaemonRunsNothingAndCallsNobody(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "cityward.toml")
	text := fmt.Sprintf("[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n\n[round]\ninterval = \"1s\"\n\n[capture]\npins = \"\"\n\n[[data_store]]\nid = \"store\"\nclass = \"citizen\"\npaths = [%q]\n", filepath.Join(dir, "admin.sock"), dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", dir) // it keeps a ledger, too
	daemon := startDaemon(t, withoutC(t), "1", "run", "--config", config)
	page := daemon.scrapeUntil(t, `cityward_collector_success\{collector="flow"\} 1`)
	time.Sleep(2500 * time.Millisecond) // two more rounds, warm
	if !strings.Contains(page, "cityward_check_failing") {
		t.Errorf("the page has no checks:\n%s", page)
	}
	if _, err := os.Stat(filepath.Join(dir, "ledger.db")); err != nil {
		t.Error(err)
	}
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("the daemon ended with %v; signal: SIGSYS means a forbidden call\n%s", err, daemon.log())
	}
}

// The filter itself must bite, or the test above shows nothing.
func TestConfinementBites(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), withoutC(t), "exec")
	cmd.Env = append(os.Environ(), confineVariable+"=1")
	err := cmd.Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Errorf("a confined process that executes a program ends with %v, want SIGSYS", err)
	}
}

// withoutC builds this test program as the daemon is built: without the C
// library, which starts threads and looks up groups in ways of its own.
func withoutC(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "confined")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return file
}

const confineVariable = "CITYWARD_TEST_CONFINED"

// runConfined is the program behind the filter; TestMain calls it in a child.
func runConfined() int {
	if err := confine(); err != nil {
		fmt.Fprintln(os.Stderr, "confine:", err)
		return exitInternal
	}
	if os.Args[1] == "exec" {
		_ = exec.Command("/bin/true").Run()
		return exitDone
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// confine installs a filter, seccomp(2), for all threads of this process. What
// makes a process is forbidden, and clone where it makes no thread: a program
// that is run would be in a child, whose end nobody may notice.
func confine() error {
	const flags = 16 // of struct seccomp_data: the low half of the first argument
	forbidden := []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_CONNECT, unix.SYS_CLONE3}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	filter := []unix.SockFilter{load(0)} // the call's number
	for i, number := range forbidden {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jt: uint8(len(forbidden) - i + 3)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jf: 2},
		load(flags),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_THREAD, Jf: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Both calls must be made on one thread, which then speaks for all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// daemonProcess is a daemon that a test started.
type daemonProcess struct {
	*exec.Cmd
	logFile string
}

// startDaemon runs a test program as the daemon; TestMain obeys confined.
func startDaemon(t *testing.T, file, confined string, args ...string) *daemonProcess {
	t.Helper()
	d := &daemonProcess{exec.CommandContext(t.Context(), file, args...), filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(d.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.Stderr = log
	d.Env = append(os.Environ(), confineVariable+"="+confined)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.ProcessState == nil {
			_ = d.Process.Kill() // it may have ended
			_ = d.Wait()
		}
	})
	return d
}

func (d *daemonProcess) log() string {
	data, _ := os.ReadFile(d.logFile)
	return string(data)
}

// scrapeUntil scrapes until a line matches the pattern and returns the page.
func (d *daemonProcess) scrapeUntil(t *testing.T, pattern string) string {
	t.Helper()
	want := regexp.MustCompile(`(?m)^` + pattern)
	address := regexp.MustCompile(`msg=started .*metrics=(\S+)`)
	page := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		at := address.FindStringSubmatch(d.log())
		if at == nil {
			continue
		}
		if page = get(t, "http://"+at[1]+"/metrics"); want.MatchString(page) {
			return page
		}
	}
	t.Fatalf("no line matches %s; log:\n%s\nlast page:\n%s", pattern, d.log(), page)
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
