/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Passing: custody that goes over Unix sockets. Whoever sends to a service of a
 * store holds what it answers; whoever receives from a holder holds what that did.
 * Nothing is looked at while there is neither.
 */
#pragma once
#include "holders.h"

struct service_key {
	__u64 inode; /* of the file that the socket is bound to */
	__u32 device; /* 12 bits major and 20 minor */
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct service_key);
	__type(value, __u64);
} services SEC(".maps");

/* Executions that serve all, such as the system's log: nothing passes by them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} exempt SEC(".maps");

/*
 * What a holder has sent to a Unix socket, and who reads from it: what is sent may
 * be read before its sender's tracepoint is passed.
 */
struct taint {
	__u64 stores;
	__u64 from; /* who was the first */
	__u64 reader; /* the last */
	__u64 inode; /* of the socket, which the reader may have closed by then */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct taint);
} tainted SEC(".maps");

/* What passes wakes nobody up: its bytes do, when they leave. */
static __noinline int obtain(struct hold_key *key, __u64 from, __u64 inode, const unsigned char *name)
{
	struct hold_row row = {.from = from, .inode = inode};

	if (name)
		bpf_probe_read_kernel_str(row.name, sizeof(row.name), name);
	if (begin_hold(key, &row))
		mark(key->owner);
	return 0;
}

static __always_inline int is_exempt(__u64 who)
{
	return bpf_map_lookup_elem(&exempt, &who) != 0;
}

static __always_inline int any_service(void)
{
	__u32 *any = setting(SERVICES);

	return any && *any;
}

/* A connection that was accepted has its listener's path. */
static __always_inline void requests(struct sock *peer, __u64 who)
{
	struct dentry *dentry = BPF_CORE_READ((struct unix_sock *)peer, path.dentry);
	struct service_key key = {};
	struct hold_key hold = {.owner = who, .how = SERVICE};
	struct inode *inode;
	__u64 *stores;

	if (!dentry)
		return;
	inode = BPF_CORE_READ(dentry, d_inode);
	key.inode = BPF_CORE_READ(inode, i_ino);
	key.device = BPF_CORE_READ(inode, i_sb, s_dev);
	stores = bpf_map_lookup_elem(&services, &key);
	if (!stores || !who)
		return;
	hold.stores = *stores & ~stores_of(who);
	if (hold.stores && !is_exempt(who))
		obtain(&hold, 0, key.inode, BPF_CORE_READ(dentry, d_name.name));
}

/* What an execution has of a socket that a holder sent to. */
static __always_inline void receives(struct taint *t, __u64 who)
{
	struct hold_key hold = {.owner = who, .how = PIPELINE};

	hold.stores = READ(t->stores) & ~stores_of(who);
	if (hold.stores && !is_exempt(who))
		obtain(&hold, READ(t->from), READ(t->inode), 0);
}

static __always_inline void taints(struct sock *peer, __u64 who)
{
	__u64 stores = stores_of(who), reader;
	struct taint *t;

	if (!stores)
		return;
	t = bpf_sk_storage_get(&tainted, peer, 0, 0);
	if (t && !(stores & ~READ(t->stores)))
		return;
	if (is_exempt(who))
		return;
	t = bpf_sk_storage_get(&tainted, peer, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!t) {
		count(LOST_STORAGE, 1);
		return;
	}
	if (!t->from)
		t->from = who;
	__sync_fetch_and_or(&t->stores, stores); /* and a barrier: the reader does the reverse */
	reader = READ(t->reader);
	if (reader)
		receives(t, reader);
}

#include "datagrams.h"

static __always_inline void sends_unix(struct sock *peer)
{
	__u64 who;

	if (!any_service() && !holding())
		return;
	who = current_execution();
	if (any_service())
		requests(peer, who);
	taints(peer, who);
}

/*
 * A peer is only marked by a socket's own pointer where that stays until the
 * socket is closed. A datagram's may be another each time: see on_may_send.
 */
static __always_inline void sent_unix(struct sock *sk)
{
	struct unix_sock *own;
	struct sock *peer;

	if (!any_service() && !holding())
		return;
	own = bpf_skc_to_unix_sock(sk);
	if (!own)
		return;
	peer = own->peer;
	if (sk->sk_type == SOCK_DGRAM && by_copies())
		says(sk, peer ? sk : 0);
	if (!peer)
		return;
	if (sk->sk_type != SOCK_DGRAM)
		sends_unix(peer);
	else if (any_service())
		requests(peer, current_execution());
}

static __always_inline void received_unix(struct sock *sk)
{
	struct taint *t;
	__u64 who;

	if (sk->sk_type == SOCK_DGRAM && by_copies()) {
		if (any_service())
			asked_by(sk);
		return;
	}
	if (!holding())
		return;
	who = current_execution();
	if (!who)
		return;
	t = bpf_sk_storage_get(&tainted, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!t) {
		count(LOST_STORAGE, 1);
		return;
	}
	if (READ(t->reader) != who) {
		if (!t->inode)
			t->inode = inode_of(sk);
		__sync_lock_test_and_set(&t->reader, who);
	}
	receives(t, who);
}

/* Kernels before 5.16 have no such helper, and are not looked at. */
static __always_inline void used_unix(struct sock *sk, __u64 sent, __u64 received)
{
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_unix_sock))
		return;
	if (sent)
		sent_unix(sk);
	else if (received)
		received_unix(sk);
}

/* Asked for each datagram, with both ends held. */
SEC("fentry/security_unix_may_send")
int BPF_PROG(on_may_send, struct socket *sock, struct socket *other)
{
	struct sock *peer = other->sk;

	if (peer && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_unix_sock))
		sends_unix(peer);
	return 0;
}

/* What is spliced passes no tracepoint. */
SEC("fexit/unix_stream_splice_read")
int BPF_PROG(on_unix_splice, struct socket *sock, __s64 *position, struct pipe_inode_info *pipe, unsigned long size, unsigned int flags, long ret)
{
	if (ret > 0)
		used_unix(sock->sk, 0, ret);
	return 0;
}

/* Kernels before 6.3 have no tracepoints for what follows. */
SEC("fexit/unix_stream_sendmsg")
int BPF_PROG(on_unix_send, struct socket *sock, struct msghdr *message, unsigned long size, int ret)
{
	if (ret > 0)
		used_unix(sock->sk, ret, 0);
	return 0;
}

SEC("fexit/unix_seqpacket_sendmsg")
int BPF_PROG(on_unix_packet_send, struct socket *sock, struct msghdr *message, unsigned long size, int ret)
{
	if (ret > 0)
		used_unix(sock->sk, ret, 0);
	return 0;
}

SEC("fexit/unix_stream_sendpage")
int BPF_PROG(on_unix_sendpage, struct socket *sock, struct page *page, int offset, unsigned long size, int flags, long ret)
{
	if (ret > 0)
		used_unix(sock->sk, ret, 0);
	return 0;
}

SEC("fexit/unix_stream_recvmsg")
int BPF_PROG(on_unix_receive, struct socket *sock, struct msghdr *message, unsigned long size, int flags, int ret)
{
	if (ret > 0)
		used_unix(sock->sk, 0, ret);
	return 0;
}

SEC("fexit/unix_dgram_recvmsg")
int BPF_PROG(on_unix_datagram_receive, struct socket *sock, struct msghdr *message, unsigned long size, int flags, int ret)
{
	if (ret > 0)
		used_unix(sock->sk, 0, ret);
	return 0;
}

SEC("fexit/unix_seqpacket_recvmsg")
int BPF_PROG(on_unix_packet_receive, struct socket *sock, struct msghdr *message, unsigned long size, int flags, int ret)
{
	if (ret > 0)
		used_unix(sock->sk, 0, ret);
	return 0;
}
