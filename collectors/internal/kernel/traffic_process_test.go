package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets that more than one process uses.

func processTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"pass": func(a arguments) error { // type of socket, address, bytes itself, bytes of the other
			return pass(a.number(0), a[1], a.number(2), a.number(3))
		},
		"take": func(a arguments) error { return take(a.number(0)) }, // bytes, by what comes on descriptor 3
		"fork": func(a arguments) error { // type of socket, address, bytes itself, bytes of the child
			return fork(a.number(0), a[1], a.number(2), a.number(3))
		},
		"serve-workers": func(a arguments) error { // address, bytes of the answers, workers
			return serveWorkers(a[0], a[1], a.number(2))
		},
		"worker": func(a arguments) error { return worker(a[0]) }, // bytes of the answers, to who comes to descriptor 3
		"serve-shared": func(a arguments) error { // address, bytes of the answers, other listeners
			return serveShared(a[0], a[1], a.number(2))
		},
		"serve-handing": func(a arguments) error { // address, bytes of the answer
			return serveHanding(a[0], a[1])
		},
		"handed": func(a arguments) error { // bytes of the answer, on descriptor 3
			c, err := net.FileConn(os.NewFile(3, "handed"))
			if err != nil {
				return err
			}
			return answer(counting{c}, a.number(0))
		},
		"leave-listener": func(a arguments) error { // address, bytes of the answers
			return leaveListener(a[0], a[1])
		},
		"left-listener": func(a arguments) error { // descriptor, bytes of the answers
			l, err := net.FileListener(os.NewFile(uintptr(a.number(0)), "listener"))
			if err != nil {
				return err
			}
			sayReady()
			return serveUntilEnd(l, a[1])
		},
		"again": func(a arguments) error { // times, another job
			for range a.number(0) {
				if err := another(nil, a[1:]...).Run(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// another is this program with another job, and a descriptor 3.
func another(file *os.File, job ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = environment(strings.Join(job, " "))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	return cmd
}

// pass sends, then gives the socket to another process by a message, unix(7).
func pass(kind int, address string, n, others int) error {
	fd, err := connected(address, kind, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := sends(unix.Write(fd, make([]byte, n))); err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ends[0])
	other := os.NewFile(uintptr(ends[1]), "messages")
	cmd := another(other, "take", strconv.Itoa(others))
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := unix.Sendmsg(ends[0], []byte{1}, unix.UnixRights(fd), nil, 0); err != nil {
		return err
	}
	return errors.Join(cmd.Wait(), other.Close())
}

func take(n int) error {
	oob := make([]byte, unix.CmsgSpace(4))
	if _, _, _, _, err := unix.Recvmsg(3, make([]byte, 1), oob, 0); err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	_, err = sends(unix.Write(fds[0], make([]byte, n)))
	return errors.Join(err, unix.Close(fds[0]))
}

// fork leaves a copy of this process that sends by one system call and ends: a
// runtime of Go does not live on in a copy.
func fork(kind int, address string, n, childs int) error {
	fd, err := connected(address, kind, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := sends(unix.Write(fd, make([]byte, n))); err != nil {
		return err
	}
	buf := make([]byte, childs)
	pid := forkWrite(uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(childs))
	if pid <= 0 {
		return errors.New("fork: refused")
	}
	var st unix.Siginfo
	if err := unix.Waitid(unix.P_PID, int(pid), &st, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		return os.NewSyscallError("waitid", err)
	}
	start, err := startOf(strconv.Itoa(int(pid)))
	if err != nil {
		return err
	}
	_, netns, err := identity()
	if err != nil {
		return err
	}
	fmt.Println("am", pid, start, netns)
	fmt.Println("moved", pid, childs, 0, 0)
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return err
	}
	if status.ExitStatus() != 0 {
		return fmt.Errorf("write in the child: status %d", status.ExitStatus())
	}
	return nil
}

//go:norace
//go:nosplit
func forkWrite(fd, buf, n uintptr) uintptr {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	if pid != 0 {
		return pid
	}
	m, _, _ := syscall.RawSyscall(unix.SYS_WRITE, fd, buf, n)
	status := uintptr(1)
	if m == n {
		status = 0
	}
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
	}
}

// serveWorkers listens for workers that accept; itself it does not.
func serveWorkers(address, bytes string, workers int) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	cmds := make([]*exec.Cmd, workers)
	for i := range cmds {
		cmds[i] = another(f, "worker", bytes)
		cmds[i].Stdin = os.Stdin
		if err := cmds[i].Start(); err != nil {
			return err
		}
	}
	sayReady()
	for _, c := range cmds {
		err = errors.Join(err, c.Wait())
	}
	return errors.Join(err, l.Close())
}

func worker(bytes string) error {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	return serveUntilEnd(l, bytes)
}

// leaveListener listens and becomes another program, that accepts.
func leaveListener(address, bytes string) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	fd := int(f.Fd())
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		return err
	}
	if err := os.Setenv(generatorVariable, fmt.Sprintf("left-listener %d %s", fd, bytes)); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", []string{"left"}, os.Environ())
}

// serveShared listens on a port that others listen on, too, each for itself.
func serveShared(address, bytes string, others int) error {
	share := func(_, _ string, c syscall.RawConn) (err error) {
		control := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(control, err)
	}
	l, err := (&net.ListenConfig{Control: share}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	if others == 0 {
		sayReady() // the last one
		return serveUntilEnd(l, bytes)
	}
	cmd := another(nil, "serve-shared", address, bytes, strconv.Itoa(others-1))
	cmd.Stdin = os.Stdin
	return errors.Join(cmd.Start(), serveUntilEnd(l, bytes), cmd.Wait())
}

func serveUntilEnd(l net.Listener, bytes string) error {
	go func() { awaitProceed(); _ = l.Close() }()
	return serveOn(l, func(c net.Conn) error { return answer(c, arguments{bytes}.number(0)) })
}

// serveHanding accepts and leaves each connection to a process of its own.
func serveHanding(address, bytes string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() { awaitProceed(); _ = l.Close() }()
	sayReady()
	for {
		c, err := l.Accept()
		if err != nil {
			return nil // the listener was closed
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			return err
		}
		cmd := another(f, "handed", bytes)
		if err := errors.Join(cmd.Start(), f.Close(), c.Close(), cmd.Wait()); err != nil {
			return err
		}
	}
}
