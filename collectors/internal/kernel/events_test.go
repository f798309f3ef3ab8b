package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// The first packet towards an address of no zone is told; nothing else is.
func TestEvents(t *testing.T) {
	k := open(t, Options{})
	outside := netip.MustParsePrefix("127.0.0.0/8")
	if err := k.SetZones(map[netip.Prefix]uint32{netip.MustParsePrefix("127.0.0.2/32"): 1}); err != nil {
		t.Fatal(err)
	}
	who := run(t, ownNetwork, "space-out 203.0.113.7:443 198.51.100.1:53")
	var found []Event
	for end := time.Now().Add(2 * time.Second); len(found) < 2 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		events, err := k.Events(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Owner.PID == who.Owner.PID {
				found = append(found, e)
			}
			if outside.Contains(e.Remote) {
				t.Errorf("told of what stays on the machine: %+v", e)
			}
		}
	}
	got := make(map[string]bool)
	for _, e := range found {
		got[fmt.Sprint(e.Direction, e.Protocol, e.Remote, e.Port, e.NetNS == who.NetNS)] = true
	}
	for _, want := range []string{fmt.Sprint(Out, tcp, netip.MustParseAddr("203.0.113.7"), 443, true), fmt.Sprint(Out, udp, netip.MustParseAddr("198.51.100.1"), 53, true)} {
		if !got[want] {
			t.Errorf("not told of %s but of %v", want, got)
		}
	}
}

// Two hundred thousand flows to as many destinations overflow the ring: the loss is
// counted, and the table has them all.
func TestRingOverflows(t *testing.T) {
	n := 200_000
	if inGuest() {
		n = 6000
	}
	k := open(t, Options{Flows: uint32(scaled(1 << 18))})
	who := run(t, ownNetwork, "space-spray %d", n)
	c, err := k.Counts()
	if err != nil {
		t.Fatal(err)
	}
	flows, err := k.Flows(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, f := range flows {
		if f.Owner.PID == who.Owner.PID && f.Owner.Start == who.Owner.Start && f.Protocol == udp {
			rows++
			if f.Sent != 10 {
				t.Fatalf("%+v", f)
			}
		}
	}
	events, err := k.Events(nil)
	if err != nil {
		t.Fatal(err)
	}
	if rows != n || c.Events == 0 || uint64(len(events))+c.Events < uint64(n) {
		t.Errorf("%d rows, %d events told and %d lost, want %d", rows, len(events), c.Events, n)
	}
}

// A program with a million destinations takes the room that there is and no more:
// the rest is folded together, with every byte.
func TestMillionDestinations(t *testing.T) {
	n, room := 1_000_000, uint32(DefaultFlows)
	if inGuest() {
		n, room = 10_000, 1<<10
	}
	k := openOwn(t, Options{Flows: room})
	before, err := k.MemoryBytes()
	if err != nil {
		t.Fatal(err)
	}
	who := run(t, ownNetwork, "space-spray %d", n)
	began := time.Now()
	r := read(t, k)
	t.Logf("read in %s", time.Since(began).Round(time.Millisecond))
	var sent, folded uint64
	rows := 0
	for _, f := range r.Flows {
		if f.Owner.PID != who.Owner.PID || f.Owner.Start != who.Owner.Start || f.Protocol != udp {
			continue
		}
		rows++
		sent += f.Sent
		if f.Folded {
			folded += f.Sent
		}
	}
	if sent != uint64(n)*10 || folded == 0 || rows > int(room)+1 || r.Counts.Folded == 0 || r.Counts.Rows+r.Counts.Bytes > 0 {
		t.Errorf("%d rows, %d bytes, of these %d folded; %+v", rows, sent, folded, r.Counts)
	}
	after, err := k.MemoryBytes()
	if err != nil {
		t.Fatal(err)
	}
	if after > before+4<<20 {
		t.Errorf("%d bytes of kernel memory, %d before", after, before)
	}
}

// Whatever the ring or the list of sockets holds, decoding it ends well.
func FuzzDecode(f *testing.F) {
	event := make([]byte, sizeEvent)
	binary.NativeEndian.PutUint32(event, EventFlow)
	f.Add(event, uint16(1))
	f.Add(make([]byte, 3*sizeHeld), uint16(sizeHeld-1))
	f.Add(capturedSockets(f), uint16(100))
	booted := time.Now().Add(-time.Hour)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if e, err := decodeEvent(data, booted); err == nil && len(data) < sizeEvent {
			t.Errorf("%+v of %d bytes", e, len(data))
		}
		whole, parts := socketDecoder{booted: booted}, socketDecoder{booted: booted}
		at := min(int(cut), len(data))
		for _, part := range [][]byte{data[:at], data[at:]} {
			if n, err := parts.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if n, err := whole.Write(data); n != len(data) || err != nil {
			t.Fatal(n, err)
		}
		if len(whole.sockets) != len(data)/sizeHeld || len(parts.sockets) != len(whole.sockets) || len(parts.rest) != len(whole.rest) {
			t.Errorf("%d sockets of %d bytes, %d if cut", len(whole.sockets), len(data), len(parts.sockets))
		}
	})
}

// capturedSockets is what the kernel really prints, where it may be asked.
func capturedSockets(f *testing.F) []byte {
	f.Helper()
	k, err := Open(Options{Flows: 16})
	if err != nil {
		return nil
	}
	defer k.Close()
	l, err := net.Listen("unix", f.TempDir()+"/s")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	it, err := k.iterator(flowsProgListSockets)
	if err != nil {
		f.Fatal(err)
	}
	var raw rawRecords
	if err := walk(it, &raw); err != nil {
		f.Fatal(err)
	}
	return raw.data
}

type rawRecords struct{ data []byte }

func (r *rawRecords) Write(p []byte) (int, error) {
	r.data = append(r.data, p...)
	return len(p), nil
}
