/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* join.h - additional subflows, as the functions tell that make, take or refuse them. */
#ifndef MPSCOPE_HANDLERS_JOIN_H
#define MPSCOPE_HANDLERS_JOIN_H

#include "answer.h"

static __always_inline void mps_address_of(__u8 *to, __u16 *port, struct mptcp_addr_info *from)
{
	__be32 v4 = 0;

	*port = bpf_ntohs(BPF_CORE_READ(from, port));
	if (BPF_CORE_READ(from, family) == AF_INET) {
		bpf_core_read(&v4, sizeof(v4), &from->addr6);
		mps_v4_mapped(to, v4);
	} else {
		bpf_core_read(to, 16, &from->addr6);
	}
}

/*
 * __mptcp_subflow_connect() failed, and no SYN was made: the address is not this machine's, or
 * there is no route. (A subflow that had begun to connect is told as any other.)
 */
static __noinline int mps_on_join_failed(struct mptcp_sock *msk, struct mptcp_addr_info *local,
					 struct mptcp_addr_info *remote, int error)
{
	struct mps_event *e;
	struct mps_tuple t = {};

	mps_address_of(t.local, &t.local_port, local);
	mps_address_of(t.remote, &t.remote_port, remote);
	t.netns = BPF_CORE_READ(msk, sk.icsk_inet.sk.__sk_common.skc_net.net, ns.inum);
	if (!mps_join_wanted(&t))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_JOIN_FAILED, MPS_HOOK_SUBFLOW_CONNECT);
	if (!e)
		return 0;
	mps_fill_tuple(e, &t);
	e->flags = MPS_F_MPTCP | MPS_F_REQUEST_JOIN;
	e->msk = (__u64)msk;
	e->token = BPF_CORE_READ(msk, token);
	e->error = -error;
	e->local_id = BPF_CORE_READ(local, id);
	e->remote_id = BPF_CORE_READ(remote, id);
	mps_submit(e);
	return 0;
}

static __always_inline int mps_on_subflow_connect(struct mptcp_sock *msk, struct mptcp_addr_info *local,
						  struct mptcp_addr_info *remote, int result)
{
	struct mps_stashed begun;

	if (mps_unstash(mps_thread_in(MPS_HOOK_SET_STATE), &begun) || result >= 0)
		return 0;
	return mps_on_join_failed(msk, local, remote, result);
}

/* subflow_add_reset_reason(): the RST that answers `skb` is next, and carries it. */
static __always_inline int mps_on_reset_reason(struct sk_buff *skb, __u32 reason)
{
	struct mps_cloned *here = mps_cloned_here();

	here->refused = (__u64)skb;
	here->refused_reason = reason & 0xf;
	return 0;
}

/* mptcp_event(): what `ip mptcp monitor` is told, whether or not it runs. */
static __always_inline int mps_on_mptcp_event(__u32 type, struct sock *ssk)
{
	if (!ssk)
		return 0;
	if (type == MPTCP_EVENT_SUB_ESTABLISHED)
		return mps_tell_subflow(ssk, MPS_JOIN_AUTHENTIC, MPS_HOOK_MPTCP_EVENT);
	if (type == MPTCP_EVENT_ESTABLISHED)
		return mps_tell_subflow(ssk, MPS_PM_ESTABLISHED, MPS_HOOK_MPTCP_EVENT);
	return 0;
}

#endif
