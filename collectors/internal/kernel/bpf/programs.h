/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Executions of programs: what each was, for as long as it runs, and longer if
 * flows are its own. One that ends without any is kept until it was read.
 */
#pragma once

#define SLOTS 20 /* steps from a file up to the root; each has its own place, which spares the verifier */
#define SLOT 64
#define GROUP_SLOTS 10
#define ARGUMENTS 256

enum { TRUNCATED = 1, UNLINKED = 2 };
enum { MARKED_FLOWS = 1, MARKED_HOLDS = 2 };

/* One name of one file. The name counts: hard links are different programs. */
struct image_key {
	__u64 inode;
	__u64 parent; /* inode of its directory */
	__u64 name; /* the kernel's hash and length of the last name */
	__u32 device;
	__u32 generation; /* of the inode number */
};

struct image {
	__u64 runs; /* executions that began */
	__u32 flags;
	__u32 depth; /* slots used */
	char names[SLOTS][SLOT]; /* from the file up; empty where a mount is crossed */
};

struct group {
	char names[GROUP_SLOTS][SLOT]; /* from the group up */
};

#define CHANNELS 8

/* A way to another program, see channels.h. */
struct channel {
	__u64 id;
	__u32 place; /* the other end of a socket; else the device of the file system */
	__u8 kind;
	__u8 mode; /* READS, WRITES */
	__u16 unused;
};

struct program {
	struct image_key image;
	__u64 parent; /* execution */
	__u64 began; /* nanoseconds since boot */
	__u64 ended; /* 0 while it runs */
	__u64 group; /* control group */
	__u32 uid, gid; /* effective */
	__u32 netns, mntns, pidns, userns;
	__u32 marked; /* something is kept that is its own: flows (1), holds (2) */
	__u32 argument_bytes; /* in all; what is over ARGUMENTS is not kept */
	char comm[16];
	char arguments[ARGUMENTS];
	__u32 channel_count; /* in all; what is over CHANNELS is not kept */
	__u32 forked; /* a copy of its parent, which had executed something */
	struct channel channels[CHANNELS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct program);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct image_key);
	__type(value, struct image);
} images SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct group);
} groups SEC(".maps");

/* Too large for the stack. Each program that uses one has its own. */
struct scratch {
	struct program program;
	struct image image;
	struct group group;
};

enum { SCRATCH_EXEC, SCRATCH_EXEC_AGAIN, SCRATCH_SEED, SCRATCHES };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

enum { GENERATION, OLDER, ENDED_KEPT, KEEP, HELD, ASKED, HOLDING, SERVICES, TICK_NS, COPIES, SETTINGS };

/*
 * The generation of the zones; how many sockets older than the capture the last
 * walk met; how many ended executions were kept since the last reading, and how
 * many may be; how often custody began by the programs, and how often user space
 * asked to look again; whether any has begun, and may begin at a service; what the
 * kernel's clock for TCP counts in; whether datagrams are followed by their copies.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETTINGS);
	__type(key, __u32);
	__type(value, __u32);
} settings SEC(".maps");

static __always_inline __u32 *setting(__u32 which)
{
	return bpf_map_lookup_elem(&settings, &which);
}

#include "custody.h"
#include "channels.h"

/* One that ended is kept until it was read, but a storm of them is not. */
static __always_inline void end(__u64 who)
{
	struct program *p = bpf_map_lookup_elem(&programs, &who);
	__u32 *kept = setting(ENDED_KEPT), *keep = setting(KEEP);

	if (!p || !kept || !keep)
		return;
	if (!p->marked) {
		if (*kept >= *keep) {
			bpf_map_delete_elem(&programs, &who);
			count(UNLISTED, 1);
			return;
		}
		__sync_fetch_and_add(kept, 1);
	}
	p->ended = bpf_ktime_get_boot_ns();
}

static __always_inline void mark(__u64 who)
{
	struct program *p = bpf_map_lookup_elem(&programs, &who);

	if (p)
		p->marked |= MARKED_FLOWS;
}

static __always_inline void mark_holder(__u64 who)
{
	struct program *p = bpf_map_lookup_elem(&programs, &who);

	if (p)
		p->marked |= MARKED_HOLDS;
}

static __always_inline void name_image(struct image *image, struct file *file)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct vfsmount *mnt = BPF_CORE_READ(file, f_path.mnt);
	struct mount *mount = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
	int i;

	image->runs = 0;
	image->flags = BPF_CORE_READ(dentry, d_hash.pprev) ? 0 : UNLINKED;
	for (i = 0; i < SLOTS; i++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);

		image->depth = i + 1;
		image->names[i][0] = 0;
		if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				return;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		if (bpf_probe_read_kernel_str(image->names[i], SLOT, BPF_CORE_READ(dentry, d_name.name)) == SLOT)
			image->flags |= TRUNCATED;
		if (dentry == parent) /* of no directory: memfd_create(2) */
			return;
		dentry = parent;
	}
	image->flags |= TRUNCATED;
}

/* Puts the executable's identity into key and sees to it that its name is known. */
static __always_inline struct image *image_of(struct scratch *s, struct image_key *key, struct file *file)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct image *image;

	__builtin_memset(key, 0, sizeof(*key));
	if (!inode)
		return 0;
	key->inode = BPF_CORE_READ(inode, i_ino);
	key->generation = BPF_CORE_READ(inode, i_generation);
	key->device = BPF_CORE_READ(inode, i_sb, s_dev);
	key->parent = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino);
	key->name = BPF_CORE_READ(dentry, d_name.hash_len);
	image = bpf_map_lookup_elem(&images, key);
	if (image)
		return image;
	name_image(&s->image, file);
	bpf_map_update_elem(&images, key, &s->image, BPF_NOEXIST);
	image = bpf_map_lookup_elem(&images, key);
	if (!image)
		count(LOST_IMAGES, 1);
	return image;
}

static __always_inline struct kernfs_node *above(struct kernfs_node *node)
{
	struct kernfs_node___rcu *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

/* The control group of the second hierarchy, or where that is not used that of pids. */
static __always_inline __u64 group_of(struct scratch *s, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup *group = BPF_CORE_READ(set, dfl_cgrp);
	struct kernfs_node *node;
	__u64 id;
	int i;

	if (!BPF_CORE_READ(group, level) && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		__u32 pids = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
		struct cgroup_subsys_state *state = 0;

		bpf_probe_read_kernel(&state, sizeof(state),
				      (void *)set + bpf_core_field_offset(struct css_set, subsys) + (pids & 31) * sizeof(void *));
		if (state)
			group = BPF_CORE_READ(state, cgroup);
	}
	node = BPF_CORE_READ(group, kn);
	id = BPF_CORE_READ(node, id);
	if (bpf_map_lookup_elem(&groups, &id))
		return id;
	for (i = 0; i < GROUP_SLOTS; i++) {
		s->group.names[i][0] = 0;
		if (!node)
			continue;
		bpf_probe_read_kernel_str(s->group.names[i], SLOT, BPF_CORE_READ(node, name));
		node = above(node);
	}
	if (bpf_map_update_elem(&groups, &id, &s->group, BPF_ANY) < 0)
		count(LOST_IMAGES, 1);
	return id;
}

/* What a process is now, its arguments apart. */
static __always_inline struct image *describe(struct scratch *s, struct program *p, struct task_struct *task)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	struct nsproxy *spaces = BPF_CORE_READ(task, nsproxy);

	p->parent = parent ? execution(parent) : 0;
	p->ended = 0;
	p->group = group_of(s, task);
	p->uid = BPF_CORE_READ(cred, euid.val);
	p->gid = BPF_CORE_READ(cred, egid.val);
	p->userns = BPF_CORE_READ(cred, user_ns, ns.inum);
	p->netns = BPF_CORE_READ(spaces, net_ns, ns.inum);
	p->mntns = BPF_CORE_READ(spaces, mnt_ns, ns.inum);
	p->pidns = BPF_CORE_READ(spaces, pid_ns_for_children, ns.inum);
	p->marked = 0;
	p->argument_bytes = 0;
	BPF_CORE_READ_INTO(&p->comm, task, comm);
	p->forked = 0;
	p->channel_count = 0;
	__builtin_memset(p->channels, 0, sizeof(p->channels));
	note_channels(p, task);
	return image_of(s, &p->image, file);
}

static __always_inline struct scratch *scratch(__u32 which)
{
	return bpf_map_lookup_elem(&scratches, &which);
}

/*
 * What a process was before it executed another program. Between fork and exec it
 * is a copy of its parent, which nobody asks for unless it left something.
 */
static __always_inline void end_image(__u64 who)
{
	struct program *p = bpf_map_lookup_elem(&programs, &who);

	if (p && (p->marked || (!p->forked && holding())))
		p->ended = bpf_ktime_get_boot_ns();
	else
		bpf_map_delete_elem(&programs, &who);
}

/* Whoever reads what a program prints has made the pipe, or the terminal, before that. */
static __noinline int note_parent(struct task_struct *task)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	__u64 who = parent ? execution(parent) : 0;
	struct program *p = bpf_map_lookup_elem(&programs, &who);

	if (p)
		note_channels(p, parent);
	return 0;
}

/*
 * Where the kernel lets a task be interrupted within a tracepoint, it skips a program
 * that another task is interrupted in. So each of these three exists twice: the second
 * finds done what the first did.
 */
static __always_inline int note_exec(struct task_struct *task, __u32 which)
{
	struct scratch *s = scratch(which);
	__u64 who = execution(task);
	struct program *p = bpf_map_lookup_elem(&programs, &who);
	struct image *image;
	unsigned long arguments;

	if (p && !p->forked && !p->ended)
		return 0;
	count(EXECUTIONS, 1);
	if (p && p->marked) /* 32 programs ago the process was this one, too */
		count(REUSED, 1);
	inherit_image(who);
	end_image(earlier(who));
	if (!s)
		return 0;
	p = &s->program;
	image = describe(s, p, task);
	if (image)
		__sync_fetch_and_add(&image->runs, 1);
	p->began = bpf_ktime_get_boot_ns();
	arguments = BPF_CORE_READ(task, mm, arg_start);
	p->argument_bytes = BPF_CORE_READ(task, mm, arg_end) - arguments;
	__builtin_memset(p->arguments, 0, ARGUMENTS);
	if (p->argument_bytes < ARGUMENTS)
		bpf_probe_read_user(p->arguments, p->argument_bytes & (ARGUMENTS - 1), (void *)arguments);
	else
		bpf_probe_read_user(p->arguments, ARGUMENTS, (void *)arguments);
	if (bpf_map_update_elem(&programs, &who, p, BPF_ANY) < 0)
		count(LOST_PROGRAMS, 1);
	if (holding())
		note_parent(task);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	return note_exec(task, SCRATCH_EXEC);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec_again, struct task_struct *task)
{
	return note_exec(task, SCRATCH_EXEC_AGAIN);
}

static __always_inline int note_fork(struct task_struct *parent, struct task_struct *child)
{
	__u64 from, who;
	struct program *p;

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid) || BPF_CORE_READ(child, flags) & PF_KTHREAD)
		return 0;
	from = execution(parent);
	who = execution(child);
	p = bpf_map_lookup_elem(&programs, &who);
	if (p && !p->ended)
		return 0;
	inherit(from, who);
	p = bpf_map_lookup_elem(&programs, &from);
	if (!p)
		return 0; /* lost when it began, and counted then */
	if (bpf_map_update_elem(&programs, &who, p, BPF_ANY) < 0) {
		count(LOST_PROGRAMS, 1);
		return 0;
	}
	p = bpf_map_lookup_elem(&programs, &who);
	if (!p)
		return 0;
	p->parent = from;
	p->began = bpf_ktime_get_boot_ns();
	p->ended = 0;
	p->marked = 0;
	p->forked = 1;
	p->netns = BPF_CORE_READ(child, nsproxy, net_ns, ns.inum);
	p->mntns = BPF_CORE_READ(child, nsproxy, mnt_ns, ns.inum);
	p->uid = BPF_CORE_READ(child, cred, euid.val);
	p->gid = BPF_CORE_READ(child, cred, egid.val);
	p->userns = BPF_CORE_READ(child, cred, user_ns, ns.inum);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	return note_fork(parent, child);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork_again, struct task_struct *parent, struct task_struct *child)
{
	return note_fork(parent, child);
}

static __always_inline int note_exit(struct task_struct *task)
{
	__u64 who;
	struct program *p;

	if (BPF_CORE_READ(task, signal, live.counter) > 0) /* a thread of many */
		return 0;
	who = execution(task);
	p = bpf_map_lookup_elem(&programs, &who);
	if (!p || p->ended)
		return 0;
	/* Its files are not closed yet. A subshell opened its pipes after it began. */
	if (p->forked || p->marked || stores_of(who))
		note_channels(p, task);
	end(who);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	return note_exit(task);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit_again, struct task_struct *task)
{
	return note_exit(task);
}

SEC("iter/task")
int seed_programs(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *s = scratch(SCRATCH_SEED);
	struct program *p;
	__u64 who;

	if (!task || !s || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	if (!BPF_CORE_READ(task, mm)) /* the kernel's own, or about to end */
		return 0;
	who = execution(task);
	p = &s->program;
	describe(s, p, task);
	p->began = BPF_CORE_READ(task, start_boottime);
	__builtin_memset(p->arguments, 0, ARGUMENTS);
	if (bpf_map_update_elem(&programs, &who, p, BPF_NOEXIST) < 0 && !bpf_map_lookup_elem(&programs, &who))
		count(LOST_PROGRAMS, 1);
	return 0;
}
