package process

import (
	"errors"
	"sync/atomic"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/netlink"
)

// starts is told of every program that starts by the process connector. The
// kernel tells the process id alone, so the executable is looked at at once; a
// program that has ended by then has no name.
type starts struct {
	stream          *netlink.Processes
	proc            *host.Proc // of the stream's goroutine
	events, orphans atomic.Uint64
}

func openStarts(h *host.Host) (watch, error) {
	proc, err := h.OpenProc()
	if err != nil {
		return nil, err
	}
	s := &starts{proc: proc}
	if s.stream, err = netlink.OpenProcesses(s.note); err != nil {
		proc.Close()
		return nil, err
	}
	return s, nil
}

func (s *starts) note(e netlink.ProcessEvent) {
	if e.Kind != netlink.Exec {
		return
	}
	s.events.Add(1)
	if _, err := s.proc.Readlink(e.PID, "exe"); err != nil {
		s.orphans.Add(1)
	}
}

func (s *starts) totals() totals {
	lost := s.stream.Losses()
	if s.stream.Err() != nil {
		lost++ // and all that follows
	}
	return totals{events: s.events.Load(), lost: lost, orphans: s.orphans.Load()}
}

func (s *starts) Close() error {
	err := s.stream.Close()
	s.proc.Close()
	return errors.Join(err)
}
