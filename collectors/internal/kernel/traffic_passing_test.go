package kernel

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What passes between programs, and goes on when one has become a holder.

func passingTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"subshell":    func(a arguments) error { return subshell(a[0]) }, // path that its child opens
		"wait-idle":   func(arguments) error { sayReady(); awaitProceed(); return nil },
		"ask-service": func(a arguments) error { return askService(a[0], a[1]) }, // network, path: a short life
		"write":       func(arguments) error { return writeWhenTold() },          // to descriptor 3
		"send-to":     func(a arguments) error { return sendTo(a[0]) },           // path of a socket of datagrams, when told
		"write-lines": func(arguments) error { return writeLines() },             // likewise, for each byte that it reads
		"read-stay":   func(arguments) error { err := readOnce(); sayReady(); awaitProceed(); return err },
		"read":        func(arguments) error { return readOnce() },             // from descriptor 3
		"read-late":   func(arguments) error { sayReady(); return readOnce() }, // likewise
		"read-told":   func(arguments) error { sayReady(); awaitProceed(); return readOnce() },
		"go-on":       func(a arguments) error { return goOn(a[0], a[1]) },      // network, address
		"echo-lines":  func(a arguments) error { return echoLines(a[0], a[1]) }, // network, address
		"answer-on":   func(a arguments) error { return answerOn(a[0], a[1]) },  // network, address
	}
}

func subshell(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	pid := forkOpen(uintptr(unsafe.Pointer(name)))
	if pid <= 0 {
		return errors.New("fork: refused")
	}
	runtime.KeepAlive(name)
	var status unix.WaitStatus
	_, err = unix.Wait4(int(pid), &status, 0, nil)
	return err
}

//go:norace
//go:nosplit
func forkOpen(name uintptr) uintptr {
	here := unix.AT_FDCWD
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	if pid != 0 {
		return pid
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(here), name, uintptr(unix.O_RDWR), 0, 0, 0)
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

func askService(network, path string) error {
	c, err := net.Dial(network, path)
	if err != nil {
		return err
	}
	_, err = c.Write([]byte("select"))
	return errors.Join(err, c.Close())
}

func writeWhenTold() error {
	sayReady()
	awaitProceed()
	_, err := unix.Write(3, []byte("record"))
	return err
}

// sendTo has no connection.
func sendTo(path string) error {
	fd, err := socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	sayReady()
	awaitProceed()
	err = unix.Sendto(fd, []byte("record"), 0, &unix.SockaddrUnix{Name: path})
	return errors.Join(err, unix.Close(fd))
}

func writeLines() error {
	sayReady()
	for b := make([]byte, 1); ; {
		if n, _ := unix.Read(0, b); n == 0 {
			return nil
		}
		if _, err := unix.Write(3, []byte("record")); err != nil {
			return err
		}
	}
}

func readOnce() error {
	_, err := unix.Read(3, make([]byte, 100))
	return err
}

// goOn sends a byte, and later another.
func goOn(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	sayReady()
	awaitProceed()
	_, _ = c.Write([]byte{2}) // the other end may be gone
	time.Sleep(10 * time.Millisecond)
	return nil
}

// echoLines sends a byte for each that it reads.
func echoLines(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	sayReady()
	for b := make([]byte, 1); ; {
		if n, _ := unix.Read(0, b); n == 0 {
			return nil
		}
		_, _ = c.Write(b) // nobody may be there
	}
}

// answerOn takes a byte, and answers later.
func answerOn(network, address string) error {
	if network == "udp" {
		c, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		defer c.Close()
		sayReady()
		_, from, err := c.ReadFrom(make([]byte, 1))
		if err != nil {
			return err
		}
		awaitProceed()
		_, err = c.WriteTo([]byte{2}, from)
		return err
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	sayReady()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return err
	}
	awaitProceed()
	_, err = c.Write([]byte{2})
	return errors.Join(err, c.Close(), l.Close())
}
