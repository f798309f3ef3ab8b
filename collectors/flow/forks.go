package flow

import (
	"sync"

	"cityward/collectors/internal/netlink"
)

// forks knows which processes have made others. One that has may have handed a
// connection on, so a name that follows from a listener is only for those that
// have not.
type forks struct {
	stream *netlink.Processes
	losses uint64
	mu     sync.Mutex
	by     map[int]struct{}
	full   bool
}

const maxForkers = 1 << 16

func openForks() (*forks, error) {
	f := &forks{by: make(map[int]struct{})}
	stream, err := netlink.OpenProcesses(f.note)
	f.stream = stream
	return f, err
}

func (f *forks) note(e netlink.ProcessEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e.Kind {
	case netlink.Exit:
		delete(f.by, e.PID)
	case netlink.Fork:
		if len(f.by) >= maxForkers {
			clear(f.by)
			f.full = true
		}
		f.by[e.PID] = struct{}{}
	}
}

// did reports whether a process has made another since the stream was opened.
func (f *forks) did(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, did := f.by[pid]
	return did
}

// missed reports whether some forks passed unseen since it was last asked.
func (f *forks) missed() bool {
	losses := f.stream.Losses()
	missed := losses != f.losses || f.stream.Err() != nil
	f.losses = losses
	f.mu.Lock()
	defer f.mu.Unlock()
	missed = missed || f.full
	f.full = false
	return missed
}
