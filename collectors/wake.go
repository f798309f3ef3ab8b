package collectors

import (
	"slices"
	"time"

	"cityward/collectors/internal/kernel"
)

// wakeEvery is how often the kernel's events are looked for. The kernel wakes
// nobody: a packet must never wait for this program, and a look costs microseconds.
const wakeEvery = 250 * time.Millisecond

// teller tells of what happened since it was last asked, without waiting.
type teller interface {
	Events(into []kernel.Event) ([]kernel.Event, error)
}

// waker signals when a flow went out to an address of no zone.
type waker struct {
	signals    chan struct{}
	stop, done chan struct{}
}

func newWaker(from teller) *waker {
	w := &waker{signals: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go w.poll(from)
	return w
}

func (w *waker) poll(from teller) {
	defer close(w.done)
	ticks := time.NewTicker(wakeEvery)
	defer ticks.Stop()
	var events []kernel.Event
	for {
		select {
		case <-w.stop:
			return
		case <-ticks.C:
		}
		// An error costs some of the events, which are in the tables all the same.
		events, _ = from.Events(events[:0])
		if slices.ContainsFunc(events, urgent) {
			select {
			case w.signals <- struct{}{}:
			default: // one waits already
			}
		}
	}
}

// urgent reports whether a flow must not wait for the next round. One that came
// in may: a public server is found by somebody new all the time.
func urgent(e kernel.Event) bool { return e.Direction == kernel.Out }

func (w *waker) close() {
	close(w.stop)
	<-w.done
}

// Wake signals when a flow went out to an address of no zone of the policy's, for
// whoever does not wait for the next round; nil where no kernel tells. The first
// call begins to listen, [Set.Close] ends it.
func (s *Set) Wake() <-chan struct{} {
	if s.waker == nil && s.kernel != nil && s.kernel.Err() == nil {
		s.waker = newWaker(s.kernel)
	}
	if s.waker == nil {
		return nil
	}
	return s.waker.signals
}
