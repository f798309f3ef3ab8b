/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Packets: all that is not TCP is counted as it passes, and so is what leaves an interface
 * and comes from no socket of IP.
 */
#pragma once

/* The verifier lets nobody look into a socket by this pointer, but into its copy. */
static __always_inline __u32 netns_of(struct bpf_sock *sk)
{
	struct sock *copy = 0;

	bpf_probe_read_kernel(&copy, sizeof(copy), &sk);
	return BPF_CORE_READ(copy, __sk_common.skc_net.net, ns.inum);
}

struct packet {
	__u8 source[16], target[16];
	__be16 source_port, target_port;
	__u32 payload;
	__u8 protocol; /* the packet's: a raw socket may carry any */
};

struct ip4 {
	__u8 version_length, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 sum;
	__be32 source, target;
};

struct ip6 {
	__be32 first;
	__be16 length;
	__u8 next, hops;
	__u8 source[16], target[16];
};

static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	__u32 offset, header = 0;
	__be16 ports[2] = {};
	int later = 0; /* a fragment but the first; only those made by hand come here */

	if (skb->protocol == bpf_htons(0x0800)) {
		struct ip4 ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) < 0)
			return -1;
		map4(p->source, ip.source);
		map4(p->target, ip.target);
		offset = (ip.version_length & 15) * 4;
		p->protocol = ip.protocol;
		later = ip.fragment & bpf_htons(0x1fff);
	} else {
		struct ip6 ip;
		__u8 next, option[4];
		int i;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) < 0)
			return -1;
		__builtin_memcpy(p->source, ip.source, 16);
		__builtin_memcpy(p->target, ip.target, 16);
		offset = sizeof(ip);
		next = ip.next;
		for (i = 0; i < 4; i++) {
			if (next != 0 && next != 43 && next != 44 && next != 60)
				break;
			if (bpf_skb_load_bytes(skb, offset, option, sizeof(option)) < 0)
				return -1;
			if (next == 44)
				later = option[2] || option[3] & 0xf8;
			offset += next == 44 ? 8 : (option[1] + 1) * 8;
			next = option[0];
		}
		p->protocol = next;
	}
	/* What is too short for its header, which only a raw socket sends, is all payload. */
	if (later) {
		header = 0;
	} else if (p->protocol == IPPROTO_UDP || p->protocol == IPPROTO_UDPLITE) {
		if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)) == 0)
			header = 8;
	} else if (p->protocol == IPPROTO_TCP) { /* of a raw socket */
		__u8 words;

		if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)) == 0 &&
		    bpf_skb_load_bytes(skb, offset + 12, &words, sizeof(words)) == 0)
			header = (words >> 4) * 4;
	} else if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) {
		header = 8;
	}
	p->source_port = ports[0];
	p->target_port = ports[1];
	p->payload = skb->len > offset + header ? skb->len - offset - header : 0;
	return 0;
}

static __always_inline void face(struct flow_key *key, __u8 direction, __u16 local, __u16 remote)
{
	key->direction = direction;
	key->port = direction == IN ? local : remote;
}

static __noinline int datagram(struct __sk_buff *skb, struct bpf_sock *sk, int out)
{
	struct flow_key key = {};
	struct flow_row *row;
	struct packet p = {};
	struct holder *h;
	__u32 fold = 0;
	__u8 first;
	__be16 remote_port;
	__u16 local_port;

	sk = bpf_sk_fullsock(sk);
	if (!sk || (sk->protocol == IPPROTO_TCP && sk->type != SOCK_RAW))
		return 0;
	h = bpf_sk_storage_get(&holders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count(LOST_STORAGE, 1);
		return 0;
	}
	if (!h->netns) /* the kernel's own */
		h->netns = netns_of(sk);
	if (parse(skb, &p) < 0) {
		count(LOST_HEADERS, 1);
		return 0;
	}
	/*
	 * What is connected, or raw, passes no hook that knows the sender before this
	 * one, which runs in its call. The kernel's own sockets, that answer for it in
	 * whatever process they interrupt, have no owner and get none.
	 */
	if (out && OWNER(READ(h->word)))
		take(h);
	__builtin_memcpy(key.remote, out ? p.target : p.source, 16);
	remote_port = out ? p.target_port : p.source_port;
	local_port = bpf_ntohs(out ? p.source_port : p.target_port);
	key.owner = OWNER(READ(h->word));
	key.netns = h->netns;
	key.protocol = p.protocol;

	/*
	 * An answer belongs to the row of whoever spoke first. A socket goes on as it
	 * went last, most of the time.
	 */
	first = h->direction ? h->direction : out ? IN : OUT;
	face(&key, first, local_port, bpf_ntohs(remote_port));
	row = bpf_map_lookup_elem(&flows, &key);
	if (!row) {
		face(&key, first == IN ? OUT : IN, local_port, bpf_ntohs(remote_port));
		row = bpf_map_lookup_elem(&flows, &key);
	}
	if (row) {
		touch(row);
	} else {
		face(&key, out ? OUT : IN, local_port, bpf_ntohs(remote_port));
		row = row_of(&key, out ? p.source : p.target, skb->ifindex == LOOPBACK, &fold);
		if (!row) {
			count(LOST_BYTES, p.payload);
			return 0;
		}
		if (!row->connections) { /* there is none to count: one a row */
			count(BEGUN_FLOWS, 1);
			row->connections = 1;
		}
	}
	h->direction = key.direction;
	if (out && p.payload)
		sent_on(&key, row);
	__sync_fetch_and_add(out ? &row->sent : &row->received, p.payload);
	return 0;
}

/*
 * TCP is counted at its sockets, so its packets only pass: header and port tell
 * them, since a call of the kernel for each is dear. A raw socket may send what
 * looks the same, but its port is the number of its protocol.
 */
static __always_inline void packet(struct __sk_buff *skb, int out)
{
	__u8 *header = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return;
	if (sk->src_port >= PROTOCOLS && header + sizeof(struct ip4) <= end &&
	    header[skb->protocol == bpf_htons(0x0800) ? 9 : 6] == IPPROTO_TCP)
		return;
	datagram(skb, sk, out);
}

SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	packet(skb, 1);
	return 1;
}

SEC("cgroup_skb/ingress")
int on_ingress(struct __sk_buff *skb)
{
	packet(skb, 0);
	return 1;
}

/* ---- what leaves an interface ---- */

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(on_transmit, struct sk_buff *skb, struct net_device *device)
{
	struct sock *sk = skb->sk;
	__u16 family;

	if (device->flags & IFF_LOOPBACK)
		return 0;
	family = sk ? sk->__sk_common.skc_family : 0;
	if (family != AF_INET && family != AF_INET6)
		count(UNATTRIBUTED, skb->len);
	return 0;
}
