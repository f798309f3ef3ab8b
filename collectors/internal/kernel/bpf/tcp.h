/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * TCP: the stages of a connection, and its bytes, which are moved from the socket's own
 * counters to the row.
 */
#pragma once

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
