package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// childMode names the environment variable that makes this binary a subject or
// an agent of a test instead of a test.
const childMode = "CITYWARD_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "wait":
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "disguised":
		disguise()
	case "headless":
		loseFirstThread()
	case "hidepid":
		collectChild("hidepid=2", 65534)
	case "container":
		collectChild("", 0)
	case "collect":
		collectChild("none", os.Getuid())
	}
}

// disguise runs the rest of its life under another program's path, as any user
// may in a user namespace.
func disguise() {
	err := unix.Mount(os.Args[1], os.Args[2], "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Exec(os.Args[2], os.Args[:1], []string{childMode + "=wait"})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// loseFirstThread ends the first thread of this process and goes on in others.
func loseFirstThread() {
	for range 64 {
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() {
				_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
			}
			time.Sleep(time.Hour)
		}()
	}
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		go waitForEnd()
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	}
	waitForEnd()
}

func waitForEnd() {
	time.Sleep(50 * time.Millisecond)
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// collectChild collects in surroundings of its own and prints the facts.
func collectChild(proc string, uid int) {
	err := func() error {
		if proc != "none" {
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("proc", "/proc", "proc", 0, proc); err != nil {
				return err
			}
		}
		// Group 0 may see all of a hidepid mount unless gid= says otherwise.
		if err := syscall.Setresgid(uid, uid, uid); err != nil {
			return err
		}
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return err
		}
		h, err := host.Open("/", time.Now)
		if err != nil {
			return err
		}
		facts, err := New(h, polling(), nil).Collect(context.Background(), nil)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(facts)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// polling is a configuration of tier poll.
func polling() *configs.Config { return watching(inventory.TierPoll) }

func watching(tier string) *configs.Config {
	return &configs.Config{Capture: configs.Capture{Tier: tier}}
}

func live(t testing.TB) *Collector {
	t.Helper()
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return New(h, polling(), nil)
}

func collect(t testing.TB, c *Collector) inventory.Facts {
	t.Helper()
	facts, err := c.Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func find(t testing.TB, facts inventory.Facts, pid int) inventory.Process {
	t.Helper()
	i := slices.IndexFunc(facts.Processes, func(p inventory.Process) bool { return p.ID.PID == pid })
	if i < 0 {
		t.Fatalf("process %d is not listed", pid)
	}
	return facts.Processes[i]
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// start runs a child until the end of the test.
func start(t *testing.T, mode, executable string, args ...string) int {
	t.Helper()
	return startWith(t, func(*exec.Cmd) {}, mode, executable, args...)
}

func startWith(t *testing.T, change func(*exec.Cmd), mode, executable string, args ...string) int {
	t.Helper()
	cmd := exec.Command(executable, args...)
	change(cmd)
	cmd.Args[0] = "subject"
	cmd.Env = []string{childMode + "=" + mode}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("child said %q: %v", line, err)
	}
	return cmd.Process.Pid
}

// copySelf puts this test's binary where a test may name and remove it.
func copySelf(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, self, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSelf(t *testing.T) {
	facts := collect(t, live(t))
	p := find(t, facts, os.Getpid())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(exe, &st); err != nil {
		t.Fatal(err)
	}
	if p.Executable != exe || p.File != (inventory.FileID{Device: st.Dev, Inode: st.Ino}) || p.Deleted || p.Memory || p.Kernel {
		t.Errorf("executable: %+v", p)
	}
	if p.Parent != os.Getppid() || p.UID != os.Geteuid() || p.User == "" || p.Group == "" || !slices.Equal(p.Arguments, os.Args) {
		t.Errorf("identity: %+v", p)
	}
	if p.NetNS == 0 || p.MountNS == 0 || p.PIDNS == 0 || p.UserNS == 0 {
		t.Errorf("namespaces: %+v", p)
	}
	if age := time.Since(p.Started); age < -2*time.Second || age > time.Hour {
		t.Errorf("started %v ago", age)
	}
	if c := facts.Captures[0]; c.Tier != inventory.TierPoll || c.Complete || c.Events < uint64(len(facts.Processes)) {
		t.Errorf("capture: %+v", c)
	}
}

func TestAgreesWithGopsutil(t *testing.T) {
	pid := start(t, "wait", copySelf(t, "plain"), "one", "two")
	p := find(t, collect(t, live(t)), pid)
	other, err := process.NewProcess(int32(pid))
	if err != nil {
		t.Fatal(err)
	}
	exe, _ := other.Exe()
	created, _ := other.CreateTime()
	parent, _ := other.Ppid()
	words, _ := other.CmdlineSlice()
	if p.Executable != exe || p.Parent != int(parent) || !slices.Equal(p.Arguments, words) {
		t.Errorf("got %+v, gopsutil has %s, %d, %q", p, exe, parent, words)
	}
	if d := p.Started.Sub(time.UnixMilli(created)).Abs(); d > 2*time.Second {
		t.Errorf("started %v apart", d)
	}
}

func TestHostileNames(t *testing.T) {
	pid := start(t, "wait", copySelf(t, "a) S 1\n(\x1b\xff"), "arg\nument", strings.Repeat("x", 2*argumentsLimit))
	p := find(t, collect(t, live(t)), pid)
	if p.Name != "a) S 1\ufffd(\ufffd\ufffd" || p.Parent != os.Getpid() || !strings.HasSuffix(p.Executable, "/a) S 1\ufffd(\ufffd\ufffd") {
		t.Errorf("got name %q of %d, executable %q", p.Name, p.Parent, p.Executable)
	}
	if p.Arguments[1] != "arg\ufffdument" || len(strings.Join(p.Arguments, " ")) > argumentsLimit+10 {
		t.Errorf("got arguments %.40q, %d bytes", p.Arguments, len(strings.Join(p.Arguments, " ")))
	}
}

func TestDeletedExecutables(t *testing.T) {
	plain, tricky := copySelf(t, "plain"), copySelf(t, "tricky (deleted)")
	linked := copySelf(t, "linked")
	pids := []int{start(t, "wait", plain), start(t, "wait", tricky), start(t, "wait", linked)}
	c := live(t)
	facts := collect(t, c)
	for i, path := range []string{plain, tricky, linked} {
		if p := find(t, facts, pids[i]); p.Executable != path || p.Deleted || p.Memory {
			t.Errorf("before: got %q, deleted %v", p.Executable, p.Deleted)
		}
	}
	// A second name keeps the file alive, but not under the name that was run.
	if err := os.Link(linked, linked+".bak"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain, tricky, linked} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	facts = collect(t, c)
	for i, path := range []string{plain, tricky, linked} {
		if p := find(t, facts, pids[i]); p.Executable != path || !p.Deleted || p.Memory || p.File.Inode == 0 {
			t.Errorf("after: got %q, deleted %v, file %v", p.Executable, p.Deleted, p.File)
		}
	}
}

func TestBorrowedPaths(t *testing.T) {
	needRoot(t) // not every system lets others make user namespaces
	self, other := copySelf(t, "self"), copySelf(t, "other")
	own := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		}
	}
	plain, disguised := startWith(t, own, "wait", self), startWith(t, own, "disguised", self, self, other)
	facts := collect(t, live(t))
	if p := find(t, facts, plain); p.Executable != self || p.Foreign {
		t.Errorf("under its own path: got %q, foreign %v", p.Executable, p.Foreign)
	}
	if p := find(t, facts, disguised); p.Executable != other || !p.Foreign {
		t.Errorf("under another's path: got %q, foreign %v", p.Executable, p.Foreign)
	}
	if p := find(t, facts, os.Getpid()); p.Foreign {
		t.Error("the test itself is taken for foreign")
	}
}

func TestMemoryExecutable(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("ghost", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "ghost")
	if _, err := f.Write(self); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	ro, err := os.Open(path) // a descriptor open for writing cannot be run
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	pid := start(t, "wait", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ro.Fd()))
	p := find(t, collect(t, live(t)), pid)
	if !p.Memory || p.Deleted || p.Executable != "/memfd:ghost" {
		t.Errorf("got %+v", p)
	}
}

func TestFirstThreadExited(t *testing.T) {
	path := copySelf(t, "headless")
	pid := start(t, "headless", path)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	if stat, err := host.ParseStat(data); err != nil || !stat.Dead() || stat.Threads < 2 {
		t.Fatalf("the subject is not headless: %+v, %v", stat, err)
	}
	if p := find(t, collect(t, live(t)), pid); p.Executable != path || p.NetNS == 0 {
		t.Errorf("got %+v", p)
	}
}

func TestKernelThreads(t *testing.T) {
	for _, p := range collect(t, live(t)).Processes {
		if p.Kernel && (p.Executable != "" || p.Arguments != nil || p.Parent > 2) {
			t.Errorf("got %+v", p)
		}
		if p.ID.PID == 2 && p.Name == "kthreadd" && !p.Kernel {
			t.Error("kthreadd is not taken for a thread of the kernel")
		}
	}
}

func TestExecKeepsTheExecution(t *testing.T) {
	c := live(t)
	cmd := exec.Command("/bin/sh", "-c", "echo ready; read go; exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	before := find(t, collect(t, c), cmd.Process.Pid)
	if _, err := io.WriteString(in, "\nhello\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	after := find(t, collect(t, c), cmd.Process.Pid)
	if before.ID != after.ID || before.Executable == after.Executable || !slices.Equal(after.Arguments, []string{"cat"}) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

func TestTwiceTheSame(t *testing.T) {
	pid := start(t, "wait", copySelf(t, "plain"), "argument")
	c := live(t)
	before := runtime.NumGoroutine()
	first, second := find(t, collect(t, c), pid), find(t, collect(t, c), pid)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("got %+v\nthen %+v", first, second)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines were left", after-before)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := live(t).Collect(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherRoot(t *testing.T) {
	h, err := host.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	facts := collect(t, New(h, polling(), nil))
	if len(facts.Gaps) != 1 || facts.Gaps[0].Kind != inventory.KindProcesses || len(facts.Processes) != 0 {
		t.Errorf("got %+v", facts)
	}
}

// asAgent collects in a child and returns its facts.
func asAgent(t *testing.T, mode string, attributes *syscall.SysProcAttr) inventory.Facts {
	t.Helper()
	needRoot(t)
	path := copySelf(t, "agent")
	for dir := filepath.Dir(path); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = []string{childMode + "=" + mode}
	cmd.SysProcAttr = attributes
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var facts inventory.Facts
	if err := json.Unmarshal(out, &facts); err != nil {
		t.Fatal(err)
	}
	return facts
}

func gapWith(facts inventory.Facts, text string) *inventory.Gap {
	for i, g := range facts.Gaps {
		if g.Kind == inventory.KindProcesses && strings.Contains(g.Reason, text) {
			return &facts.Gaps[i]
		}
	}
	return nil
}

func TestUnprivileged(t *testing.T) {
	facts := asAgent(t, "collect", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	g := gapWith(facts, "permission denied")
	if g == nil || g.Lost == 0 || g.Subject == "" {
		t.Fatalf("gaps: %+v", facts.Gaps)
	}
	unread := 0
	for _, p := range facts.Processes {
		if !p.Kernel && p.Executable == "" {
			unread++
		}
	}
	if unread != g.Lost {
		t.Errorf("%d processes without executable, gap counts %d", unread, g.Lost)
	}
	// What anybody may see is there all the same.
	if p := find(t, facts, os.Getpid()); p.UID != 0 || p.Name == "" || p.NetNS == 0 {
		t.Errorf("got %+v", p)
	}
}

func TestHidepid(t *testing.T) {
	facts := asAgent(t, "hidepid", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
	if gapWith(facts, "hidepid") == nil {
		t.Errorf("gaps: %+v", facts.Gaps)
	}
}

func TestOwnPIDNamespace(t *testing.T) {
	facts := asAgent(t, "container", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID})
	if gapWith(facts, "PID namespace") == nil || len(facts.Processes) != 1 {
		t.Errorf("gaps: %+v, %d processes", facts.Gaps, len(facts.Processes))
	}
}

// BenchmarkWarm is a round on 300 processes, compared with gopsutil reading the
// same facts.
func BenchmarkWarm(b *testing.B) {
	for range max(0, 300-len(collect(b, live(b)).Processes)) {
		cmd := exec.Command("/bin/cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Wait()
		})
	}
	b.Run("cityward", func(b *testing.B) {
		c := live(b)
		collect(b, c)
		b.ReportAllocs()
		for b.Loop() {
			b.ReportMetric(float64(len(collect(b, c).Processes)), "processes")
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			collect(b, live(b))
		}
	})
	b.Run("gopsutil", func(b *testing.B) {
		for b.Loop() {
			all, err := process.Processes()
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range all {
				_, _ = p.Exe()
				_, _ = p.CmdlineSlice()
				_, _ = p.Uids()
				_, _ = p.Groups()
				_, _ = p.CreateTime()
				_, _ = p.Ppid()
			}
		}
	})
}
