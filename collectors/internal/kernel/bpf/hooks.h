/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/* Where the kernel tells of files: see opens.h. Which of these are used is chosen when they are loaded. */
#pragma once

SEC("fentry/security_file_open")
int BPF_PROG(on_file_open, struct file *file)
{
	return file->f_mode & FMODE_READ ? reads(file->f_inode) : 0;
}

/* Each read and write by a call, also by a descriptor that another process opened. */
SEC("fentry/security_file_permission")
int BPF_PROG(on_file_use, struct file *file, int mask)
{
	if (mask & MAY_WRITE)
		writes(file->f_inode);
	if (mask & MAY_READ)
		reads(file->f_inode);
	return 0;
}

SEC("fentry/security_mmap_file")
int BPF_PROG(on_file_map, struct file *file, unsigned long prot, unsigned long flags)
{
	if (!file)
		return 0;
	if (prot & PROT_WRITE && flags & MAP_SHARED)
		writes(file->f_inode);
	return reads(file->f_inode);
}

SEC("fentry/security_inode_rename")
int BPF_PROG(on_rename, struct inode *old, struct dentry *from, struct inode *new, struct dentry *to, unsigned int flags)
{
	goes(from, BPF_CORE_READ(to, d_parent));
	if (flags & RENAME_EXCHANGE)
		goes(to, BPF_CORE_READ(from, d_parent));
	return 0;
}

SEC("fentry/security_inode_link")
int BPF_PROG(on_link, struct dentry *from, struct inode *dir, struct dentry *to)
{
	return goes(from, BPF_CORE_READ(to, d_parent));
}

/* ---- of the page cache, since Linux 6.12 ---- */

SEC("tp_btf/mm_filemap_get_pages")
int BPF_PROG(on_cache_read, struct address_space *mapping)
{
	return reads(mapping->host);
}

SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(on_cache_map, struct address_space *mapping)
{
	return reads(mapping->host);
}

SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(on_cache_fault, struct address_space *mapping)
{
	return reads(mapping->host);
}

/* Past the page cache. */
SEC("tp_btf/iomap_dio_rw_begin")
int BPF_PROG(on_raw_io, struct kiocb *io, struct iov_iter *memory)
{
	struct inode *inode = io->ki_filp->f_inode;

	return memory->data_source ? writes(inode) : reads(inode);
}

/* Also what is written by a mapping. */
SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(on_cache_dirty, void *folio, struct address_space *mapping)
{
	return mapping ? writes(mapping->host) : 0;
}

SEC("tp_btf/ext4_da_write_begin")
int BPF_PROG(on_ext4_write, struct inode *inode)
{
	return writes(inode);
}

SEC("tp_btf/ext4_write_begin")
int BPF_PROG(on_ext4_write_now, struct inode *inode)
{
	return writes(inode);
}

SEC("tp_btf/ctime_ns_xchg")
int BPF_PROG(on_change, struct inode *inode)
{
	if (in_memory(inode))
		changes_in_memory(inode);
	return changes(inode);
}

SEC("tp_btf/ctime_xchg_skip")
int BPF_PROG(on_change_again, struct inode *inode)
{
	if (in_memory(inode))
		changes_in_memory(inode);
	return changes(inode);
}

SEC("tp_btf/inode_set_ctime_to_ts")
int BPF_PROG(on_change_set, struct inode *inode)
{
	if (in_memory(inode))
		changes_in_memory(inode);
	return changes(inode);
}

/* ---- what is open already ---- */

static __always_inline void list_inode(struct inode *inode, __u64 owner)
{
	__u32 device = BPF_CORE_READ(inode, i_sb, s_dev);
	__u64 *own;

	if (!bpf_map_lookup_elem(&devices, &device) || (BPF_CORE_READ(inode, i_mode) & FILE_TYPE) != REGULAR)
		return;
	own = own_word();
	if (own && *own != owner)
		look(inode, device, owner);
}

static __always_inline void list_file(struct file *file, struct inode *inode, __u64 owner)
{
	if (inode && BPF_CORE_READ(file, f_mode) & FMODE_READ)
		list_inode(inode, owner);
}

SEC("iter/task_vma")
int list_mapped(struct bpf_iter__task_vma *ctx)
{
	struct task_struct *task = ctx->task;
	struct vm_area_struct *vma = ctx->vma;
	struct file *file;

	if (!task || !vma || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	file = BPF_CORE_READ(vma, vm_file);
	if (file)
		list_inode(BPF_CORE_READ(file, f_inode), execution(task));
	return 0;
}
