package kernel

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket may listen after it was something else; what comes to it is counted all
// the same.
func TestListensAfterwards(t *testing.T) {
	k := open(t, Options{})
	for _, test := range []struct {
		name   string
		former func(fd int) error
	}{
		{"refused", func(fd int) error {
			err := unix.Connect(fd, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}})
			if !errors.Is(err, unix.ECONNREFUSED) {
				return errors.Join(errors.New("was not refused"), err)
			}
			return nil
		}},
		{"listened before", func(fd int) error {
			return errors.Join(unix.Listen(fd, 1), unix.Shutdown(fd, unix.SHUT_RDWR))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "listener")
			defer f.Close()
			if err := test.former(fd); err != nil {
				t.Fatal(err)
			}
			l, err := listenOn(f)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					_ = serveOne(c.(*net.TCPConn), 3)
				}
			}()
			who := run(t, nil, "tcp %s 1000", l.Addr())
			expect(t, k, who, Out, tcp, portOf(l.Addr()), counts{sent: 1000, received: 3, connections: 1})
			expect(t, k, self(t), In, tcp, portOf(l.Addr()), counts{sent: 3, received: 1000, connections: 1})
		})
	}
}

func listenOn(f *os.File) (net.Listener, error) {
	fd := int(f.Fd())
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil && !errors.Is(err, unix.EINVAL) {
		return nil, err // the second one is bound already
	}
	if err := unix.Listen(fd, 8); err != nil {
		return nil, err
	}
	return net.FileListener(f)
}

// What comes to a listener whose maker has ended is of the program that holds it, and
// not of nobody.
func TestListenerIsLeft(t *testing.T) {
	k := openOwn(t, Options{})
	l := newLab(t)
	p := start(t, l.far, "leave-listener "+far4+":4000 3")
	p.awaitReady(t)
	read(t, k) // after which nobody remembers what it was first
	who := p.who[0]
	c := start(t, l.near, "ask-reset "+far4+":4000 1")
	defer c.kill(t)
	expect(t, k, who, In, tcp, 4000, counts{received: 1, connections: 1, open: 1})
	r := read(t, k)
	for _, f := range r.Flows {
		if f.Owner.PID == who.Owner.PID && !slices.ContainsFunc(r.Programs, func(p Program) bool { return p.ID == f.Owner && p.Ended.IsZero() }) {
			t.Errorf("nobody has %+v", f)
		}
	}
	p.proceed(t)
}
