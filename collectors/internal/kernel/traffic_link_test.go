package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Packets made by hand, and what goes past the sockets of the Internet.

func linkTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"handmade": func(a arguments) error { // from, to, protocol of the socket, packets, bytes
			return handmade(a[0], a[1], a.number(2), a.number(3), a.number(4))
		},
		"raw-stream": func(a arguments) error { // address, packets, bytes
			return rawStream(a[0], a.number(1), a.number(2))
		},
		"frames": func(a arguments) error { // from, to, packets, bytes
			return frames(a[0], a[1], a.number(2), a.number(3))
		},
		"tunnel": func(a arguments) error { // packets, bytes
			return tunnel(a.number(0), a.number(1))
		},
	}
}

// packet is one of IPv4 with a datagram of UDP in it.
func packet(from, to string, size int) []byte {
	source, target := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	b := make([]byte, 28+size)
	b[0], b[8], b[9] = 0x45, 64, udp
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], source.Addr().AsSlice())
	copy(b[16:], target.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b[:20]))
	binary.BigEndian.PutUint16(b[20:], source.Port())
	binary.BigEndian.PutUint16(b[22:], target.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+size)) // without a checksum
	return b
}

func handmade(from, to string, protocol, packets, size int) error {
	fd, err := socket(unix.AF_INET, unix.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	_, at := sockaddr(to)
	b := packet(from, to, size)
	for range packets {
		if err := unix.Sendto(fd, b, 0, at); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
	}
	return nil
}

// rawStream sends segments of TCP that belong to no connection, as a scan does.
// Their checksum is wrong, so that nobody answers.
func rawStream(address string, packets, size int) error {
	family, to := sockaddr(address)
	fd, err := socket(family, unix.SOCK_RAW, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const options = 4
	b := make([]byte, 20+options+size)
	binary.BigEndian.PutUint16(b, 4001)
	binary.BigEndian.PutUint16(b[2:], netip.MustParseAddrPort(address).Port())
	b[12], b[13] = (20+options)/4<<4, 2 // SYN
	for range packets {
		if err := unix.Sendto(fd, b, 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
	}
	return nil
}

// frames go to the card. What they carry is counted by nobody here.
func frames(from, to string, packets, size int) error {
	fd, err := socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	index, err := linkIndex("veth")
	if err != nil {
		return err
	}
	const ipv4 = 8 // 0x0800 as the network has it
	all := &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	for range packets {
		if err := unix.Sendto(fd, packet(from, to, size), 0, all); err != nil {
			return os.NewSyscallError("sendto", err)
		}
	}
	return nil
}

// tunnel is the other end of a network, 198.51.100.0/24: it sends packets from it
// to port 4000 of this one, and reads those that its own socket sends there.
func tunnel(packets, size int) error {
	const here, there = "198.51.100.1", "198.51.100.2:5000"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("tunnel")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return os.NewSyscallError("ioctl", err)
	}
	if err := addAddress("tunnel", netip.MustParseAddr(here)); err != nil {
		return err
	}
	if err := linkUp("tunnel"); err != nil {
		return err
	}
	for range packets {
		if _, err := unix.Write(fd, packet(there, here+":4000", size)); err != nil {
			return os.NewSyscallError("write", err)
		}
	}
	if err := send(there, udp, packets, size); err != nil {
		return err
	}
	for buf := make([]byte, 1<<16); packets > 0; {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if n == 28+size && buf[9] == udp {
			packets--
		} else if buf[0]>>4 == 4 {
			return fmt.Errorf("%d bytes of protocol %d came out of the tunnel", n, buf[9])
		}
	}
	return nil
}
