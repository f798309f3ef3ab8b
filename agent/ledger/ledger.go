// Package ledger writes down what must outlive a restart: flows by the hour,
// findings with their life, who held which store's data, changes of software.
//
// It is one SQLite file in the state directory. Its table log is append-only; the
// hash of each row covers the row and the hash before it, and the head, the last
// hash, is signed with a key that is made at the first start. So a ledger that
// somebody rewrote shows, to "cityward ledger verify" and to the daemon when it
// starts, which sets it aside and says so. Rows are removed at the old end alone,
// and a second signature says after which hash the rest begins. What this does not
// show is a ledger rewritten by who can read the key, as root can, or one that was
// put back to an older state with its head: the number of the last row is a metric
// for that, so that a Prometheus elsewhere has seen how far it was.
//
// Flows would make a row in every round. So what they moved is summed up by the
// hour in a table of its own, which the head signs as well, and becomes rows of
// the log when the hour is over. Nothing is summed up in memory alone: each commit
// holds all that was reported until then.
//
// In tiers that look at connections once a round, one that outlives a restart of the
// daemon is counted again from its begin, since nothing in the kernel remembers what
// was reported: after a start row, such figures are upper bounds.
//
// A report costs no more than a walk over what it holds. A goroutine writes, at
// most once a second; where the disk is full, read-only, slow or dead, the newest
// rows wait in memory, the oldest go and are counted, and each report says so in a
// gap.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cityward/agent"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Bounds of what waits in memory, and of one row.
const (
	maxQueue = 70_000 // all that a full table of flows can move in one round
	maxHours = 4096   // flows of an hour that are summed up at once
	maxBody  = 64 << 10
)

// Pauses of the writer.
const (
	pauseAfter   = time.Second // between two transactions
	pauseFailed  = 30 * time.Second
	ageEvery     = time.Hour
	answerWithin = 5 * time.Second
	writeWithin  = 30 * time.Second
	rowsEachTime = 20_000 // that are pruned in one transaction
)

// Options is what a ledger needs.
type Options struct {
	Dir    string // the state directory; it must exist
	Limits configs.Ledger
	Log    *slog.Logger
	Now    func() time.Time
}

// Ledger remembers reports. Where it cannot write it forgets the oldest, and says
// so; it has no errors to return.
type Ledger struct {
	Options
	pause time.Duration

	mu      sync.Mutex // guards what follows
	queue   []*entry   // rows that are not written
	lost    uint64     // rows that were dropped since the last one that was written
	hours   hours
	reset   bool      // the hours on disk are in the queue
	seen    time.Time // when the last report was taken
	began   bool      // a report was observed
	trouble string    // why nothing can be written; "" it can
	aside   []string  // broken ledgers
	lives   lives

	bytes  atomic.Int64
	failed atomic.Uint64
	last   atomic.Uint64 // row

	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}

	// For the writer alone.
	store  *store
	loaded bool      // what an earlier run left was taken over
	aged   time.Time // when rows were last looked at for their age, by the monotonic clock
}

// entry is a row that has no number yet.
type entry struct {
	time    time.Time
	kind    string
	body    []byte
	written func(seq uint64) // may be nil
}

// StateDir is where state lives: systemd says, else the usual place. Of several
// directories the first is ours.
func StateDir() string {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	return "/var/lib/cityward"
}

// New opens the ledger of a directory and begins to write. A directory that does
// not exist or cannot be written is trouble, which [Ledger.Gaps] tells.
func New(o Options) *Ledger { return start(o, pauseAfter) }

func start(o Options, pause time.Duration) *Ledger {
	ctx, stop := context.WithCancel(context.Background())
	l := &Ledger{
		Options: o, pause: pause, lives: newLives(), wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	l.hours.empty()
	l.add(l.Now(), KindStart, struct{}{})
	opened := make(chan struct{})
	go func() {
		defer close(l.done)
		l.attempt()
		close(opened)
		l.write(ctx)
	}()
	select {
	case <-opened:
	case <-time.After(answerWithin):
		l.say("its disk does not answer")
	}
	return l
}

// Close writes what waits. A disk that does not answer is not waited for.
func (l *Ledger) Close() {
	l.mu.Lock()
	l.add(l.Now(), KindStop, struct{}{})
	l.mu.Unlock()
	l.stop()
	select {
	case <-l.done:
	case <-time.After(answerWithin):
		l.Log.Warn("the ledger is left to itself: its disk does not answer")
	}
}

// Gaps says what the ledger cannot do now.
func (l *Ledger) Gaps() []inventory.Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gaps []inventory.Gap
	gap := inventory.Gap{Collector: "ledger", Kind: inventory.KindHistory, Subject: "ledger"}
	if l.trouble != "" {
		gap.Reason, gap.Lost = l.trouble, int(min(l.lost, 1<<31-1))
		gaps = append(gaps, gap)
	}
	if n := l.lives.over(); n > 0 {
		gap.Reason, gap.Lost = "more is there than is remembered: at most 20000 of a kind are", n
		gaps = append(gaps, gap)
	}
	for _, file := range l.aside {
		gap.Reason, gap.Lost = "an earlier ledger did not verify: look at "+file+" and remove it", 0
		gaps = append(gaps, gap)
	}
	return gaps
}

// Since tells when the findings began that are open, for [agent.Options].
func (l *Ledger) Since() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := make(map[string]time.Time)
	for key, item := range l.lives.findings.items {
		since[agent.SinceKey(key, item.state.Result)] = item.since
	}
	return since
}

// add queues a row. The caller holds the lock.
func (l *Ledger) add(at time.Time, kind string, body any) *entry {
	e := &entry{time: at, kind: kind, body: encode(body)}
	l.queue = append(l.queue, e)
	l.trim()
	return e
}

// trim drops the oldest rows.
func (l *Ledger) trim() {
	if more := len(l.queue) - maxQueue; more > 0 {
		l.lost += uint64(more)
		clear(l.queue[:more])
		l.queue = l.queue[more:]
	}
}

// write is the writer. It ends with ctx, when all that waits was tried once more.
func (l *Ledger) write(ctx context.Context) {
	pause := l.pause
	for {
		select {
		case <-ctx.Done():
			l.attempt()
			l.shut()
			return
		case <-l.wake:
		}
		if l.attempt() {
			pause = l.pause
		} else {
			pause = min(2*pause, pauseFailed)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// attempt writes what waits, and says whether it could. Nothing interrupts it but
// its time: the end of the daemon waits for it.
func (l *Ledger) attempt() bool {
	ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
	defer cancel()
	err := l.open(ctx)
	for more := true; more && err == nil; {
		if err = l.prune(ctx); err == nil {
			more, err = l.flush(ctx)
		}
	}
	if err == nil {
		l.bytes.Store(l.store.size())
		l.last.Store(l.store.seq)
		l.say("")
		return true
	}
	l.failed.Add(1)
	l.say(err.Error())
	l.shut() // what is on the disk is looked at anew before the next attempt
	return false
}

// say notes trouble, and logs it when it comes, changes or goes.
func (l *Ledger) say(trouble string) {
	l.mu.Lock()
	before := l.trouble
	l.trouble = trouble
	l.mu.Unlock()
	switch {
	case trouble != "" && trouble != before:
		l.Log.Error("the ledger is not written, the newest rows wait in memory", "err", trouble)
	case trouble == "" && before != "":
		l.Log.Info("the ledger is written again")
	}
}

func (l *Ledger) shut() {
	if l.store == nil {
		return
	}
	if err := l.store.close(); err != nil {
		l.Log.Warn("the ledger was not closed", "err", err)
	}
	l.store = nil
}

// open opens the file where it is not open, or is not in its place any more. What
// an earlier run left in it is taken over once; later on the memory knows better.
func (l *Ledger) open(ctx context.Context) error {
	if l.store != nil && l.store.inPlace() {
		return nil
	}
	l.shut()
	s, err := openStore(ctx, l.Dir, l.Limits.MaxSize)
	if errors.Is(err, errBroken) {
		to, errAside := setAside(l.Dir)
		if errAside != nil {
			return errors.Join(err, errAside)
		}
		l.Log.Error("the ledger did not verify and was set aside, a new one begins", "file", to, "err", err)
		s, err = openStore(ctx, l.Dir, l.Limits.MaxSize)
	}
	aside := asides(l.Dir)
	l.mu.Lock()
	l.aside = aside
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if !l.loaded {
		if err := l.takeOver(ctx, s); err != nil {
			return errors.Join(fmt.Errorf("read ledger: %w", err), s.close())
		}
		l.loaded = true
	}
	l.store = s
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.seq == 0 && l.last.Swap(0) > 0 { // another file than before
		l.lives.again(l.seen, l.add)
	}
	l.hours.touch()
	l.reset = true
	return nil
}

// takeOver reads what an earlier run left: the hours that were not full become
// rows, and what was there then is known. The disk is not read under the lock.
func (l *Ledger) takeOver(ctx context.Context, s *store) error {
	left := l.Now()
	if s.seq > 0 {
		head, err := readSeal(ctx, s.db, sealHead)
		if err != nil {
			return err
		}
		left = time.UnixMilli(head.time)
	} else {
		l.Log.Info("a ledger begins; note its key down elsewhere to verify it by", "key", FormatKey(s.public()))
	}
	lives := newLives()
	if err := lives.load(ctx, s.db, left); err != nil {
		return err
	}
	rows := make([]*entry, 0, len(s.left))
	for _, body := range s.left {
		rows = append(rows, &entry{time: left, kind: KindFlow, body: body})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.began { // else memory has begun on its own
		l.lives = lives
	}
	l.queue = append(rows, l.queue...)
	return nil
}
