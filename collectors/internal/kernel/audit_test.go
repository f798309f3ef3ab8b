package kernel

import (
	"net"
	"slices"
	"testing"
)

// What leaves an interface shows, whoever sent it: frames by the program that sent
// them and in the sum; what sockets of IP send is in their rows and not in the sum.
func TestAudit(t *testing.T) {
	const packets, size = 50, 1000
	const frame = 14 + 20 + 8 + size // Ethernet, IPv4, UDP
	k := open(t, Options{})
	l := newLab(t)
	before := read(t, k).Counts.Unattributed
	g := start(t, l.near, "frames 10.77.0.1:4000 10.77.0.2:4000 50 1000")
	g.end(t)
	r := read(t, k)
	// Others on the machine may have sent some, too.
	if sum := r.Counts.Unattributed - before; sum < packets*frame || sum > packets*frame+1<<20 {
		t.Errorf("%d bytes belong to no socket of IP, want %d", sum, packets*frame)
	}
	i := slices.IndexFunc(r.Frames, func(f Frames) bool {
		return f.Owner.PID == g.who[0].Owner.PID && f.Owner.Start == g.who[0].Owner.Start
	})
	if i < 0 || r.Frames[i].Bytes != packets*(frame-14) || r.Frames[i].NetNS != g.who[0].NetNS {
		t.Errorf("senders of frames: %+v", r.Frames)
	}

	before = r.Counts.Unattributed
	l.near.do(t, func() error {
		c, err := net.ListenPacket("udp4", near4+":0")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 5000 {
			if _, err := c.WriteTo(make([]byte, size), &net.UDPAddr{IP: net.ParseIP(far4), Port: 4000}); err != nil {
				return err
			}
		}
		return nil
	})
	if sum := read(t, k).Counts.Unattributed - before; sum > 1<<20 {
		t.Errorf("%d bytes of a socket of IP are in the sum", sum)
	}
}
