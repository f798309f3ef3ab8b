package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// statOf is what an open file is.
func statOf(t *testing.T, f *os.File) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// with gives a program descriptors from 3 on.
func with(files ...*os.File) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.ExtraFiles = files }
}

// channelsBy are those of all executions of a process.
func channelsBy(t *testing.T, r *Reading, who Flow) (all []Channel) {
	t.Helper()
	found := executionsOf(r, who)
	if len(found) == 0 {
		t.Fatalf("no execution of %+v", who.Owner)
	}
	for _, p := range found {
		all = append(all, p.Channels...)
	}
	return all
}

func wantChannel(t *testing.T, r *Reading, who Flow, want Channel) {
	t.Helper()
	if all := channelsBy(t, r, who); !slices.Contains(all, want) {
		t.Errorf("channels %+v of %d lack %+v", all, who.Owner.PID, want)
	}
}

// pipe gives both ends, closed at the end of the test, and the channel that they are.
func pipe(t *testing.T) (r, w *os.File, c Channel) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	st := statOf(t, r)
	return r, w, Channel{Kind: ChannelPipe, ID: st.Ino, Device: st.Dev}
}

func reading(c Channel) Channel { c.Reads = true; return c }
func writing(c Channel) Channel { c.Writes = true; return c }

// Three programs in a row that are gone, with their pipes, before anybody looks.
func TestEndedPipeline(t *testing.T) {
	k := open(t, Options{})
	r1, w1, first := pipe(t)
	r2, w2, second := pipe(t)
	a := run(t, with(w1), "nothing")
	b := run(t, with(r1, w2), "nothing")
	c := run(t, with(r2), "nothing")
	for _, f := range []*os.File{r1, w1, r2, w2} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := read(t, k)
	wantChannel(t, r, a, writing(first))
	wantChannel(t, r, b, reading(first))
	wantChannel(t, r, b, writing(second))
	wantChannel(t, r, c, reading(second))
}

// A shell gives a process substitution the descriptor 63, and nothing one after it.
func TestChannelsOfHighDescriptors(t *testing.T) {
	k := open(t, Options{})
	_, w1, at63 := pipe(t)
	_, w2, at64 := pipe(t)
	files := make([]*os.File, 62)
	files[60], files[61] = w1, w2
	who := run(t, with(files...), "nothing")
	r := read(t, k)
	wantChannel(t, r, who, writing(at63))
	if slices.Contains(channelsBy(t, r, who), writing(at64)) {
		t.Error("descriptor 64 is noted, too")
	}
}

func TestManyChannels(t *testing.T) {
	k := open(t, Options{})
	var files []*os.File
	var first Channel
	for i := range 12 {
		_, w, c := pipe(t)
		if i == 0 {
			first = writing(c)
			files = append(files, w) // no other
		}
		files = append(files, w)
	}
	who := run(t, with(files...), "nothing")
	r := read(t, k)
	wantChannel(t, r, who, first)
	p := executionsOf(r, who)[0]
	if extra := len(p.Channels) + p.MoreChannels - 12; len(p.Channels) != 8 || extra < 0 || extra > 3 { // its output
		t.Errorf("%d channels and %d more", len(p.Channels), p.MoreChannels)
	}
}

func fifo(t *testing.T) (string, Channel) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return path, Channel{Kind: ChannelPipe, ID: st.Ino, Device: st.Dev}
}

func TestFIFO(t *testing.T) {
	k := open(t, Options{})
	path, c := fifo(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	who := run(t, with(f), "nothing")
	wantChannel(t, read(t, k), who, reading(writing(c)))
}

// A subshell opens its end of a pipeline between fork and end, and executes nothing.
func TestChannelsOfSubshell(t *testing.T) {
	k := open(t, Options{})
	path, c := fifo(t)
	who := run(t, nil, "subshell %s", path)
	found := false
	for _, p := range read(t, k).Programs {
		if p.Parent.PID == who.Owner.PID && slices.Contains(p.Channels, reading(writing(c))) {
			found = true
		}
	}
	if !found {
		t.Error("what the child opened is not noted")
	}
}

func TestSocketPair(t *testing.T) {
	k := open(t, Options{})
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		ends, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		near, far := os.NewFile(uintptr(ends[0]), "near"), os.NewFile(uintptr(ends[1]), "far")
		a, b := run(t, with(near), "nothing"), run(t, with(far), "nothing")
		c := Channel{Kind: ChannelSocket, ID: statOf(t, near).Ino, Peer: statOf(t, far).Ino, Reads: true, Writes: true}
		_, _ = near.Close(), far.Close()
		r := read(t, k)
		wantChannel(t, r, a, c)
		c.ID, c.Peer = c.Peer, c.ID
		wantChannel(t, r, b, c)
	}
}

// terminal gives both ends of a pseudo-terminal of a file system of its own.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("devpts", dir, "devpts", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	master, err := os.OpenFile(filepath.Join(dir, "ptmx"), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(filepath.Join(dir, strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

func TestPseudoTerminal(t *testing.T) {
	k := open(t, Options{})
	master, slave := terminal(t)
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	a, b := run(t, with(master), "nothing"), run(t, with(slave), "nothing")
	r := read(t, k)
	c := Channel{Kind: ChannelMaster, ID: uint64(n), Device: statOf(t, slave).Dev, Reads: true, Writes: true}
	wantChannel(t, r, a, c)
	c.Kind = ChannelTerminal
	wantChannel(t, r, b, c)
}

// What runs when the capture begins has its channels noted then.
func TestOlderChannels(t *testing.T) {
	_, w, c := pipe(t)
	p := startWith(t, here(t), "wait-idle", w)
	p.awaitReady(t)
	k := openOwn(t, Options{})
	wantChannel(t, read(t, k), p.who[0], writing(c))
	p.proceed(t)
	p.end(t)
}
