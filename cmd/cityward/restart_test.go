package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// restartVariable marks the child that has a mount namespace of its own, so that
// no capture stays whatever happens.
const restartVariable = "CITYWARD_TEST_RESTART"

// A daemon that starts anew takes the pinned capture over and counts what flowed
// meanwhile, and not what the one before has counted.
func TestRestartCountsNothingTwice(t *testing.T) {
	needRoot(t)
	if os.Getenv(restartVariable) != "" {
		restart(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=100s")
	cmd.Env = append(os.Environ(), restartVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		skip(t, "this kernel permits no capture that is pinned")
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func restart(t *testing.T) {
	t.Helper()
	mount := t.TempDir()
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil { // with it goes what is pinned
			t.Error(err)
		}
	})
	w := watchPinned(t, filepath.Join(mount, "cityward"))
	w.captured(t)
	const sent = `cityward_program_outside_sent_bytes_total\{program="talker"\} `
	say := w.talker(t)
	say()
	w.scrapeUntil(t, sent+"7$")
	w.look(t) // whoever reads again has dealt with what was read before
	w.end(t)
	say()
	w.start(t)
	w.scrapeUntil(t, sent+"7$")
	say()
	w.look(t)
	w.scrapeUntil(t, sent+"14$")
	w.end(t)
}

// talker starts a program that sends 7 bytes beyond the city whenever it is told.
func (w *watched) talker(t *testing.T) (say func()) {
	t.Helper()
	script := `exec 4<>/dev/udp/203.0.113.50/443; while read -r line; do echo "$line" >&4; echo; done`
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", w.inside, shellNamed(t, "talker"), "-c", script)
	told, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	done, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		told.Close()
		_ = cmd.Wait()
	})
	return func() {
		if _, err := io.WriteString(told, "secret\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(done, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// look asks for a round.
func (w *watched) look(t *testing.T) {
	t.Helper()
	if _, err := w.admin.get(t.Context(), "flows?fresh"); err != nil {
		t.Fatal(err)
	}
}

func (w *watched) start(t *testing.T) {
	t.Helper()
	w.daemonProcess = startDaemon(t, os.Args[0], "0", "run", "--config", w.config)
	w.scrapeUntil(t, `cityward_rounds_total 1`)
}

func (w *watched) end(t *testing.T) {
	t.Helper()
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(); err != nil {
		t.Errorf("the daemon ends with %v\n%s", err, w.log())
	}
}

// watchPinned is a daemon whose capture outlives it.
func watchPinned(t *testing.T, pins string) *watched {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	w := &watched{config: filepath.Join(dir, "cityward.toml"), admin: newAdmin(filepath.Join(dir, "admin.sock"))}
	writeFile(t, w.config, fmt.Sprintf("[city]\nnetworks = [\"10.77.0.0/16\"]\n[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n[capture]\npins = %q\n[round]\ninterval = \"1h\"\n[log]\nlevel = \"debug\"\n", w.admin.path, pins))
	w.inside, w.outside = border(t)
	w.start(t)
	return w
}
