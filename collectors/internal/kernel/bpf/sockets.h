/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * A list of the sockets that processes hold and that no flow tells of: those that
 * wait for peers, Unix sockets, and what sends past the protocols. It sees every
 * network namespace, and tables of descriptors that only a thread has.
 */
#pragma once

#define PATH 108 /* sun_path, of unix(7) */
#define TUN_DEVICE (10 << 20 | 200) /* misc device of drivers/net/tun.c */

struct held {
	__u64 owner;
	__u64 inode; /* of the socket */
	__u64 peer; /* of the other end of a Unix socket; 0 none, or not accepted yet */
	__u64 file; /* inode of the file that a Unix socket, or else its peer, is bound to */
	__u32 device; /* of that file, 12 bits major and 20 minor */
	__u32 netns;
	__u16 family; /* 0: a TUN device */
	__u16 kind; /* SOCK_STREAM, SOCK_DGRAM, … */
	__u16 protocol;
	__u16 port;
	__u8 listens;
	__u8 v6only;
	__u8 name_length;
	__u8 named_peer; /* the name is the peer's */
	__u8 local[16];
	char name[PATH];
};

static __always_inline int name_unix(struct held *held, struct unix_sock *sk)
{
	struct unix_address *address = BPF_CORE_READ(sk, addr);
	struct dentry *dentry;
	struct inode *inode;
	int length;

	if (!address)
		return 0;
	length = BPF_CORE_READ(address, len) - 2; /* of the family */
	if (length < 0)
		length = 0;
	if (length > PATH)
		length = PATH;
	held->name_length = length;
	bpf_probe_read_kernel(held->name, PATH, (void *)address + bpf_core_field_offset(struct unix_address, name) + 2);
	dentry = BPF_CORE_READ(sk, path.dentry);
	if (!dentry)
		return 1;
	inode = BPF_CORE_READ(dentry, d_inode);
	held->file = BPF_CORE_READ(inode, i_ino);
	held->device = BPF_CORE_READ(inode, i_sb, s_dev);
	return 1;
}

static __always_inline int held_unix(struct held *held, struct sock *sk)
{
	struct unix_sock *own = (void *)sk;
	struct unix_sock *peer = (void *)BPF_CORE_READ(own, peer);
	int named = name_unix(held, own);

	held->listens = named && (BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_LISTEN || (held->kind == SOCK_DGRAM && !peer));
	if (!peer)
		return held->listens;
	held->peer = inode_of((void *)peer);
	if (!named)
		held->named_peer = name_unix(held, peer);
	return 1;
}

static __always_inline int held_inet(struct held *held, struct sock *sk)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	held->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	held->v6only = BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only);
	if (held->protocol == IPPROTO_TCP || held->protocol == IPPROTO_MPTCP)
		held->listens = state == BPF_TCP_LISTEN;
	else
		held->listens = held->port && !BPF_CORE_READ(sk, __sk_common.skc_dport);
	if (held->family == AF_INET)
		map4(held->local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO(&held->local, sk, __sk_common.skc_v6_rcv_saddr);
	return held->listens;
}

/* What waits for peers, and whose owner has ended, is whose it is now: what comes begins as its copy. */
static __always_inline void adopt(struct sock *sk, __u64 holder)
{
	struct holder *h = bpf_sk_storage_get(&holders, sk, 0, 0);
	__u64 old, owner;
	struct program *p;

	if (!h)
		return;
	old = READ(h->word);
	owner = OWNER(old);
	if (owner == holder || STAGE(old) != FRESH)
		return;
	p = bpf_map_lookup_elem(&programs, &owner);
	if (!p || p->ended)
		__sync_val_compare_and_swap(&h->word, old, holder | FRESH);
}

/* A frame of its own: that of files has calls below it that need theirs. */
static __noinline int list_held(struct seq_file *seq, struct task_struct *task, struct file *file, struct socket *socket, __u64 who)
{
	struct held held = {.owner = who};
	struct sock *sk;
	int keep = 0;

	if (!socket) {
		held.inode = BPF_CORE_READ(file, f_inode, i_ino);
		held.netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
		bpf_seq_write(seq, &held, sizeof(held));
		return 0;
	}
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return 0;
	held.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	held.kind = BPF_CORE_READ(sk, sk_type);
	held.protocol = BPF_CORE_READ(sk, sk_protocol);
	held.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	switch (held.family) {
	case AF_UNIX:
		keep = held_unix(&held, sk);
		break;
	case AF_INET:
	case AF_INET6:
		keep = held_inet(&held, sk);
		if (keep && socket->sk)
			adopt(socket->sk, held.owner);
		break;
	case AF_NETLINK: /* of the machine itself */
	case AF_KEY:
	case AF_ALG:
	case AF_KCM: /* a part of a connection of TCP */
		break;
	default: /* AF_PACKET, AF_XDP, and what has a network of its own: AF_VSOCK, AF_BLUETOOTH, AF_TIPC, … */
		keep = 1;
	}
	if (!keep)
		return 0;
	held.inode = inode_of(sk);
	bpf_seq_write(seq, &held, sizeof(held));
	return 0;
}

SEC("iter/task_file")
int list_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	__u64 who;

	if (!task || !file)
		return 0;
	introduce();
	who = execution(task);
	socket = bpf_sock_from_file(file);
	if (!socket) {
		struct inode *inode = BPF_CORE_READ(file, f_inode);

		list_file(file, inode, who);
		if (BPF_CORE_READ(inode, i_rdev) != TUN_DEVICE || (BPF_CORE_READ(inode, i_mode) & 0170000) != 0020000)
			return 0;
	}
	return list_held(ctx->meta->seq, task, file, socket, who);
}
