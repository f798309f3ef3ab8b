package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Two hundred thousand flows in bursts: a quarter are connections that end in a
// reset, so that none lingers, the others datagrams that each make a row. They are
// of many processes at once, each to its own part of loopback.
const burstProcesses = 20

// burst is how many connections and datagrams a process makes: fewer where every
// instruction is emulated.
func burst() (connections, datagrams int) {
	if inGuest() {
		return 25, 75
	}
	return 2500, 7500
}

func burstTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"swarm":      func(a arguments) error { return swarm(a.number(0)) }, // number of the process
		"swarm-peer": func(arguments) error { return swarmPeer() },
	}
}

// swarmAddress is the one that process i sends its datagram n to.
func swarmAddress(i, n int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 127<<24|uint32(i+1)<<16|uint32(n))
	return netip.AddrFrom4(b)
}

func swarm(i int) error {
	sayReady()
	awaitProceed()
	to := &unix.SockaddrInet4{Port: 4000}
	to.Addr = swarmAddress(i, 0).As4()
	buf := make([]byte, burstUp)
	connections, datagrams := burst()
	for range connections {
		if err := brief(to, buf); err != nil {
			return err
		}
	}
	fd, err := socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for n := range datagrams {
		to.Addr = swarmAddress(i, n).As4()
		if err := unix.Sendto(fd, buf, 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
	}
	return nil
}

// brief is a connection that sends, waits for the answer and is reset.
func brief(to unix.Sockaddr, buf []byte) error {
	fd, err := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return os.NewSyscallError("connect", err)
	}
	if _, err := unix.Write(fd, buf); err != nil {
		return os.NewSyscallError("write", err)
	}
	if n, err := unix.Read(fd, buf); n != burstDown {
		return fmt.Errorf("%d bytes came back: %w", n, err)
	}
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// swarmPeer answers connections one at a time, and has a socket for datagrams.
func swarmPeer() error {
	sink, err := bound("0.0.0.0:4000", unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sink)
	fd, err := bound("0.0.0.0:4000", unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return os.NewSyscallError("listen", err)
	}
	go func() { awaitProceed(); _ = unix.Shutdown(fd, unix.SHUT_RDWR) }()
	sayReady()
	for buf := make([]byte, burstUp); ; {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINVAL) {
			return unix.Close(fd) // it was shut down
		}
		if err != nil {
			return os.NewSyscallError("accept", err)
		}
		if n, err := unix.Read(c, buf); n != burstUp {
			return fmt.Errorf("%d bytes came: %w", n, err)
		}
		if _, err := unix.Write(c, buf[:burstDown]); err != nil {
			return os.NewSyscallError("write", err)
		}
		if _, err := unix.Read(c, buf); !errors.Is(err, unix.ECONNRESET) && err != nil {
			return os.NewSyscallError("read", err)
		}
		if err := unix.Close(c); err != nil {
			return err
		}
	}
}

func TestTwoHundredThousandFlows(t *testing.T) {
	k := open(t, Options{Flows: uint32(scaled(1 << 18))})
	l := newLab(t)
	p := start(t, l.near, "swarm-peer")
	p.awaitReady(t)
	var all []*program
	for i := range burstProcesses {
		all = append(all, start(t, l.near, "swarm "+strconv.Itoa(i)))
		all[i].awaitReady(t)
	}
	began := time.Now()
	for _, g := range all {
		g.proceed(t)
	}
	programs := make([]Flow, burstProcesses)
	for i, g := range all {
		g.end(t)
		programs[i] = g.who[0]
	}
	p.proceed(t)
	p.end(t)
	connections, datagrams := burst()
	t.Logf("%d flows in %s", burstProcesses*(connections+datagrams), time.Since(began).Round(time.Millisecond))
	checkSwarm(t, rowsOf(t, k, programs))
	in := rowsOf(t, k, p.who)
	tcpAt := place{0, In, tcp, netip.MustParseAddrPort("127.0.0.1:4000")}
	n := uint64(burstProcesses * connections)
	if want := (counts{sent: n * burstDown, received: n * burstUp, connections: n}); in[tcpAt] != want {
		t.Errorf("accepted %+v, want %+v", in[tcpAt], want)
	}
	noLosses(t, k)
}

func checkSwarm(t *testing.T, rows map[place]counts) {
	t.Helper()
	wrong := 0
	check := func(at place, want counts) {
		if got := rows[at]; got != want {
			if wrong++; wrong < 10 {
				t.Errorf("program %d protocol %d %s: %+v, want %+v", at.who, at.protocol, at.at, got, want)
			}
		}
		delete(rows, at)
	}
	connections, datagrams := burst()
	for i := range burstProcesses {
		n := uint64(connections)
		check(place{i, Out, tcp, netip.AddrPortFrom(swarmAddress(i, 0), 4000)}, counts{sent: n * burstUp, received: n * burstDown, connections: n})
		for n := range datagrams {
			check(place{i, Out, udp, netip.AddrPortFrom(swarmAddress(i, n), 4000)}, counts{sent: burstUp, connections: 1})
		}
	}
	if wrong > 0 || len(rows) > 0 {
		t.Errorf("%d rows wrong, %d more than there should be", wrong, len(rows))
	}
}
