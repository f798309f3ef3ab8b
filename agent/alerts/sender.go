package alerts

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"cityward/configs"
)

// Pauses after failures, and how many requests need not wait for each other.
const (
	pauseLeast = time.Second
	pauseMost  = time.Minute
	burst      = 10
)

// sender tells one receiver. It is for one goroutine.
type sender struct {
	*line
	post    func(context.Context, []byte) error
	head    func() *Head
	machine func() string
	log     *slog.Logger
	now     func() time.Time

	failures int // in a row
	limit    bucket
}

// run tells until ctx ends.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		messages, then := s.next(s.now())
		if len(messages) == 0 {
			s.wait(ctx, then)
			continue
		}
		if pause := s.limit.take(time.Now(), s.rate()); pause > 0 {
			sleep(ctx, pause)
			continue // there may be more by now
		}
		s.tell(ctx, messages)
	}
}

// wait waits until there may be something to tell.
func (s *sender) wait(ctx context.Context, then time.Time) {
	var due <-chan time.Time
	if !then.IsZero() {
		// Not much longer than an hour: the clock may be set.
		timer := time.NewTimer(min(max(then.Sub(s.now()), time.Millisecond), time.Hour))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-due:
	}
}

func (s *sender) rate() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.Rate
}

// tell makes one request, and pauses where it fails.
func (s *sender) tell(ctx context.Context, messages []message) {
	body, err := s.body(messages)
	if err == nil {
		err = s.post(ctx, body)
	}
	if ctx.Err() != nil && err != nil {
		return // told to stop; the next run tells
	}
	refusal := &refusalError{}
	switch {
	case err == nil:
		s.accepted(messages, s.now())
		if s.failures > 0 {
			s.log.Info("the receiver takes alerts again")
		}
		s.failures = 0
		return
	case errors.As(err, &refusal) && refusal.content():
		s.refused(messages, s.now())
		if len(messages) == 1 {
			s.log.Error("the receiver refuses an alert, which waits", "check", messages[0].check(), "pause", refusedFor, "err", err)
		}
		// No long pause: smaller requests find out which one it is. The limit on
		// requests holds.
		return
	}
	s.failure()
	if s.failures == 0 {
		s.log.Warn("the receiver does not take alerts, they wait", "err", err)
	}
	s.failures++
	sleep(ctx, pauseAfter(s.failures, refusal.after))
}

func (m *message) check() string {
	f, err := readFinding(m.finding)
	if err != nil {
		return ""
	}
	return f.Check
}

// body makes what is sent.
func (s *sender) body(messages []message) ([]byte, error) {
	if s.receiver.Kind == configs.Alertmanager {
		s.mu.Lock()
		repeat := s.limits.Repeat
		s.mu.Unlock()
		return alertmanagerBody(messages, s.now(), repeat, s.head())
	}
	return webhookBody(messages, s.now(), s.machine(), s.head())
}

// pauseAfter gives the pause after some failures in a row: twice as long each time,
// half of it by chance, so that not all machines of a city come at once to a
// receiver that is back. What the receiver asks for is heeded within bounds.
func pauseAfter(failures int, asked time.Duration) time.Duration {
	pause := pauseLeast << min(failures-1, 10)
	pause = max(min(pause, pauseMost), min(asked, 5*pauseMost))
	return pause/2 + rand.N(pause/2) //nolint:gosec // no secret
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// bucket holds what may be sent at once.
type bucket struct {
	used float64 // of the burst
	last time.Time
}

// take takes one request out, or says how long to wait for it.
func (b *bucket) take(now time.Time, perMinute int) time.Duration {
	each := time.Minute / time.Duration(perMinute)
	if !b.last.IsZero() {
		b.used = max(0, b.used-float64(now.Sub(b.last))/float64(each))
	}
	b.last = now
	if b.used > burst-1 {
		return time.Duration((b.used-(burst-1))*float64(each)) + time.Millisecond
	}
	b.used++
	return 0
}
