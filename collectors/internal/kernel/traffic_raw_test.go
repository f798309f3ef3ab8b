package kernel

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

const (
	icmp      = 1
	icmp6     = 58
	trial     = 253 // for experiments, RFC 3692
	icmpEcho  = 8
	icmp6Echo = 128
)

func rawTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"ping": func(a arguments) error { // address, type of socket, packets, bytes
			return ping(a[0], a.number(1), a.number(2), a.number(3))
		},
		"raw": func(a arguments) error { // address, protocol, packets, bytes
			return raw(a[0], a.number(1), a.number(2), a.number(3))
		},
		"drain-raw": func(a arguments) error { // address, protocol, bytes of a header that is not payload
			return receiveRaw(a[0], a.number(1), a.number(2))
		},
		"idle": func(arguments) error { // an end where only the kernel answers
			sayReady()
			awaitProceed()
			return nil
		},
	}
}

// ping sends echo requests with size bytes and waits for each answer, by a raw
// socket or one of the kind that anybody may open.
func ping(address string, kind, packets, size int) error {
	family, to := sockaddr(address)
	protocol, request := icmp, byte(icmpEcho)
	if family == unix.AF_INET6 {
		protocol, request = icmp6, icmp6Echo
	}
	fd, err := socket(family, kind, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return os.NewSyscallError("connect", err)
	}
	answer := make([]byte, 1<<16)
	for i := range packets {
		b := append([]byte{request, 0, 0, 0, 0x77, 0x77, 0, byte(i)}, make([]byte, size)...)
		if family == unix.AF_INET && kind == unix.SOCK_RAW {
			binary.BigEndian.PutUint16(b[2:], checksum(b))
		}
		if err := unix.Sendto(fd, b, 0, nil); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if family == unix.AF_INET && kind == unix.SOCK_RAW {
			n -= 20 // the header is given along, raw(7)
		}
		moved.received.Add(uint64(n - 8))
	}
	return nil
}

// checksum is the one of the Internet protocols, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func raw(address string, protocol, packets, size int) error {
	family, to := sockaddr(address)
	fd, err := socket(family, unix.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for range packets {
		if err := unix.Sendto(fd, make([]byte, size), 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		moved.sent.Add(uint64(size))
	}
	return nil
}

func receiveRaw(address string, protocol, header int) error {
	fd, err := bound(address, unix.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sayReady()
	return each(fd, func([]byte, unix.Sockaddr) error {
		moved.received.Add(-uint64(header))
		return nil
	})
}
