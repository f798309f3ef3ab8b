package kernel

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// io_uring(7), as little as sends and receives one thing at a time.

const (
	opSend    = 26
	opReceive = 27
)

// submission is struct io_uring_sqe.
type submission struct {
	opcode, flags uint8
	priority      uint16
	fd            int32
	offset, addr  uint64
	length, how   uint32
	data          uint64
	rest          [3]uint64
}

type completion struct {
	data   uint64
	result int32
	flags  uint32
}

type ringParams struct {
	submissions, completions, flags, cpu, idle, features, attached uint32
	_                                                              [3]uint32
	sq                                                             struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, completions, flags, _ uint32
		_                                                          uint64
	}
}

type ring struct {
	fd                                    int
	polls                                 bool // the kernel looks for submissions by itself
	sqTail, sqFlags, cqHead, cqTail, mask *uint32
	sqes                                  []byte
	memory                                []byte
	entries                               uint32 // offset of completions
}

func newRing(polls bool) (*ring, error) {
	var p ringParams
	if polls {
		const setupSQPoll = 2
		p.flags, p.idle = setupSQPoll, 1000
	}
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &ring{fd: int(fd), polls: polls, entries: p.cq.completions}
	// Since Linux 5.4 one mapping holds both rings.
	size := max(p.sq.array+p.submissions*4, p.cq.completions+p.completions*uint32(unsafe.Sizeof(completion{})))
	const atRings, atSubmissions = 0, 0x10000000
	var err error
	if r.memory, err = unix.Mmap(r.fd, atRings, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	size = p.submissions * uint32(unsafe.Sizeof(submission{}))
	if r.sqes, err = unix.Mmap(r.fd, atSubmissions, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.memory[offset])) }
	r.sqTail, r.sqFlags = at(p.sq.tail), at(p.sq.flags)
	r.cqHead, r.cqTail, r.mask = at(p.cq.head), at(p.cq.tail), at(p.cq.mask)
	return r, nil // slot 0 is entry 0 from the start, since the array begins as zeros
}

func (r *ring) close() {
	_ = unix.Munmap(r.memory)
	_ = unix.Munmap(r.sqes)
	_ = unix.Close(r.fd)
}

// do submits one operation and waits for what it returned.
func (r *ring) do(s submission) (int, error) {
	*(*submission)(unsafe.Pointer(&r.sqes[0])) = s
	atomic.AddUint32(r.sqTail, 1)
	const getEvents, wake = 1, 2
	submit, flags := uintptr(1), uintptr(getEvents)
	if r.polls {
		submit = 0
		if atomic.LoadUint32(r.sqFlags)&1 != 0 { // it has gone to sleep
			flags |= wake
		}
	}
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, 1, flags, 0, 0)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return 0, os.NewSyscallError("io_uring_enter", errno)
		}
		submit = 0 // an interrupted wait has submitted already
	}
	head := *r.cqHead
	if atomic.LoadUint32(r.cqTail) == head {
		return 0, errors.New("io_uring: nothing was completed")
	}
	c := *(*completion)(unsafe.Pointer(&r.memory[r.entries+(head&*r.mask)*uint32(unsafe.Sizeof(completion{}))]))
	atomic.StoreUint32(r.cqHead, head+1)
	if c.result < 0 {
		return 0, os.NewSyscallError("io_uring", syscall.Errno(-c.result))
	}
	return int(c.result), nil
}

// address is where the kernel finds b.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func uringMove(fd, n int, opcode uint8, polls bool) error {
	r, err := newRing(polls)
	if err != nil {
		return err
	}
	defer r.close()
	buf := make([]byte, chunk)
	count := sends
	if opcode == opReceive {
		count = receives
	}
	return inChunks(n, "io_uring", func(n int) (int, error) {
		return count(r.do(submission{opcode: opcode, fd: int32(fd), addr: uint64(address(buf)), length: uint32(n)}))
	})
}

func uringSend(fd, n int) error     { return uringMove(fd, n, opSend, false) }
func uringPollSend(fd, n int) error { return uringMove(fd, n, opSend, true) }
func uringReceive(fd, n int) error  { return uringMove(fd, n, opReceive, false) }
