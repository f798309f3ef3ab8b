// SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2
/*
 * Flows, counted where they happen.
 *
 * A socket's storage holds its owner and how far it has progressed, in one word
 * that changes by compare-and-swap: sockops and two tracepoints tell the same
 * story, and whoever comes second finds it told. Bytes of TCP are moved from the
 * socket's own counters to the table of flows in the same way, at its end and
 * whenever they are read, so nothing is counted twice or lost in between.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "kernel.h"
#include "who.h"
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_KEY 15
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_ALG 38
#define AF_KCM 41
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262
#define PROTOCOLS 512 /* their numbers are below: IPPROTO_MAX is 263 */
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_DONE_BIT 2 /* 1 << SOCK_DONE: the peer's FIN has come */
#define IFF_LOOPBACK 8
#define LOOPBACK 1 /* the index of the loopback interface in every namespace */
#define TRIES 8

#include "programs.h"

enum { OUT = 1, IN = 2 };

#define OWN 255 /* in the place of a zone: it stays on the machine */
enum stage { FRESH, BEGUN, ESTABLISHED, ENDED };

/* Owner and stage of a socket in one word. */
#define STAGE(word) ((word)&7)
#define OWNER(word) ((word) & ~7ULL)

struct holder {
	__u64 word;
	__u64 sent; /* payload of TCP that is in the table already */
	__u64 received;
	__u32 netns;
	__u8 direction; /* of other protocols than TCP, that of the row used last */
	__u8 used; /* some process has sent or received */
	__u16 port; /* the local one, which the kernel forgets before the end */
	__u32 own; /* its packets do not leave the machine */
	__u32 folded; /* its row is one of the folded */
	__u32 older; /* than the capture */
	__u32 held; /* how often custody had begun when it was looked at */
};

struct flow_key {
	__u64 owner;
	__u8 remote[16]; /* IPv4 is mapped to ::ffff:0:0/96 */
	__u32 netns;
	__u16 port; /* the remote one (out) or the local one (in) */
	__u8 protocol;
	__u8 direction;
};

struct flow_row {
	__u64 sent;
	__u64 received;
	__u64 connections;
	__s64 attempts;
	__s64 open;
	__u64 first; /* nanoseconds since boot */
	__u64 last;
	__u8 local[16];
	__u32 generation; /* of the zones that zone was found in */
	__u32 zone;
	__u32 own; /* through the loopback interface, as all that stays on the machine */
	__u32 tick; /* of the kernel, when last was noted */
	__u64 sent_last; /* payload; of TCP, no later than it was settled */
	__u64 told; /* stores whose leak was told of */
	__u32 held; /* how often custody had begun when it was looked at; not of TCP */
	__u32 unused;
};

enum { EVENT_FLOW = 1, EVENT_HOLD, EVENT_LEAK };

/*
 * What must not wait for the next reading: something new goes to where no zone is,
 * or a holder sends there.
 */
struct event {
	__u32 kind;
	__u32 zone;
	__u64 at; /* nanoseconds since boot */
	struct flow_key key;
	__u64 stores; /* of a leak: what the sender holds and was not told of yet */
};

enum { FRAMES = 1, OTHER };

struct frame_key {
	__u64 owner;
	__u32 kind;
	__u32 netns;
};

/* Sent past the protocols, to an address that only the program knows. */
struct frame_row {
	__u64 bytes;
	__u64 last;
};

struct zone_key {
	__u32 bits;
	__u8 address[16];
};

struct port_key {
	__u32 netns;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct holder);
} holders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow_row);
} flows SEC(".maps");

/* Flows that found no room in the table: the far end is left out of the key. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct flow_key);
	__type(value, struct flow_row);
} folded SEC(".maps");

/* Of each flow, what was read of it. The programs do not use it; it is pinned with the rest. */
struct volume {
	__u64 sent, received, connections;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct volume);
} reported SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct frame_key);
	__type(value, struct frame_row);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct zone_key);
	__type(value, __u32);
} zones SEC(".maps");

/* Ports that something listened on before the programs were attached. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct port_key);
	__type(value, __u32);
} listening SEC(".maps");

char _license[] SEC("license") = "GPL";

#define READ(x) (*(volatile typeof(x) *)&(x))

/* ---- who ---- */

static __always_inline __u32 current_netns(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
}

/* ---- rows ---- */

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

/* A flow that finds no room in the table goes to the folded ones of its zone; fresh is what it would have been. */
static __noinline struct flow_row *folded_of(struct flow_key *key, struct flow_row *fresh)
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
	__builtin_memset(fresh->local, 0, sizeof(fresh->local));
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

/* ---- TCP ---- */

/* A raw socket may carry the protocol number, too, and is none. */
static __always_inline int is_tcp(struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_TCP && sk->sk_type == SOCK_STREAM;
}

/* Takes what counted lacks of the total, but for hold, and says how much that is, once. */
#define SETTLE(delta, counted, total, hold)                                         \
	do {                                                                   \
		int i_, done_ = 0;                                             \
		for (i_ = 0; i_ < TRIES && !done_; i_++)     \
		{                                                              \
			__u64 old_ = READ(counted);                            \
			__u64 now_ = (total);                                  \
			if (hold) /* never below what is counted */            \
				now_ = now_ > old_ + (hold) ? now_ - (hold) : old_; \
			if (__sync_val_compare_and_swap(&(counted), old_, now_) == old_) { \
				(delta) = now_ - old_;                         \
				done_ = 1;                                     \
			}                                                      \
		}                                                              \
		if (!done_)                                                    \
			count(LOST_RACES, 1);                                    \
	} while (0)

#include "leaks.h"

/* Whether something listened on a socket's port before the capture: then it came in. */
static __always_inline int listened(const struct holder *h)
{
	struct port_key key = {.netns = h->netns, .port = h->port};

	return bpf_map_lookup_elem(&listening, &key) != 0;
}

/* Deltas may be below zero by the one that a FIN adds for a moment. */
static __always_inline void settle(struct sock *sk, struct holder *h, __u64 hold_sent, __u64 hold_received)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 sent = 0, received = 0;
	struct flow_key key;
	struct flow_row *row;
	__u8 local[16];

	if (!tp || STAGE(READ(h->word)) == ENDED) /* after a reset by its owner the counters start anew */
		return;
	SETTLE(sent, h->sent, READ(tp->bytes_sent) - READ(tp->bytes_retrans), hold_sent);
	SETTLE(received, h->received, READ(tp->bytes_received) - !!(READ(sk->__sk_common.skc_flags) & SOCK_DONE_BIT), hold_received);
	if (!sent && !received)
		return;
	if (!h->direction) { /* older than the capture, and not listed yet */
		if (!h->port)
			h->port = sk->__sk_common.skc_num;
		h->direction = listened(h) ? IN : OUT;
	}
	tcp_key(sk, h, &key, local);
	key.owner = OWNER(READ(h->word));
	see_route(sk, h, &key, local);
	row = row_of(&key, local, h->own, &h->folded);
	if (!row) {
		count(LOST_BYTES, sent + received);
		return;
	}
	__sync_fetch_and_add(&row->sent, sent);
	__sync_fetch_and_add(&row->received, received);
	if (sent)
		sent_at(tp, row);
}

/* Brings a socket to a stage. Stages only rise, so each is entered once. */
static __always_inline void advance(struct sock *sk, struct holder *h, __u64 to)
{
	struct flow_key key;
	struct flow_row *row;
	__u8 local[16];
	__u64 old = 0;
	int i, done = 0;

	for (i = 0; i < TRIES && !done; i++) {
		old = READ(h->word);
		if (STAGE(old) >= to)
			return;
		done = __sync_val_compare_and_swap(&h->word, old, OWNER(old) | to) == old;
	}
	if (!done) {
		count(LOST_RACES, 1);
		return;
	}
	if (STAGE(old) == FRESH && to == ENDED)
		return; /* a listener, or never connected */
	tcp_key(sk, h, &key, local);
	key.owner = OWNER(old);
	see_route(sk, h, &key, local);
	row = row_of(&key, local, h->own, &h->folded);
	if (!row)
		return;
	if (STAGE(old) == FRESH) {
		count(BEGUN_FLOWS, 1);
		__sync_fetch_and_add(&row->connections, 1);
		if (to == BEGUN)
			__sync_fetch_and_add(&row->attempts, 1);
	}
	if (STAGE(old) == BEGUN && to == ESTABLISHED)
		__sync_fetch_and_add(&row->attempts, -1);
	if (to == ESTABLISHED)
		__sync_fetch_and_add(&row->open, 1);
	if (STAGE(old) == ESTABLISHED)
		__sync_fetch_and_add(&row->open, -1);
}

/*
 * A new owner takes over: what went before stays with the old one, but for what
 * the call that shows the new one has moved.
 */
static __always_inline void hand_over(struct sock *sk, struct holder *h, __u64 owner, __u64 sent, __u64 received)
{
	struct flow_key key;
	struct flow_row *row;
	__u8 local[16];
	__u64 old = READ(h->word);

	if (STAGE(old) == BEGUN)
		return; /* an attempt stays with who made it */
	if (!owner || OWNER(old) == owner) {
		h->used = 1;
		return;
	}
	/* A connection that its acceptor reads first was never the listener's. */
	if (h->used && is_tcp(sk))
		settle(sk, h, sent, received);
	h->used = 1;
	if (__sync_val_compare_and_swap(&h->word, old, owner | STAGE(old)) != old)
		return; /* ended meanwhile, or taken by another: the next call sees */
	h->held = 0;
	if (!is_tcp(sk) || STAGE(old) != ESTABLISHED)
		return;
	tcp_key(sk, h, &key, local);
	key.owner = OWNER(old);
	row = row_of(&key, local, h->own, &h->folded);
	if (row)
		__sync_fetch_and_add(&row->open, -1);
	key.owner = owner;
	h->folded = 0;
	row = row_of(&key, local, h->own, &h->folded);
	if (row) {
		__sync_fetch_and_add(&row->open, 1);
		__sync_fetch_and_add(&row->connections, 1);
	}
}

/* States of tcp_states.h. */
static __always_inline void tcp_state(struct sock *sk, struct holder *h, int state)
{
	__u16 port = sk->__sk_common.skc_num;

	h->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (port)
		h->port = port;
	switch (state) {
	case BPF_TCP_SYN_SENT:
		if (STAGE(READ(h->word)) == ENDED) { /* a socket connects again */
			h->word = OWNER(h->word);
			h->sent = h->received = 0;
			h->own = h->folded = 0;
		}
		h->direction = OUT;
		advance(sk, h, BEGUN);
		break;
	case BPF_TCP_LISTEN: /* whatever it was: those that it accepts begin as its copies */
		h->word = OWNER(h->word);
		h->sent = h->received = 0;
		h->own = h->folded = 0;
		h->direction = 0;
		break;
	case BPF_TCP_SYN_RECV:
		if (h->direction != OUT) { /* it begins when established: before 6.15 there is no peer yet */
			h->direction = IN;
			h->used = 0;
		}
		break;
	case BPF_TCP_ESTABLISHED:
		if (!h->direction)
			h->direction = IN;
		advance(sk, h, ESTABLISHED);
		break;
	case BPF_TCP_CLOSE:
		settle(sk, h, 0, 0);
		advance(sk, h, ENDED);
		break;
	}
}

SEC("sockops")
int on_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *bsk = ctx->sk;
	struct holder *h;
	struct tcp_sock *tp;
	int state;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		state = BPF_TCP_SYN_SENT;
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		state = BPF_TCP_ESTABLISHED;
		break;
	case BPF_SOCK_OPS_STATE_CB:
		state = ctx->args[1];
		break;
	default:
		return 1;
	}
	if (!bsk || !ctx->is_fullsock)
		return 1;
	if (ctx->op != BPF_SOCK_OPS_STATE_CB)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	tp = bpf_skc_to_tcp_sock(bsk);
	if (!tp)
		return 1;
	h = bpf_sk_storage_get(&holders, bsk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count(LOST_STORAGE, 1);
		return 1;
	}
	tcp_state((struct sock *)tp, h, state);
	return 1;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int state)
{
	struct holder *h;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	h = bpf_sk_storage_get(&holders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count(LOST_STORAGE, 1);
		return 0;
	}
	/* Both run in the process that asks; a listener's children inherit. */
	if ((state == BPF_TCP_SYN_SENT || state == BPF_TCP_LISTEN) && !OWNER(READ(h->word)))
		h->word = current_execution() | STAGE(h->word);
	tcp_state(sk, h, state);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(on_destroy, struct sock *sk)
{
	struct holder *h = bpf_sk_storage_get(&holders, sk, 0, 0);

	if (h)
		tcp_state(sk, h, BPF_TCP_CLOSE);
	return 0;
}

/* ---- ownership ---- */

#include "passing.h"

static __always_inline void sent_frames(struct sock *sk, __u32 kind, __u64 bytes)
{
	struct frame_key key = {.owner = current_execution(), .kind = kind, .netns = sk->__sk_common.skc_net.net->ns.inum};
	struct frame_row *row = bpf_map_lookup_elem(&frames, &key), fresh = {};

	if (!row) {
		bpf_map_update_elem(&frames, &key, &fresh, BPF_NOEXIST);
		mark(key.owner);
		row = bpf_map_lookup_elem(&frames, &key);
	}
	if (!row) {
		count(LOST_ROWS, 1);
		count(LOST_BYTES, bytes);
		return;
	}
	__sync_fetch_and_add(&row->bytes, bytes);
	row->last = bpf_ktime_get_boot_ns();
}

/* All but the common way through used(), which is shorter without it. */
static __noinline int used_anew(struct sock *sk, __u64 sent, __u64 received)
{
	struct holder *h;

	switch (sk->__sk_common.skc_family) {
	case AF_INET:
	case AF_INET6:
		break;
	case AF_UNIX:
		used_unix(sk, sent, received);
		return 0;
	case AF_NETLINK:
	case AF_KEY:
	case AF_ALG:
	case AF_KCM:
		return 0; /* see list_sockets */
	default:
		if (sent)
			sent_frames(sk, sk->__sk_common.skc_family == AF_PACKET ? FRAMES : OTHER, sent);
		return 0;
	}
	h = bpf_sk_storage_get(&holders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count(LOST_STORAGE, 1);
		return 0;
	}
	if (!h->netns)
		h->netns = sk->__sk_common.skc_net.net->ns.inum;
	hand_over(sk, h, current_execution(), sent, received);
	if (sent)
		sent_by(sk, h);
	return 0;
}

static __always_inline void used(struct sock *sk, __u64 sent, __u64 received)
{
	__u16 family = sk->__sk_common.skc_family;

	if (family == AF_INET || family == AF_INET6) {
		struct holder *h = bpf_sk_storage_get(&holders, sk, 0, 0);

		if (h && h->used && current_is(OWNER(READ(h->word)))) { /* as nearly always */
			if (sent)
				sent_by(sk, h);
			return;
		}
	}
	used_anew(sk, sent, received);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret, int flags)
{
	used(sk, ret > 0 ? ret : 0, 0);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_receive, struct sock *sk, int ret, int flags)
{
	if (ret > 0)
		used(sk, 0, ret);
	return 0;
}

/*
 * The same on kernels before 6.3, which have no tracepoints for it. What sk is
 * comes from the socket that every call is made on.
 */
SEC("fexit/inet_sendmsg")
int BPF_PROG(on_inet_send, struct socket *sock, struct msghdr *message, unsigned long size, int ret)
{
	used(sock->sk, ret > 0 ? ret : 0, 0);
	return 0;
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(on_inet6_send, struct socket *sock, struct msghdr *message, unsigned long size, int ret)
{
	used(sock->sk, ret > 0 ? ret : 0, 0);
	return 0;
}

SEC("fexit/inet_sendpage")
int BPF_PROG(on_inet_sendpage, struct socket *sock, struct page *page, int offset, unsigned long size, int flags, long ret)
{
	used(sock->sk, ret > 0 ? ret : 0, 0);
	return 0;
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(on_inet_receive, struct socket *sock, struct msghdr *message, unsigned long size, int flags, int ret)
{
	if (ret > 0)
		used(sock->sk, 0, ret);
	return 0;
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(on_inet6_receive, struct socket *sock, struct msghdr *message, unsigned long size, int flags, int ret)
{
	if (ret > 0)
		used(sock->sk, 0, ret);
	return 0;
}

SEC("fexit/packet_sendmsg")
int BPF_PROG(on_packet_send, struct socket *sock, struct msghdr *message, unsigned long size, int ret)
{
	if (ret > 0)
		sent_frames(sock->sk, FRAMES, ret);
	return 0;
}

/* A TCP socket that moves goes by used(). */
static __always_inline void take(struct holder *h)
{
	__u64 old = READ(h->word), owner = current_execution();

	if (owner && OWNER(old) != owner && (STAGE(old) == FRESH || STAGE(old) == ENDED))
		__sync_val_compare_and_swap(&h->word, old, owner | STAGE(old));
}

/* Before the first byte goes out. */
static __always_inline void claim(struct bpf_sock *sk)
{
	struct holder *h;

	if (!sk)
		return;
	h = bpf_sk_storage_get(&holders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count(LOST_STORAGE, 1);
		return;
	}
	if (!h->netns)
		h->netns = current_netns();
	take(h);
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *ctx)
{
	claim(ctx->sk);
	return 1;
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	claim(ctx->sk);
	return 1;
}

SEC("cgroup/sock_create")
int on_create(struct bpf_sock *ctx)
{
	claim(ctx);
	return 1;
}

/* ---- all that is not TCP ---- */

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

/* ---- what was there before, and what is still open ---- */

static __always_inline struct sock *sock_of(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6))
		return 0;
	return sk;
}

SEC("iter/task_file")
int seed_listeners(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = sock_of(ctx);
	struct port_key key = {};
	__u32 yes = 1;

	/* Behind a listener of MPTCP is one of TCP that no process holds. */
	if (!sk || (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_MPTCP))
		return 0;
	if (sk->__sk_common.skc_state != BPF_TCP_LISTEN)
		return 0;
	key.netns = sk->__sk_common.skc_net.net->ns.inum;
	key.port = sk->__sk_common.skc_num;
	bpf_map_update_elem(&listening, &key, &yes, BPF_ANY);
	return 0;
}

SEC("iter/task_file")
int seed_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = sock_of(ctx);
	struct port_key key = {};
	struct holder *h;
	int state;

	if (!sk || !task)
		return 0;
	h = bpf_sk_storage_get(&holders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!h) {
		count(LOST_STORAGE, 1);
		return 0;
	}
	key.netns = sk->__sk_common.skc_net.net->ns.inum;
	key.port = sk->__sk_common.skc_num;
	h->netns = key.netns;
	h->port = key.port;
	h->older = 1;
	if (!OWNER(READ(h->word)))
		__sync_fetch_and_or(&h->word, execution(task));
	state = sk->__sk_common.skc_state;
	if (!is_tcp(sk) || state == BPF_TCP_LISTEN || state == BPF_TCP_CLOSE)
		return 0;
	if (!h->direction)
		h->direction = listened(h) ? IN : OUT;
	advance(sk, h, state == BPF_TCP_SYN_SENT ? BEGUN : ESTABLISHED);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int settle_live(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct holder *h = ctx->value;

	if (!sk || !h)
		return 0;
	if (!is_tcp(sk) || STAGE(READ(h->word)) == FRESH || STAGE(READ(h->word)) == ENDED)
		return 0;
	if (h->older) {
		__u32 *older = setting(OLDER);

		if (older)
			*older += 1;
	}
	settle(sk, h, 0, 0);
	return 0;
}
#include "opens.h"
#include "sockets.h"

/* Shapes that no map shows to the loader. */
const struct event *shape_of_event __attribute__((unused));
const struct held *shape_of_held __attribute__((unused));
const struct hold_event *shape_of_hold_event __attribute__((unused));
