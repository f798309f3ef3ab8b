/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Datagrams of Unix sockets on kernels that let nobody hook the function which
 * knows both ends. A datagram belongs to its sender's socket until it is read, also
 * when that was closed: what its sender held is noted there, and whoever copies the
 * datagram out looks.
 *
 * A datagram may be read before its sender's tracepoint is passed. One that has an
 * address passes a hook of control groups before it is sent; a connected socket has
 * one receiver, which is remembered.
 */
#pragma once

struct said {
	__u64 stores;
	__u64 from; /* who was the first with the last of them */
	__u64 reader; /* the last */
	__u64 by; /* who sent last, where there is a service */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct said);
} said SEC(".maps");

/* Who sent what a thread has just copied: which socket it did that by is told of next. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} heard SEC(".maps");

static __always_inline int by_copies(void)
{
	__u32 *copies = setting(COPIES);

	return copies && *copies;
}

static __always_inline void hears(struct said *s, __u64 who, struct sock *sk)
{
	struct hold_key hold = {.owner = who, .how = PIPELINE};

	hold.stores = READ(s->stores) & ~stores_of(who);
	if (hold.stores && !is_exempt(who))
		obtain(&hold, READ(s->from), inode_of(sk), 0);
}

/* sk is a struct sock, or what a hook of control groups knows it by; connected is one that has a peer. */
static __always_inline void says(void *sk, struct sock *connected)
{
	__u64 who = current_execution(), stores = stores_of(who), reader;
	struct said *s = bpf_sk_storage_get(&said, sk, 0, 0);

	if (stores && is_exempt(who))
		stores = 0;
	if (!s && !stores && !any_service())
		return;
	if (!s)
		s = bpf_sk_storage_get(&said, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		count(LOST_STORAGE, 1);
		return;
	}
	if (READ(s->by) != who)
		__sync_lock_test_and_set(&s->by, who);
	if (!(stores & ~READ(s->stores)))
		return;
	s->from = who;
	__sync_fetch_and_or(&s->stores, stores); /* and a barrier: the reader does the reverse */
	reader = READ(s->reader);
	if (reader && connected)
		hears(s, reader, connected);
}

static __noinline int copied(struct sock *sk)
{
	__u64 who, thread, by;
	struct said *s;

	if (!holding() && !any_service())
		return 0;
	who = current_execution();
	if (!who)
		return 0;
	s = bpf_sk_storage_get(&said, sk, 0, 0);
	if (!s) {
		if (!BPF_CORE_READ(sk, sk_socket)) /* closed: nothing more is said by it */
			return 0;
		s = bpf_sk_storage_get(&said, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	}
	if (!s) {
		count(LOST_STORAGE, 1);
		return 0;
	}
	if (READ(s->reader) != who)
		__sync_lock_test_and_set(&s->reader, who);
	hears(s, who, sk);
	if (any_service()) {
		thread = bpf_get_current_pid_tgid();
		by = READ(s->by);
		bpf_map_update_elem(&heard, &thread, &by, BPF_ANY);
	}
	return 0;
}

/* All that is received goes through here: most is not of AF_UNIX. */
SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(on_copy, const struct sk_buff *skb, int length)
{
	struct sock *sk = skb->sk;

	if (!sk || sk->__sk_common.skc_family != AF_UNIX || sk->sk_type != SOCK_DGRAM)
		return 0;
	return copied(sk);
}

/* Before a datagram with an address is sent, since Linux 6.7. */
SEC("cgroup/sendmsg_unix")
int on_unix_address(struct bpf_sock_addr *ctx)
{
	if (ctx->sk && (any_service() || holding()))
		says(ctx->sk, 0);
	return 1;
}

static __always_inline void requests(struct sock *peer, __u64 who);

/* Who sent what was received last asked this socket. */
static __always_inline void asked_by(struct sock *sk)
{
	__u64 thread = bpf_get_current_pid_tgid(), *by = bpf_map_lookup_elem(&heard, &thread), who;

	if (!by)
		return;
	who = *by;
	bpf_map_delete_elem(&heard, &thread);
	requests(sk, who);
}
