/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Who: the executions of programs, and what could not be counted.
 *
 * One execution is named by a process, when that began and how many programs it
 * had executed before, packed into one word: process id (22 bits), start in ticks
 * (34 bits, five years of them), programs (5 bits). The three lowest bits are free
 * for what goes with an owner.
 */
#pragma once

#define PF_KTHREAD 0x00200000
#define TICK 10000000ULL /* nanoseconds in a USER_HZ tick, of proc_pid_stat(5) */

enum count {
	LOST_ROWS,	/* flows that found no room, folded ones not among them */
	LOST_BYTES,	/* payload of these */
	ORPHANS,	/* flows of no known process */
	LOST_STORAGE,	/* sockets that could not be given an owner */
	LOST_RACES,	/* updates given up */
	LOST_HEADERS,	/* packets that could not be parsed */
	LOST_PROGRAMS,	/* executions that found no room */
	LOST_IMAGES,	/* names of executables or control groups that found none */
	LOST_EVENTS,	/* events that the ring had no room for */
	FOLDED,		/* flows whose far end is not kept, for want of room */
	EXECUTIONS,	/* programs executed */
	UNLISTED,	/* executions that ended and were too many to be kept until they are read */
	BEGUN_FLOWS,	/* flows that began */
	UNATTRIBUTED,	/* bytes that left an interface from no socket of IP */
	REUSED,		/* executions named as one before them that still has flows */
	LOST_HOLDS,	/* that an execution holds something, and there was no room to say so, or it is not known which */
	LOST_DERIVED,	/* files that a holder wrote or moved, and that found no room */
	COUNTS
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 what, __u64 n)
{
	__u64 *sum = bpf_map_lookup_elem(&counts, &what);
	if (sum)
		*sum += n;
}

static __always_inline __u64 packed(__u64 tgid, __u64 start, __u64 image)
{
	return tgid << 42 | ((start / TICK) & ((1ULL << 34) - 1)) << 8 | (image & 31) << 3;
}

static __always_inline __u64 execution(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	return packed(BPF_CORE_READ(task, tgid), BPF_CORE_READ(leader, start_boottime), BPF_CORE_READ(leader, self_exec_id));
}

/* Every call asks this, so where the kernel lets fields be read without a call each, they are. */
static __always_inline __u64 current_execution(void)
{
	if (bpf_core_type_exists(btf_trace_sock_send_length)) { /* Linux 6.3 */
		struct task_struct *task = bpf_get_current_task_btf();
		struct task_struct *leader = task->group_leader;

		return task->flags & PF_KTHREAD ? 0 : packed(task->tgid, leader->start_boottime, leader->self_exec_id);
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		return BPF_CORE_READ(task, flags) & PF_KTHREAD ? 0 : execution(task);
	}
}

/* Whether the current execution is who, without the division that its word takes. */
static __always_inline int current_is(__u64 who)
{
	if (bpf_core_type_exists(btf_trace_sock_send_length)) {
		struct task_struct *task = bpf_get_current_task_btf();
		struct task_struct *leader = task->group_leader;
		__u64 ticks = who >> 8 & ((1ULL << 34) - 1);

		return task->tgid == who >> 42 && leader->start_boottime - ticks * TICK < TICK &&
		       (leader->self_exec_id & 31) == (who >> 3 & 31);
	} else {
		return who == current_execution();
	}
}

/* The one that the same process was before it executed another program. */
static __always_inline __u64 earlier(__u64 who)
{
	return (who & ~(31ULL << 3)) | (((who >> 3) - 1) & 31) << 3;
}

static __always_inline __u32 current_netns(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
}
