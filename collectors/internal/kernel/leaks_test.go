package kernel

import (
	"net/netip"
	"testing"
	"time"
)

// leaksOf waits for what is told of a process.
func leaksOf(t *testing.T, k *Kernel, who Flow, patience time.Duration) (all []Event) {
	t.Helper()
	for end := time.Now().Add(patience); len(all) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		events, err := k.Events(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == EventLeak && e.Owner.PID == who.Owner.PID {
				all = append(all, e)
			}
		}
	}
	return all
}

// A connection is older than what its program holds, and something more is sent.
func TestLeak(t *testing.T) {
	k := open(t, Options{})
	for _, network := range []string{"tcp", "udp"} {
		for _, direction := range []uint8{Out, In} {
			for _, holds := range []bool{true, false} {
				name := network + map[uint8]string{Out: " out", In: " in"}[direction] + map[bool]string{true: "", false: " of no holder"}[holds]
				t.Run(name, func(t *testing.T) { leak(t, k, network, direction, holds) })
			}
		}
	}
}

// lateSender is a program that has sent, or was sent, a byte and is to send another
// one when it is told; other is the far end.
func lateSender(t *testing.T, l lab, network string, direction uint8) (sender, other *program) {
	t.Helper()
	if direction == Out {
		other = start(t, l.far, "answer-on "+network+" "+far4+":4000")
		other.awaitReady(t)
		sender = start(t, l.near, "go-on "+network+" "+far4+":4000")
		sender.awaitReady(t)
		return sender, other
	}
	sender = start(t, l.near, "answer-on "+network+" "+near4+":4000")
	sender.awaitReady(t)
	other = start(t, l.far, "go-on "+network+" "+near4+":4000")
	other.awaitReady(t)
	return sender, other
}

func leak(t *testing.T, k *Kernel, network string, direction uint8, holds bool) {
	l := newLab(t)
	sender, other := lateSender(t, l, network, direction)
	who, protocol := sender.who[0], uint8(tcp)
	if network == "udp" {
		protocol = udp
	}
	port := uint16(4000)
	for row(t, k, who, direction, protocol, port).First.IsZero() {
		time.Sleep(time.Millisecond)
	}
	if got := leaksOf(t, k, who, 50*time.Millisecond); len(got) > 0 {
		t.Fatalf("told before there is a holder: %+v", got)
	}
	if holds {
		entrust(t, k, running(t, k, who), 1<<3)
	} else {
		entrust(t, k, running(t, k, self(t)), 1<<3)
	}
	since := time.Now()
	sender.proceed(t)
	sender.end(t)
	patience := 3 * time.Second
	if !holds {
		patience = 50 * time.Millisecond
	}
	got := leaksOf(t, k, who, patience)
	switch {
	case !holds && len(got) > 0:
		t.Errorf("told of one that holds nothing: %+v", got)
	case holds && (len(got) != 1 || got[0].Stores != 1<<3 || got[0].Direction != direction || got[0].Protocol != protocol || got[0].Port != port || got[0].Remote != netip.MustParseAddr(map[uint8]string{Out: far4, In: far4}[direction])):
		t.Errorf("told of %+v", got)
	}
	if f := row(t, k, who, direction, protocol, port); f.SentLast.Before(since.Add(-10*time.Millisecond)) || f.SentLast.After(time.Now()) {
		t.Errorf("sent last at %s, told to at %s: %+v", f.SentLast, since, f)
	}
	other.proceed(t)
	other.end(t)
}

// A leak is told of once for each store, whatever else is sent; and not where a
// zone holds the address.
func TestLeakIsToldOnce(t *testing.T) {
	k := open(t, Options{})
	l := newLab(t)
	sender := start(t, l.near, "echo-lines udp "+far4+":4000")
	sender.awaitReady(t)
	who := sender.who[0]
	in := running(t, k, who)
	say := func(want ...uint64) {
		t.Helper()
		for range 3 {
			sender.say(t)
		}
		got := leaksOf(t, k, who, 300*time.Millisecond)
		if len(got) != len(want) || len(got) == 1 && got[0].Stores != want[0] {
			t.Errorf("told of %+v, want %d", got, want)
		}
	}
	say()
	entrust(t, k, in, 1)
	say(1)
	entrust(t, k, running(t, k, self(t)), 1)
	say()
	zones := map[netip.Prefix]uint32{netip.MustParsePrefix(far4 + "/32"): 1}
	if err := k.SetZones(zones); err != nil {
		t.Fatal(err)
	}
	entrust(t, k, in, 3)
	say()
	if err := k.SetZones(nil); err != nil {
		t.Fatal(err)
	}
	say(2)
	sender.proceed(t)
	sender.end(t)
}

// When payload was sent last is not when something was received last, nor when the
// row was read.
func TestSentLast(t *testing.T) {
	k := open(t, Options{})
	l := newLab(t)
	began := time.Now()
	sender, other := lateSender(t, l, "tcp", Out)
	sent := time.Now()
	time.Sleep(300 * time.Millisecond)
	f := row(t, k, sender.who[0], Out, tcp, 4000)
	if f.SentLast.Before(began.Add(-20*time.Millisecond)) || f.SentLast.After(sent.Add(20*time.Millisecond)) {
		t.Errorf("sent from %s to %s, and at last %s", began, sent, f.SentLast)
	}
	other.proceed(t)
	other.end(t)
	if f := row(t, k, sender.who[0], Out, tcp, 4000); f.Received != 1 || f.SentLast.After(sent.Add(20*time.Millisecond)) {
		t.Errorf("%+v", f)
	}
	if in := row(t, k, other.who[0], In, tcp, 4000); in.SentLast.Before(sent) {
		t.Errorf("the answer: %+v", in)
	}
	sender.proceed(t)
	sender.end(t)
}
