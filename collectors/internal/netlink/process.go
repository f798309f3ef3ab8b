package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of process events: PROC_EVENT_* of the kernel's cn_proc.h.
const (
	ack  = 0
	Fork = 0x00000001
	Exec = 0x00000002
	Exit = 0x80000000
)

// ProcessEvent is what one process did. Threads are processes to the kernel, but
// not here.
type ProcessEvent struct {
	Kind   uint32 // Fork, Exec, Exit
	PID    int    // who did it; of Fork the parent
	Child  int    // of Fork
	status uint32 // of ack: errno
}

// Parts of the kernel's connector.h and cn_proc.h that x/sys does not have.
const (
	connectorProcesses = 1 // CN_IDX_PROC, CN_VAL_PROC, and the group's number
	listen             = 1 // PROC_CN_MCAST_LISTEN
	ignore             = 2 // PROC_CN_MCAST_IGNORE

	sizeConnector = 20 // struct cn_msg
	sizeEvent     = 16 // struct proc_event up to its union
)

// Processes is the process connector: the kernel tells of every fork, exec and
// exit.
type Processes struct{ *Stream }

// answerTime is how long the kernel may take to accept a listener, which it does
// at once. To one that it does not serve it says nothing at all.
const answerTime = time.Second

// OpenProcesses listens to the process connector.
func OpenProcesses(each func(ProcessEvent)) (*Processes, error) {
	answer := make(chan uint32, 1)
	stream, err := Open(unix.NETLINK_CONNECTOR, 4<<20, []int{connectorProcesses}, func(_ uint16, payload []byte) {
		event, ok := ParseProcess(payload)
		switch {
		case !ok:
		case event.Kind == ack:
			select {
			case answer <- event.status:
			default:
			}
		default:
			each(event)
		}
	})
	if err != nil {
		return nil, err
	}
	p := &Processes{stream}
	if err := p.control(listen); err != nil {
		return nil, errors.Join(fmt.Errorf("ask for process events: %w", err), stream.Close())
	}
	select {
	case status := <-answer:
		if status != 0 {
			return nil, errors.Join(fmt.Errorf("ask for process events: %w", unix.Errno(status)), stream.Close())
		}
		return p, nil
	case <-time.After(answerTime):
		return nil, errors.Join(errors.New("ask for process events: the kernel does not answer: it tells only those in its first user, PID and network namespaces"), p.Close())
	}
}

// Close ends the stream. Older kernels count listeners and forget none by
// themselves, so they are told.
func (p *Processes) Close() error {
	return errors.Join(p.control(ignore), p.Stream.Close())
}

func (p *Processes) control(operation uint32) error {
	const size = unix.SizeofNlMsghdr + sizeConnector + 4
	m := make([]byte, size)
	binary.NativeEndian.PutUint32(m[0:], size)
	binary.NativeEndian.PutUint16(m[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(m[12:], uint32(os.Getpid()))
	connector := m[unix.SizeofNlMsghdr:]
	binary.NativeEndian.PutUint32(connector[0:], connectorProcesses)
	binary.NativeEndian.PutUint32(connector[4:], connectorProcesses)
	binary.NativeEndian.PutUint16(connector[16:], 4)
	binary.NativeEndian.PutUint32(connector[sizeConnector:], operation)
	_, err := p.file.Write(m)
	return err
}

// ParseProcess reads a struct cn_msg with a struct proc_event; false for what is
// of no interest here.
func ParseProcess(data []byte) (ProcessEvent, bool) {
	if len(data) < sizeConnector+sizeEvent+4 || binary.NativeEndian.Uint32(data) != connectorProcesses {
		return ProcessEvent{}, false
	}
	body := data[sizeConnector+sizeEvent:]
	word := func(i int) uint32 {
		if len(body) < 4*i+4 {
			return 0
		}
		return binary.NativeEndian.Uint32(body[4*i:])
	}
	e := ProcessEvent{Kind: binary.NativeEndian.Uint32(data[sizeConnector:])}
	switch e.Kind {
	case ack:
		e.status = word(0)
	case Fork: // parent's thread, parent, child's thread, child
		e.PID, e.Child = int(int32(word(1))), int(int32(word(3)))
		return e, word(2) == word(3) && e.PID > 0 && e.Child > 0
	case Exec, Exit:
		e.PID = int(int32(word(1)))
		return e, word(0) == word(1) && e.PID > 0
	default:
		return ProcessEvent{}, false
	}
	return e, true
}
