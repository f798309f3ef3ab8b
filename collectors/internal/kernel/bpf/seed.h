/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * What was there before the capture, and what is still open when it is read.
 */
#pragma once

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
