/* SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2 */
/*
 * Flows as they are kept: of each socket its holder, of each flow its row, and what must
 * not wait for the next reading.
 */
#pragma once

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_KEY 15
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_ALG 38
#define AF_KCM 41
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262
#define PROTOCOLS 512 /* their numbers are below: IPPROTO_MAX is 263 */
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_DONE_BIT 2 /* 1 << SOCK_DONE: the peer's FIN has come */
#define IFF_LOOPBACK 8
#define LOOPBACK 1 /* the index of the loopback interface in every namespace */
#define TRIES 8

#define READ(x) (*(volatile typeof(x) *)&(x))

#include "programs.h"

enum { OUT = 1, IN = 2 };

#define OWN 255 /* in the place of a zone: it stays on the machine */
enum stage { FRESH, BEGUN, ESTABLISHED, ENDED };

/* Owner and stage of a socket in one word. */
#define STAGE(word) ((word)&7)
#define OWNER(word) ((word) & ~7ULL)

struct holder {
	__u64 word;
	__u64 sent; /* payload of TCP that is in the table already */
	__u64 received;
	__u32 netns;
	__u8 direction; /* of other protocols than TCP, that of the row used last */
	__u8 used; /* some process has sent or received */
	__u16 port; /* the local one, which the kernel forgets before the end */
	__u32 own; /* its packets do not leave the machine */
	__u32 folded; /* its row is one of the folded */
	__u32 older; /* than the capture */
	__u32 held; /* how often custody had begun when it was looked at */
};

struct flow_key {
	__u64 owner;
	__u8 remote[16]; /* IPv4 is mapped to ::ffff:0:0/96 */
	__u32 netns;
	__u16 port; /* the remote one (out) or the local one (in) */
	__u8 protocol;
	__u8 direction;
};

struct flow_row {
	__u64 sent;
	__u64 received;
	__u64 connections;
	__s64 attempts;
	__s64 open;
	__u64 first; /* nanoseconds since boot */
	__u64 last;
	__u8 local[16];
	__u32 generation; /* of the zones that zone was found in */
	__u32 zone;
	__u32 own; /* through the loopback interface, as all that stays on the machine */
	__u32 tick; /* of the kernel, when last was noted */
	__u64 sent_last; /* payload; of TCP, no later than it was settled */
	__u64 told; /* stores whose leak was told of */
	__u32 held; /* how often custody had begun when it was looked at; not of TCP */
	__u32 unused;
};

enum { EVENT_FLOW = 1, EVENT_HOLD, EVENT_LEAK };

/*
 * What must not wait for the next reading: something new goes to where no zone is,
 * or a holder sends there.
 */
struct event {
	__u32 kind;
	__u32 zone;
	__u64 at; /* nanoseconds since boot */
	struct flow_key key;
	__u64 stores; /* of a leak: what the sender holds and was not told of yet */
};

enum { FRAMES = 1, OTHER };

struct frame_key {
	__u64 owner;
	__u32 kind;
	__u32 netns;
};

/* Sent past the protocols, to an address that only the program knows. */
struct frame_row {
	__u64 bytes;
	__u64 last;
};

struct zone_key {
	__u32 bits;
	__u8 address[16];
};

struct port_key {
	__u32 netns;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct holder);
} holders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow_row);
} flows SEC(".maps");

/* Flows that found no room in the table: the far end is left out of the key. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct flow_key);
	__type(value, struct flow_row);
} folded SEC(".maps");

/* Of each flow, what was read of it. The programs do not use it; it is pinned with the rest. */
struct volume {
	__u64 sent, received, connections;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct volume);
} reported SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct frame_key);
	__type(value, struct frame_row);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct zone_key);
	__type(value, __u32);
} zones SEC(".maps");

/* Ports that something listened on before the programs were attached. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct port_key);
	__type(value, __u32);
} listening SEC(".maps");
