package kernel

import (
	"bytes"
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

func read(t *testing.T, k *Kernel) *Reading {
	t.Helper()
	r, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// executionsOf gives those of one process.
func executionsOf(r *Reading, who Flow) []Program {
	var found []Program
	for _, p := range r.Programs {
		if p.ID.PID == who.Owner.PID && p.ID.Start == who.Owner.Start {
			found = append(found, p)
		}
	}
	return found
}

// A process that is gone has all that is asked of one that runs.
func TestEndedProgramIsKnown(t *testing.T) {
	k := open(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // whose parent others may not enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // for the user that the program becomes
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "carrier of data")
	copyFile(t, "/proc/self/exe", copied)
	who := run(t, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = copied, []string{"carrier", "-f", "two words"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 2345}}
	}, "tcp %s 7", l.Addr())
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	found := executionsOf(read(t, k), who)
	if len(found) != 1 {
		t.Fatalf("%d executions: %+v", len(found), found)
	}
	p, me := found[0], self(t)
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/self/exe", &st); err != nil {
		t.Fatal(err)
	}
	if p.Path != copied || p.Truncated || p.Unlinked || p.Inode == st.Ino {
		t.Errorf("executable %q (truncated %t, unlinked %t, inode %d), want %q", p.Path, p.Truncated, p.Unlinked, p.Inode, copied)
	}
	if string(p.Arguments) != "carrier\x00-f\x00two words\x00" || p.Name != "carrier of data" {
		t.Errorf("arguments %q of %q", p.Arguments, p.Name)
	}
	if p.UID != 1234 || p.GID != 2345 || p.NetNS != me.NetNS || p.Parent.PID != os.Getpid() || p.Parent.Start != me.Owner.Start {
		t.Errorf("%+v", p)
	}
	if p.Ended.Before(p.Began) || p.Ended.IsZero() || p.Group == "" {
		t.Errorf("from %s to %s in %q", p.Began, p.Ended, p.Group)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// What a program sent is not that of the next one in the same process.
func TestProgramsOfOneProcess(t *testing.T) {
	k := open(t, Options{})
	first := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	second := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	who := run(t, nil, "changing %s 100 %s 200", first.Addr(), second.Addr())
	a := expect(t, k, who, Out, tcp, portOf(first.Addr()), counts{sent: 100, connections: 1})
	b := expect(t, k, who, Out, tcp, portOf(second.Addr()), counts{sent: 200, connections: 1})
	if a.Owner == b.Owner {
		t.Errorf("both are of %+v", a.Owner)
	}
	arguments := make(map[Execution]string)
	for _, p := range executionsOf(read(t, k), who) {
		if p.Ended.IsZero() {
			t.Errorf("%+v has not ended", p)
		}
		arguments[p.ID] = string(p.Arguments)
	}
	if arguments[b.Owner] != "changed\x00into\x00" || arguments[a.Owner] == "" || len(arguments) != 2 {
		t.Errorf("executions %+v", arguments)
	}
}

// A process that was so many programs that their names come again is told of: its
// flows may be another's.
func TestNamesThatComeAgain(t *testing.T) {
	k := openOwn(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	for times, want := range map[int]uint64{31: 0, 32: 1} {
		before := read(t, k).Counts
		run(t, nil, "turning %s 5 %d", l.Addr(), times)
		after := read(t, k).Counts
		if got := after.Reused - before.Reused; got != want || after.Lost()-before.Lost() < want {
			t.Errorf("%d times: %d names came again, want %d", times, got, want)
		}
	}
}

// Processes without flows are listed once when they have ended; those of a storm
// are counted.
func TestEndedIsListedOnce(t *testing.T) {
	running, err := filepath.Glob("/proc/[0-9]*") // these take room, too
	if err != nil {
		t.Fatal(err)
	}
	n := max(50, len(running)) // more than the quarter of the room that is for what ended
	for name, room := range map[string]uint32{"room for all": 0, "room for some": uint32(len(running) + 2*n)} {
		t.Run(name, func(t *testing.T) { listEnded(t, room, n) })
	}
}

func listEnded(t *testing.T, room uint32, n int) {
	k := open(t, Options{Programs: room})
	before := read(t, k)
	pids := make(map[int]bool)
	for range n {
		pids[run(t, nil, "nothing").Owner.PID] = true
	}
	listed := func(r *Reading) int {
		count := 0
		for _, p := range r.Programs {
			if pids[p.ID.PID] && p.Ended != (time.Time{}) {
				count++
			}
		}
		return count
	}
	after := read(t, k)
	if grown := after.Counts.Executions - before.Counts.Executions; grown < uint64(n) {
		t.Errorf("%d executions, want %d", grown, n)
	}
	count, unlisted := listed(after), int(after.Counts.Unlisted-before.Counts.Unlisted)
	skipped := int(after.Counts.Skipped - before.Counts.Skipped) // where a run preempts another
	if count+unlisted+skipped < n || room == 0 && unlisted > 0 || room > 0 && (count == 0 || unlisted == 0) {
		t.Errorf("%d listed, %d too many, of %d; %+v", count, unlisted, n, after.Counts)
	}
	if again := listed(read(t, k)); again != 0 {
		t.Errorf("%d listed again", again)
	}
}

// What ran before the capture is known, too: this process and its parent.
func TestOlderProgramsAreKnown(t *testing.T) {
	k := openOwn(t, Options{})
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, k)
	found := executionsOf(r, self(t))
	if len(found) != 1 || found[0].Path != path || !found[0].Ended.IsZero() {
		t.Errorf("%+v", found)
	}
	if !slices.ContainsFunc(r.Programs, func(p Program) bool { return p.ID.PID == os.Getppid() }) {
		t.Error("the parent of this process is not there")
	}
}

// A file that never had a name, and arguments that do not fit.
func TestProgramInMemory(t *testing.T) {
	k := open(t, Options{})
	l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
	long := strings.Repeat("x", 400)
	who := run(t, func(cmd *exec.Cmd) {
		f := memoryFile(t)
		cmd.ExtraFiles = []*os.File{f}
		cmd.Path, cmd.Args = "/proc/self/fd/3", []string{"hidden", long}
	}, "tcp %s 7", l.Addr())
	found := executionsOf(read(t, k), who)
	if len(found) != 1 || found[0].Path != "/memfd:test" || !found[0].Unlinked {
		t.Fatalf("%+v", found)
	}
	if want := []byte("hidden\x00" + long)[:256]; !bytes.Equal(found[0].Arguments, want) {
		t.Errorf("arguments %q", found[0].Arguments)
	}
}

// memoryFile is this program in a file without a name, which nobody writes to any
// more.
func memoryFile(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", 0)
	if err != nil {
		t.Fatal(err)
	}
	writer := os.NewFile(uintptr(fd), "memory")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(data); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	return reader
}
