/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* request.h - what an MPTCP listener makes of a SYN and of a third ACK, as its functions tell. */
#ifndef MPSCOPE_HANDLERS_REQUEST_H
#define MPSCOPE_HANDLERS_REQUEST_H

#include "follow.h"
#include "skb.h"

/* subflow_check_req() took a SYN: the request has its token, or the connection's that it joins. */
static __noinline int mps_on_request(struct sock *listener, struct request_sock *req)
{
	struct mptcp_subflow_request_sock *request = (struct mptcp_subflow_request_sock *)req;
	_Bool capable = BPF_CORE_READ_BITFIELD_PROBED(request, mp_capable);
	_Bool joins = BPF_CORE_READ_BITFIELD_PROBED(request, mp_join);
	struct mps_event *e;
	struct mps_ends ends;

	/* A request socket begins as any other does; its namespace is its listener's. */
	if (mps_read_ends(&ends, (struct sock *)req))
		return 0;
	ends.t.netns = BPF_CORE_READ(listener, __sk_common.skc_net.net, ns.inum);
	/* As the packet has it, where packets are not seen. */
	if (joins)
		any_join_received = 1;
	if (joins ? !mps_join_wanted(&ends.t) : !mps_wanted(&ends.t, MPS_SIDE_SERVER))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_REQUEST, MPS_HOOK_CHECK_REQ);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->listener = (__u64)listener;
	e->cookie = mps_read_cookie(listener);
	e->flags = MPS_F_MPTCP | MPS_F_PACKET;
	e->option = capable ? MPS_OPTION_MP_CAPABLE : joins ? MPS_OPTION_MP_JOIN : MPS_OPTION_NONE;
	if (capable || joins)
		e->token = BPF_CORE_READ(request, token);
	if (joins) {
		e->option_flags = BPF_CORE_READ_BITFIELD_PROBED(request, backup);
		e->remote_id = BPF_CORE_READ(request, remote_id);
		bpf_core_read(&e->local_id, 1, &request->local_id);
	}
	e->retransmits = mps_synack_retries(listener);
	mps_submit(e);
	return 0;
}

/* subflow_syn_recv_sock(): the third ACK is about to make a socket. */
static __noinline int mps_on_third_ack(struct sock *listener, struct sk_buff *skb)
{
	struct mps_packet p = {};

	if (mps_packet_of_skb(&p, skb))
		return 0;
	p.t.netns = BPF_CORE_READ(listener, __sk_common.skc_net.net, ns.inum);
	if (p.option == MPS_OPTION_MP_JOIN ? !mps_join_wanted(&p.t) : !mps_wanted(&p.t, MPS_SIDE_SERVER))
		return 0;
	mps_tell_packet(&p, listener, mps_read_cookie(listener), MPS_ACK_IN, MPS_HOOK_SYN_RECV_SOCK, 1, 1);
	return 0;
}

/* mptcp_subflow_drop_ctx(): the child of a listener goes on as plain TCP, or is disposed of. */
static __noinline int mps_on_child_dropped(struct sock *child)
{
	struct mps_event *e;
	struct mps_ends ends;

	if (!mps_is_mptcp(child) || mps_read_ends(&ends, child) || ends.state != TCP_SYN_RECV)
		return 0;
	if (!mps_wanted(&ends.t, MPS_SIDE_SERVER))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_CHILD_DROPPED, MPS_HOOK_DROP_CTX);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)child;
	mps_fill_context(e, child);
	e->remote_key = 0;
	e->msk = 0;
	mps_submit(e);
	return 0;
}

#endif
