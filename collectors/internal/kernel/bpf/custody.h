/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Custody: which declared stores' data each execution holds, by a bit for each
 * store. A bit is set where it must be instant; the joins that need a look at the
 * whole machine are made in user space, which sets bits, too.
 */
#pragma once

enum how { DIRECT = 1, SERVICE, DESCENDANT, PIPELINE, DERIVED };

/* The bit of each store, by the SHA-256 of its name. It outlives the reader with what the bits are in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, __u8[32]);
	__type(value, __u32);
} numbered SEC(".maps");

/* All that an execution holds, for a look at the event. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u64);
} custody SEC(".maps");

struct hold_key {
	__u64 owner;
	__u64 stores; /* those of this row */
	__u32 how;
	__u32 unused;
};

/* How an execution came to hold something, the first time. */
struct hold_row {
	__u64 from; /* execution that held it before; 0 none */
	__u64 first; /* nanoseconds since boot */
	__u64 times; /* opens or looks */
	__u64 inode; /* of the first file or socket */
	char name[64]; /* its last name */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct hold_key);
	__type(value, struct hold_row);
} holds SEC(".maps");

/* Custody began somewhere: whoever remembers having found none looks again. */
static __always_inline void bump(void)
{
	__u32 *held = setting(HELD), *holding = setting(HOLDING);

	if (!held || !holding)
		return;
	__sync_fetch_and_add(held, 1);
	if (!*holding)
		*holding = 1;
}

/* Changes whenever somebody may hold more than before, or an address be in another zone. */
static __always_inline __u32 held_now(void)
{
	__u32 *held = setting(HELD), *asked = setting(ASKED);

	return held && asked ? *(volatile __u32 *)held + *(volatile __u32 *)asked : 0;
}

/* Whether anybody may hold something: there are stores, or somebody has. */
static __always_inline int holding(void)
{
	__u32 *any = setting(HOLDING);

	return any && *any;
}

/* 0 for most: one look-up in a small table. */
static __always_inline __u64 stores_of(__u64 who)
{
	__u64 *stores = bpf_map_lookup_elem(&custody, &who);

	return stores ? *stores : 0;
}

/* The execution that reads all this, and whose own looks are no holds. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} reader SEC(".maps");

/* Of the same size as struct event, which is why they may share a ring. */
struct hold_event {
	__u32 kind; /* EVENT_HOLD */
	__u32 how;
	__u64 at; /* nanoseconds since boot */
	__u64 owner;
	__u64 stores;
	__u64 from;
	__u64 inode;
};

/* What user space found. The reader puts rows, walks them and takes them out. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} raised SEC(".maps");

/* A program that has begun is what the one before it was; see inherit_image for the same in one process. */
static __always_inline void inherit(__u64 from, __u64 who);
static __always_inline void inherit_image(__u64 who);
