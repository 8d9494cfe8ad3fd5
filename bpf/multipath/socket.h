/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* socket.h - whose a socket of the out-of-tree stack is, and what every handler reads of it. */
#ifndef MPSCOPE_MULTIPATH_SOCKET_H
#define MPSCOPE_MULTIPATH_SOCKET_H

#include "emit.h"

/*
 * The application's socket is the meta socket; its first subflow is another one, the master, with
 * the same ends (the seed: master_sk, meta_sk). Both are one connection here: events name the meta
 * socket as subflow 0. On fallback, and before MPTCP is agreed, there is only that one socket.
 */
enum mps_role {
	MPS_ROLE_PLAIN,	 /* no MPTCP was agreed (yet, or any more) */
	MPS_ROLE_META,
	MPS_ROLE_MASTER, /* the first subflow */
	MPS_ROLE_SLAVE,	 /* an additional subflow (MP_JOIN) */
	MPS_ROLE_CHILD,	 /* a server's, not yet one of these: a join that may be refused */
};

struct mps_whose {
	__u32 role;
	struct sock *meta; /* NULL: plain */
	struct mptcp_cb *mpcb;
	struct mptcp_tcp_sock *mptcp;
};

static __always_inline void mps_find_whose(struct mps_whose *whose, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct mptcp_tcp_sock *mptcp;

	whose->role = MPS_ROLE_PLAIN;
	whose->meta = 0;
	whose->mpcb = 0;
	whose->mptcp = 0;
	if (!BPF_CORE_READ_BITFIELD_PROBED(tp, mpc))
		return;
	whose->meta = BPF_CORE_READ(tp, meta_sk);
	whose->mpcb = BPF_CORE_READ(tp, mpcb);
	if (whose->meta == sk) {
		whose->role = MPS_ROLE_META;
		return;
	}
	/* is_master_sk is only set while it is being cloned. */
	mptcp = BPF_CORE_READ(tp, mptcp);
	whose->mptcp = mptcp;
	if (!mptcp)
		whose->role = MPS_ROLE_CHILD;
	else
		whose->role = BPF_CORE_READ_BITFIELD_PROBED(mptcp, slave_sk) ? MPS_ROLE_SLAVE :
										      MPS_ROLE_MASTER;
}

static __always_inline void mps_v4_mapped(__u8 *to, __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline __u32 mps_netns_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline void mps_read_addresses(__u8 *local, __u8 *remote, struct sock *sk)
{
	/* A kernel without IPv6 has no such fields. */
	if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr) &&
	    BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
		bpf_core_read(local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(remote, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		mps_v4_mapped(local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		mps_v4_mapped(remote, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	}
}

/* The ends of a socket, or of a request, which begins with the same. */
static __always_inline void mps_fill_ends(struct mps_event *e, struct sock *sk)
{
	mps_read_addresses(e->local, e->remote, sk);
	e->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	e->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

/* The same of one that closes: skc_num is already given back, inet_sport stays. */
static __always_inline void mps_fill_closed_ends(struct mps_event *e, struct sock *sk)
{
	mps_fill_ends(e, sk);
	if (!e->local_port)
		e->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline void mps_fill_retransmits(struct mps_event *e, struct sock *sk)
{
	__u32 total = BPF_CORE_READ((struct tcp_sock *)sk, total_retrans);

	e->retransmits = total > 255 ? 255 : total;
}

/* The whole connection's tokens and checksum bit. */
static __always_inline void mps_fill_connection(struct mps_event *e, const struct mps_whose *whose)
{
	/* A variable of its own: CO-RE would look for mps_whose in the kernel. */
	struct mptcp_cb *mpcb = whose->mpcb;
	__u32 remote;

	if (!mpcb)
		return;
	e->flags |= MPS_F_MPTCP;
	e->token = bpf_ntohl(BPF_CORE_READ(mpcb, mptcp_loc_token));
	remote = BPF_CORE_READ(mpcb, mptcp_rem_token);
	if (remote) {
		e->remote_token = bpf_ntohl(remote);
		e->flags |= MPS_F_REMOTE_TOKEN;
	}
	if (bpf_core_field_exists(mpcb->dss_csum) && BPF_CORE_READ_BITFIELD_PROBED(mpcb, dss_csum))
		e->flags |= MPS_F_CHECKSUM;
}

static __always_inline _Bool mps_is_infinite(struct mptcp_cb *mpcb)
{
	return mpcb && (BPF_CORE_READ_BITFIELD_PROBED(mpcb, infinite_mapping_rcv) ||
			BPF_CORE_READ_BITFIELD_PROBED(mpcb, infinite_mapping_snd));
}

/* Which subflow of which connection it is, as events name them. */
static __always_inline void mps_fill_whose(struct mps_event *e, struct sock *sk, const struct mps_whose *whose)
{
	struct mptcp_tcp_sock *mptcp = whose->mptcp;

	e->ssk = whose->role == MPS_ROLE_MASTER ? (__u64)whose->meta : (__u64)sk;
	e->msk = (__u64)whose->meta;
	mps_fill_connection(e, whose);
	if (whose->role != MPS_ROLE_SLAVE)
		return;
	e->flags |= MPS_F_MP_JOIN;
	e->local_id = BPF_CORE_READ(mptcp, loc_id);
	e->remote_id = BPF_CORE_READ(mptcp, rem_id);
}

#endif
