package kernel

import "fmt"

func tcpScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	const at6, from6 = "[" + far6 + "]:4000", "[" + near6 + "]:4000"
	mega, many, bytes := scaled(20_000_000), scaled(1000), scaled(40)
	both := func(at, from string, up, down, connections int) []line {
		return []line{
			{generator, Out, tcp, at, counts{sent: uint64(up), received: uint64(down), connections: uint64(connections)}},
			{peer, In, tcp, from, counts{sent: uint64(down), received: uint64(up), connections: uint64(connections)}},
		}
	}
	return []scenario{
		{name: "bulk up", peer: "serve :4000 0", generator: fmt.Sprintf("ask %s %d 1", at, mega), want: both(at, from, mega, 0, 1)},
		{name: "bulk down", peer: fmt.Sprintf("serve :4000 %d", mega), generator: "ask " + at + " 0 1", want: both(at, from, 0, mega, 1)},
		{name: "full duplex", peer: fmt.Sprintf("serve-duplex :4000 %d", mega), generator: fmt.Sprintf("duplex %s %d", at, mega), want: both(at, from, mega, mega, 1)},
		{name: "IPv6", peer: "serve :4000 700", generator: fmt.Sprintf("ask %s %d 1", at6, mega), want: both(at6, from6, mega, 700, 1)},
		{
			name: "loopback", peer: fmt.Sprintf("serve 127.0.0.1:4000 %d", mega), generator: fmt.Sprintf("ask 127.0.0.1:4000 %d 1", mega),
			want: both("127.0.0.1:4000", "127.0.0.1:4000", mega, mega, 1), course: course{peerNear: true},
		},
		{name: "low and slow", peer: "serve :4000 1", generator: fmt.Sprintf("slow %s %d 25", at, bytes), want: both(at, from, bytes, 1, 1)},
		{name: "many small connections", peer: "serve :4000 5", generator: fmt.Sprintf("ask %s 10 %d", at, many), want: both(at, from, 10*many, 5*many, many)},
		{name: "parallel burst", peer: "serve :4000 5", generator: fmt.Sprintf("ask-parallel %s 10 %d", at, many), want: both(at, from, 10*many, 5*many, many)},
		{
			name: "refused", peer: "idle", generator: "ask-refused " + at,
			want: []line{{generator, Out, tcp, at, counts{connections: 1, attempts: 1}}},
		},
		{name: "reset", peer: "serve-reset :4000 3000", generator: "ask-reset " + at + " 3000", want: both(at, from, 3000, 0, 1)},
	}
}

func streamScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	const n = 4_000_000
	both := func(up, down uint64) []line {
		return []line{
			{generator, Out, tcp, at, counts{sent: up, received: down, connections: 1}},
			{peer, In, tcp, from, counts{sent: down, received: up, connections: 1}},
		}
	}
	up := func(name, job string) scenario {
		return scenario{name: name, peer: "serve :4000 5", generator: job, want: both(n, 5)}
	}
	down := func(name, job string) scenario {
		return scenario{name: name, peer: "pour :4000 4000000", generator: job, want: both(0, n)}
	}
	return []scenario{
		up("sendfile", "fill sendfile "+at+" 4000000"),
		up("splice up", "fill splice "+at+" 4000000"),
		up("MSG_ZEROCOPY", "fill zerocopy "+at+" 4000000"),
		up("io_uring up", "fill uring "+at+" 4000000"),
		up("io_uring with SQPOLL", "fill uring-poll "+at+" 4000000"),
		{
			// Its probes of a window that is closed are bytes of the subflow, and no data.
			name: "multipath TCP", peer: "serve :4000 5", generator: "multipath " + at + " 4000000",
			want: both(n, 5), course: course{about: true},
		},
		up("v4-mapped", "mapped-stream "+at+" 4000000"),
		down("splice down", "empty splice "+at+" 4000000"),
		down("MSG_TRUNC", "empty truncate "+at+" 4000000"),
		down("io_uring down", "empty uring "+at+" 4000000"),
		{name: "fast open", peer: "serve :4000 5", generator: "fast-open " + at + " 900", want: both(900, 5)},
		{
			name: "socket older than the agent", peer: "serve :4000 5", generator: "older " + at + " 2000000",
			want: both(n, 5), course: course{older: true},
		},
		{
			name: "killed sender", peer: "serve :4000 0", generator: "endless " + at,
			want: []line{
				{generator, Out, tcp, at, counts{sent: own, connections: 1}},
				{peer, In, tcp, from, counts{received: own, connections: 1}},
			},
			course: course{killed: true},
		},
		{
			name: "connected again", peer: "serve :4000 5",
			generator: "again-connected " + far4 + ":4001 " + at + " " + farther4 + ":4000 1000",
			want: append(both(1000, 5)[:1],
				line{generator, Out, tcp, far4 + ":4001", counts{connections: 1, attempts: 1}},
				line{generator, Out, tcp, farther4 + ":4000", counts{sent: 1000, received: 5, connections: 1}},
				line{peer, In, tcp, from, counts{sent: 10, received: 2000, connections: 2}}),
		},
		{
			name: "no answer", peer: "idle", generator: "ask-nobody 10.77.0.99:4000",
			want: []line{{generator, Out, tcp, "10.77.0.99:4000", counts{connections: 1, attempts: 1}}},
		},
	}
}

func datagramScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	const at6, from6 = "[" + far6 + "]:4000", "[" + near6 + "]:4000"
	echoes, packets := scaled(500), scaled(10_000)
	both := func(protocol uint8, at, from string, up, down int) []line {
		return []line{
			{generator, Out, protocol, at, counts{sent: uint64(up), received: uint64(down), connections: 1}},
			{peer, In, protocol, from, counts{sent: uint64(down), received: uint64(up), connections: 1}},
		}
	}
	return []scenario{
		{name: "UDP both ways", peer: "echo 0.0.0.0:4000 17", generator: fmt.Sprintf("converse %s 17 %d 1400", at, echoes), want: both(udp, at, from, 1400*echoes, 1400*echoes)},
		{name: "UDP small packets", peer: "drain 0.0.0.0:4000 17", generator: fmt.Sprintf("send %s 17 %d 1", at, packets), want: both(udp, at, from, packets, 0)},
		{name: "UDP in fragments", peer: "echo 0.0.0.0:4000 17", generator: "converse " + at + " 17 20 60000", want: both(udp, at, from, 1_200_000, 1_200_000)},
		{name: "UDP of IPv6", peer: "echo [::]:4000 17", generator: "converse " + at6 + " 17 100 1000", want: both(udp, at6, from6, 100_000, 100_000)},
		{name: "UDP of IPv6 in fragments", peer: "echo [::]:4000 17", generator: "converse " + at6 + " 17 20 60000", want: both(udp, at6, from6, 1_200_000, 1_200_000)},
		{name: "connected UDP", peer: "drain 0.0.0.0:4000 17", generator: "send-connected " + at + " 17 100 1000", want: both(udp, at, from, 100_000, 0)},
		{name: "UDP-Lite", peer: "echo 0.0.0.0:4000 136", generator: "converse " + at + " 136 100 1000", want: both(udplite, at, from, 100_000, 100_000)},
		{
			name: "ICMP", peer: "idle", generator: "ping " + far4 + ":0 3 10 1000",
			want: []line{{generator, Out, icmp, far4 + ":0", counts{sent: 10_000, received: 10_000, connections: 1}}},
		},
		{
			name: "ping socket", peer: "idle", generator: "ping " + far4 + ":0 2 10 1000",
			want: []line{{generator, Out, icmp, far4 + ":0", counts{sent: 10_000, received: 10_000, connections: 1}}},
		},
		{
			// It hears its answers; the kernel, that answers, has no socket to hear the requests.
			name: "ping to itself", peer: "idle", generator: "ping " + near4 + ":0 2 10 1000",
			want:   []line{{generator, Out, icmp, near4 + ":0", counts{sent: 10_000, received: 10_000, connections: 1}}},
			course: course{unclaimed: map[payload]uint64{{icmp, false}: 10_000}},
		},
		{
			name: "ping socket of IPv6", peer: "idle", generator: "ping [" + far6 + "]:0 2 10 1000",
			want: []line{{generator, Out, icmp6, "[" + far6 + "]:0", counts{sent: 10_000, received: 10_000, connections: 1}}},
		},
		{name: "raw", peer: "drain-raw 0.0.0.0:0 253 20", generator: "raw " + far4 + ":0 253 100 1000", want: both(trial, far4+":0", near4+":0", 100_000, 0)},
		{name: "raw of IPv6", peer: "drain-raw [::]:0 253 0", generator: "raw [" + far6 + "]:0 253 100 1000", want: both(trial, "["+far6+"]:0", "["+near6+"]:0", 100_000, 0)},
	}
}

func manyScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	both := func(up, down uint64) []line {
		return []line{
			{generator, Out, udp, at, counts{sent: up, received: down, connections: 1}},
			{peer, In, udp, from, counts{sent: down, received: up, connections: 1}},
		}
	}
	by := func(name, way string, sent uint64) scenario {
		return scenario{name: name, peer: "drain 0.0.0.0:4000 17", generator: "send-by " + way, want: both(sent, 0)}
	}
	wide := func(name, group, receiver, sender string, unclaimed map[payload]uint64) scenario {
		return scenario{name: name, peer: receiver, generator: sender, course: course{unclaimed: unclaimed}, want: []line{
			{generator, Out, udp, group, counts{sent: 50_000, connections: 1}},
			{peer, In, udp, from, counts{received: 50_000, connections: 1}},
		}}
	}
	return []scenario{
		by("sendmmsg", "sendmmsg "+at+" 20 500", 160_000),
		{name: "recvmmsg", peer: "drain-many 0.0.0.0:4000", generator: "send-by sendmmsg " + at + " 20 500", want: both(160_000, 0)},
		by("UDP_SEGMENT", "segments "+at+" 20 1000", 320_000),
		by("UDP corked", "cork "+at+" 20 1000", 20_000),
		by("UDP with MSG_ZEROCOPY", "zerocopy "+at+" 20 1000", 20_000),
		by("UDP by io_uring", "uring "+at+" 20 1000", 20_000),
		by("v4-mapped UDP", "sendmmsg [::ffff:"+far4+"]:4000 20 500", 160_000),
		{
			name: "UDP older than the agent", peer: "echo 0.0.0.0:4000 17", generator: "older-datagrams " + at + " 20 1000",
			want: both(20_000, 20_000), course: course{older: true, since: true},
		},
		{name: "UDP_GRO", peer: "drain-joined 0.0.0.0:4000", generator: "send-by segments " + at + " 20 1000", want: both(320_000, 0)},
		{
			name: "UDP to two peers", peer: "drain 0.0.0.0:4000 17", generator: "two-peers " + at + " " + farther4 + ":4001 1000",
			want: append(both(1000, 0), line{generator, Out, udp, farther4 + ":4001", counts{sent: 1000, connections: 1}}),
		},
		wide("multicast", "233.252.0.1:4000", "drain-group 0.0.0.0:4000 233.252.0.1", "send-wide 233.252.0.1:4000 50 1000", nil),
		wide("broadcast", "10.77.0.255:4000", "drain 0.0.0.0:4000 17", "send-wide 10.77.0.255:4000 50 1000",
			map[payload]uint64{{udp, false}: 50_000}), // heard by the sender's own host
	}
}

func linkScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	received := line{peer, In, udp, from, counts{received: 50_000, connections: 1}}
	sent := line{generator, Out, udp, at, counts{sent: 50_000, connections: 1}}
	return []scenario{
		{
			name: "IP_HDRINCL", peer: "drain 0.0.0.0:4000 17", generator: "handmade " + near4 + ":5000 " + at + " 255 50 1000",
			want: []line{sent, received},
		},
		{
			name: "IP_HDRINCL of UDP", peer: "drain 0.0.0.0:4000 17", generator: "handmade " + near4 + ":5000 " + at + " 17 50 1000",
			want: []line{sent, received},
		},
		{
			name: "raw TCP", peer: "idle", generator: "raw-stream " + at + " 50 1000",
			want: []line{{generator, Out, tcp, at, counts{sent: 50_000, connections: 1}}},
		},
		// Neither who holds the socket of the card nor the tunnel is named yet; the
		// sockets at the other ends are.
		{
			name: "AF_PACKET", peer: "drain 0.0.0.0:4000 17", generator: "frames " + near4 + ":5000 " + at + " 50 1000",
			want: []line{received},
		},
		{
			name: "TUN", peer: "drain 0.0.0.0:4000 17", generator: "tunnel 50 1000", course: course{peerNear: true},
			want: []line{
				{generator, Out, udp, "198.51.100.2:5000", counts{sent: 50_000, connections: 1}},
				{peer, In, udp, "198.51.100.2:4000", counts{received: 50_000, connections: 1}},
			},
		},
	}
}

func processScenarios() []scenario {
	const at, from = far4 + ":4000", near4 + ":4000"
	// Two of the near end share a socket, that is counted for each as one.
	shared := func(name, job, peerJob string, protocol uint8) scenario {
		return scenario{name: name, peer: peerJob, generator: job, want: []line{
			{generator, Out, protocol, at, counts{sent: 50, connections: 1}},
			{third, Out, protocol, at, counts{sent: 7000, connections: 1}},
			{peer, In, protocol, from, counts{received: 7050, connections: 1}},
		}}
	}
	n := scaled(100)
	ask := counts{sent: uint64(10 * n), received: uint64(5 * n), connections: uint64(n)}
	each := counts{sent: own, received: own, connections: own}
	short := scenario{
		name: "short-lived processes", peer: "serve :4000 5", generator: fmt.Sprintf("again %d ask %s 10 1", n, at),
		want: []line{{peer, In, tcp, from, counts{sent: ask.received, received: ask.sent, connections: ask.connections}}},
	}
	for i := range n {
		short.want = append(short.want, line{third + i, Out, tcp, at, counts{sent: 10, received: 5, connections: 1}})
	}
	return []scenario{
		short,
		shared("passed descriptor", "pass 1 "+at+" 50 7000", "serve :4000 0", tcp),
		shared("passed descriptor of UDP", "pass 2 "+at+" 50 7000", "drain 0.0.0.0:4000 17", udp),
		shared("inherited over fork", "fork 1 "+at+" 50 7000", "serve :4000 0", tcp),
		shared("UDP inherited over fork", "fork 2 "+at+" 50 7000", "drain 0.0.0.0:4000 17", udp),
		{
			// Until a worker uses it, a connection is the listener's.
			name: "fork and accept", peer: "serve-workers :4000 5 2", generator: fmt.Sprintf("ask-parallel %s 10 %d", at, n),
			want: []line{
				{generator, Out, tcp, at, ask},
				{peer, In, tcp, from, counts{connections: uint64(n)}},
				{third, In, tcp, from, each},
				{fourth, In, tcp, from, each},
			},
		},
		{
			name: "accept and hand on", peer: "serve-handing :4000 5", generator: "ask " + at + " 10 2",
			want: []line{
				{generator, Out, tcp, at, counts{sent: 20, received: 10, connections: 2}},
				{peer, In, tcp, from, counts{connections: 2}},
				{third, In, tcp, from, counts{sent: 5, received: 10, connections: 1}},
				{fourth, In, tcp, from, counts{sent: 5, received: 10, connections: 1}},
			},
		},
		{
			name: "SO_REUSEPORT", peer: "serve-shared 0.0.0.0:4000 5 1", generator: fmt.Sprintf("ask-parallel %s 10 %d", at, n),
			want: []line{{generator, Out, tcp, at, ask}, {peer, In, tcp, from, each}, {third, In, tcp, from, each}},
		},
	}
}
