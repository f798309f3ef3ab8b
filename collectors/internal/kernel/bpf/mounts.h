/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Mounts that a program serves (FUSE). What a holder hands to one its server has,
 * and whoever is given something by a server that is a holder has that. Questions
 * hand nothing over and listings give nothing: neither is a hold elsewhere.
 *
 * A request is told of where it is sent, in its client, and at its end, in the
 * server that answers it. What is cached is answered without one: see from_mount.
 */
#pragma once

#define FUSE_SUPER_MAGIC 0x65735546
#define ECONNABORTED 103

/* Of linux/fuse.h. */
enum {
	FUSE_READLINK = 5,
	FUSE_SYMLINK = 6,
	FUSE_MKNOD = 8,
	FUSE_MKDIR = 9,
	FUSE_RENAME = 12,
	FUSE_LINK = 13,
	FUSE_READ = 15,
	FUSE_WRITE = 16,
	FUSE_SETXATTR = 21,
	FUSE_GETXATTR = 22,
	FUSE_INIT = 26,
	FUSE_CREATE = 35,
	FUSE_IOCTL = 39,
	FUSE_RENAME2 = 45,
};

#define BIT(n) (1ULL << (n))
#define HANDS_OVER                                                                                  \
	(BIT(FUSE_SYMLINK) | BIT(FUSE_MKNOD) | BIT(FUSE_MKDIR) | BIT(FUSE_RENAME) | BIT(FUSE_LINK) | \
	 BIT(FUSE_WRITE) | BIT(FUSE_SETXATTR) | BIT(FUSE_CREATE) | BIT(FUSE_IOCTL) | BIT(FUSE_RENAME2))
#define GIVES (BIT(FUSE_READLINK) | BIT(FUSE_READ) | BIT(FUSE_GETXATTR) | BIT(FUSE_IOCTL))

struct mount_row {
	__u64 stores; /* that holders have handed over */
	__u64 from; /* who was the first with the last of them */
	__u64 server; /* who answered last */
};

/* By the number of the file system, which the next mount may get. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct mount_row);
} mounts SEC(".maps");

#define NOBODY 0 /* the kernel reads ahead, or writes back */
#define SOMEBODY 1 /* it waited in the kernel, and another has sent it on */

/*
 * Who made the requests that are under way and give something. One that was
 * interrupted leaves its row behind, which the next one at its place takes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} requested SEC(".maps");

static __always_inline int among(__u64 set, __u32 opcode)
{
	return opcode < 64 && set >> opcode & 1;
}

static __noinline struct mount_row *mount_of(__u32 device)
{
	struct mount_row *row = bpf_map_lookup_elem(&mounts, &device), fresh = {};
	__u32 *flags, served = HAS_SERVER;

	if (row)
		return row;
	bpf_map_update_elem(&mounts, &device, &fresh, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&mounts, &device);
	flags = bpf_map_lookup_elem(&devices, &device);
	if (flags)
		__sync_fetch_and_or(flags, HAS_SERVER);
	else if (bpf_map_update_elem(&devices, &device, &served, BPF_NOEXIST) && !bpf_map_lookup_elem(&devices, &device))
		row = 0;
	if (!row)
		count(LOST_HOLDS, 1);
	return row;
}

static __noinline int by_mount(__u64 who, __u64 stores, __u64 from)
{
	struct hold_key key = {.owner = who, .how = PIPELINE};
	const unsigned char name[] = "FUSE";
	__u64 *own;

	key.stores = stores & ~stores_of(who);
	if (!key.stores || !who || who == from || is_exempt(who))
		return 0;
	own = own_word();
	if (!own || *own != who)
		obtain(&key, from, 0, name);
	return 0;
}

/* A holder hands something over, now or when the kernel writes it back. Tells whether the server is known. */
static __noinline int into_mount(__u32 device, __u64 who)
{
	__u64 stores = stores_of(who);
	struct mount_row *row;
	__u64 server;

	if (!stores || is_exempt(who))
		return 0;
	row = mount_of(device);
	if (!row || row->server == who)
		return 0;
	if (stores & ~READ(row->stores)) {
		row->from = who;
		__sync_fetch_and_or(&row->stores, stores); /* and a barrier: see answers */
	}
	server = READ(row->server);
	by_mount(server, stores, who);
	return server != 0;
}

/* Something is read that the kernel may have cached. */
static __noinline int from_mount(__u32 device, __u64 who)
{
	struct mount_row *row = bpf_map_lookup_elem(&mounts, &device);
	__u64 server;

	if (!row)
		return 0;
	server = READ(row->server);
	return server && !is_exempt(server) ? by_mount(who, stores_of(server), server) : 0;
}

/* A request is sent by current, or for others, who had to wait in the kernel. */
static __always_inline int asks_mount(__u64 request, __u32 opcode, __u32 device, int others, int past_cache)
{
	__u64 who = current_execution();

	if (others) { /* what is cached is followed by its file, see writes and reads */
		who = past_cache ? SOMEBODY : NOBODY;
		if (past_cache && opcode == FUSE_WRITE)
			count(LOST_HOLDS, 1);
	} else if (who && among(HANDS_OVER, opcode)) {
		into_mount(device, who);
	}
	if (among(GIVES, opcode))
		bpf_map_update_elem(&requested, &request, &who, BPF_ANY);
	return 0;
}

/* Whoever made a request is given what its server holds. */
static __noinline int gives(__u64 request, __u64 who)
{
	__u64 stores = stores_of(who), *client;

	if (!stores || is_exempt(who))
		return 0;
	client = bpf_map_lookup_elem(&requested, &request);
	if (!client || *client == SOMEBODY)
		count(LOST_HOLDS, 1);
	else
		by_mount(*client, stores, who);
	return 0;
}

/* A request has ended. A connection that is cut ends all of its, by whoever cuts it. */
static __noinline int answers(__u64 request, __u32 opcode, __u32 device, int error)
{
	__u64 who = current_execution();
	struct mount_row *row;

	if (who && error != -ECONNABORTED && (row = mount_of(device))) {
		if (opcode == FUSE_INIT)
			row->stores = 0; /* a new one by an old number */
		if (row->server != who)
			__sync_lock_test_and_set(&row->server, who);
		by_mount(who, READ(row->stores), READ(row->from));
		if (!error && among(GIVES, opcode))
			gives(request, who);
	}
	if (among(GIVES, opcode))
		bpf_map_delete_elem(&requested, &request);
	return 0;
}

static __always_inline __u32 device_of(const struct fuse_req *req)
{
	struct fuse_req___chan *newer = (void *)req;

	if (bpf_core_field_exists(newer->chan))
		return BPF_CORE_READ(newer, chan, conn, dev);
	return BPF_CORE_READ(req, fm, fc, dev);
}

static __always_inline struct pid_namespace *server_space(const struct fuse_req *req)
{
	struct fuse_req___chan *newer = (void *)req;

	if (bpf_core_field_exists(newer->chan))
		return BPF_CORE_READ(newer, chan, conn, pid_ns);
	return BPF_CORE_READ(req, fm, fc, pid_ns);
}

/* Whether a request that need not be waited for is another's than the current thread's. */
static __always_inline int others(const struct fuse_req *req)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(server_space(req), level);
	struct upid number = {};

	if (!(req->flags >> bpf_core_enum_value(enum fuse_req_flag, FR_BACKGROUND) & 1))
		return 0;
	if (BPF_CORE_READ(pid, level) >= level)
		bpf_probe_read_kernel(&number, sizeof(number), &pid->numbers[level]);
	return number.nr != req->in.h.pid;
}

SEC("tp_btf/fuse_request_send")
int BPF_PROG(on_mount_request, const struct fuse_req *req)
{
	struct fuse_args *args = req->args;
	__u32 opcode = req->in.h.opcode;

	if (!among(HANDS_OVER | GIVES, opcode) || !holding())
		return 0;
	return asks_mount((unsigned long)args, opcode, device_of(req), others(req), BPF_CORE_READ_BITFIELD_PROBED(args, user_pages));
}

SEC("tp_btf/fuse_request_end")
int BPF_PROG(on_mount_answer, const struct fuse_req *req)
{
	return holding() ? answers((unsigned long)req->args, req->in.h.opcode, device_of(req), req->out.h.error) : 0;
}

/* Kernels before 6.11 have no tracepoints for it. */
SEC("fentry/fuse_simple_request")
int BPF_PROG(on_mount_call, struct fuse_mount *fm, struct fuse_args *args)
{
	if (!among(HANDS_OVER | GIVES, args->opcode) || !holding())
		return 0;
	return asks_mount((unsigned long)args, args->opcode, BPF_CORE_READ(fm, fc, dev), 0, 0);
}

SEC("fentry/fuse_simple_background")
int BPF_PROG(on_mount_post, struct fuse_mount *fm, struct fuse_args *args)
{
	if (!among(HANDS_OVER | GIVES, args->opcode) || !holding())
		return 0;
	return asks_mount((unsigned long)args, args->opcode, BPF_CORE_READ(fm, fc, dev), 0, 0);
}

SEC("fentry/fuse_request_end")
int BPF_PROG(on_mount_end, struct fuse_req *req)
{
	return holding() ? answers((unsigned long)req->args, req->in.h.opcode, device_of(req), req->out.h.error) : 0;
}
