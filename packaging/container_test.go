package packaging_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const debianSuite = "bookworm"

// machine is a booted Debian: systemd as its process 1, a network of its own
// with loopback only.
type machine struct {
	root   string // its file tree, seen from outside
	leader string // its process 1, seen from outside
}

// debianTree gives an archive of a small Debian with systemd. It is kept between
// runs in the user's cache, since making it fetches some 60 packages.
func debianTree(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "cityward-test")
	tree := filepath.Join(dir, debianSuite+"-"+runtime.GOARCH+".tar")
	if _, err := os.Stat(tree); err == nil {
		return tree
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	making := filepath.Join(t.TempDir(), "tree.tar")
	command(t, "mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", debianSuite, making)
	command(t, "mv", making, tree)
	return tree
}

// bootDebian boots a fresh machine that ends with the test.
func bootDebian(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		cannot(t, "needs root to boot a container")
	}
	needs(t, "mmdebstrap", "systemd-nspawn", "nsenter")
	root := filepath.Join(t.TempDir(), "debian")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "tar", "-C", root, "-xpf", debianTree(t))

	// Two tries: under load the first boot may miss a deadline of systemd's own.
	for try := range 2 {
		m, err := boot(t, root)
		if err == nil {
			return m
		}
		t.Logf("boot %d: %v", try+1, err)
	}
	t.Fatal("Debian does not boot in systemd-nspawn")
	return nil
}

func boot(t *testing.T, root string) (*machine, error) {
	t.Helper()
	var console bytes.Buffer
	spawn := exec.Command("systemd-nspawn", "-q", "-D", root, "--boot", "--register=no", "--keep-unit", "--link-journal=no",
		"--private-network", "--console=pipe",
		// What a machine's systemd has without asking; containers' are refused it.
		"--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN,CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH", "--system-call-filter=bpf")
	spawn.Stdout, spawn.Stderr = &console, &console
	if err := spawn.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = spawn.Wait(); close(ended) }()
	m := &machine{root: root}
	stop := func() {
		// SIGTERM to systemd-nspawn powers the machine off in good order.
		_ = spawn.Process.Signal(unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = spawn.Process.Kill()
			<-ended
		}
	}
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case <-ended:
			return nil, fmt.Errorf("ended at once: %s", console.String())
		case <-time.After(200 * time.Millisecond):
		}
		if m.leader == "" {
			m.leader = onlyChild(spawn.Process.Pid)
			continue
		}
		if state, _ := m.try("systemctl", "is-system-running"); state == "running" {
			t.Cleanup(func() {
				if t.Failed() {
					journal, _ := m.try("journalctl", "--no-pager", "--unit=cityward")
					t.Logf("journal of the agent:\n%s", journal)
				}
				stop()
			})
			return m, nil
		}
	}
	failed, _ := m.try("systemctl", "--failed", "--no-legend")
	stop()
	return nil, fmt.Errorf("not running in time: %s\n%s", failed, console.String())
}

// mountBPF does what systemd does on a machine that is no container.
func (m *machine) mountBPF(t *testing.T) {
	t.Helper()
	m.run(t, "mount", "-o", "remount,bind,rw", "/sys")
	m.run(t, "mkdir", "/sys/fs/bpf")
	m.run(t, "mount", "-t", "bpf", "-o", "mode=700", "bpf", "/sys/fs/bpf")
}

// onlyChild gives the child of a process, "" if there is none yet.
func onlyChild(pid int) string {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	fields := strings.Fields(string(children))
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// try runs a program inside the machine and gives what it printed.
func (m *machine) try(args ...string) (string, error) {
	enter := append([]string{"-t", m.leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"}, args...)
	out, err := exec.Command("nsenter", enter...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// pinned reports whether a capture goes on by itself; only the machine sees the file.
func (m *machine) pinned() bool {
	_, err := m.try("test", "-e", pins)
	return err == nil
}

// property gives one property of the agent's unit.
func (m *machine) property(t *testing.T, name string) string {
	t.Helper()
	return m.run(t, "systemctl", "show", "--property="+name, "--value", "cityward")
}

// copyIn puts a file of ours into the machine.
func (m *machine) copyIn(t *testing.T, source, target string) {
	t.Helper()
	command(t, "cp", source, filepath.Join(m.root, target))
}

func (m *machine) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(m.root, path))
	return err == nil
}

// get asks the agent over the machine's own loopback.
func (m *machine) get(path string) (int, string, error) {
	client := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DialContext: m.dial, DisableKeepAlives: true},
	}
	answer, err := client.Get("http://127.0.0.1:19777" + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}

// dial opens a connection in the machine's network. The thread that entered it is
// never unlocked, so it ends with its goroutine.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type dialled struct {
		conn net.Conn
		err  error
	}
	result := make(chan dialled, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open("/proc/" + m.leader + "/ns/net")
		if err != nil {
			result <- dialled{err: err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- dialled{err: err}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		result <- dialled{conn, err}
	}()
	r := <-result
	return r.conn, r.err
}

// eventually waits for something that systemd or the agent does in its own time.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
