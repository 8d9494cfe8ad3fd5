/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* lifetime.h - an application's MPTCP socket is made, and let go. */
#ifndef MPSCOPE_HANDLERS_LIFETIME_H
#define MPSCOPE_HANDLERS_LIFETIME_H

#include "socket.h"

/* `sk`: the context of a cgroup/sock program is the kernel's own socket. */
static __always_inline int mps_on_socket(struct bpf_sock *sk, __u32 kind, __u32 hook)
{
	struct sock *msk = (struct sock *)sk;
	struct mps_owned_event *e;
	struct mps_sock_copy copy;
	__u32 netns;

	if (sk->protocol != IPPROTO_MPTCP || mps_is_self())
		return 1;
	/* Let go without ever having connected or listened: any other's end is a change of state. */
	if (kind == MPS_SOCKET_RELEASED && (sk->state != TCP_CLOSE || sk->dst_port))
		return 1;
	if (mps_copy_sock(&copy, msk))
		return 1;
	netns = mps_netns(&copy);
	if (!mps_netns_wanted(netns) || config.side == MPS_SIDE_SERVER)
		return 1;
	e = mps_reserve(sizeof(*e), kind, hook);
	if (!e)
		return 1;
	e->event.msk = (__u64)msk;
	e->event.netns = netns;
	e->event.flags = MPS_F_MPTCP;
	e->event.cookie = mps_cookie_of(&copy);
	e->owner.inode = mps_inode(msk);
	mps_fill_owner(e);
	mps_submit(e);
	return 1;
}

#endif
