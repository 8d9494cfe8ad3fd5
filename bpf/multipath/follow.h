/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* follow.h - what the kernel side must remember between two functions. */
#ifndef MPSCOPE_MULTIPATH_FOLLOW_H
#define MPSCOPE_MULTIPATH_FOLLOW_H

#include "socket.h"

/* connect() has begun, and whether it asks for MPTCP is not known yet: who called it. */
struct mps_connecting {
	struct mps_owner owner;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the socket */
	__type(value, struct mps_connecting);
} connecting SEC(".maps");

/* Sockets whose handshake had to do with MPTCP, while they are plain: enum mps_course. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64); /* the socket */
	__type(value, __u32);
} followed SEC(".maps");

enum mps_course {
	MPS_COURSE_ASKED = 1,  /* a client whose SYN asks */
	MPS_COURSE_UNASKED,    /* a client that may ask, and does not */
	MPS_COURSE_ANSWERED,   /* its SYN-ACK has come */
	MPS_COURSE_ACCEPTED,   /* a server's, plain */
};

/* The listener of a child that was just made. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the child */
	__type(value, __u64);
} children SEC(".maps");

/* The ends of a packet. */
struct mps_tuple {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 netns;
};

/* A SYN with MP_CAPABLE reached a plain listener. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct mps_tuple);
	__type(value, __u64); /* the listener */
} offered SEC(".maps");

/* Subflows of ours that join and whose fourth ACK has not come. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u8);
} joining SEC(".maps");

/* Subflows of ours that join, while mptcp_rcv_synsent_state_process() handles their SYN-ACK: its option. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u8);
} answering SEC(".maps");

/* Connections whose infinite mapping was told. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the meta socket */
	__type(value, __u8);
} fallen SEC(".maps");

/* What a function was called with, for its return: by the place of its frame, which no other call has. */
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

static __always_inline void mps_follow(__u64 sk, __u32 course, __u32 hook)
{
	if (bpf_map_update_elem(&followed, &sk, &course, BPF_ANY))
		mps_count_table_full(hook);
}

/* 0: it is not followed. */
static __always_inline __u32 mps_course_of(__u64 sk)
{
	__u32 *course = bpf_map_lookup_elem(&followed, &sk);

	return course ? *course : 0;
}

static __always_inline int mps_stash(__u64 frame, __u32 hook, const void *first, const void *second,
				     const void *third)
{
	struct mps_stashed value = { (__u64)first, (__u64)second, (__u64)third };
	__u64 key = frame ^ (__u64)hook << 48;

	bpf_map_update_elem(&stashed, &key, &value, BPF_ANY);
	return 0;
}

/* What was kept, once. A return without a beginning: its kprobe was skipped, which counts as lost. */
static __always_inline _Bool mps_unstash(__u64 frame, __u32 hook, struct mps_stashed *value)
{
	__u64 key = frame ^ (__u64)hook << 48;
	struct mps_stashed *found = bpf_map_lookup_elem(&stashed, &key);

	if (!found) {
		mps_count_skipped(hook);
		return 0;
	}
	*value = *found;
	bpf_map_delete_elem(&stashed, &key);
	return 1;
}

#endif
