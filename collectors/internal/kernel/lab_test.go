package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The two ends of a pair of veth, each in a network namespace of its own. They
// are gone with the processes in them and the descriptors of this one.
const (
	near4, far4 = "10.77.0.1", "10.77.0.2"
	farther4    = "10.77.0.3" // of the far end, too
	near6, far6 = "2001:db8::1", "2001:db8::2"
)

type namespace struct {
	file *os.File
	inum uint64
}

type lab struct{ near, far namespace }

func newLab(t *testing.T) lab {
	t.Helper()
	l := lab{newNamespace(t), newNamespace(t)}
	l.near.do(t, func() error { return addVeth(l.far.file) })
	l.near.do(t, func() error { return configure(near4, near6) })
	l.far.do(t, func() error { return configure(far4, farther4, far6) })
	for _, n := range []namespace{l.near, l.far} {
		n.set(t, "ipv4/ping_group_range", "0 0")
		n.set(t, "ipv4/tcp_fastopen", "1543") // both ends, listeners too, without a cookie
	}
	return l
}

// apart runs f in a thread that ends with it, so that what f changes of its
// thread stays with nobody.
func apart(t *testing.T, f func() error) {
	t.Helper()
	if err := inThread(f); err != nil {
		t.Fatal(err)
	}
}

func inThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		err := inThread(f) // the first thread does not end, and while it is held another is taken
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

func newNamespace(t *testing.T) (n namespace) {
	t.Helper()
	apart(t, func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make namespace: %w", err)
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		var st unix.Stat_t
		err = unix.Fstat(int(n.file.Fd()), &st)
		n.inum = st.Ino
		return err
	})
	t.Cleanup(func() { _ = n.file.Close() })
	return n
}

// do runs f inside; what f starts stays there.
func (n namespace) do(t *testing.T, f func() error) {
	t.Helper()
	apart(t, func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return f()
	})
}

func (n namespace) set(t *testing.T, sysctl, value string) {
	t.Helper()
	n.do(t, func() error { return os.WriteFile("/proc/sys/net/"+sysctl, []byte(value), 0) })
}

func (n namespace) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	n.do(t, cmd.Start)
}

// What follows is rtnetlink(7), so that no tool is needed where this runs.

// attribute appends one of type kind. Those of rtnetlink nest.
func attribute(b []byte, kind int, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func linkBody(index int, flags uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0) // family, padding, type
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, flags) // what changes
}

func addVeth(far *os.File) error {
	peer := attribute(linkBody(0, 0), unix.IFLA_IFNAME, []byte("veth\x00"))
	peer = attribute(peer, unix.IFLA_NET_NS_FD, word(uint32(far.Fd())))
	const vethInfoPeer = 1
	info := attribute(nil, unix.IFLA_INFO_KIND, []byte("veth"))
	info = attribute(info, unix.IFLA_INFO_DATA, attribute(nil, vethInfoPeer, peer))
	b := attribute(linkBody(0, 0), unix.IFLA_IFNAME, []byte("veth\x00"))
	b = attribute(b, unix.IFLA_LINKINFO, info)
	return rtnetlink(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b)
}

// configure gives the addresses to the interface veth and takes all up.
func configure(addresses ...string) error {
	for _, name := range []string{"lo", "veth"} {
		if err := linkUp(name); err != nil {
			return err
		}
	}
	for _, a := range addresses {
		if err := addAddress("veth", netip.MustParseAddr(a)); err != nil {
			return err
		}
	}
	return nil
}

func linkUp(name string) error {
	index, err := linkIndex(name)
	if err != nil {
		return err
	}
	return rtnetlink(unix.RTM_NEWLINK, 0, linkBody(index, unix.IFF_UP))
}

// addAddress gives a /24 or a /64, to be used at once.
func addAddress(name string, a netip.Addr) error {
	index, err := linkIndex(name)
	if err != nil {
		return err
	}
	family, bits := byte(unix.AF_INET), byte(24)
	if a.Is6() {
		family, bits = unix.AF_INET6, 64
	}
	b := append([]byte{family, bits, unix.IFA_F_NODAD, 0}, word(uint32(index))...)
	b = attribute(b, unix.IFA_LOCAL, a.AsSlice())
	b = attribute(b, unix.IFA_ADDRESS, a.AsSlice())
	return rtnetlink(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b)
}

// linkIndex asks in the namespace of the thread, unlike package net's cache.
func linkIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	return int(r.Uint32()), nil
}

func rtnetlink(kind uint16, flags int, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, uint16(flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK))
	b = append(append(b, make([]byte, 8)...), body...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 {
		return errors.New("read netlink: cut off")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return fmt.Errorf("ask netlink for %d: %w", kind, unix.Errno(-code))
	}
	return nil
}
