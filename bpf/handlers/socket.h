/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* socket.h - what every handler reads of a socket and of its MPTCP subflow context. */
#ifndef MPSCOPE_HANDLERS_SOCKET_H
#define MPSCOPE_HANDLERS_SOCKET_H

#include "../emit.h"

static __always_inline void mps_v4_mapped(__u8 *to, __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline void mps_copy_address(__u8 *to, const __u8 *from)
{
	/* Words: the kernel aligns addresses to 4, and the stack must be read aligned. */
	for (int i = 0; i < 4; i++)
		((__u32 *)to)[i] = ((const __u32 *)from)[i];
}

/* What one copy of a socket tells: its ends, its cookie and its state. */
struct mps_ends {
	struct mps_tuple t;
	__u64 cookie; /* 0: never made */
	__u32 state;
	__u32 unused;
};

/*
 * A function of its own: its copy then shares the stack with that of a subflow context, whoever
 * calls both (512 bytes for a chain of calls; 6.1 rounds each up to 32). A v4-mapped IPv6 socket
 * needs nothing special, all is v4-mapped.
 */
static __noinline int mps_read_ends(struct mps_ends *ends, struct sock *sk)
{
	struct mps_sock_copy copy;

	if (mps_copy_sock(&copy, sk))
		return -1;
	if (MPS_FROM(&copy, sock_common, skc_family, __u16) == AF_INET6) {
		mps_copy_address(ends->t.local, copy.bytes + MPS_OFFSET(sock_common, skc_v6_rcv_saddr));
		mps_copy_address(ends->t.remote, copy.bytes + MPS_OFFSET(sock_common, skc_v6_daddr));
	} else {
		mps_v4_mapped(ends->t.local, MPS_FROM(&copy, sock_common, skc_rcv_saddr, __be32));
		mps_v4_mapped(ends->t.remote, MPS_FROM(&copy, sock_common, skc_daddr, __be32));
	}
	ends->t.local_port = MPS_FROM(&copy, sock_common, skc_num, __u16);
	ends->t.remote_port = bpf_ntohs(MPS_FROM(&copy, sock_common, skc_dport, __u16));
	ends->t.netns = mps_netns(&copy);
	ends->cookie = MPS_FROM(&copy, sock_common, skc_cookie, __u64);
	ends->state = MPS_FROM(&copy, sock_common, skc_state, __u8);
	return 0;
}

/* At CLOSE the port is already given back (inet_put_port clears skc_num); inet_sport stays. */
static __always_inline void mps_closed_port(struct mps_tuple *t, struct sock *sk)
{
	if (!t->local_port)
		t->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline __u64 mps_read_cookie(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
}

static __always_inline void *mps_context(struct sock *ssk)
{
	return BPF_CORE_READ((struct inet_connection_sock *)ssk, icsk_ulp_data);
}

/* What the subflow context says, as flags and fields of the event. */
static __noinline void mps_fill_context(struct mps_event *e, struct sock *ssk)
{
	struct mps_context_copy copy;
	void *context = mps_context(ssk);
	__u32 flags = MPS_F_MPTCP;

	if (!context || mps_copy_context(&copy, context))
		return;
	if (MPS_CONTEXT_BIT(&copy, request_mptcp))
		flags |= MPS_F_REQUEST_MPTCP;
	if (MPS_CONTEXT_BIT(&copy, request_join)) {
		flags |= MPS_F_REQUEST_JOIN;
		e->remote_token = MPS_FROM(&copy, mptcp_subflow_context, remote_token, __u32);
	}
	if (MPS_CONTEXT_BIT(&copy, mp_capable))
		flags |= MPS_F_MP_CAPABLE;
	if (MPS_CONTEXT_BIT(&copy, mp_join))
		flags |= MPS_F_MP_JOIN;
	if (MPS_CONTEXT_BIT(&copy, backup) || MPS_CONTEXT_BIT(&copy, request_bkup))
		flags |= MPS_F_BACKUP;
	if (MPS_CONTEXT_BIT(&copy, mpc_drop))
		flags |= MPS_F_MPC_DROP;
	if (MPS_CONTEXT_BIT(&copy, reset_reason)) {
		flags |= MPS_F_RESET_REASON;
		e->reset_reason = MPS_CONTEXT_BIT(&copy, reset_reason);
	}
	if (bpf_core_field_exists(((struct mptcp_subflow_context *)0)->pm_listener) &&
	    MPS_FROM(&copy, mptcp_subflow_context, pm_listener, __u8))
		flags |= MPS_F_PM_LISTENER;
	e->flags |= flags;
	e->token = MPS_FROM(&copy, mptcp_subflow_context, token, __u32);
	e->remote_key = MPS_FROM(&copy, mptcp_subflow_context, remote_key, __u64);
	e->msk = MPS_FROM(&copy, mptcp_subflow_context, conn, __u64);
	/* One byte on either side of 6.8, which made it an s16 with -1 for "not yet set". */
	e->local_id = MPS_FROM(&copy, mptcp_subflow_context, local_id, __u8);
	e->remote_id = MPS_FROM(&copy, mptcp_subflow_context, remote_id, __u8);
}

/* Whether a subflow of ours asks to join a connection. */
static __always_inline _Bool mps_requests_join(struct sock *ssk)
{
	struct mptcp_subflow_context *context = mps_context(ssk);

	return context && BPF_CORE_READ_BITFIELD_PROBED(context, request_join);
}

/* Whether it is an additional subflow, ours or the peer's. */
static __always_inline _Bool mps_joins(struct sock *ssk)
{
	struct mptcp_subflow_context *context = mps_context(ssk);

	return context && (BPF_CORE_READ_BITFIELD_PROBED(context, request_join) ||
			   BPF_CORE_READ_BITFIELD_PROBED(context, mp_join));
}

static __always_inline void mps_fill_msk(struct mps_event *e, struct mptcp_sock *msk)
{
	e->msk = (__u64)msk;
	e->token = BPF_CORE_READ(msk, token);
	if (BPF_CORE_READ(msk, csum_enabled))
		e->flags |= MPS_F_CHECKSUM;
	if (mps_fell_back(BPF_CORE_READ(msk, flags)))
		e->flags |= MPS_F_FALLBACK;
	if (BPF_CORE_READ(msk, fully_established))
		e->flags |= MPS_F_FULL;
}

static __always_inline void mps_fill_retransmits(struct mps_event *e, struct sock *ssk)
{
	__u32 total = BPF_CORE_READ((struct tcp_sock *)ssk, total_retrans);

	e->retransmits = total > 255 ? 255 : total;
}

static __always_inline _Bool mps_is_self(void)
{
	__u64 comm[2] = {}, ours[2] = {};

	if (config.self && config.self == (__u32)(bpf_get_current_pid_tgid() >> 32))
		return 1;
	bpf_get_current_comm(comm, sizeof(comm));
	__builtin_memcpy(ours, MPS_OWN_THREAD, sizeof(MPS_OWN_THREAD));
	return comm[0] == ours[0] && comm[1] == ours[1];
}

#endif
