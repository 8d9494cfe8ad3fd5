/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * follow.h - the little that the kernel side must remember, so that plain TCP costs
 * nothing: which plain sockets have to do with MPTCP.
 */
#ifndef MPSCOPE_HANDLERS_FOLLOW_H
#define MPSCOPE_HANDLERS_FOLLOW_H

#include "marks.h"
#include "twice.h"

/* A SYN with MP_CAPABLE reached a plain TCP listener. The oldest make room: such a
 * handshake is decided within seconds. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct mps_tuple);
	__type(value, __u64); /* the listener */
} offered SEC(".maps");

/* Plain TCP sockets whose handshake had to do with MPTCP: their end is told as well. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64); /* the socket */
	__type(value, __u64); /* its listener */
} followed SEC(".maps");

/*
 * The child that this CPU cloned last from an MPTCP listener. From LISTEN -> SYN_RECV to
 * SYN_RECV -> ESTABLISHED the kernel stays on one CPU with softirqs off
 * (tcp_check_req, tcp_child_process), so one place a CPU is enough. Only with TCP Fast Open
 * the second change comes with a later packet: then the listener is not known from here.
 */
struct mps_cloned {
	__u64 child;
	__u64 listener;
	/* The RST that this CPU is about to hand to TCP: for which socket, and its MP_TCPRST reason. */
	__u64 reset;
	__u32 reset_reason;
	/* The MP_TCPRST reason of the RST that this CPU is about to send, and the packet it answers. */
	__u32 refused_reason;
	__u64 refused;
};

struct mps_cloned cloned[MPS_MAX_CPUS] = {};

/* Our own MP_JOINs that the peer has not confirmed yet: the first DSS on one of them does. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the subflow */
	__type(value, __u8);
} joining SEC(".maps");

/* Connections whose fallback was told (0), or is to come and why (MPS_MAPPING_*). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the msk */
	__type(value, __u8);
} fallen SEC(".maps");

/* Why mptcp_connect() did not ask, or what took MPTCP away before the verdict: enum mps_mib. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the msk */
	__type(value, __u8);
} why SEC(".maps");

/* Subflows between their state SYN_SENT and tcp_connect(): connect() may still fail in between. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the subflow */
	__type(value, __u8);
} connecting SEC(".maps");

/* When sockets of processes were made. The oldest make room: between socket() and listen() is little time. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64); /* the msk or TCP socket */
	__type(value, __u64); /* ns, CLOCK_MONOTONIC */
} made SEC(".maps");

/* What a function was called with, for its return; see mps_stash(). */
struct mps_stashed {
	__u64 first;
	__u64 second;
	__u64 third;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct mps_stashed);
} stashed SEC(".maps");

/* Set with the first of each: until then nobody looks. */
__u32 any_joining = 0;
__u32 any_fallen = 0;
__u32 any_join_received = 0;
__u32 any_why = 0;

/* Set once anybody offered MP_CAPABLE to a TCP listener: until then nobody looks it up. */
__u32 any_offered = 0;

static __always_inline void mps_remember_made(__u64 sk)
{
	__u64 now = bpf_ktime_get_ns();

	/* What finds no room is not known to be made at any time; least of all when the one before it was. */
	if (bpf_map_update_elem(&made, &sk, &now, BPF_ANY))
		bpf_map_delete_elem(&made, &sk);
}

/* 0: not known. */
static __always_inline __u64 mps_made(__u64 sk)
{
	__u64 *when = bpf_map_lookup_elem(&made, &sk);

	return when ? *when : 0;
}

static __always_inline struct mps_cloned *mps_cloned_here(void)
{
	return &cloned[bpf_get_smp_processor_id() & (MPS_MAX_CPUS - 1)];
}

static __always_inline void mps_remember_offer(const struct mps_tuple *t, __u64 listener, __u32 hook)
{
	any_offered = 1;
	if (bpf_map_update_elem(&offered, t, &listener, BPF_ANY))
		mps_count_table_full(hook);
}

static __always_inline __u64 mps_offered_to(const struct mps_tuple *t)
{
	__u64 *listener = any_offered ? bpf_map_lookup_elem(&offered, t) : 0;

	return listener ? *listener : 0;
}

static __always_inline void mps_follow(__u64 ssk, __u64 listener, __u32 hook)
{
	if (bpf_map_update_elem(&followed, &ssk, &listener, BPF_ANY))
		mps_count_table_full(hook);
}

/*
 * Who is in a function: the running thread, or, in softirq, the CPU, which does not leave the
 * function before it returns. Each hook has its own.
 */
static __always_inline __u64 mps_thread_in(__u32 hook)
{
	return bpf_get_current_pid_tgid() ^ (__u64)hook << 56;
}

static __always_inline __u64 mps_softirq_in(__u32 hook)
{
	return bpf_get_smp_processor_id() | (__u64)hook << 56;
}

static __always_inline int mps_stash(__u64 key, const void *first, const void *second, const void *third)
{
	struct mps_stashed value = { (__u64)first, (__u64)second, (__u64)third };

	bpf_map_update_elem(&stashed, &key, &value, BPF_ANY);
	return 0;
}

/* What was kept, once; false: nothing was. */
static __always_inline _Bool mps_unstash(__u64 key, struct mps_stashed *value)
{
	struct mps_stashed *found = bpf_map_lookup_elem(&stashed, &key);

	if (!found)
		return 0;
	*value = *found;
	bpf_map_delete_elem(&stashed, &key);
	return 1;
}

static __always_inline __u8 mps_why(__u64 msk)
{
	__u8 *mib = any_why ? bpf_map_lookup_elem(&why, &msk) : 0;

	return mib ? *mib : MPS_MIB_NONE;
}

static __always_inline _Bool mps_is_joining(__u64 ssk)
{
	return any_joining && bpf_map_lookup_elem(&joining, &ssk) != 0;
}

static __always_inline _Bool mps_is_followed(__u64 ssk)
{
	return bpf_map_lookup_elem(&followed, &ssk) != 0;
}

#endif
