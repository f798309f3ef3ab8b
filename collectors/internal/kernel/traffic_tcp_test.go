package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func tcpTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		// Ends that others connect to; they serve until their input ends.
		"serve": func(a arguments) error { // address, bytes of the answer
			return serve(a[0], func(c net.Conn) error { return answer(c, a.number(1)) })
		},
		"pour": func(a arguments) error { // address, bytes
			return serve(a[0], func(c net.Conn) error { return pour(c, a.number(1)) })
		},
		"serve-duplex": func(a arguments) error { // address, bytes
			return serve(a[0], func(c net.Conn) error { return duplex(c, a.number(1)) })
		},
		"serve-reset": func(a arguments) error { // address, bytes to read before
			return serve(a[0], func(c net.Conn) error { return reset(c, a.number(1)) })
		},
		// Ends that connect.
		"ask": func(a arguments) error { // address, bytes, connections one after another
			for range a.number(2) {
				if err := ask(a[0], a.number(1)); err != nil {
					return err
				}
			}
			return nil
		},
		"ask-parallel": func(a arguments) error { // address, bytes, connections
			return inParallel(a.number(2), func() error { return ask(a[0], a.number(1)) })
		},
		"duplex": func(a arguments) error { // address, bytes
			c, err := dial(a[0])
			if err != nil {
				return err
			}
			return duplex(c, a.number(1))
		},
		"slow": func(a arguments) error { // address, bytes, milliseconds between them
			return slow(a[0], a.number(1), time.Duration(a.number(2))*time.Millisecond)
		},
		"ask-refused": func(a arguments) error { // address
			return unanswered(a[0], func(err error) bool { return errors.Is(err, unix.ECONNREFUSED) })
		},
		"ask-nobody": func(a arguments) error { // address
			return unanswered(a[0], os.IsTimeout)
		},
		"ask-reset": func(a arguments) error { // address, bytes
			return askReset(a[0], a.number(1))
		},
	}
}

// counting counts what its calls return.
type counting struct{ net.Conn }

func (c counting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	moved.received.Add(uint64(n))
	return n, err
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	moved.sent.Add(uint64(n))
	return n, err
}

func dial(address string) (counting, error) {
	c, err := net.Dial("tcp", address)
	moved.connections.Add(1)
	return counting{c}, err
}

func serve(address string, each func(net.Conn) error) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() { awaitProceed(); _ = l.Close() }()
	sayReady()
	return serveOn(l, each)
}

func serveOn(l net.Listener, each func(net.Conn) error) error {
	var all sync.WaitGroup
	var failed error
	var once sync.Mutex
	for {
		c, err := l.Accept()
		if err != nil {
			all.Wait()
			return failed // the listener was closed
		}
		moved.connections.Add(1)
		all.Go(func() {
			err := each(counting{c})
			once.Lock()
			defer once.Unlock()
			failed = errors.Join(failed, err)
		})
	}
}

func inParallel(n int, f func() error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// answer reads to the end, then sends n bytes.
func answer(c net.Conn, n int) error {
	defer c.Close()
	if _, err := io.Copy(io.Discard, onlyReader{c}); err != nil {
		return err
	}
	_, err := c.Write(make([]byte, n))
	return err
}

// pour sends n bytes, then reads to the end.
func pour(c net.Conn, n int) error {
	defer c.Close()
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, onlyReader{c})
	return err
}

// onlyReader hides what would let io.Copy go past the count.
type onlyReader struct{ io.Reader }

// ask sends n bytes, then reads to the end.
func ask(address string, n int) error {
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	return finish(c)
}

// finish says that nothing more is sent, and reads to the end.
func finish(c counting) error {
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, onlyReader{c})
	return err
}

// duplex sends and receives n bytes at the same time.
func duplex(c net.Conn, n int) error {
	defer c.Close()
	sent := make(chan error)
	go func() { _, err := c.Write(make([]byte, n)); sent <- err }()
	_, err := io.CopyN(io.Discard, onlyReader{c}, int64(n))
	return errors.Join(err, <-sent)
}

// reset reads n bytes and leaves without a farewell.
func reset(c net.Conn, n int) error {
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		return err
	}
	if err := c.(counting).Conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

func askReset(address string, n int) error {
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("got %w, want a reset", err)
	}
	return nil
}

func slow(address string, n int, pause time.Duration) error {
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	for range n {
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return finish(c)
}

// unanswered tries to connect for a while, and is to fail in one way.
func unanswered(address string, expected func(error) bool) error {
	moved.connections.Add(1)
	_, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
	if !expected(err) {
		return fmt.Errorf("failed in another way: %w", err)
	}
	return nil
}
