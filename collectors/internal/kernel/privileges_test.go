package kernel

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const nobody = 65533 // a user without any file or process

// minimum are the capabilities that the service has.
func minimum() []uintptr {
	return []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}
}

func without(c uintptr) []uintptr {
	return slices.DeleteFunc(minimum(), func(other uintptr) bool { return other == c })
}

// asNobody starts a command that has these capabilities and can have no other.
func asNobody(t *testing.T, cmd *exec.Cmd, capabilities []uintptr) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: capabilities,
	}
	apart(t, func() error {
		for c := range uintptr(unix.CAP_LAST_CAP + 1) {
			if slices.Contains(capabilities, c) {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
		return cmd.Start()
	})
}

// watch captures with the pins in a directory ("-" none) until it is told of a
// process, and says what it has seen of that.
func watch(job []string) error {
	var o Options
	if job[0] != "-" {
		o.Pins = job[0]
	}
	k, err := Open(o)
	if err != nil {
		return err
	}
	if err := k.SetStores([]StoreDir{{Device: 1, Inode: 1}}); err != nil {
		return err
	}
	fmt.Println("open")
	var who Execution
	if _, err := fmt.Fscanln(os.Stdin, &who.PID, &who.Start); err != nil {
		return err
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		r, err := k.Read()
		if err != nil {
			return err
		}
		if said := account(r, who); said != "" {
			fmt.Println(said)
			return k.Close()
		}
	}
	return fmt.Errorf("nothing seen of process %d", who.PID)
}

func account(r *Reading, who Execution) string {
	for _, f := range r.Flows {
		if f.Owner.PID != who.PID || f.Owner.Start != who.Start || f.Received == 0 {
			continue
		}
		for i := range r.Programs {
			if p := &r.Programs[i]; p.ID == f.Owner {
				return fmt.Sprintf("user %d by %s: %d %d, deaf %q", p.UID, filepath.Base(p.Path), f.Sent, f.Received, r.Deaf)
			}
		}
	}
	return ""
}

// watcher runs watch as nobody, lets another user's process make a flow, and gives
// what it says of that.
func watcher(t *testing.T, pins string, capabilities []uintptr) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), generatorVariable+"=watch "+pins)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, cmd, capabilities)
	lines := bufio.NewScanner(out)
	said := ""
	for lines.Scan() {
		said = lines.Text()
		if said != "open" {
			continue
		}
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 3) })
		who := run(t, nil, "tcp %s 7", l.Addr())
		if _, err := fmt.Fprintln(in, who.Owner.PID, who.Owner.Start); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Sprintf("%v: %s", err, stderr.String())
	}
	return said
}

// Five capabilities are enough, and none of three is too many: CAP_BPF to load
// anything, CAP_PERFMON for programs that read the kernel's structures,
// CAP_NET_ADMIN for those of control groups. The other two are for /proc and for
// the way to the pins, whose file system only root may enter.
func TestMinimumPrivileges(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		program, err := os.Readlink("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("user 0 by %s: 7 3, deaf %q", filepath.Base(program), "")
		for _, pins := range []string{"-", dir, dir} { // without, anew, taken over
			if said := watcher(t, pins, minimum()); said != want {
				t.Errorf("pins %s: %q, want %q", pins, said, want)
			}
		}
		for name, c := range map[string]uintptr{"CAP_BPF": unix.CAP_BPF, "CAP_PERFMON": unix.CAP_PERFMON, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN} {
			said := watcher(t, "-", without(c))
			if !strings.Contains(said, "unsupported operation: load programs without "+name+": ") {
				t.Errorf("without %s: %q", name, said)
			}
		}
		// What goes on already needs no more than the right to ask for it.
		if said := watcher(t, dir, []uintptr{unix.CAP_BPF, unix.CAP_DAC_READ_SEARCH}); said != want {
			t.Errorf("taken over with CAP_BPF: %q, want %q", said, want)
		}
	})
}

// Where the second hierarchy of control groups is mounted nowhere, only root can
// see its root.
func TestNoCgroupMount(t *testing.T) {
	inPins(t, func(t *testing.T, _ string) {
		for {
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			at := cgroupMount(mounts)
			if at == "" {
				break
			}
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		}
		open(t, Options{Flows: 16})
		if said := watcher(t, "-", minimum()); !strings.Contains(said, "unsupported operation") || !strings.Contains(said, "needs CAP_SYS_ADMIN") {
			t.Errorf("without a mount: %q", said)
		}
	})
}
