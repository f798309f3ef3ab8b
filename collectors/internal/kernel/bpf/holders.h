/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/* Who holds what, and who has it from them: see custody.h. */
#pragma once

static __always_inline __u64 *own_word(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&reader, &zero);
}

/* An iterator runs in the process that reads it. */
static __always_inline void introduce(void)
{
	__u64 *own = own_word(), who;

	if (!own)
		return;
	who = current_execution();
	if (*own != who)
		*own = who;
}

static __noinline int raise(__u64 who, __u64 stores)
{
	__u64 *held = bpf_map_lookup_elem(&custody, &who);

	if (!held) {
		if (!bpf_map_update_elem(&custody, &who, &stores, BPF_NOEXIST)) {
			bump();
			return 0;
		}
		held = bpf_map_lookup_elem(&custody, &who);
	}
	if (!held) {
		count(LOST_HOLDS, 1);
		return -1;
	}
	if ((*held & stores) != stores) {
		__sync_fetch_and_or(held, stores);
		bump();
	}
	return 0;
}

static __always_inline void name_file(char name[64], struct inode *inode)
{
	struct hlist_node *node = BPF_CORE_READ(inode, i_dentry.first);
	struct dentry *dentry;

	if (!node)
		return;
	if (bpf_core_field_exists(((struct dentry___flat *)0)->d_alias))
		dentry = (void *)node - bpf_core_field_offset(struct dentry___flat, d_alias);
	else
		dentry = (void *)node - bpf_core_field_offset(struct dentry, d_u.d_alias);
	bpf_probe_read_kernel_str(name, 64, BPF_CORE_READ(dentry, d_name.name));
}

/* Notes a hold, and whether it is the first of its kind. */
static __always_inline int begin_hold(struct hold_key *key, struct hold_row *fresh)
{
	struct hold_row *row;

	fresh->first = bpf_ktime_get_boot_ns();
	fresh->times = 1;
	raise(key->owner, key->stores);
	if (!bpf_map_update_elem(&holds, key, fresh, BPF_NOEXIST))
		return 1;
	row = bpf_map_lookup_elem(&holds, key);
	if (row)
		__sync_fetch_and_add(&row->times, 1);
	else
		count(LOST_HOLDS, 1);
	return 0;
}

/* Holds are told of once: a row that is there only counts. */
static __noinline int hold(struct hold_key *key, __u64 from, struct inode *inode)
{
	struct hold_row *row = bpf_map_lookup_elem(&holds, key), fresh = {.from = from};
	struct hold_event event = {.kind = EVENT_HOLD};

	if (row) {
		__sync_fetch_and_add(&row->times, 1);
		return 0;
	}
	if (inode) {
		fresh.inode = BPF_CORE_READ(inode, i_ino);
		name_file(fresh.name, inode);
	}
	if (!begin_hold(key, &fresh) || key->how == DESCENDANT) /* whose row ends with its program: many begin, and do nothing */
		return 0;
	mark_holder(key->owner);
	event.how = key->how;
	event.at = fresh.first;
	event.owner = key->owner;
	event.stores = key->stores;
	event.from = from;
	event.inode = fresh.inode;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP) < 0)
		count(LOST_EVENTS, 1);
	return 0;
}

static __always_inline void descend(__u64 from, __u64 who, __u64 stores)
{
	struct hold_key key = {.owner = who, .stores = stores, .how = DESCENDANT};

	hold(&key, from, 0);
}

static __always_inline void inherit(__u64 from, __u64 who)
{
	__u64 stores = stores_of(from);

	if (stores)
		descend(from, who, stores);
}

/*
 * A process between fork and exec is a copy of its parent and leaves no program: the
 * next one then has it from the parent.
 */
static __always_inline void inherit_image(__u64 who)
{
	__u64 before = earlier(who), stores = stores_of(before), from = before;
	struct hold_key key = {.owner = before, .stores = stores, .how = DESCENDANT};
	struct program *p;
	struct hold_row *row;

	if (!stores)
		return;
	p = bpf_map_lookup_elem(&programs, &before);
	row = bpf_map_lookup_elem(&holds, &key);
	if (row && (!p || !p->marked)) {
		from = row->from;
		bpf_map_delete_elem(&holds, &key);
		bpf_map_delete_elem(&custody, &before);
	} else {
		mark_holder(before);
	}
	descend(from, who, stores);
}

SEC("iter/bpf_map_elem")
int raise_marks(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *who = ctx->key, *stores = ctx->value;

	introduce();
	if (!who || !stores)
		return 0;
	raise(*who, *stores);
	mark_holder(*who);
	return 0;
}
