/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Rows: to find the one of a flow, or to begin it, and its zone.
 */
#pragma once

static __always_inline void map4(__u8 to[16], __be32 address)
{
	__u32 *w = (__u32 *)to;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = address;
}

static __always_inline __u32 generation(void)
{
	__u32 *now = setting(GENERATION);

	return now ? *now : 0;
}

static __always_inline void zone_of(struct flow_row *row, const struct flow_key *key)
{
	struct zone_key z = {.bits = 128};
	__u32 now = generation();
	__u32 *zone;

	__builtin_memcpy(z.address, key->remote, 16);
	zone = bpf_map_lookup_elem(&zones, &z);
	row->zone = zone ? *zone : 0;
	row->generation = now;
}

/* Notes that a row is used. The clock is read once a tick of the kernel. */
static __always_inline void touch(struct flow_row *row)
{
	__u32 tick = bpf_jiffies64();

	if (row->tick == tick)
		return;
	row->tick = tick;
	row->last = bpf_ktime_get_boot_ns();
}

/* A flow that finds no room in the table goes to the folded ones of its zone. */
static __noinline struct flow_row *folded_of(struct flow_key *key, const struct flow_row *fresh)
{
	struct flow_row *row;
	struct flow_key fold = *key;

	__builtin_memset(fold.remote, 0, sizeof(fold.remote));
	fold.remote[15] = fresh->own ? OWN : fresh->zone;
	if (fold.direction == OUT)
		fold.port = 0;
	row = bpf_map_lookup_elem(&folded, &fold);
	if (row)
		return row;
	bpf_map_update_elem(&folded, &fold, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&folded, &fold);
}

/* Its own frame: the stack is small. */
static __noinline int tell(const struct flow_key *key, __u32 zone)
{
	struct event event = {.kind = EVENT_FLOW, .zone = zone, .at = bpf_ktime_get_boot_ns()};

	event.key = *key;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP) < 0)
		count(LOST_EVENTS, 1);
	return 0;
}

/*
 * The row of a flow; fold points to whether it is a folded one, and asks for one
 * if it says so already. A socket stays with the row that it began in.
 */
static __noinline struct flow_row *row_of(struct flow_key *key, __u8 local[16], __u32 own, __u32 *fold)
{
	struct flow_row *row = *fold ? 0 : bpf_map_lookup_elem(&flows, key);

	if (!row) {
		struct flow_row fresh = {};

		__builtin_memcpy(fresh.local, local, 16);
		fresh.first = bpf_ktime_get_boot_ns();
		fresh.own = own;
		zone_of(&fresh, key);
		if (!*fold && !bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST)) {
			if (key->owner)
				mark(key->owner);
			else
				count(ORPHANS, 1);
			if (!fresh.zone && !own)
				tell(key, fresh.zone);
		}
		row = *fold ? 0 : bpf_map_lookup_elem(&flows, key);
		if (!row) {
			row = folded_of(key, &fresh);
			if (row && !*fold) {
				mark(key->owner);
				count(FOLDED, 1);
			}
			*fold = 1;
		}
		if (!row) {
			count(LOST_ROWS, 1);
			return 0;
		}
	}
	touch(row);
	if (own)
		row->own = 1;
	if (!*fold && row->generation != generation())
		zone_of(row, key);
	return row;
}

/*
 * Whether what a socket of TCP sends stays on the machine. Its route, which says
 * so, is not known at first; the addresses say it most of the time.
 */
static __always_inline void see_route(struct sock *sk, struct holder *h, struct flow_key *key, __u8 local[16])
{
	struct dst_entry *dst = sk->sk_dst_cache;
	__u32 *to = (__u32 *)key->remote, *from = (__u32 *)local;

	if (!to[0] && !to[1] && ((to[2] == bpf_htonl(0xffff) && key->remote[12] == 127) || (!to[2] && to[3] == bpf_htonl(1))))
		h->own = 1;
	if (to[0] == from[0] && to[1] == from[1] && to[2] == from[2] && to[3] == from[3])
		h->own = 1;
	if (dst && !h->own && BPF_CORE_READ(dst, dev, flags) & IFF_LOOPBACK)
		h->own = 1;
}

static __always_inline void tcp_key(struct sock *sk, const struct holder *h, struct flow_key *key, __u8 local[16])
{
	__builtin_memset(key, 0, sizeof(*key));
	if (sk->__sk_common.skc_family == AF_INET6) {
		__u32 *to = (__u32 *)key->remote, *from = (__u32 *)local;

		to[0] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[0];
		to[1] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[1];
		to[2] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[2];
		to[3] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[3];
		from[0] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[0];
		from[1] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[1];
		from[2] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[2];
		from[3] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[3];
	} else {
		map4(key->remote, sk->__sk_common.skc_daddr);
		map4(local, sk->__sk_common.skc_rcv_saddr);
	}
	key->netns = h->netns;
	key->protocol = IPPROTO_TCP;
	key->direction = h->direction;
	if (h->direction == IN)
		key->port = h->port;
	else
		key->port = bpf_ntohs(sk->__sk_common.skc_dport);
}
