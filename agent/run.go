package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of short rounds: at most four a second, and a tenth of a core.
const (
	shortest = 250 * time.Millisecond
	restFor  = 9 // times as long as the last one took
)

// ErrStopped is that of [Agent.Fresh] where no round will follow.
var ErrStopped = errors.New("the daemon stops")

// Run makes a full round at once and then one each interval, until ctx ends, and
// short ones in between when something asks for them. A value on reload makes it
// read the configuration again and begin a full round.
func (a *Agent) Run(ctx context.Context, reload <-chan struct{}) error {
	defer close(a.queue.stopped)
	for {
		took := a.run(ctx, false)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being asked to stop is no failure
		}
		a.between(ctx, reload, time.Now().Add(max(a.Config.Round.Interval-took, a.Config.Round.Interval/10)))
	}
}

// between makes the short rounds before a full one is due.
func (a *Agent) between(ctx context.Context, reload <-chan struct{}, full time.Time) {
	due := time.NewTimer(time.Until(full))
	defer due.Stop()
	rest := time.NewTimer(time.Until(a.rested))
	defer rest.Stop()
	var wake, asked <-chan struct{} // nil while it rests
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
			return
		case <-reload:
			a.Reload()
			return
		case <-rest.C:
			wake, asked = a.Wake, a.queue.asked
			continue
		case <-wake:
		case <-asked:
		}
		if !time.Now().Before(full) {
			return // it serves those who asked as well
		}
		took := a.run(ctx, true)
		pause := max(shortest, restFor*took)
		a.rested = time.Now().Add(pause)
		rest.Reset(pause)
		wake, asked = nil, nil
	}
}

// run makes one round and publishes it, and says how long both took. Whoever asked
// before it began is served by it.
func (a *Agent) run(ctx context.Context, short bool) time.Duration {
	began := time.Now()
	select {
	case <-a.Wake:
	default:
	}
	waiting := a.queue.take()
	report := a.round(ctx, short)
	if ctx.Err() != nil {
		return 0
	}
	if a.Published != nil {
		a.Published(report)
	}
	for _, answer := range waiting {
		answer <- report
	}
	return time.Since(began)
}

// Fresh waits for a round that begins after the call, which may be a short one,
// and gives its report. All who wait share it. It may be called from any goroutine.
func (a *Agent) Fresh(ctx context.Context) (*Report, error) {
	answer := a.queue.join()
	select {
	case report := <-answer:
		return report, nil
	case <-a.queue.stopped:
		return nil, fmt.Errorf("wait for a round: %w", ErrStopped)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a round: %w", context.Cause(ctx))
	}
}

// queue is those who wait for a round that has not begun.
type queue struct {
	asked   chan struct{} // holds a value while somebody waits
	stopped chan struct{}

	mu      sync.Mutex
	waiting []chan<- *Report
}

func newQueue() *queue {
	return &queue{asked: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// join enters one more, who need not wait for the answer.
func (q *queue) join() <-chan *Report {
	answer := make(chan *Report, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, answer)
	select {
	case q.asked <- struct{}{}:
	default:
	}
	return answer
}

// take empties the queue.
func (q *queue) take() []chan<- *Report {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.waiting
	q.waiting = nil
	select {
	case <-q.asked:
	default:
	}
	return waiting
}
