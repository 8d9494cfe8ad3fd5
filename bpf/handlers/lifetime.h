/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* lifetime.h - an application's MPTCP socket is made, and let go. */
#ifndef MPSCOPE_HANDLERS_LIFETIME_H
#define MPSCOPE_HANDLERS_LIFETIME_H

#include "follow.h"

/* Made, let go, or refused (`error`, a positive errno), in the process that asked. */
static __noinline int mps_tell_socket(struct sock *msk, __u32 kind, __u32 hook, __u32 error)
{
	struct mps_owned_event *e;
	struct mps_ends ends;

	if (mps_is_self() || mps_read_ends(&ends, msk))
		return 1;
	if (!mps_netns_wanted(ends.t.netns))
		return 1;
	/* Who was refused may listen on TCP next: that is told whatever is filtered. */
	if (kind != MPS_SOCKET_REFUSED && config.side == MPS_SIDE_SERVER)
		return 1;
	e = mps_reserve(sizeof(*e), kind, hook);
	if (!e)
		return 1;
	e->event.msk = (__u64)msk;
	e->event.netns = ends.t.netns;
	e->event.flags = MPS_F_MPTCP;
	e->event.cookie = ends.cookie;
	e->event.error = error;
	e->owner.inode = error ? 0 : mps_inode(msk);
	mps_fill_owner(e);
	mps_submit(e);
	return 1;
}

/* `sk`: the context of a cgroup/sock program is the kernel's own socket. */
static __always_inline int mps_on_socket(struct bpf_sock *sk, __u32 kind, __u32 hook)
{
	if (sk->protocol != IPPROTO_MPTCP && sk->protocol != IPPROTO_TCP)
		return 1;
	if (kind == MPS_SOCKET_CREATED && tracing)
		mps_remember_made((__u64)sk);
	if (sk->protocol == IPPROTO_TCP)
		return 1;
	/* Let go without ever having connected or listened: any other's end is a change of state. */
	if (kind == MPS_SOCKET_RELEASED && (sk->state != TCP_CLOSE || sk->dst_port))
		return 1;
	if (kind == MPS_SOCKET_CREATED && mps_is_attached(MPS_HOOK_INIT_SOCK))
		return 1;
	return mps_tell_socket((struct sock *)sk, kind, hook, 0);
}

/* mptcp_init_sock() returned: the one place where the kernel looks at net.mptcp.enabled. */
static __always_inline int mps_on_init_sock(struct sock *msk, int result)
{
	return mps_tell_socket(msk, result ? MPS_SOCKET_REFUSED : MPS_SOCKET_CREATED, MPS_HOOK_INIT_SOCK,
			       result < 0 ? -result : 0);
}

/* socket() returned: ENOPROTOOPT, where mptcp_init_sock() can't be hooked. */
static __always_inline int mps_on_socket_exit(long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs;
	struct mps_owned_event *e;
	__u32 netns;

	if (result != -ENOPROTOOPT)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if ((__u32)PT_REGS_PARM3_SYSCALL(regs) != IPPROTO_MPTCP || mps_is_self())
		return 0;
	netns = mps_current_netns();
	if (!mps_netns_wanted(netns))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_SOCKET_REFUSED, MPS_HOOK_SOCKET_EXIT);
	if (!e)
		return 0;
	e->event.netns = netns;
	e->event.flags = MPS_F_MPTCP;
	e->event.error = ENOPROTOOPT;
	mps_fill_owner(e);
	mps_submit(e);
	return 0;
}

#endif
