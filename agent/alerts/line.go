package alerts

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"cityward/checks/finding"
	"cityward/configs"
)

// line is those alerts that one receiver has to be told of.
type line struct {
	receiver configs.Receiver
	keep     func(map[string][]byte)
	wake     chan struct{} // there may be something to tell
	stop     func()

	mu      sync.Mutex // guards what follows
	limits  configs.Alerts
	entries map[string]*entry
	part    int // how many alerts a request has, while the receiver refuses some

	sent, failed, dropped uint64
	success               time.Time
}

func newLine(receiver configs.Receiver, limits *configs.Alerts, entries map[string]*entry, keep func(map[string][]byte)) *line {
	return &line{
		receiver: receiver, limits: *limits, entries: copyOf(entries), keep: keep, part: limits.Batch,
		wake: make(chan struct{}, 1), stop: func() {},
	}
}

func (l *line) configure(limits *configs.Alerts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits, l.part = *limits, limits.Batch
	l.told()
}

func (l *line) told() {
	select {
	case l.wake <- struct{}{}:
	default: // it is told already
	}
}

// observe takes over what fails now, and says how many ends were dropped.
func (l *line) observe(open map[string]*alert, now time.Time) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := make(map[string][]byte)
	news := false
	for key, a := range open {
		e := l.entries[key]
		switch {
		case e == nil:
			e = &entry{alert: a, queued: now}
			l.entries[key] = e
		case !e.ended.IsZero(): // it is back before its end was told
			e.ended, e.again = time.Time{}, time.Time{}
		default:
			continue
		}
		news = true
		rows[rowKey(l.receiver.Name, key)] = e.row(l.receiver.Name, key)
	}
	for key, e := range l.entries {
		if open[key] != nil || !e.ended.IsZero() {
			continue
		}
		e.ended, e.again = now, time.Time{}
		news = true
		rows[rowKey(l.receiver.Name, key)] = e.row(l.receiver.Name, key)
	}
	dropped = l.drop(now, rows)
	if len(rows) > 0 {
		l.keep(rows)
	}
	if news {
		l.told()
	}
	return dropped
}

// drop forgets ends that wait for too long, and the oldest of too many.
func (l *line) drop(now time.Time, rows map[string][]byte) int {
	var ended []string
	for key, e := range l.entries {
		if !e.ended.IsZero() {
			ended = append(ended, key)
		}
	}
	slices.SortFunc(ended, func(a, b string) int { return l.entries[a].ended.Compare(l.entries[b].ended) })
	n := max(0, len(ended)-maxOpen)
	for n < len(ended) && now.Sub(l.entries[ended[n]].ended) > l.limits.Keep {
		n++
	}
	for _, key := range ended[:n] {
		delete(l.entries, key)
		rows[rowKey(l.receiver.Name, key)] = nil
	}
	l.dropped += uint64(n)
	return n
}

// message is one alert in a request: what of it is told.
type message struct {
	key string
	*alert
	ended time.Time // zero: it fails
	news  bool      // not told before
}

// due says when an entry has to be told of, and what; the zero time never.
func (l *line) due(e *entry) time.Time {
	var at time.Time
	alertmanager := l.receiver.Kind == configs.Alertmanager
	switch {
	case e.told.IsZero():
		at = e.queued.Add(l.limits.GroupWait)
	case !e.ended.IsZero():
		at = e.ended
		if end := e.told.Add(l.limits.Hold); alertmanager && end.After(at) {
			at = end
			if again := e.sent.Add(l.limits.Repeat); again.Before(at) {
				at = again
			}
		}
	case alertmanager:
		at = e.sent.Add(l.limits.Repeat)
	default:
		return at
	}
	if e.again.After(at) {
		return e.again
	}
	return at
}

// ends reports whether the end of an entry may be told.
func (l *line) ends(e *entry, now time.Time) bool {
	return !e.told.IsZero() && !e.ended.IsZero() &&
		(l.receiver.Kind != configs.Alertmanager || !now.Before(e.told.Add(l.limits.Hold)))
}

// next gives what has to be told now, news first and of these the worst, those of
// one check together. Where there is nothing, it says when there will be; the zero
// time never.
func (l *line) next(now time.Time) (messages []message, then time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, e := range l.entries {
		at := l.due(e)
		if at.IsZero() {
			continue
		}
		if at.After(now) {
			if then.IsZero() || at.Before(then) {
				then = at
			}
			continue
		}
		m := message{key: key, alert: e.alert, news: e.told.IsZero()}
		if l.ends(e, now) {
			m.ended, m.news = e.ended, true
		}
		messages = append(messages, m)
	}
	slices.SortFunc(messages, func(a, b message) int {
		return cmp.Or(-cmp.Compare(rank(&a), rank(&b)), cmp.Compare(a.key, b.key))
	})
	return messages[:min(len(messages), l.part)], then
}

// rank orders messages: repeats can wait. A key ends with the severity.
func rank(m *message) int {
	if !m.news {
		return 0
	}
	severity, _ := finding.ParseSeverity(m.key[strings.LastIndexByte(m.key, 0)+1:]) // else the lowest
	return 1 + int(severity)
}

// accepted notes what the receiver took.
func (l *line) accepted(messages []message, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := make(map[string][]byte)
	for i := range messages {
		m := &messages[i]
		e := l.entries[m.key]
		if m.news {
			l.sent++
		}
		switch {
		case e == nil: // dropped meanwhile
			continue
		case m.ended.IsZero():
			e.sent = now
			if !e.told.IsZero() {
				continue
			}
			e.told = now
		case e.ended.IsZero(): // it is back, and has to be told of again
			e.told, e.sent, e.queued = time.Time{}, time.Time{}, now
		default:
			delete(l.entries, m.key)
			rows[rowKey(l.receiver.Name, m.key)] = nil
			continue
		}
		rows[rowKey(l.receiver.Name, m.key)] = e.row(l.receiver.Name, m.key)
	}
	l.success = now
	l.part = min(2*l.part, l.limits.Batch)
	if len(rows) > 0 {
		l.keep(rows)
	}
}

// refusedFor is how long an alert that its receiver does not understand waits.
const refusedFor = 10 * time.Minute

// refused notes that the receiver understands one of these and does not take it.
// Requests get smaller until it is known which one; that one must not be in the
// way of the others, and is tried again later.
func (l *line) refused(messages []message, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	if len(messages) > 1 {
		l.part = max(1, len(messages)/2)
		return
	}
	if e := l.entries[messages[0].key]; e != nil {
		e.again = now.Add(refusedFor)
	}
}

// failure notes a request that was not answered well.
func (l *line) failure() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
}

// figures are those of the metrics.
type figures struct {
	sent, failed, dropped uint64
	pending               int
	success               time.Time
}

// figures gives what there is to count. The end of an alert that an Alertmanager
// holds waits for nobody.
func (l *line) figures(now time.Time) figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := figures{l.sent, l.failed, l.dropped, 0, l.success}
	for _, e := range l.entries {
		if e.told.IsZero() || l.ends(e, now) {
			f.pending++
		}
	}
	return f
}
