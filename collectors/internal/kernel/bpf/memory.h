/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Files in memory (tmpfs, memfd) without hooks on functions: no tracepoint tells that
 * one is read or written, but a change of its times does, and that somebody asks for
 * them. Writing sets the time of change; the first to read after that sets the time of
 * access (relatime, mount(8)). Whoever has a file open and asks how large it is, as
 * most programs do, is taken for a reader, too.
 */
#pragma once

#define ASKED_FOR (1U << 31) /* I_CTIME_QUERIED, no part of the time */

static __always_inline int in_memory(struct inode *inode)
{
	return inode->i_sb->s_magic == TMPFS && (inode->i_mode & FILE_TYPE) == REGULAR;
}

/*
 * What is new has no name yet. It may be written in the same tick, which is told of no
 * more, so who makes a file is taken to write it.
 */
static __noinline int changes_in_memory(struct inode *inode)
{
	if (!inode->i_dentry.first)
		return writes(inode);
	return seen(TIMES, current_execution(), inode, inode->i_sb->s_dev);
}

static __always_inline int is_later(__s64 a, __u32 a_part, __s64 b, __u32 b_part)
{
	return a > b || (a == b && a_part > b_part);
}

/* Times are set by now. One that is equal to the others was set by who changed them just before. */
SEC("tp_btf/writeback_mark_inode_dirty")
int BPF_PROG(on_times, struct inode *inode)
{
	__u32 part = inode->i_ctime_nsec & ~ASKED_FOR;
	int fresh, read;

	if (!in_memory(inode))
		return 0;
	fresh = same(TIMES, current_execution(), inode, inode->i_sb->s_dev);
	read = !is_later(inode->i_mtime_sec, inode->i_mtime_nsec, inode->i_atime_sec, inode->i_atime_nsec) &&
	       !is_later(inode->i_ctime_sec, part, inode->i_atime_sec, inode->i_atime_nsec);
	if (read && !fresh)
		return inode->i_size ? reads(inode) : 0;
	if (inode->i_mtime_sec == inode->i_ctime_sec && inode->i_mtime_nsec == part) /* else it has another name or mode */
		return writes(inode);
	return 0;
}

/* Whether current has a file open to be read, among its first descriptors. */
static __noinline int opened(struct inode *inode)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd);
	unsigned long *bits = BPF_CORE_READ(table, open_fds);
	__u64 open = 0;
	int i;

	bpf_probe_read_kernel(&open, sizeof(open), bits);
	for (i = 0; i < DESCRIPTORS && open; i++, open >>= 1) {
		struct file *file = 0;

		if (!(open & 1))
			continue;
		bpf_probe_read_kernel(&file, sizeof(file), files + i);
		if (file && BPF_CORE_READ(file, f_inode) == inode && BPF_CORE_READ(file, f_mode) & FMODE_READ)
			return 1;
	}
	return 0;
}

SEC("tp_btf/fill_mg_cmtime")
int BPF_PROG(on_stat, struct inode *inode)
{
	__u32 device = inode->i_sb->s_dev;
	__u64 who;

	if (!in_memory(inode) || !inode->i_size)
		return 0;
	who = asks(device, inode->i_mode);
	if (!who || same(READS, who, inode, device) || !opened(inode) || seen(READS, who, inode, device))
		return 0;
	return look(inode, device, who);
}
