package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
)

// What this program does as a child of itself.
const (
	childVariable = "CITYWARD_TEST_LEDGER"
	childDir      = "CITYWARD_TEST_LEDGER_DIR"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "write" {
		writeUntilKilled()
	}
	os.Exit(m.Run())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("not run as root")
	}
	t.Skip("not run as root")
}

func child(t *testing.T, what, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+what, childDir+"="+dir)
	return cmd
}

// writeUntilKilled observes a byte an hour, and says how many hours are on the disk.
func writeUntilKilled() {
	l := start(Options{Dir: os.Getenv(childDir), Limits: limits(), Log: discard(), Now: time.Now}, time.Millisecond)
	base := l.last.Load()
	for i := uint64(0); ; i++ {
		l.Observe(moved(now().Add(time.Duration(i)*time.Hour), 1, 1))
		for l.last.Load() < base+i { // the hour before became a row by the same transaction
			time.Sleep(50 * time.Microsecond)
		}
		if i > 0 {
			fmt.Println(i + 1)
		}
	}
}

// A daemon that is killed at any moment leaves a chain that verifies, with all that
// was written.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	kills, total := 100, uint64(0)
	if testing.Short() {
		kills = 10
	}
	hours := 0
	for range kills {
		cmd := child(t, "write", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(rand.N(100*time.Millisecond), func() { _ = cmd.Process.Kill() })
		said := uint64(0)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				said = n
			}
		}
		_ = cmd.Wait() // it was killed
		if total == 0 && said == 0 {
			continue // perhaps before there was a ledger
		}
		sound(t, dir)
		got := sent(t, dir)
		if got < total+said || got > total+said+2 {
			t.Fatalf("the ledger had %d hours and %d more were written: it has %d", total, said, got)
		}
		hours += int(said)
		total = got
	}
	if hours < kills {
		t.Errorf("only %d hours were written: the test is too slow to show anything", hours)
	}
	t.Logf("%d kills, %d hours written, none of these lost", kills, hours)
}

// sent sums the bytes of all flows.
func sent(t testing.TB, dir string) uint64 {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	flows, err := r.Flows(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, f := range flows {
		n += f.Sent
	}
	return n
}

// A disk that is full or read-only costs neither sight nor a crash. The disk is a
// small one in a mount namespace of a child's own.
func TestDisk(t *testing.T) {
	if os.Getenv(childVariable) == "disk" {
		diskInside(t)
		return
	}
	needsRoot(t)
	cmd := child(t, "disk", t.TempDir(), "-test.run", "^TestDisk$", "-test.v", "-test.timeout", "60s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestDisk ") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func diskInside(t *testing.T) {
	t.Helper()
	dir := os.Getenv(childDir)
	mount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("ledger", dir, "tmpfs", flags, "size=16m"); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	mount(0)
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	hour := 0
	observe := func(l *Ledger) {
		began := time.Now()
		l.Observe(moved(now().Add(time.Duration(hour)*time.Hour), 10, 1))
		hour++
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("a report took %v", took)
		}
	}
	suffers := func(l *Ledger, why string) {
		t.Helper()
		until(t, "it fails", func() bool { observe(l); time.Sleep(10 * time.Millisecond); return strings.Contains(gapsOf(l), why) })
		if l.failed.Load() == 0 {
			t.Error("no failure is counted")
		}
	}
	recovers := func(l *Ledger) {
		t.Helper()
		until(t, "it recovers", func() bool { observe(l); time.Sleep(10 * time.Millisecond); return gapsOf(l) == "[]" })
	}

	fill(t, dir) // before there is a ledger
	l := begin(t, dir, limits())
	suffers(l, "")
	empty(t, dir)
	recovers(l)

	fill(t, dir)
	suffers(l, "full")
	for range 20 {
		observe(l)
	}
	empty(t, dir)
	recovers(l)

	// A file that is open keeps a file system from becoming read-only.
	l.Close()
	sound(t, dir)
	mount(syscall.MS_REMOUNT | syscall.MS_RDONLY)
	l = begin(t, dir, limits())
	suffers(l, "read-only file system")
	sound(t, dir) // read-only is enough to read
	mount(syscall.MS_REMOUNT)
	recovers(l)
	l.Close()
	sound(t, dir)
	if got, want := sent(t, dir), uint64(10*hour); got != want || len(rows(t, dir, KindLost)) > 0 {
		t.Errorf("%d bytes, want %d: what could not be written was kept in memory", got, want)
	}
}

// fill leaves no room on a disk.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	l := begin(t, dir, limits())
	if gaps := gapsOf(l); !strings.Contains(gaps, "no such file") || l.Gaps()[0].Kind != inventory.KindHistory {
		t.Errorf("gaps: %s", gaps)
	}
	fail := finding.Finding{Check: "X", Verdict: finding.Fail, Since: now()}
	l.Observe(found(now(), fail))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "it is written", func() bool { l.Observe(found(now(), fail)); time.Sleep(5 * time.Millisecond); return gapsOf(l) == "[]" })
	l.Close()
	sound(t, dir)
	if got := events(t, dir, KindFinding); got != "opened" {
		t.Errorf("what waited: %s", got)
	}
	if _, err := Open(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to read where nothing is: %v", err)
	}
}

// What finds no room in memory either is counted, in the gap and in the ledger.
func TestLostRowsAreCounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	l := begin(t, dir, limits())
	const flows, hours = 8000, 12
	for i := range hours {
		l.Observe(moved(now().Add(time.Duration(i)*time.Hour), flows, 1))
	}
	until(t, "rows are lost", func() bool { gaps := l.Gaps(); return len(gaps) > 0 && gaps[0].Lost > 0 })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "it is written", func() bool { l.Observe(found(now())); time.Sleep(50 * time.Millisecond); return gapsOf(l) == "[]" })
	l.Close()
	sum := sound(t, dir)
	lost := 0
	for _, row := range rows(t, dir, KindLost) {
		var n int
		if _, err := fmt.Sscanf(row, `lost {"rows":%d}`, &n); err != nil {
			t.Fatal(err)
		}
		lost += n
	}
	// The row of the start was the first that went.
	if all := len(rows(t, dir, KindFlow)); all > maxQueue || all+lost != flows*hours+1 || int(sum.Rows) < all {
		t.Errorf("%d rows of flows and %d lost, want %d", all, lost, flows*hours)
	}
}

func TestMoreFlowsThanAnHourHasRoomFor(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, dir, limits())
	l.Observe(moved(now(), maxHours+500, 1))
	l.Observe(moved(now().Add(time.Minute), maxHours+500, 1))
	l.Close()
	sound(t, dir)
	if got, want := sent(t, dir), uint64(2*(maxHours+500)); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

func TestTwoDaemons(t *testing.T) {
	dir := t.TempDir()
	first := begin(t, dir, limits())
	second := begin(t, dir, limits())
	if gaps := gapsOf(second); !strings.Contains(gaps, "another daemon writes there") {
		t.Errorf("the second's gaps: %s", gaps)
	}
	second.Observe(moved(now(), 1, 1))
	second.Close()
	first.Observe(moved(now(), 1, 1))
	first.Close()
	sound(t, dir)
	if got := sent(t, dir); got != 1 {
		t.Errorf("%d bytes, want those of the first", got)
	}
}

// Who removes the file of a daemon that runs does not blind it.
func TestFileThatIsRemoved(t *testing.T) {
	dir := t.TempDir()
	fail := finding.Finding{Check: "X", Verdict: finding.Fail, Since: now()}
	l := begin(t, dir, limits())
	l.Observe(found(now(), fail))
	until(t, "it is written", func() bool { return len(rows(t, dir, KindFinding)) == 1 })
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(dir, dbFile+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	l.Observe(found(now(), fail))
	until(t, "a new one begins", func() bool { _, err := os.Stat(filepath.Join(dir, dbFile)); return err == nil })
	l.Close()
	sound(t, dir)
	if got := events(t, dir, KindFinding); got != "seen" {
		t.Errorf("what is open is told as %q", got)
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	key, err := loadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	again, err := loadKey(dir)
	if err != nil || !key.Equal(again) {
		t.Errorf("another start has another key: %v", err)
	}
	public, err := PublicKey(dir)
	if err != nil || !public.Equal(key.Public()) {
		t.Errorf("the public key: %v, %v", public, err)
	}
	if parsed, err := ParsePublicKey(FormatKey(public)); err != nil || !parsed.Equal(public) {
		t.Errorf("read back: %v, %v", parsed, err)
	}
	for _, text := range []string{"", "AAAA", "!", FormatKey(public) + "AAAA"} {
		if _, err := ParsePublicKey(text); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(dir); err == nil {
		t.Error("a broken key is replaced in silence")
	}
}

func TestStateDir(t *testing.T) {
	for value, want := range map[string]string{"": "/var/lib/cityward", "/state/a": "/state/a", "/state/a:/state/b": "/state/a"} {
		t.Setenv("STATE_DIRECTORY", value)
		if got := StateDir(); got != want {
			t.Errorf("%q gives %s, want %s", value, got, want)
		}
	}
}

func BenchmarkAppend1000Flows(b *testing.B) {
	l := begin(b, b.TempDir(), limits())
	hour := 0
	for b.Loop() {
		before := l.last.Load()
		l.Observe(moved(now().Add(time.Duration(hour)*time.Hour), 1000, 1))
		hour++
		for hour > 1 && l.last.Load() < before+1000 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(l.bytes.Load())/float64(l.last.Load()), "bytes/row")
	l.Close()
}

func BenchmarkObserve1000Flows(b *testing.B) {
	l := begin(b, b.TempDir(), limits())
	r := moved(now(), 1000, 1)
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(r)
	}
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	l := begin(b, dir, limits())
	for i := range 21 {
		l.Observe(moved(now().Add(time.Duration(i)*time.Hour), 1000, 1))
	}
	l.Close()
	for b.Loop() {
		sound(b, dir)
	}
}
