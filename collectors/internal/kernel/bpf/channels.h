/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Channels: the pipes, Unix sockets and pseudo-terminals by which an execution may
 * hand data to another one. They are noted when it begins, so that the ends of a
 * pipeline are known after all its processes have ended, and when it ends if it
 * could open others in between that matter.
 */
#pragma once

#define DESCRIPTORS 64 /* that are looked at, from the first */

enum { PIPE = 1, UNIX_SOCKET, TERMINAL, MASTER };
enum { CAN_READ = 1, CAN_WRITE = 2 }; /* as FMODE_READ and FMODE_WRITE */

#define MAJOR(rdev) ((rdev) >> 20)
#define S_TYPE(mode) ((mode)&0170000)
#define TTY_AUX 5 /* major number of /dev/tty and /dev/ptmx */
#define PTY_MASTER 128 /* the first of eight, devices.txt */
#define PTY_SLAVE 136 /* likewise */

static __always_inline __u64 inode_of(struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);
	struct socket_alloc *alloc = (void *)socket - bpf_core_field_offset(struct socket_alloc, socket);

	return socket ? BPF_CORE_READ(alloc, vfs_inode.i_ino) : 0;
}

static __always_inline int socket_channel(struct channel *c, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk), *peer;

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
		return 0;
	peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	c->kind = UNIX_SOCKET;
	c->place = peer ? inode_of(peer) : 0;
	return 1;
}

/* Both ends have the slave's number, and the file system that it is in: each container has one. */
static __always_inline int terminal_channel(struct channel *c, struct file *file)
{
	struct tty_file_private *private = BPF_CORE_READ(file, private_data);
	struct tty_struct *tty = BPF_CORE_READ(private, tty), *slave = tty;
	int major = BPF_CORE_READ(tty, driver, major);
	struct dentry *dentry;

	if (major >= PTY_SLAVE && major < PTY_SLAVE + 8) {
		c->kind = TERMINAL;
	} else if (major >= PTY_MASTER && major < PTY_MASTER + 8) {
		c->kind = MASTER;
		slave = BPF_CORE_READ(tty, link);
	} else {
		return 0;
	}
	dentry = BPF_CORE_READ(slave, driver_data);
	c->id = BPF_CORE_READ(slave, index);
	c->place = BPF_CORE_READ(dentry, d_inode, i_sb, s_dev);
	return 1;
}

static __always_inline int channel_of(struct channel *c, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	__u32 major;

	c->mode = BPF_CORE_READ(file, f_mode) & (CAN_READ | CAN_WRITE);
	c->unused = 0;
	c->id = BPF_CORE_READ(inode, i_ino);
	switch (S_TYPE(BPF_CORE_READ(inode, i_mode))) {
	case 0010000:
		c->kind = PIPE;
		c->place = BPF_CORE_READ(inode, i_sb, s_dev);
		return 1;
	case 0140000:
		return socket_channel(c, file);
	case 0020000:
		major = MAJOR(BPF_CORE_READ(inode, i_rdev));
		if ((major == TTY_AUX && (BPF_CORE_READ(inode, i_rdev) & 0xfffff) <= 2) || (major >= PTY_SLAVE && major < PTY_SLAVE + 8))
			return terminal_channel(c, file);
	}
	return 0;
}

/* Adds what one descriptor is to what is noted. */
static __noinline int note_channel(struct program *p, struct file *file)
{
	struct channel c;
	__u32 i, n = p->channel_count;

	__builtin_memset(&c, 0, sizeof(c));
	if (!channel_of(&c, file))
		return 0;
	for (i = 0; i < CHANNELS; i++) {
		struct channel *known = &p->channels[i];

		if (i < n && known->id == c.id && known->kind == c.kind && known->place == c.place) {
			known->mode |= c.mode;
			return 0;
		}
	}
	if (n < CHANNELS)
		p->channels[n & (CHANNELS - 1)] = c;
	p->channel_count = n + 1;
	return 0;
}

/* Adds the channels that a process has open; the table may be another's, which is only read. */
static __always_inline void note_channels(struct program *p, struct task_struct *task)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd);
	unsigned long *bits = BPF_CORE_READ(table, open_fds);
	__u64 opened = 0;
	int i;

	bpf_probe_read_kernel(&opened, sizeof(opened), bits);
	for (i = 0; i < DESCRIPTORS; i++) {
		struct file *file = 0;

		if (!opened)
			break;
		if (opened & 1) {
			bpf_probe_read_kernel(&file, sizeof(file), files + i);
			if (file)
				note_channel(p, file);
		}
		opened >>= 1;
	}
}
