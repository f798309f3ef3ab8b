/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Who opens and reads the files of declared stores, and the files that whoever did
 * has written. A file is a store's by where any of its names lies, looked up from
 * the file to the root of its file system: mounts and their namespaces do not
 * matter.
 *
 * Hooks on functions see every open and every read. Where a kernel refuses them,
 * tracepoints of the page cache see reads and faults of what goes through it.
 */
#pragma once

#include "holders.h"

#define LEVELS 32 /* directories above a file that are looked at */
#define NAMES 4 /* of one file */
#define FILE_TYPE 0170000
#define REGULAR 0100000
#define DIRECTORY 0040000
#define FMODE_READ 1
#define MAY_WRITE 2
#define MAY_READ 4
#define PROT_WRITE 2
#define MAP_SHARED 1
#define RENAME_EXCHANGE 2
#define TMPFS 0x01021994

struct root_key {
	__u64 inode;
	__u32 device;
	__u32 unused;
};

struct root {
	__u64 stores;
	__u32 generation;
	__u32 moved; /* a directory that was seen in a store: it stays one's when it is moved */
};

/* Directories and files that are stores, with all that is below. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct root_key);
	__type(value, struct root);
} roots SEC(".maps");

#define FILTER 1024

/* A bit for each number of an inode in roots, and for others by chance: most directories are none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FILTER);
	__type(key, __u32);
	__type(value, __u64);
} filter SEC(".maps");

enum { HAS_STORES = 1, HAS_DERIVED = 2, HAS_SERVER = 4 };

/* File systems that hold any of them, or that programs serve: the quick way out for all others. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

struct file_key {
	__u64 inode;
	__u32 device;
	__u32 generation;
};

/* A file that carries a store's data, wherever it lies. */
struct derived_row {
	__u64 stores;
	__u64 from; /* execution that wrote or moved it */
	__u64 first; /* nanoseconds since boot */
	__u64 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct file_key);
	__type(value, struct derived_row);
} derived SEC(".maps");

enum access { READS, WRITES, CHANGES, TIMES, ACCESSES };

/* The last file that was looked at, so that a long read is one look in a tick. */
struct recent {
	__u64 owner;
	__u64 inode;
	__u64 tick;
	__u32 device;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ACCESSES);
	__type(key, __u32);
	__type(value, struct recent);
} recents SEC(".maps");

#include "mounts.h"

/* ---- where a file lies ---- */

/* Parent and inode are neighbours in all known kernels, so that one call gets both. */
static __always_inline struct dentry *look_at(struct dentry *dentry, struct inode **inode)
{
	const __u64 parent = bpf_core_field_offset(struct dentry, d_parent), child = bpf_core_field_offset(struct dentry, d_inode);
	__u64 words[4] = {};

	if (child == parent + 24) {
		bpf_probe_read_kernel(words, sizeof(words), (void *)dentry + parent);
		*inode = (void *)(unsigned long)words[3];
		return (void *)(unsigned long)words[0];
	}
	*inode = BPF_CORE_READ(dentry, d_inode);
	return BPF_CORE_READ(dentry, d_parent);
}

static __always_inline int may_be_root(__u64 number)
{
	__u32 word = number / 64 % FILTER;
	__u64 *bits = bpf_map_lookup_elem(&filter, &word);

	return bits && *bits >> number % 64 & 1;
}

static __noinline __u64 root_holds(struct root *root, struct inode *inode)
{
	return !root->moved || root->generation == BPF_CORE_READ(inode, i_generation) ? root->stores : 0;
}

/* The verifier goes through this once, wherever it is called from: it has no pointers. */
__noinline __u64 stores_above(__u64 from, __u32 device)
{
	struct root_key key = {.device = device};
	struct dentry *dentry = (void *)(unsigned long)from;
	__u64 found = 0;
	int i;

	for (i = 0; i < LEVELS && dentry; i++) {
		struct inode *inode;
		struct dentry *parent = look_at(dentry, &inode);
		struct root *root;

		key.inode = BPF_CORE_READ(inode, i_ino);
		if (may_be_root(key.inode)) {
			root = bpf_map_lookup_elem(&roots, &key);
			if (root)
				found |= root_holds(root, inode);
		}
		dentry = parent == dentry ? 0 : parent;
	}
	return found;
}

/* By all names that are known, since what reads tells of none. */
__noinline __u64 stores_by(__u64 number, __u32 device)
{
	struct inode *inode = (void *)(unsigned long)number;
	struct hlist_node *node = BPF_CORE_READ(inode, i_dentry.first);
	__u64 found = 0;
	int i;

	for (i = 0; i < NAMES && node; i++) {
		struct dentry *dentry;

		if (bpf_core_field_exists(((struct dentry___flat *)0)->d_alias))
			dentry = (void *)node - bpf_core_field_offset(struct dentry___flat, d_alias);
		else
			dentry = (void *)node - bpf_core_field_offset(struct dentry, d_u.d_alias);
		found |= stores_above((unsigned long)dentry, device);
		node = BPF_CORE_READ(node, next);
	}
	return found;
}

/* What the verifier knows to be a pointer is none for a function that it goes through once. */
static __always_inline __u64 number_of(void *pointer)
{
	__u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &pointer);
	return number;
}

static __always_inline __u64 stores_with(struct inode *inode, __u32 device)
{
	return stores_by(number_of(inode), device);
}

/* Whether the last file that was looked at was this one, by the same and in this tick. */
static __always_inline int same(enum access what, __u64 owner, struct inode *inode, __u32 device)
{
	__u32 which = what;
	struct recent *last = bpf_map_lookup_elem(&recents, &which);

	return last && last->owner == owner && last->inode == BPF_CORE_READ(inode, i_ino) && last->device == device &&
	       last->tick == bpf_jiffies64();
}

static __always_inline int seen(enum access what, __u64 owner, struct inode *inode, __u32 device)
{
	__u32 which = what;
	struct recent *last = bpf_map_lookup_elem(&recents, &which);

	if (!last)
		return 0;
	if (same(what, owner, inode, device))
		return 1;
	last->owner = owner;
	last->inode = BPF_CORE_READ(inode, i_ino);
	last->device = device;
	last->tick = bpf_jiffies64();
	return 0;
}

/* tmpfs uses no number again, but others take its device; a file is told of before its own generation is set. */
static __always_inline void key_of(struct file_key *key, struct inode *inode, __u32 device)
{
	struct super_block *sb = BPF_CORE_READ(inode, i_sb);

	key->inode = BPF_CORE_READ(inode, i_ino);
	key->device = device;
	if (BPF_CORE_READ(sb, s_magic) == TMPFS)
		inode = BPF_CORE_READ(sb, s_root, d_inode);
	key->generation = BPF_CORE_READ(inode, i_generation);
}

/* ---- what is read ---- */

static __noinline int look(struct inode *inode, __u32 device, __u64 who)
{
	struct hold_key key = {.owner = who, .how = DIRECT};
	struct derived_row *row;
	struct file_key file;
	__u64 inside = stores_with(inode, device);

	if (inside) {
		key.stores = inside;
		hold(&key, 0, inode);
	}
	if (BPF_CORE_READ(inode, i_sb, s_magic) == FUSE_SUPER_MAGIC)
		from_mount(device, who);
	key_of(&file, inode, device);
	row = bpf_map_lookup_elem(&derived, &file);
	if (!row || row->from == who)
		return 0;
	key.stores = row->stores & ~inside;
	if (!key.stores)
		return 0;
	key.how = DERIVED;
	row->last = bpf_ktime_get_boot_ns();
	hold(&key, row->from, inode);
	return 0;
}

/* Whether current's access to a file of this kind is looked at, and whose it is. */
static __always_inline __u64 asks(__u32 device, unsigned short mode)
{
	__u64 who, *own;

	if (!bpf_map_lookup_elem(&devices, &device) || (mode & FILE_TYPE) != REGULAR)
		return 0;
	who = current_execution();
	own = own_word();
	return own && *own == who ? 0 : who;
}

/* inode is one that the verifier knows, which spares calls; most reads end here. */
static __always_inline int reads(struct inode *inode)
{
	__u32 device = inode->i_sb->s_dev;
	__u64 who = asks(device, inode->i_mode);

	if (!who || seen(READS, who, inode, device))
		return 0;
	return look(inode, device, who);
}

/* ---- what is written ---- */

static __always_inline int pseudo(unsigned long magic)
{
	return magic == 0x9fa0 /* proc */ || magic == 0x62656572 /* sysfs */ || magic == 0x63677270 /* cgroup2 */ ||
	       magic == 0x27e0eb /* cgroup */ || magic == 0x74726163 /* tracefs */ || magic == 0x64626720 /* debugfs */ ||
	       magic == 0x73636673 /* securityfs */ || magic == 0xcafe4a11 /* bpf */;
}

static __noinline int derive(struct inode *inode, __u32 device, __u64 who, __u64 stores)
{
	struct derived_row *row, fresh = {};
	__u32 *flags, both = HAS_DERIVED;
	struct file_key file;

	key_of(&file, inode, device);
	row = bpf_map_lookup_elem(&derived, &file);
	if (row) {
		row->last = bpf_ktime_get_boot_ns();
		if ((row->stores & stores) != stores)
			__sync_fetch_and_or(&row->stores, stores);
		return 0;
	}
	fresh.stores = stores;
	fresh.from = who;
	fresh.first = fresh.last = bpf_ktime_get_boot_ns();
	if (bpf_map_update_elem(&derived, &file, &fresh, BPF_NOEXIST) && !bpf_map_lookup_elem(&derived, &file)) {
		count(LOST_DERIVED, 1);
		return 0;
	}
	flags = bpf_map_lookup_elem(&devices, &device);
	if (flags)
		__sync_fetch_and_or(flags, HAS_DERIVED);
	else if (bpf_map_update_elem(&devices, &device, &both, BPF_NOEXIST) && !bpf_map_lookup_elem(&devices, &device))
		count(LOST_DERIVED, 1);
	return 0;
}

static __always_inline int writes(struct inode *inode)
{
	__u32 device;
	__u64 who, held;

	if ((inode->i_mode & FILE_TYPE) != REGULAR)
		return 0;
	who = current_execution();
	held = stores_of(who);
	if (!held)
		return 0;
	device = inode->i_sb->s_dev;
	if (pseudo(inode->i_sb->s_magic) || seen(WRITES, who, inode, device))
		return 0;
	if (inode->i_sb->s_magic == FUSE_SUPER_MAGIC && into_mount(device, who))
		return 0; /* whoever reads it has it from the server; the next mount may have the same numbers */
	held &= ~stores_with(inode, device);
	return held ? derive(inode, device, who, held) : 0;
}

/* ---- what is moved ---- */

static __noinline int moved(struct inode *inode, __u32 device, __u64 stores, __u64 who)
{
	struct root_key key = {.device = device};
	struct root root = {.stores = stores, .moved = 1}, *known;
	__u64 *bits;
	__u32 word;

	if ((BPF_CORE_READ(inode, i_mode) & FILE_TYPE) != DIRECTORY)
		return derive(inode, device, who, stores);
	key.inode = BPF_CORE_READ(inode, i_ino);
	root.generation = BPF_CORE_READ(inode, i_generation);
	known = bpf_map_lookup_elem(&roots, &key);
	if (known && (!known->moved || (known->generation == root.generation && (known->stores & stores) == stores)))
		return 0;
	if (known && known->generation == root.generation) /* else one that was removed, and its number is used anew */
		root.stores |= known->stores;
	word = key.inode / 64 % FILTER;
	bits = bpf_map_lookup_elem(&filter, &word);
	if (bits)
		__sync_fetch_and_or(bits, 1ULL << key.inode % 64);
	if (bpf_map_update_elem(&roots, &key, &root, BPF_ANY))
		count(LOST_DERIVED, 1);
	return 0;
}

/* A name goes to another directory, or a second one is made there. */
static __noinline int goes(struct dentry *dentry, struct dentry *to)
{
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	__u32 device;
	__u64 left;

	if (!inode)
		return 0;
	device = BPF_CORE_READ(inode, i_sb, s_dev);
	if (!bpf_map_lookup_elem(&devices, &device))
		return 0;
	left = stores_above(number_of(dentry), device);
	if (left)
		left &= ~stores_above(number_of(to), device);
	return left ? moved(inode, device, left, current_execution()) : 0;
}

/*
 * Where no hook tells of moves, the change of a file's time does, when it still lies
 * where it was; so does every write to a store.
 */
static __always_inline int changes(struct inode *inode)
{
	__u32 device = inode->i_sb->s_dev, type = inode->i_mode & FILE_TYPE, *flags;
	__u64 who, stores;

	flags = bpf_map_lookup_elem(&devices, &device);
	if (!flags || !(*flags & HAS_STORES) || (type != REGULAR && type != DIRECTORY))
		return 0;
	who = current_execution();
	if (!who || seen(CHANGES, who, inode, device))
		return 0;
	stores = stores_with(inode, device);
	return stores ? moved(inode, device, stores, who) : 0;
}
#include "memory.h"
#include "hooks.h"
