/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * emit.h - from a handler to the event buffer, on kernels that have no global data, no calls between
 * BPF functions and 4,096 instructions a program: what ../emit.h is for mainline.
 *
 * Only kprobes and kretprobes: the kernel runs one of them at a time on a CPU, so one place a CPU is
 * enough for the event that is being made.
 */
#ifndef MPSCOPE_MULTIPATH_EMIT_H
#define MPSCOPE_MULTIPATH_EMIT_H

#include "../event.h"
#include "../kernel/multipath.h"
#include "../settings.h"
#include "../transport.h"

static __always_inline _Bool mps_steps(void)
{
	const struct mps_config *config = mps_settings();

	return config && config->steps;
}

static __always_inline _Bool mps_all_tcp(void)
{
	const struct mps_config *config = mps_settings();

	return config && config->all_tcp;
}

/* Events of mpscope's own sockets are not told. */
static __always_inline _Bool mps_is_self(void)
{
	const struct mps_config *config = mps_settings();

	return config && config->self && config->self == (__u32)(bpf_get_current_pid_tgid() >> 32);
}

/* The kernel skipped a program, as another of its kind was running: that shows by what it left undone. */
static __always_inline void mps_count_skipped(__u32 hook)
{
	struct mps_counter *counter = mps_counter_of(hook);

	/* What was caught, less what was not. */
	if (counter && mps_switch(MPS_SWITCH_TRACING))
		__sync_fetch_and_add(&counter->caught, -1);
}

/* A new event of `size`; NULL: it is not to be sent. Other filters are user space's. */
static __always_inline void *mps_new(__u64 size, __u32 kind, __u32 hook, __u32 netns)
{
	const struct mps_config *config = mps_settings();
	struct mps_event *e;

	if (!config || !mps_switch(MPS_SWITCH_TRACING) || (config->netns && config->netns != netns))
		return 0;
	e = mps_room(size, hook);
	if (!e)
		return 0;
	mps_begin(e, size, kind, hook);
	e->netns = netns;
	return e;
}

/* The running process. */
static __always_inline void mps_fill_current(struct mps_owner *owner, struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);
	__u64 id = bpf_get_current_pid_tgid();

	owner->pid = id >> 32;
	owner->tid = id;
	owner->uid = bpf_get_current_uid_gid();
	owner->cgroup = mps_current_cgroup();
	owner->inode = socket ? BPF_CORE_READ((struct socket_alloc *)socket, vfs_inode.i_ino) : 0;
	bpf_get_current_comm(owner->comm, sizeof(owner->comm));
}

#endif
