package collectors

import (
	"net"
	"net/netip"
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

// waker signals when a flow went out to an address of no zone, or a holder of data
// sends there.
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
		if urgent(events) {
			select {
			case w.signals <- struct{}{}:
			default: // one waits already
			}
		}
	}
}

// urgent reports whether some flow must not wait for the next round. One that came
// in may: a public server is found by somebody new all the time; but not what a
// holder of data answers there. One that stays on this machine is told of where its
// route was not known yet.
func urgent(events []kernel.Event) bool {
	var here []netip.Addr // of this machine, once they are needed
	for i := range events {
		e := &events[i]
		if e.Direction != kernel.Out && e.Kind != kernel.EventLeak || e.Remote.IsLoopback() {
			continue
		}
		if here == nil {
			here = addresses()
		}
		if !slices.Contains(here, e.Remote) {
			return true
		}
	}
	return false
}

// addresses lists those of this machine's interfaces. Without them a round too
// many is made.
func addresses() []netip.Addr {
	all, _ := net.InterfaceAddrs()
	list := make([]netip.Addr, 0, len(all))
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, prefix.Addr())
		}
	}
	return list
}

func (w *waker) close() {
	close(w.stop)
	<-w.done
}

// Wake signals when a flow went out to an address of no zone of the policy's, or a
// holder of data sends there, for whoever does not wait for the next round; nil where no kernel tells. The first
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
