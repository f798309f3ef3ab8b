package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test program is also the generator of traffic: a process of its own, so
// that attribution can be told from luck.
const generatorVariable = "CITYWARD_TEST_GENERATOR"

func TestMain(m *testing.M) {
	if os.Getpid() == 1 && os.Getenv(guestVariable) != "" {
		guest()
	}
	if job := os.Getenv(generatorVariable); job != "" {
		if err := generate(strings.Fields(job)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// environment makes of this program the generator. Under the race detector it
// would wait a second at its end.
func environment(job string) []string {
	return append(os.Environ(), generatorVariable+"="+job, "GORACE=atexit_sleep_ms=0")
}

// run starts the generator, waits for its end and gives its identity.
func run(t *testing.T, change func(*exec.Cmd), job string, args ...any) Flow {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = environment(fmt.Sprintf(job, args...))
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("generator %q: %v", job, err)
	}
	var who Flow
	if _, err := fmt.Sscanf(string(out), "am %d %d %d", &who.Owner.PID, &who.Owner.Start, &who.NetNS); err != nil {
		t.Fatalf("generator said %q: %v", out, err)
	}
	return who
}

// identity is the start time of this process and its network namespace.
func identity() (start, netns uint64, err error) {
	if start, err = startOf("self"); err != nil {
		return 0, 0, err
	}
	var st unix.Stat_t
	err = unix.Stat("/proc/self/ns/net", &st)
	return start, st.Ino, err
}

func startOf(pid string) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return strconv.ParseUint(fields[19], 10, 64)
}

func generate(job []string) error {
	if err := introduce(); err != nil {
		return err
	}
	if does, ok := traffic()[job[0]]; ok {
		defer report()
		return does(job[1:])
	}
	number := func(i int) int { n, _ := strconv.Atoi(job[i]); return n }
	switch job[0] {
	case "tcp": // address, bytes
		c, err := net.Dial("tcp", job[1])
		if err != nil {
			return err
		}
		return converse(c.(*net.TCPConn), number(2))
	case "mapped": // port, bytes
		return mapped(number(1), number(2))
	case "refused": // address
		if _, err := net.Dial("tcp", job[1]); err == nil {
			return fmt.Errorf("%s was not refused", job[1])
		}
		return nil
	case "burst": // address, connections
		return connectMany(job[1], number(2))
	case "udp": // connected or not, address, datagrams, bytes
		return datagrams(job[1] == "connected", job[2], number(3), number(4))
	case "space": // bytes; in a new network namespace
		return space(number(1))
	case "space-out": // TCP address, UDP address; in a new network namespace
		return spaceOut(job[1], job[2])
	case "space-spray": // destinations; likewise
		return spaceSpray(number(1))
	case "listen-to-itself":
		k, err := Open(Options{})
		if err != nil {
			return err
		}
		r, err := k.Read()
		if err == nil && r.Deaf != "" {
			err = errors.New(r.Deaf)
		}
		return errors.Join(err, k.Close())
	case "nothing":
		return nil
	case "files":
		return files(job[1:])
	case "inherited": // bytes, on descriptor 3
		_, err := os.NewFile(3, "inherited").Write(make([]byte, number(1)))
		return err
	case "changing": // address, bytes; then as another program, address, bytes
		c, err := net.Dial("tcp", job[1])
		if err != nil {
			return err
		}
		if err := converse(c.(*net.TCPConn), number(2)); err != nil {
			return err
		}
		if err := os.Setenv(generatorVariable, "tcp "+job[3]+" "+job[4]); err != nil {
			return err
		}
		return unix.Exec("/proc/self/exe", []string{"changed", "into"}, os.Environ())
	case "turning": // address, bytes, times that it then becomes another program
		if job[2] != "0" {
			c, err := net.Dial("tcp", job[1])
			if err != nil {
				return err
			}
			if err := converse(c.(*net.TCPConn), number(2)); err != nil {
				return err
			}
		}
		if number(3) == 0 {
			return nil
		}
		if err := os.Setenv(generatorVariable, fmt.Sprintf("turning %s 0 %d", job[1], number(3)-1)); err != nil {
			return err
		}
		return unix.Exec("/proc/self/exe", []string{"turned"}, os.Environ())
	case "open":
		k, err := Open(Options{})
		if err != nil {
			return err
		}
		return k.Close()
	case "watch":
		return watch(job[1:])
	case "tier":
		return tier()
	}
	return fmt.Errorf("no job %q", job[0])
}

// tier says how well this kernel's flows can be seen, for TestKernelMatrix.
func tier() error {
	k, err := Open(Options{})
	if errors.Is(err, errors.ErrUnsupported) {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Println(guestMark+"capture none:", reason)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println(guestMark + "capture bpf")
	return k.Close()
}

// converse sends n bytes, then reads to the end.
func converse(c *net.TCPConn, n int) error {
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	return c.Close()
}

func mapped(port, n int) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	to := &unix.SockaddrInet6{Port: port, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "mapped")
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return converse(c.(*net.TCPConn), n)
}

const burstUp, burstDown = 10, 5

func connectMany(address string, n int) error {
	buf := make([]byte, burstUp)
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf[:burstDown]); err != nil {
			return err
		}
		// A reset leaves no TIME_WAIT behind, of which there would be too many.
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// datagrams sends n and waits for the echo of each.
func datagrams(connected bool, address string, n, size int) error {
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	var c *net.UDPConn
	send := func(b []byte) error { _, err := c.Write(b); return err }
	if connected {
		c, err = net.DialUDP("udp", nil, to)
	} else {
		c, err = net.ListenUDP("udp", nil)
		send = func(b []byte) error { _, err := c.WriteToUDP(b, to); return err }
	}
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, size)
	for range n {
		if err := send(buf); err != nil {
			return err
		}
		if _, _, err := c.ReadFromUDP(buf); err != nil {
			return err
		}
	}
	return nil
}

func space(n int) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:4242")
	if err != nil {
		return err
	}
	var served sync.WaitGroup
	served.Go(func() {
		if c, err := l.Accept(); err == nil {
			_ = serveOne(c.(*net.TCPConn), 0)
		}
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	err = converse(c.(*net.TCPConn), n)
	served.Wait()
	return err
}

// blackHole gives the namespace a way out that leads nowhere.
func blackHole() error {
	const name = "hole"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return err
	}
	for _, neighbour := range []string{"203.0.113.250", "198.51.100.250"} {
		if err := addAddress(name, netip.MustParseAddr(neighbour)); err != nil {
			return err
		}
	}
	return linkUp(name)
}

func spaceOut(stream, datagram string) error {
	if err := blackHole(); err != nil {
		return err
	}
	d := net.Dialer{Timeout: 100 * time.Millisecond}
	if c, err := d.Dial("tcp", stream); err == nil {
		return fmt.Errorf("connected to %s", c.RemoteAddr())
	}
	c, err := net.Dial("udp", datagram)
	if err != nil {
		return err
	}
	_, err = c.Write(make([]byte, 20))
	return err
}

func spaceSpray(n int) error {
	if err := blackHole(); err != nil {
		return err
	}
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	for i := range n {
		to := &net.UDPAddr{IP: net.IPv4(203, 0, 113, byte(1+i%240)), Port: 1000 + i/240}
		if _, err := c.WriteToUDP(make([]byte, 10), to); err != nil {
			return err
		}
	}
	return c.Close()
}

// serveOne reads to the end, then answers n bytes.
func serveOne(c *net.TCPConn, n int) error {
	defer c.Close()
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	_, err := c.Write(make([]byte, n))
	return err
}
