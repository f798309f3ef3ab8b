package kernel

import (
	"io"
	"net"
	"net/netip"
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

// A test with pins runs in a mount namespace of its own, so that whatever happens
// to it, nothing stays attached.
const pinsVariable = "CITYWARD_TEST_PINS"

func inPins(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	if os.Getenv(pinsVariable) == t.Name() {
		mount := t.TempDir()
		if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(mount, "cityward")
		test(t, dir)
		if err := Unpin(dir); err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(mount, 0); err != nil {
			t.Fatal(err)
		}
		return
	}
	open(t, Options{}) // skips where nothing can be captured
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), pinsVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func reopen(t *testing.T, o Options) *Kernel {
	t.Helper()
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func closed(t *testing.T, k *Kernel) {
	t.Helper()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}

// What flows while nobody looks is there for whoever looks next, once.
func TestPinnedCaptureGoesOn(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		o := Options{Pins: dir}
		k := reopen(t, o)
		misses := k.Misses()
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 3) })
		port := portOf(l.Addr())
		live, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := live.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		expect(t, k, self(t), Out, tcp, port, counts{sent: 100, connections: 1, open: 1})
		read(t, k)
		read(t, k) // whoever reads again has dealt with what he read before
		closed(t, k)

		who := run(t, nil, "tcp %s 7", l.Addr())
		if _, err := live.Write(make([]byte, 11)); err != nil {
			t.Fatal(err)
		}

		k = reopen(t, o)
		mine := expect(t, k, self(t), Out, tcp, port, counts{sent: 111, connections: 1, open: 1})
		if want := (Volume{Sent: 100, Connections: 1}); mine.Earlier != want {
			t.Errorf("read before: %+v, want %+v", mine.Earlier, want)
		}
		its := expect(t, k, who, Out, tcp, port, counts{sent: 7, received: 3, connections: 1})
		if its.Earlier != (Volume{}) {
			t.Errorf("read before: %+v, want nothing", its.Earlier)
		}
		if found := executionsOf(read(t, k), who); len(found) != 1 || found[0].Path == "" || found[0].Ended.IsZero() {
			t.Errorf("executions: %+v", found)
		}
		if k.Gap() != "" || !slices.Equal(k.Misses(), misses) {
			t.Errorf("gap %q, misses %q", k.Gap(), k.Misses())
		}
		noLosses(t, k)
		if err := live.Close(); err != nil {
			t.Fatal(err)
		}
		closed(t, k)
	})
}

// Programs of another build take the tables over; what they count is counted once.
func TestAnotherBuildTakesOver(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		o := Options{Pins: dir}
		closed(t, reopen(t, o))
		builds, err := filepath.Glob(filepath.Join(dir, "build-*"))
		if err != nil || len(builds) != 1 {
			t.Fatal(builds, err)
		}
		former := filepath.Join(dir, "build-former")
		if err := os.Rename(builds[0], former); err != nil {
			t.Fatal(err)
		}
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 3) })
		first := run(t, nil, "tcp %s 7", l.Addr())
		k := reopen(t, o)
		second := run(t, nil, "tcp %s 8", l.Addr())
		expect(t, k, first, Out, tcp, portOf(l.Addr()), counts{sent: 7, received: 3, connections: 1})
		expect(t, k, second, Out, tcp, portOf(l.Addr()), counts{sent: 8, received: 3, connections: 1})
		who := run(t, nil, "udp unconnected %s 5 10", echo(t))
		expectAny(t, k, who, udp, counts{sent: 50, received: 50, connections: 1})
		if _, err := os.Stat(former); !os.IsNotExist(err) {
			t.Errorf("the former build is still there: %v", err)
		}
		if k.Gap() != "" {
			t.Errorf("gap %q", k.Gap())
		}
		closed(t, k)
	})
}

// Tables of another form cannot be read: that is said, with times.
func TestAnotherLayoutIsAGap(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		o := Options{Pins: dir}
		closed(t, reopen(t, o))
		tables, err := filepath.Glob(filepath.Join(dir, "maps-*"))
		if err != nil || len(tables) != 1 {
			t.Fatal(tables, err)
		}
		if err := os.Rename(tables[0], filepath.Join(dir, "maps-000000000000")); err != nil {
			t.Fatal(err)
		}
		k := reopen(t, o)
		if !strings.Contains(k.Gap(), time.Now().UTC().Format("2006-01-02T")) {
			t.Errorf("gap %q", k.Gap())
		}
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 3) })
		who := run(t, nil, "tcp %s 7", l.Addr())
		expect(t, k, who, Out, tcp, portOf(l.Addr()), counts{sent: 7, received: 3, connections: 1})
		closed(t, k)
	})
}

// One that was cut short while it was pinned, or unpinned, begins anew and says so.
// What its tables hold stays.
func TestCutShortIsAGap(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		o := Options{Pins: dir}
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 3) })
		for i, kept := range []string{flowsProgOnExec + "*", "nothing"} {
			k := reopen(t, o)
			if err := k.SetZones(map[netip.Prefix]uint32{netip.MustParsePrefix("10.77.0.0/16"): 1}); err != nil {
				t.Fatal(err)
			}
			closed(t, k)
			pinned, err := filepath.Glob(filepath.Join(dir, "build-*", "*"))
			if err != nil || len(pinned) == 0 {
				t.Fatal(pinned, err)
			}
			for _, pin := range pinned {
				if stays, err := filepath.Match(kept, filepath.Base(pin)); err != nil || stays {
					continue
				}
				if err := os.Remove(pin); err != nil {
					t.Fatal(err)
				}
			}
			live, err := net.Dial("tcp", l.Addr().String()) // that nothing sees begin
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = live.Close() })
			k = reopen(t, o)
			if _, err := live.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			expect(t, k, self(t), Out, tcp, portOf(l.Addr()), counts{sent: 100 * uint64(i+1), received: 3 * uint64(i), connections: uint64(i + 1), open: 1})
			if !strings.Contains(k.Gap(), "cut short") {
				t.Errorf("gap %q", k.Gap())
			}
			if err := k.SetZones(nil); err != nil {
				t.Fatal(err)
			}
			if zone, err := k.zone(netip.MustParseAddr("10.77.0.1").As16()); err != nil || zone != 0 {
				t.Errorf("zone %d, %v", zone, err)
			}
			if err := live.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, live); err != nil {
				t.Fatal(err)
			}
			if err := live.Close(); err != nil {
				t.Fatal(err)
			}
			expect(t, k, self(t), Out, tcp, portOf(l.Addr()), counts{sent: 100 * uint64(i+1), received: 3 * uint64(i+1), connections: uint64(i + 1)})
			closed(t, k)
		}
	})
}

// Two captures with the same pins would take each other's rows.
func TestPinsAreForOne(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		k := reopen(t, Options{Pins: dir})
		if other, err := Open(Options{Pins: dir}); err == nil || !strings.Contains(err.Error(), "another cityward") {
			t.Errorf("%v, %v", other, err)
		}
		closed(t, k)
	})
}

func TestPinsNeedTheirFileSystem(t *testing.T) {
	open(t, Options{Flows: 16})
	if _, err := Open(Options{Pins: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not a BPF file system") {
		t.Error(err)
	}
}

// A directory that is named by mistake loses nothing of others.
func TestUnpinTakesItsOwn(t *testing.T) {
	inPins(t, func(t *testing.T, dir string) {
		closed(t, reopen(t, Options{Pins: dir}))
		others := filepath.Join(dir, "others")
		if err := os.Mkdir(others, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Unpin(dir); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "others" {
			t.Errorf("%v, %v", left, err)
		}
		if err := os.Remove(others); err != nil {
			t.Fatal(err)
		}
		for range 2 { // and again where there is nothing
			if err := Unpin(dir); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Error(err)
		}
		if err := Unpin(filepath.Dir(dir)); err != nil { // the root of the file system
			t.Error(err)
		}
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "maps-of-a-city")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Unpin(dir); err == nil || !strings.Contains(err.Error(), "not a BPF file system") {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// echo answers datagrams and gives its address.
func echo(t *testing.T) net.Addr {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 2048); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := c.WriteTo(buf[:n], from); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return c.LocalAddr()
}

// expectAny waits until the one row of a process and protocol counts what it
// should.
func expectAny(t *testing.T, k *Kernel, who Flow, protocol uint8, want counts) {
	t.Helper()
	var seen []Flow
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		flows, err := k.Flows(nil)
		if err != nil {
			t.Fatal(err)
		}
		seen = nil
		for _, f := range flows {
			if f.Owner.PID == who.Owner.PID && f.Owner.Start == who.Owner.Start && f.Protocol == protocol {
				seen = append(seen, f)
				if (counts{f.Sent, f.Received, f.Connections, f.Attempts, f.Open}) == want {
					return
				}
			}
		}
	}
	t.Errorf("want %+v, got %+v", want, seen)
}
