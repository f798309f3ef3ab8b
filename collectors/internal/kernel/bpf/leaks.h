/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Leaks: a holder sends to an address of no zone, on whatever connection it has.
 * Each socket of TCP, and each row of the other protocols, remembers how often
 * custody had begun when it was looked at last, so that nothing is looked up
 * while it has not begun anywhere since.
 */
#pragma once

static __always_inline void tell_leak(const struct flow_key *key, struct flow_row *row, __u64 stores)
{
	struct event event = {.kind = EVENT_LEAK, .zone = row->zone, .at = row->sent_last, .stores = stores};

	event.key = *key;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP) < 0)
		count(LOST_EVENTS, 1);
}

/* Each store of a row is told of once. */
static __noinline int see_leak(struct flow_key *key, struct flow_row *row, __u32 own)
{
	__u64 stores = stores_of(key->owner), fresh;

	if (!stores)
		return 0;
	row->sent_last = bpf_ktime_get_boot_ns();
	if (own || row->own || row->zone)
		return 0;
	fresh = stores & ~READ(row->told);
	if (!fresh)
		return 0;
	__sync_fetch_and_or(&row->told, fresh);
	tell_leak(key, row, fresh);
	return 0;
}

/* When something was sent on a row, of a protocol other than TCP. */
static __always_inline void sent_on(struct flow_key *key, struct flow_row *row)
{
	__u32 now = held_now();

	if (row->sent_last < row->last)
		row->sent_last = row->last;
	if (row->held == now)
		return;
	row->held = now;
	if (row->generation != generation())
		zone_of(row, key);
	see_leak(key, row, 0);
}

/* What the kernel's clock for TCP says, in the time of the rows. */
static __always_inline void sent_at(struct tcp_sock *tp, struct flow_row *row)
{
	__u32 *tick = setting(TICK_NS);
	__u64 at;

	if (!tick)
		return;
	at = bpf_ktime_get_boot_ns() - (__u64)((__u32)bpf_jiffies64() - READ(tp->lsndtime)) * *tick;
	if (row->sent_last < at)
		row->sent_last = at;
}

static __noinline int sent_by_holder(struct sock *sk, struct holder *h, __u32 now)
{
	struct flow_key key;
	struct flow_row *row;
	__u8 local[16];

	if (STAGE(READ(h->word)) != ESTABLISHED || !h->direction)
		return 0; /* not yet: the next call sees */
	h->held = now;
	if (!stores_of(OWNER(READ(h->word))))
		return 0;
	tcp_key(sk, h, &key, local);
	key.owner = OWNER(READ(h->word));
	see_route(sk, h, &key, local);
	row = row_of(&key, local, h->own, &h->folded);
	if (row)
		see_leak(&key, row, h->own);
	return 0;
}

/* After a call that sent by TCP. */
static __always_inline void sent_by(struct sock *sk, struct holder *h)
{
	__u32 now = held_now();

	if (h->held != now && is_tcp(sk))
		sent_by_holder(sk, h, now);
}
