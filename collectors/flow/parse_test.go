package flow

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

func attribute(kind uint16, value []byte) []byte {
	a := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	a = binary.NativeEndian.AppendUint16(a, kind)
	a = append(a, value...)
	return append(a, make([]byte, align(len(a))-len(a))...)
}

func message(kind, flags uint16, payload []byte) []byte {
	m := make([]byte, unix.SizeofNlMsghdr)
	binary.NativeEndian.PutUint32(m, uint32(len(m)+len(payload)))
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], flags)
	m = append(m, payload...)
	return append(m, make([]byte, align(len(m))-len(m))...)
}

// inetMessage lays out a struct inet_diag_msg.
func inetMessage(family, state uint8, local, remote string, attributes ...[]byte) []byte {
	m := make([]byte, sizeInetMessage)
	m[0], m[1] = family, state
	for at, text := range map[int]string{0: local, 1: remote} {
		endpoint := netip.MustParseAddrPort(text)
		binary.BigEndian.PutUint16(m[4+2*at:], endpoint.Port())
		copy(m[8+16*at:], endpoint.Addr().AsSlice())
	}
	binary.NativeEndian.PutUint32(m[44:], 7)
	binary.NativeEndian.PutUint32(m[48:], 1)
	binary.NativeEndian.PutUint32(m[68:], 9)
	return append(m, slices.Concat(attributes...)...)
}

// tcpInfo lays out a struct tcp_info of a length.
func tcpInfo(size int, acked, received, sent, retrans uint64) []byte {
	info := make([]byte, 256)
	binary.NativeEndian.PutUint64(info[atBytesAcked:], acked)
	binary.NativeEndian.PutUint64(info[atBytesReceived:], received)
	binary.NativeEndian.PutUint64(info[atBytesSent:], sent)
	binary.NativeEndian.PutUint64(info[atBytesRetrans:], retrans)
	return info[:size]
}

func TestParseInet(t *testing.T) {
	const cookie = 1<<32 | 7
	at := netip.MustParseAddrPort
	tests := []struct {
		name string
		data []byte
		want socket
	}{
		{"IPv4", inetMessage(unix.AF_INET, stateEstablished, "10.77.0.1:443", "203.0.113.5:50000"), socket{state: 1, local: at("10.77.0.1:443"), remote: at("203.0.113.5:50000"), inode: 9, cookie: cookie}},
		{"IPv6", inetMessage(unix.AF_INET6, stateSynSent, "[2001:db8::1]:1", "[2001:db8::2]:2"), socket{state: 2, local: at("[2001:db8::1]:1"), remote: at("[2001:db8::2]:2"), inode: 9, cookie: cookie}},
		{"mapped", inetMessage(unix.AF_INET6, 1, "[::ffff:10.77.0.1]:1", "[::ffff:10.77.0.2]:2"), socket{state: 1, local: at("10.77.0.1:1"), remote: at("10.77.0.2:2"), inode: 9, cookie: cookie}},
		{"IPv6 only", inetMessage(unix.AF_INET6, stateListen, "[::]:1", "[::]:0", attribute(inetDiagV6Only, []byte{1})), socket{state: 10, v6only: true, local: at("[::]:1"), remote: at("[::]:0"), inode: 9, cookie: cookie}},
		{
			"bytes", inetMessage(unix.AF_INET, 1, "10.77.0.1:1", "10.77.0.2:2", attribute(15, []byte{1, 2, 3}), attribute(inetDiagInfo, tcpInfo(256, 1001, 50, 1500, 500))),
			socket{state: 1, local: at("10.77.0.1:1"), remote: at("10.77.0.2:2"), inode: 9, cookie: cookie, sent: 1000, received: 50, acked: 1001},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parseInet(test.data); err != nil || got != test.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
	whole := inetMessage(unix.AF_INET, 1, "10.77.0.1:1", "10.77.0.2:2", attribute(inetDiagInfo, make([]byte, 8)))
	for _, bad := range [][]byte{nil, whole[:10], whole[:sizeInetMessage+6], append([]byte{99}, whole[1:]...)} {
		if got, err := parseInet(bad); err == nil {
			t.Errorf("%v: got %+v", bad, got)
		}
	}
}

func TestPayloadBytes(t *testing.T) {
	tests := []struct {
		name           string
		info           []byte
		state          uint8
		sent, received uint64
	}{
		{"current kernel", tcpInfo(256, 0, 10, 30, 10), stateEstablished, 20, 10},
		{"peer has closed", tcpInfo(256, 0, 11, 30, 0), stateCloseWait, 30, 10},
		{"before 4.19", tcpInfo(200, 31, 10, 99, 9), stateEstablished, 30, 10},
		{"before 4.1", tcpInfo(104, 31, 10, 99, 9), stateEstablished, 0, 0},
		{"nothing yet", tcpInfo(200, 0, 0, 0, 0), stateCloseWait, 0, 0},
	}
	for _, test := range tests {
		if sent, received := payloadBytes(test.info, test.state); sent != test.sent || received != test.received {
			t.Errorf("%s: got %d, %d", test.name, sent, received)
		}
	}
}

func TestMessages(t *testing.T) {
	count := 0
	each := func([]byte) error { count++; return nil }
	failing := make([]byte, 4)
	refused := -int32(unix.EPERM)
	binary.NativeEndian.PutUint32(failing, uint32(refused))
	tests := []struct {
		name              string
		data              []byte
		entries           int
		done, interrupted bool
		err               error
	}{
		{"entries", slices.Concat(message(20, 2, []byte{1}), message(unix.NLMSG_NOOP, 0, nil), message(20, 2, nil)), 2, false, false, nil},
		{"end", slices.Concat(message(20, 2, nil), message(unix.NLMSG_DONE, 2, make([]byte, 4))), 1, true, false, nil},
		{"interrupted", slices.Concat(message(20, unix.NLM_F_DUMP_INTR, nil), message(unix.NLMSG_DONE, 2, nil)), 1, true, true, nil},
		{"refused", message(unix.NLMSG_ERROR, 0, failing), 0, true, false, unix.EPERM},
		{"failed at the end", message(unix.NLMSG_DONE, 0, failing), 0, true, false, unix.EPERM},
	}
	for _, test := range tests {
		count = 0
		done, interrupted, err := messages(test.data, each)
		if count != test.entries || done != test.done || interrupted != test.interrupted || !errors.Is(err, test.err) {
			t.Errorf("%s: got %d, %v, %v, %v", test.name, count, done, interrupted, err)
		}
	}
	for _, bad := range [][]byte{{1}, message(20, 0, []byte{1, 2, 3, 4})[:18], make([]byte, 16)} {
		if _, _, err := messages(bad, each); err == nil {
			t.Errorf("%v: want an error", bad)
		}
	}
}

func FuzzNetlink(f *testing.F) {
	f.Add(slices.Concat(message(20, 2, inetMessage(unix.AF_INET, 1, "10.77.0.1:1", "10.77.0.2:2", attribute(inetDiagInfo, tcpInfo(256, 1, 2, 3, 4)))), message(unix.NLMSG_DONE, 2, make([]byte, 4))))
	f.Add(message(20, 2, unixMessage(unix.SOCK_STREAM, stateListen, 5, attribute(unixDiagName, []byte("/run/x")), attribute(unixDiagVFS, make([]byte, 8)))))
	f.Add(message(20, 2, slices.Concat(make([]byte, unix.SizeofIfAddrmsg), attribute(unix.IFA_LOCAL, []byte{10, 77, 0, 1}))))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = messages(data, func(payload []byte) error {
			if s, err := parseInet(payload); err == nil && (!s.local.Addr().IsValid() || s.local.Addr().Is4In6()) {
				t.Errorf("got address %v", s.local)
			}
			if s, err := parseUnix(payload); err == nil && (!utf8.ValidString(s.name) || len(s.name) > nameLimit+1) {
				t.Errorf("got name %q", s.name)
			}
			if a, err := parseAddress(payload); err == nil && a.Is4In6() {
				t.Errorf("got %v", a)
			}
			return nil
		})
	})
}

func unixMessage(kind, state uint8, inode uint32, attributes ...[]byte) []byte {
	m := make([]byte, sizeUnixMessage)
	m[0], m[1], m[2] = unix.AF_UNIX, kind, state
	binary.NativeEndian.PutUint32(m[4:], inode)
	return append(m, slices.Concat(attributes...)...)
}

func TestParseUnix(t *testing.T) {
	file := binary.NativeEndian.AppendUint32(nil, 77)
	file = binary.NativeEndian.AppendUint32(file, 8<<20|3)
	peer := binary.NativeEndian.AppendUint32(nil, 66)
	got, err := parseUnix(unixMessage(unix.SOCK_STREAM, 1, 5, attribute(unixDiagName, []byte("/run/a\nb\x00")), attribute(unixDiagVFS, file), attribute(unixDiagPeer, peer), attribute(unixDiagWait, slices.Concat(peer, peer))))
	want := localSocket{kind: 1, state: 1, inode: 5, peer: 66, pending: []uint64{66, 66}, name: "/run/a\ufffdb", file: inventory.FileID{Device: unix.Mkdev(8, 3), Inode: 77}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for raw, name := range map[string]string{"\x00bus\x00": "@bus\ufffd", "": "", "rel": "rel", "\x00": "@"} {
		if got := socketName([]byte(raw)); got != name {
			t.Errorf("%q: got %q", raw, got)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 16), unixMessage(1, 1, 1, []byte{9, 0, 0, 0})} {
		if got, err := parseUnix(bad); err == nil {
			t.Errorf("%v: got %+v", bad, got)
		}
	}
}

func TestParseAddress(t *testing.T) {
	head := make([]byte, unix.SizeofIfAddrmsg)
	v6 := netip.MustParseAddr("2001:db8::1")
	tests := []struct {
		data []byte
		want netip.Addr
	}{
		{slices.Concat(head, attribute(unix.IFA_ADDRESS, []byte{10, 77, 0, 2}), attribute(unix.IFA_LOCAL, []byte{10, 77, 0, 1})), netip.MustParseAddr("10.77.0.1")},
		{slices.Concat(head, attribute(unix.IFA_ADDRESS, v6.AsSlice())), v6},
		{slices.Concat(head, attribute(unix.IFA_ADDRESS, []byte{1})), netip.Addr{}},
	}
	for _, test := range tests {
		if got, err := parseAddress(test.data); err != nil || got != test.want {
			t.Errorf("got %v, %v; want %v", got, err, test.want)
		}
	}
}

// The addresses in these samples are as a little-endian machine prints them.
const tableText = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1060 1 00000000ec38405c 100 0 0 10 0
   1: 01004D0A:C350 057100CB:01BB 01 00000000:00000000 02:000005B4 00000000    33        0 2000 2 0000000000000000 20 4 30 10 -1
   2: 01004D0A:C351 057100CB:01BB 06 00000000:00000000 03:00001694 00000000     0        0 0 3 0000000000000000
`

const table6Text = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF000001004D0A:0050 0000000000000000FFFF0000057100CB:C350 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 100 0 0 10 0
   1: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6 1 0 100 0 0 10 0
`

func TestParseTable(t *testing.T) {
	at := netip.MustParseAddrPort
	tests := []struct {
		text string
		want []socket
	}{
		{tableText, []socket{
			{protocol: 6, state: stateListen, local: at("127.0.0.1:8080"), remote: at("0.0.0.0:0"), inode: 1060},
			{protocol: 6, state: stateEstablished, local: at("10.77.0.1:50000"), remote: at("203.0.113.5:443"), inode: 2000},
			{protocol: 6, state: stateTimeWait, local: at("10.77.0.1:50001"), remote: at("203.0.113.5:443")},
		}},
		{table6Text, []socket{
			{protocol: 6, state: stateEstablished, local: at("10.77.0.1:80"), remote: at("203.0.113.5:50000"), inode: 5},
			{protocol: 6, state: stateListen, local: at("[2001:db8::1]:80"), remote: at("[::]:0"), inode: 6},
		}},
		{"", nil},
		{"head\n", nil},
	}
	for _, test := range tests {
		if got, err := parseTable(strings.NewReader(test.text), unix.IPPROTO_TCP); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for _, bad := range []string{"h\nx\n", "h\n0: 1:1 1:1 01 0 0 0 0 0 0\n", "h\n0: 0100007F:1F90 00000000 0A 0:0 0:0 0 0 0 1\n", "h\n" + strings.Repeat("x", 1<<17)} {
		if got, err := parseTable(strings.NewReader(bad), 6); err == nil {
			t.Errorf("%.40q: got %+v", bad, got)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add(tableText)
	f.Add(table6Text)
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := parseTable(strings.NewReader(text), 6)
		for _, s := range all {
			if !s.local.Addr().IsValid() || s.remote.Addr().Is4In6() {
				t.Errorf("got %+v", s)
			}
		}
	})
}

const unixText = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/my app/sock
0000000000000000: 00000003 00000000 00000000 0001 03 12346
0000000000000000: 00000002 00000000 00000000 0002 01 12347 @bus
0000000000000000: 00000002 00000000 00010000 0001 01 12348 /run/a
b
`

func TestParseUnixTable(t *testing.T) {
	want := []localSocket{
		{kind: 1, state: stateListen, inode: 12345, name: "/run/my app/sock"},
		{kind: 1, state: stateEstablished, inode: 12346},
		{kind: 2, state: stateClose, inode: 12347, name: "@bus"},
		{kind: 1, state: stateListen, inode: 12348, name: "/run/a"},
	}
	if got, err := parseUnixTable(strings.NewReader(unixText)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzUnixTable(f *testing.F) {
	f.Add(unixText)
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := parseUnixTable(strings.NewReader(text))
		for _, s := range all {
			if !utf8.ValidString(s.name) || len(s.name) > nameLimit {
				t.Errorf("got %q", s.name)
			}
		}
	})
}

const trieText = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.77.0.0/24 2 0 2
        |-- 10.77.0.1
           /32 host LOCAL
        |-- 10.77.0.255
           /32 link BROADCAST
`

func TestParseOwnAddresses(t *testing.T) {
	got := make(map[netip.Addr]bool)
	if err := parseTrie(strings.NewReader(trieText), got); err != nil {
		t.Fatal(err)
	}
	if err := parseInterfaces6(strings.NewReader("20010db8000000000000000000000001 02 40 00 80     eth0\n"), got); err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]bool{netip.MustParseAddr("10.77.0.1"): true, netip.MustParseAddr("2001:db8::1"): true}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if err := parseInterfaces6(strings.NewReader("xyz 1\n"), got); err == nil {
		t.Error("want an error")
	}
}

func FuzzOwnAddresses(f *testing.F) {
	f.Add(trieText)
	f.Add("20010db8000000000000000000000001 02 40 00 80     eth0\n")
	f.Fuzz(func(t *testing.T, text string) {
		own := make(map[netip.Addr]bool)
		_ = parseTrie(strings.NewReader(text), own)
		_ = parseInterfaces6(strings.NewReader(text), own)
		for a := range own {
			if !a.IsValid() {
				t.Error("invalid address")
			}
		}
	})
}

func TestMounted(t *testing.T) {
	const text = `22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw
90 22 0:4 net:[4026532300] /run/netns/a\040b rw shared:7 - nsfs nsfs rw
91 22 0:4 mnt:[4026532301] /run/snapd/ns/x rw - nsfs nsfs rw
92 22 0:4 net:[oops] /run/netns/c rw - nsfs nsfs rw
`
	table, _, err := host.ParseMounts(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := maps.Collect(mounted(table)); !maps.Equal(got, map[uint64]string{4026532300: "/run/netns/a b"}) {
		t.Errorf("got %v", got)
	}
}
