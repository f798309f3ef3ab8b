package flow

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// childMode names the environment variable that makes this binary a puppet, an
// agent or what else a test starts, instead of a test.
const childMode = "CITYWARD_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "puppet":
		obey()
	case "agent":
		if err := report(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "tier":
		if err := sayTier(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "idle": // until its input ends
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

// sayTier prints, for the kernel matrix, the best tier that can be had here and
// why it is no better one.
func sayTier() error {
	h, err := host.Open("/", time.Now)
	if err != nil {
		return err
	}
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		k = kernel.Refused(err)
	}
	c := New(h, watching("auto"), k)
	processes, err := list(h)
	if err != nil {
		return err
	}
	facts, err := c.Collect(context.Background(), &inventory.Facts{Processes: processes})
	if err != nil {
		return err
	}
	declined, _, _ := strings.Cut(c.declined, "\n")
	fmt.Printf("guest: flows %s: %s\n", facts.Captures[0].Tier, declined)
	return c.Close()
}

// idle is a process that does nothing until its input ends.
func idle() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"=idle")
	return cmd
}

// report collects once and prints the facts.
func report() error {
	h, err := host.Open("/", time.Now)
	if err != nil {
		return err
	}
	processes, err := list(h)
	if err != nil {
		return err
	}
	facts, err := New(h, polling(), nil).Collect(context.Background(), &inventory.Facts{Processes: processes})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(facts)
}

// polling is a configuration of tier poll.
func polling() *configs.Config { return watching(inventory.TierPoll) }

func watching(tier string) *configs.Config {
	return &configs.Config{Capture: configs.Capture{Tier: tier}}
}

// list stands in for the process room: ids and network namespaces.
func list(h *host.Host) ([]inventory.Process, error) {
	proc, err := h.OpenProc()
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	pids, err := h.PIDs()
	if err != nil {
		return nil, err
	}
	var all []inventory.Process
	for _, pid := range pids {
		stat, err := proc.ReadStat(pid)
		if err != nil {
			continue
		}
		p := inventory.Process{ID: inventory.Execution{PID: pid, Start: stat.Start}, Kernel: stat.Kernel()}
		p.NetNS, _ = proc.NamespaceID(pid, "net")
		all = append(all, p)
	}
	return all, nil
}

// obey is a puppet's life: it does what each line of its input says and answers
// with one line.
func obey() {
	var p hands
	in := bufio.NewScanner(os.Stdin)
	fmt.Fprintln(os.Stdout, "ready")
	for in.Scan() {
		answer, err := p.do(strings.Fields(in.Text()))
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Fprintln(os.Stdout, answer)
	}
}

// hands is what a puppet holds.
type hands struct {
	listener net.Listener
	packets  []net.PacketConn
	conns    []net.Conn
	child    io.WriteCloser
}

func (p *hands) do(words []string) (string, error) {
	last := func() net.Conn { return p.conns[len(p.conns)-1] }
	number := func() int { n, _ := strconv.Atoi(words[1]); return n }
	switch words[0] {
	case "listen":
		l, err := net.Listen(words[1], words[2])
		if err != nil {
			return "", err
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		p.listener = l
		return l.Addr().String(), nil
	case "bind":
		c, err := net.ListenPacket(words[1], words[2])
		if err != nil {
			return "", err
		}
		p.packets = append(p.packets, c)
		return c.LocalAddr().String(), nil
	case "connect":
		c, err := net.Dial(words[1], words[2])
		if err != nil {
			return "", err
		}
		p.conns = append(p.conns, c)
		return c.LocalAddr().String(), nil
	case "attempt":
		go func() { _, _ = net.Dial(words[1], words[2]) }()
		time.Sleep(100 * time.Millisecond)
	case "accept":
		c, err := p.listener.Accept()
		if err != nil {
			return "", err
		}
		p.conns = append(p.conns, c)
	case "adopt": // a descriptor given at the start
		c, err := net.FileConn(os.NewFile(3, "given"))
		if err != nil {
			return "", err
		}
		p.conns = append(p.conns, c)
		return "ok", unix.Close(3)
	case "send":
		_, err := last().Write(make([]byte, number()))
		return "ok", err
	case "receive":
		_, err := io.ReadFull(last(), make([]byte, number()))
		return "ok", err
	case "shut":
		return "ok", last().(*net.TCPConn).CloseWrite()
	case "close":
		return "ok", last().Close()
	case "serve": // COUNT connections that it closes first
		return "ok", p.serve(number(), words[2], words[3])
	case "burst":
		return "ok", burstTo(words[1], words[2], words[3], words[4])
	case "fork":
		return "ok", idle().Run()
	case "keep":
		return "ok", p.keep()
	case "refused":
		if c, err := net.Dial(words[1], words[2]); err == nil {
			return "", errors.Join(errors.New("it was not refused"), c.Close())
		}
	case "blocking":
		return "ok", refusedBlocking(netip.MustParseAddrPort(words[1]))
	case "datagram":
		return "ok", datagram(words[1], words[2], words[3])
	case "set":
		return "ok", os.WriteFile(words[1], []byte(words[2]), 0)
	case "up":
		return "ok", loopbackUp()
	case "deaf":
		return "ok", p.listener.Close()
	default:
		return "", errors.New("unknown command")
	}
	return "ok", nil
}

func (p *hands) serve(count int, request, answer string) error {
	in, _ := strconv.Atoi(request)
	out, _ := strconv.Atoi(answer)
	for range count {
		c, err := p.listener.Accept()
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(c, make([]byte, in)); err != nil {
			return err
		}
		if _, err := c.Write(make([]byte, out)); err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

func burstTo(address, count, request, answer string) error {
	n, _ := strconv.Atoi(count)
	out, _ := strconv.Atoi(request)
	want, _ := strconv.Atoi(answer)
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		if _, err := c.Write(make([]byte, out)); err != nil {
			return err
		}
		if got, err := io.ReadAll(c); err != nil || len(got) != want {
			return fmt.Errorf("read %d bytes: %w", len(got), err)
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// keep gives the listener to a child as well, until the puppet ends.
func (p *hands) keep() error {
	file, err := p.listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	cmd := idle()
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.child, err = cmd.StdinPipe(); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), file.Close())
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up)
}

func refusedBlocking(to netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

func datagram(network, to, size string) error {
	n, _ := strconv.Atoi(size)
	c, err := net.ListenPacket(network, "127.0.0.1:0")
	if err != nil {
		return err
	}
	address, err := net.ResolveUDPAddr(network, to)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(make([]byte, n), address)
	return errors.Join(err, c.Close())
}

// puppet is a child process that does what the test says.
type puppet struct {
	t   *testing.T
	id  inventory.Execution
	ns  uint64
	in  io.Writer
	out *bufio.Reader
}

// newPuppet starts a puppet in the namespace of another, or in a new one.
func newPuppet(t *testing.T, inside *puppet, given ...*os.File) *puppet {
	t.Helper()
	needRoot(t)
	cmd := exec.Command("/proc/self/exe")
	if inside == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	cmd.Env = append(os.Environ(), childMode+"=puppet")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = given
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := cmd.Start
	if inside != nil {
		begin = func() error { return inside.within(cmd.Start) }
	}
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("puppet: %v", err)
		}
	})
	p := &puppet{t: t, in: in, out: bufio.NewReader(out)}
	p.read()
	processes, err := list(liveHost(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(processes, func(q inventory.Process) bool { return q.ID.PID == cmd.Process.Pid })
	p.id, p.ns = processes[i].ID, processes[i].NetNS
	if inside == nil {
		p.do("up")
	}
	return p
}

// within runs f in the puppet's network namespace.
func (p *puppet) within(f func() error) (err error) {
	onSpareThread(func() (clean bool) {
		var space *os.File
		if space, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", p.id.PID)); err != nil {
			return true
		}
		defer space.Close()
		if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err == nil {
			err = f()
		}
		return false
	})
	return err
}

func (p *puppet) read() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		p.t.Fatalf("puppet: %s%v", line, err)
	}
	return strings.TrimSpace(line)
}

// do gives one command and its answer.
func (p *puppet) do(format string, args ...any) string {
	p.t.Helper()
	p.say(format, args...)
	return p.read()
}

// say gives a command whose answer is read later.
func (p *puppet) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// ip runs ip(8) in the puppet's namespace.
func (p *puppet) ip(args string) {
	p.t.Helper()
	words := append([]string{"-t", strconv.Itoa(p.id.PID), "-n", "ip"}, strings.Fields(args)...)
	if out, err := exec.Command("nsenter", words...).CombinedOutput(); err != nil {
		p.t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// wire joins the namespaces of two puppets with a cable.
func wire(a, b *puppet, addressA, addressB string) {
	a.ip(fmt.Sprintf("link add cable type veth peer name cable netns %d", b.id.PID))
	a.ip("addr add " + addressA + " dev cable nodad")
	b.ip("addr add " + addressB + " dev cable nodad")
	a.ip("link set cable up")
	b.ip("link set cable up")
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func liveHost(t testing.TB) *host.Host {
	t.Helper()
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func collect(t testing.TB, c *Collector) inventory.Facts {
	t.Helper()
	processes, err := list(c.host)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := c.Collect(t.Context(), &inventory.Facts{Processes: processes})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// flowsIn gives the flows of one namespace.
func flowsIn(facts inventory.Facts, ns uint64) []inventory.Flow {
	return slices.DeleteFunc(facts.Flows, func(f inventory.Flow) bool { return f.NetNS != ns })
}

// agent runs the collector in a child with other rights.
func agent(t *testing.T, attributes *syscall.SysProcAttr) inventory.Facts {
	t.Helper()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "agent")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != filepath.Clean(os.TempDir()) && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = []string{childMode + "=agent"}
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
