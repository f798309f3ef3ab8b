/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Owners: which program uses a socket. Whoever makes it owns it first, and whoever is seen
 * to send or receive by it takes over.
 */
#pragma once

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
