package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ways to fill a connection, or to empty it, other than write and read.

const chunk = 64 << 10

func streamTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"fill": func(a arguments) error { // way, address, bytes
			return stream(a[1], 0, fillers()[a[0]], a.number(2))
		},
		"empty": func(a arguments) error { // way, address, bytes
			return stream(a[1], 0, emptiers()[a[0]], a.number(2))
		},
		"multipath": func(a arguments) error { // address, bytes
			return stream(a[0], unix.IPPROTO_MPTCP, multipath, a.number(1))
		},
		"mapped-stream": func(a arguments) error { // address, bytes
			return stream(mappedTo(a[0]), 0, write, a.number(1))
		},
		"again-connected": func(a arguments) error { // address that refuses, two others, bytes to each
			return connectedAgain(a[0], a[1:3], a.number(3))
		},
		"fast-open": func(a arguments) error { return fastOpen(a[0], a.number(1)) }, // address, bytes
		"older": func(a arguments) error { // address, bytes before and after
			return stream(a[0], 0, func(fd, n int) error {
				err := write(fd, n)
				sayReady()
				awaitProceed()
				if err != nil {
					return err
				}
				return write(fd, n)
			}, a.number(1))
		},
		"endless": func(a arguments) error { // address; until it is killed
			return stream(a[0], 0, func(fd, n int) error {
				for i := 0; ; i++ {
					if err := write(fd, n); err != nil {
						return err
					}
					if i == 10 {
						sayReady()
					}
				}
			}, chunk)
		},
	}
}

func fillers() map[string]func(fd, n int) error {
	return map[string]func(fd, n int) error{
		"sendfile": sendfile, "splice": spliceOut, "zerocopy": zerocopy,
		"uring": uringSend, "uring-poll": uringPollSend,
	}
}

func emptiers() map[string]func(fd, n int) error {
	return map[string]func(fd, n int) error{
		"splice": spliceIn, "truncate": truncate, "uring": uringReceive,
	}
}

// mappedTo is the address of IPv4 within IPv6.
func mappedTo(address string) string {
	a := netip.MustParseAddrPort(address)
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port()).String()
}

// stream connects, moves n bytes in some way and reads what else comes.
func stream(address string, protocol int, move func(fd, n int) error, n int) error {
	fd, err := connected(address, unix.SOCK_STREAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := move(fd, n); err != nil {
		return err
	}
	return readRest(fd)
}

func readRest(fd int) error {
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	for buf := make([]byte, chunk); ; {
		n, err := unix.Read(fd, buf)
		if n <= 0 {
			return os.NewSyscallError("read", err)
		}
		moved.received.Add(uint64(n))
	}
}

// inChunks repeats a call that moves up to n bytes until all are moved.
func inChunks(n int, name string, call func(n int) (int, error)) error {
	for n > 0 {
		m, err := call(min(n, chunk))
		if err != nil {
			return os.NewSyscallError(name, err)
		}
		if m == 0 {
			return fmt.Errorf("%s: ended %d bytes early", name, n)
		}
		n -= m
	}
	return nil
}

// sends counts what a call sent, receives what it received.
func sends(m int, err error) (int, error) {
	moved.sent.Add(uint64(max(m, 0)))
	return m, err
}

func receives(m int, err error) (int, error) {
	moved.received.Add(uint64(max(m, 0)))
	return m, err
}

func write(fd, n int) error {
	buf := make([]byte, chunk)
	return inChunks(n, "write", func(n int) (int, error) { return sends(unix.Write(fd, buf[:n])) })
}

// file is a sparse one of n bytes that has no name.
func file(n int) (int, error) {
	fd, err := unix.MemfdCreate("scenario", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	return fd, unix.Ftruncate(fd, int64(n))
}

func sendfile(fd, n int) error {
	from, err := file(n)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return inChunks(n, "sendfile", func(n int) (int, error) { return sends(unix.Sendfile(fd, from, nil, n)) })
}

func spliceOut(fd, n int) error {
	from, err := file(n)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return throughPipe(n, func(in, out, n int) error {
		if _, err := unix.Splice(from, nil, in, nil, n, 0); err != nil {
			return err
		}
		return inChunks(n, "splice", func(n int) (int, error) {
			m, err := unix.Splice(out, nil, fd, nil, n, 0)
			return sends(int(m), err)
		})
	})
}

func spliceIn(fd, n int) error {
	to, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return throughPipe(n, func(in, out, n int) error {
		return inChunks(n, "splice", func(n int) (int, error) {
			m, err := unix.Splice(fd, nil, in, nil, n, 0)
			if err != nil {
				return 0, err
			}
			_, err = unix.Splice(out, nil, to, nil, int(m), 0)
			return receives(int(m), err)
		})
	})
}

func throughPipe(n int, pass func(in, out, n int) error) error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	for ; n > 0; n -= chunk {
		if err := pass(ends[1], ends[0], min(n, chunk)); err != nil {
			return err
		}
	}
	return nil
}

// truncate throws away what was received, unread, tcp(7).
func truncate(fd, n int) error {
	buf := make([]byte, 1)
	return inChunks(n, "recv", func(n int) (int, error) {
		m, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(fd), address(buf), uintptr(n), unix.MSG_TRUNC, 0, 0)
		if errno != 0 {
			return 0, errno
		}
		return receives(int(m), nil)
	})
}

// zerocopy sends pages in place. What the kernel says of them afterwards is left unread.
func zerocopy(fd, n int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	buf := make([]byte, chunk)
	return inChunks(n, "send", func(n int) (int, error) {
		return sends(unix.SendmsgN(fd, buf[:n], nil, nil, unix.MSG_ZEROCOPY))
	})
}

// multipath makes sure that the peer took part in it.
func multipath(fd, n int) error {
	if err := write(fd, n); err != nil {
		return err
	}
	const solMPTCP, mptcpInfo = 284, 1
	_, err := unix.GetsockoptInt(fd, solMPTCP, mptcpInfo)
	return os.NewSyscallError("getsockopt", err)
}

// connectedAgain has one socket make several connections.
func connectedAgain(refuses string, others []string, n int) error {
	family, to := sockaddr(refuses)
	fd, err := socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("got %w, want a refusal", err)
	}
	for _, o := range others {
		_, to := sockaddr(o)
		if err := unix.Connect(fd, to); err != nil {
			return os.NewSyscallError("connect", err)
		}
		if err := write(fd, n); err != nil {
			return err
		}
		if err := readRest(fd); err != nil {
			return err
		}
		// Of no family: this ends the connection, connect(2).
		none := make([]byte, 16)
		if _, _, errno := syscall.Syscall(unix.SYS_CONNECT, uintptr(fd), address(none), 16); errno != 0 {
			return os.NewSyscallError("connect", errno)
		}
	}
	return nil
}

// fastOpen sends with the first packet.
func fastOpen(address string, n int) error {
	family, to := sockaddr(address)
	fd, err := socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	moved.connections.Add(1)
	if _, err := sends(unix.SendmsgN(fd, make([]byte, n), nil, to, unix.MSG_FASTOPEN)); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	if err := readRest(fd); err != nil {
		return err
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	const synData = 32 // of tcpi_options
	if err == nil && info.Options&synData == 0 {
		return fmt.Errorf("no data went with the first packet: options %#x", info.Options)
	}
	return err
}
