package kernel

import (
	"net"
	"slices"
	"testing"
	"time"
)

// longAgo is before everything, in nanoseconds since boot.
const longAgo = ^uint64(2 * idle)

// Rows that nothing has used for long are read once more and dropped, or the tables
// would be full of them one day. So are their programs.
func TestIdleRowsAreDropped(t *testing.T) {
	const n = 20
	k := openOwn(t, Options{Flows: 4})
	var who Flow
	for range n {
		l := listen(t, "127.0.0.1:0", func(c *net.TCPConn) error { return serveOne(c, 0) })
		who = run(t, nil, "tcp %s 10", l.Addr())
	}
	sender := who.Owner
	var word uint64
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		open := 0
		if err := k.each(k.maps[flowsMapFolded], func(key *flowsFlowKey, row *flowsFlowRow) error {
			if executionOf(key.Owner, k.booted).PID != sender.PID {
				return nil // whatever else runs here
			}
			word = key.Owner
			if row.Open != 0 {
				open++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if word != 0 && open == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d rows are open, word %x", open, word)
		}
	}
	if err := k.each(k.maps[flowsMapFolded], func(key *flowsFlowKey, row *flowsFlowRow) error {
		if key.Owner != word {
			return nil
		}
		row.Last = longAgo
		return k.maps[flowsMapFolded].Put(key, row)
	}); err != nil {
		t.Fatal(err)
	}
	frames := flowsFrameKey{Owner: word, Kind: FramesPacket}
	if err := k.maps[flowsMapFrames].Put(&frames, &flowsFrameRow{Bytes: 7, Last: longAgo}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		r := read(t, k)
		folded := 0
		for _, f := range r.Flows {
			if f.Folded && f.Owner.PID == sender.PID {
				folded++
			}
		}
		sent := slices.ContainsFunc(r.Frames, func(f Frames) bool { return f.Owner.PID == sender.PID })
		if (folded == 1) != want || sent != want {
			t.Errorf("reading %d: %d folded rows, frames %+v", i, folded, r.Frames)
		}
	}
}
