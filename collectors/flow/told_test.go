package flow

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/netlink"
)

// payload gives the one message of a datagram that was recorded from a kernel.
func payload(t testing.TB, name string) (kind uint16, data []byte) {
	t.Helper()
	if !netlink.Split(captured(t, name), func(k uint16, p []byte) { kind, data = k, slices.Clone(p) }) || data == nil {
		t.Fatalf("%s is no message", name)
	}
	return kind, data
}

func TestParseEnded(t *testing.T) {
	at := netip.MustParseAddrPort
	tests := map[string]socket{
		"ended-tcp.bin":      {protocol: unix.IPPROTO_TCP, state: stateClose, local: at("127.0.0.1:34459"), remote: at("127.0.0.1:55582"), cookie: 1, sent: 77, received: 101, acked: 78, unread: 1},
		"ended-refused.bin":  {protocol: unix.IPPROTO_TCP, state: stateClose, local: at("0.0.0.0:58958"), remote: at("127.0.0.1:0"), cookie: 10, reset: true},
		"ended-listener.bin": {protocol: unix.IPPROTO_TCP, state: stateClose, local: at("127.0.0.1:34459"), remote: at("0.0.0.0:0"), cookie: 3},
		"ended-udp6.bin":     {protocol: unix.IPPROTO_UDP, state: stateEstablished, local: at("[::1]:44371"), remote: at("[::1]:9"), cookie: 14},
	}
	for name, want := range tests {
		_, data := payload(t, name)
		if got, err := parseEnded(data); err != nil || got != want {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, want)
		}
		for n := range data {
			if _, err := parseEnded(data[:n]); err == nil && n < sizeInetMessage {
				t.Errorf("%s cut to %d: want an error", name, n)
			}
		}
	}
	if _, err := parseEnded(inetMessage(unix.AF_INET, 7, "10.77.0.1:1", "10.77.0.2:2", attribute(inetDiagProtocol, []byte{132}))); !errors.Is(err, errOther) {
		t.Errorf("SCTP: got %v", err)
	}
}

func TestWhoseFIN(t *testing.T) {
	tests := []struct {
		name        string
		s           socket
		in, remains bool
		want        bool
	}{
		{"server that closed first, and heard the client do so", socket{sent: 77, acked: 78, unread: 1}, true, true, true},
		{"server that closed first, and left the rest to the kernel", socket{sent: 77, acked: 78}, true, true, false},
		{"client that closed after it", socket{sent: 100, acked: 102}, false, false, true},
		{"client that did not read to the end", socket{sent: 100, acked: 102, unread: 1}, false, false, true},
		{"client that was reset", socket{sent: 100, acked: 101}, false, false, false},
		{"server that was reset", socket{sent: 77, acked: 77}, true, false, false},
		{"not all acknowledged", socket{sent: 77, acked: 50}, true, false, false},
	}
	for _, test := range tests {
		test.s.protocol = unix.IPPROTO_TCP
		if got := test.s.closedByPeer(test.in, test.remains); got != test.want {
			t.Errorf("%s: got %t", test.name, got)
		}
	}
}

func TestParseTrack(t *testing.T) {
	at := netip.MustParseAddrPort
	kind, data := payload(t, "track-new.bin")
	got, err := parseTrack(kind, data)
	if err != nil || !got.begun || got.counted || got.id == 0 || got.there.protocol != unix.IPPROTO_TCP || got.there.remote != at("127.0.0.1:1") || got.back.local != got.there.remote || got.back.remote != got.there.local {
		t.Errorf("got %+v, %v", got, err)
	}
	kind, data = payload(t, "track-destroy-udp6.bin")
	got, err = parseTrack(kind, data)
	if err != nil || got.begun || !got.counted || got.there.protocol != unix.IPPROTO_UDP || got.there.remote != at("[::1]:9") || got.sent != (carried{1, 148}) || got.received != (carried{}) || got.sent.payload(got.there) != 100 {
		t.Errorf("got %+v, %v", got, err)
	}
	kind, data = payload(t, "track-icmp.bin")
	got, err = parseTrack(kind, data)
	if err != nil || !got.begun || got.there.protocol != unix.IPPROTO_ICMP || got.there.remote != at("127.0.0.1:0") {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, {1, 2}, data[:sizeGeneric], data[:len(data)-2]} {
		if got, err := parseTrack(trackNew, bad); err == nil {
			t.Errorf("%v: got %+v", bad, got)
		}
	}
	if _, err := parseTrack(unix.NFNL_SUBSYS_CTNETLINK_EXP<<8, data); !errors.Is(err, errOther) {
		t.Errorf("another subsystem: got %v", err)
	}
}

func FuzzEnded(f *testing.F) {
	for _, name := range []string{"ended-tcp.bin", "ended-refused.bin", "ended-listener.bin", "ended-udp6.bin"} {
		f.Add(captured(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		netlink.Split(data, func(_ uint16, payload []byte) {
			s, err := parseEnded(payload)
			if err == nil && (!s.local.Addr().IsValid() || s.remote.Addr().Is4In6() || s.protocol != unix.IPPROTO_TCP && s.protocol != unix.IPPROTO_UDP) {
				t.Errorf("got %+v", s)
			}
		})
	})
}

func FuzzTrack(f *testing.F) {
	for _, name := range []string{"track-new.bin", "track-destroy-udp6.bin", "track-icmp.bin"} {
		f.Add(captured(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		netlink.Split(data, func(kind uint16, payload []byte) {
			n, err := parseTrack(kind, payload)
			if err == nil && (!n.there.local.Addr().IsValid() || !n.there.remote.Addr().IsValid() || n.sent.payload(n.there) > n.sent.bytes) {
				t.Errorf("got %+v", n)
			}
		})
	})
}
