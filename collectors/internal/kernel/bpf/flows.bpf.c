// SPDX-License-Identifier: GPL-2.0-only OR EUPL-1.2
/*
 * Flows, counted where they happen.
 *
 * A socket's storage holds its owner and how far it has progressed, in one word
 * that changes by compare-and-swap: sockops and two tracepoints tell the same
 * story, and whoever comes second finds it told. Bytes of TCP are moved from the
 * socket's own counters to the table of flows in the same way, at its end and
 * whenever they are read, so nothing is counted twice or lost in between.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "kernel.h"
#include "who.h"
#include "flows.h"
#include "rows.h"
#include "tcp.h"
#include "owners.h"
#include "packets.h"
#include "seed.h"
#include "opens.h"
#include "sockets.h"

char _license[] SEC("license") = "GPL";

/* Shapes that no map shows to the loader. */
const struct event *shape_of_event __attribute__((unused));
const struct held *shape_of_held __attribute__((unused));
const struct hold_event *shape_of_hold_event __attribute__((unused));
