package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A program that serves a mount (FUSE), by the protocol of linux/fuse.h.

func mountTraffic() map[string]func(arguments) error {
	return map[string]func(arguments) error{
		"serve-mount": func(a arguments) error { return serveMount(a[0], a[1], a[2]) }, // where; whose content it gives; how
	}
}

// Requests of linux/fuse.h.
const (
	askLookup      = 1
	askForget      = 2
	askGetattr     = 3
	askSetattr     = 4
	askOpen        = 14
	askRead        = 15
	askWrite       = 16
	askRelease     = 18
	askFlush       = 25
	askInit        = 26
	askOpendir     = 27
	askReaddir     = 28
	askReleasedir  = 29
	askCreate      = 35
	askInterrupt   = 36
	askBatchForget = 42
)

const (
	mountTop  = 1
	mountFile = 2
)

// mountServer serves a directory with one file, whose content is another's.
type mountServer struct {
	fd     int
	source string
	how    string // direct: past the cache; kept: cached for good; back: written when the kernel likes
}

func serveMount(dir, source, how string) error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /dev/fuse", err)
	}
	defer unix.Close(fd)
	if err := unix.Mount("test", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)); err != nil {
		return os.NewSyscallError("mount", err)
	}
	s := &mountServer{fd, source, how}
	sayReady()
	for b := make([]byte, 1<<18); ; {
		n, err := unix.Read(fd, b)
		switch {
		case errors.Is(err, unix.ENODEV): // it is no mount any more
			return nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("read request", err)
		}
		if err := s.answer(b[:n]); err != nil {
			return err
		}
	}
}

func (s *mountServer) answer(request []byte) error {
	opcode, node, body := binary.NativeEndian.Uint32(request[4:]), binary.NativeEndian.Uint64(request[16:]), request[40:]
	if opcode == askForget || opcode == askBatchForget || opcode == askInterrupt {
		return nil
	}
	answer, failure := s.reply(opcode, node, body)
	var b bytes.Buffer
	put(&b, uint32(16+len(answer)), -int32(failure), binary.NativeEndian.Uint64(request[8:]))
	b.Write(answer)
	if _, err := unix.Write(s.fd, b.Bytes()); err != nil && !errors.Is(err, unix.ENOENT) {
		return os.NewSyscallError("answer", err)
	}
	return nil
}

func (s *mountServer) reply(opcode uint32, node uint64, body []byte) ([]byte, unix.Errno) {
	var b bytes.Buffer
	switch opcode {
	case askInit:
		s.init(&b, body)
	case askLookup:
		if strings.TrimRight(string(body), "\x00") != "file" {
			return nil, unix.ENOENT
		}
		s.entry(&b)
	case askCreate:
		s.entry(&b)
		s.opened(&b)
	case askGetattr, askSetattr:
		put(&b, uint64(3600), uint64(0))
		attributes(&b, node)
	case askOpen, askOpendir:
		s.opened(&b)
	case askRead:
		data, err := os.ReadFile(s.source)
		if err != nil {
			return nil, unix.EIO
		}
		return data[min(uint64(len(data)), binary.NativeEndian.Uint64(body[8:])):], 0
	case askWrite:
		put(&b, binary.NativeEndian.Uint32(body[16:]), uint32(0))
	case askReaddir:
		if binary.NativeEndian.Uint64(body[8:]) == 0 {
			put(&b, uint64(mountFile), uint64(1), uint32(4), uint32(8), [8]byte{'f', 'i', 'l', 'e'})
		}
	case askRelease, askReleasedir, askFlush:
	default:
		return nil, unix.ENOSYS
	}
	return b.Bytes(), 0
}

func (s *mountServer) init(b *bytes.Buffer, body []byte) {
	flags := uint32(1) // reads need not wait for each other
	if s.how == "back" {
		flags |= 1 << 16
	}
	put(b, uint32(7), uint32(31), binary.NativeEndian.Uint32(body[8:]), flags)
	put(b, uint16(16), uint16(12), uint32(1<<17), uint32(1), uint16(32), uint16(0), [8]uint32{})
}

func (s *mountServer) entry(b *bytes.Buffer) {
	put(b, uint64(mountFile), uint64(0), uint64(3600), uint64(3600), uint32(0), uint32(0))
	attributes(b, mountFile)
}

func (s *mountServer) opened(b *bytes.Buffer) {
	flags := map[string]uint32{"direct": 1, "kept": 2, "back": 2}[s.how]
	put(b, uint64(1), flags, uint32(0))
}

// attributes are those that stat(2) gives.
func attributes(b *bytes.Buffer, node uint64) {
	mode, size := uint32(unix.S_IFREG|0o666), uint64(len(citizens))
	if node == mountTop {
		mode = unix.S_IFDIR | 0o777
	}
	put(b, node, size, [4]uint64{1}, [3]uint32{}, mode, uint32(1), [3]uint32{}, uint32(4096), uint32(0))
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.NativeEndian, v); err != nil {
			panic(err)
		}
	}
}
