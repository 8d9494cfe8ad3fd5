/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* request.h - a SYN reaches a listener, and what answers it. */
#ifndef MPSCOPE_MULTIPATH_REQUEST_H
#define MPSCOPE_MULTIPATH_REQUEST_H

#include "packet.h"

/* What a listener was sent. */
static __always_inline void mps_tell_packet(void *ctx, struct sock *listener, const struct mps_tuple *t,
					    const struct mps_packet *p, __u32 kind, __u32 hook, _Bool is_mptcp)
{
	struct mps_event *e = mps_new(sizeof(*e), kind, hook, mps_netns_of(listener));

	if (!e)
		return;
	mps_fill_tuple(e, t);
	mps_fill_packet(e, p);
	e->listener = (__u64)listener;
	e->cookie = BPF_CORE_READ(listener, __sk_common.skc_cookie.counter);
	if (is_mptcp)
		e->flags |= MPS_F_MPTCP;
	if (kind == MPS_SYN_IN)
		e->retransmits = mps_synack_retries(listener);
	mps_send(ctx, e, sizeof(*e), hook);
}

/* mptcp_conn_request(): any SYN that reaches a listener whose own switch is on, plain ones too. */
static __always_inline int mps_on_conn_request(void *ctx, struct sock *listener, struct sk_buff *skb)
{
	struct mps_tuple t = {};
	struct mps_packet p;

	if (!mps_tuple_of_skb(&t, skb))
		return 0;
	mps_read_packet(&p, skb);
	mps_tell_packet(ctx, listener, &t, &p, MPS_SYN_IN, MPS_HOOK_CONN_REQUEST, 1);
	return 0;
}

/* tcp_conn_request() of a listener that is plain TCP; of others mptcp_conn_request() has told. */
static __always_inline int mps_on_tcp_conn_request(void *ctx, struct sock *listener, struct sk_buff *skb)
{
	struct mps_tuple t = {};
	__u64 key = (__u64)listener;
	struct mps_packet p;

	if (mps_state(listener) != TCP_LISTEN || mps_is_enabled(listener) || !mps_tuple_of_skb(&t, skb))
		return 0;
	mps_read_packet(&p, skb);
	t.netns = mps_netns_of(listener);
	if (p.option == MPS_OPTION_MP_CAPABLE || p.option == MPS_OPTION_MP_JOIN) {
		if (bpf_map_update_elem(&offered, &t, &key, BPF_ANY))
			mps_count_table_full(MPS_HOOK_TCP_CONN_REQUEST);
	} else {
		/* The same ends, begun anew. */
		bpf_map_delete_elem(&offered, &t);
		if (!mps_all_tcp())
			return 0;
	}
	mps_tell_packet(ctx, listener, &t, &p, MPS_SYN_IN, MPS_HOOK_TCP_CONN_REQUEST, 0);
	return 0;
}

/* What stands in a request: its ends, its listener, and which option answers it. */
static __always_inline void mps_tell_request(void *ctx, struct request_sock *req, __u32 kind, __u32 hook)
{
	struct mptcp_request_sock *mtreq = (struct mptcp_request_sock *)req;
	struct sock *as_socket = (struct sock *)req;
	struct mps_event *e = mps_new(sizeof(*e), kind, hook, mps_netns_of(as_socket));

	if (!e)
		return;
	/* A request begins as a socket does. */
	mps_fill_ends(e, as_socket);
	if (bpf_core_field_exists(req->rsk_listener))
		e->listener = (__u64)BPF_CORE_READ(req, rsk_listener);
	e->flags = MPS_F_MPTCP | MPS_F_PACKET;
	if (BPF_CORE_READ_BITFIELD_PROBED(mtreq, is_sub)) {
		e->option = MPS_OPTION_MP_JOIN;
		if (bpf_core_field_exists(mtreq->rem_id)) {
			e->local_id = BPF_CORE_READ(mtreq, loc_id);
			e->remote_id = BPF_CORE_READ(mtreq, rem_id);
		}
	} else {
		e->option = MPS_OPTION_MP_CAPABLE;
		if (bpf_core_field_exists(mtreq->mptcp_loc_token))
			e->token = bpf_ntohl(BPF_CORE_READ(mtreq, mptcp_loc_token));
	}
	mps_send(ctx, e, sizeof(*e), hook);
}

/* mptcp_reqsk_init() or mptcp_join_reqsk_init() returned. */
static __always_inline int mps_on_reqsk_init(void *ctx, struct request_sock *req, __u32 hook)
{
	if (mps_steps())
		mps_tell_request(ctx, req, MPS_REQUEST, hook);
	return 0;
}

/* mptcp_synack_options(): a SYN-ACK carries MP_CAPABLE or MP_JOIN. */
static __always_inline int mps_on_synack_options(void *ctx, struct request_sock *req)
{
	mps_tell_request(ctx, req, MPS_SYNACK_OUT, MPS_HOOK_SYNACK_OPTIONS);
	return 0;
}

#endif
