/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * open.h - packets of open MPTCP connections: the first DSS on a subflow that joins, ADD_ADDR, RM_ADDR
 * and MP_FAIL.
 */
#ifndef MPSCOPE_HANDLERS_OPEN_H
#define MPSCOPE_HANDLERS_OPEN_H

#include "follow.h"
#include "options.h"

/* An address as an option has it; of RM_ADDR the id only. */
struct mps_signal {
	__u64 ssk;
	__u8 address[16];
	__u32 token; /* of the connection at this end */
	__u32 hook;
	__u16 port;
	__u8 option; /* MPS_OPTION_ADD_ADDR or _RM_ADDR */
	__u8 id;
	__u32 unused;
};

__noinline int mps_send_signal(const struct mps_tuple *t, const struct mps_signal *signal)
{
	struct mps_event *e;

	if (!t || !signal)
		return 0;
	e = mps_reserve(sizeof(*e), MPS_ADDRESS, signal->hook);
	if (!e)
		return 0;
	mps_fill_tuple(e, t);
	e->hook = signal->hook;
	e->flags = MPS_F_PACKET | MPS_F_MPTCP;
	e->option = signal->option;
	e->ssk = signal->ssk;
	e->token = signal->token;
	e->remote_id = signal->id;
	e->remote_port = signal->port;
	__builtin_memcpy(e->remote, signal->address, 16);
	mps_submit(e);
	return 0;
}

/* ADD_ADDR that is no echo, and RM_ADDR (RFC 8684, sections 3.4.1 and 3.4.2). */
static __always_inline void mps_send_signals(const struct mps_packet *p, const struct mps_options *options,
					     __u32 signals, struct sock *ssk, __u32 hook)
{
	__u32 add_addr = signals >> 8 & 0xff, rm_addr = signals >> 16 & 0xff;
	struct mptcp_subflow_context *context = mps_context(ssk);
	struct mps_signal signal = { .ssk = (__u64)ssk, .hook = hook };
	const __u8 *o = options->bytes;
	__u32 at, size;

	if (context)
		signal.token = BPF_CORE_READ(context, token);
	at = add_addr ? add_addr - 1 : 63;
	mps_opaque(at);
	at &= 63;
	/* Without the echo flag there is an HMAC of 8 bytes at the end; none fits further back. */
	if (at <= 22 && !(o[at + 2] & 1)) {
		size = o[at + 1];
		signal.option = MPS_OPTION_ADD_ADDR;
		signal.id = o[at + 3];
		if (size == 16 || size == 18) {
			mps_v4_mapped(signal.address, (__be32)(o[at + 4] | o[at + 5] << 8 | o[at + 6] << 16 |
							       (__u32)o[at + 7] << 24));
			signal.port = size == 18 ? o[at + 8] << 8 | o[at + 9] : 0;
			mps_send_signal(&p->t, &signal);
		} else if (size == 28 || size == 30) {
			for (int i = 0; i < 16; i++)
				signal.address[i] = o[at + 4 + i];
			signal.port = size == 30 ? o[at + 20] << 8 | o[at + 21] : 0;
			mps_send_signal(&p->t, &signal);
		}
	}
	at = rm_addr ? rm_addr - 1 : 63;
	mps_opaque(at);
	at &= 63;
	if (at > 36)
		return;
	size = o[at + 1];
	signal.option = MPS_OPTION_RM_ADDR;
	signal.port = 0;
	__builtin_memset(signal.address, 0, 16);
	for (__u32 i = 3; i < 11; i++) {
		if (i >= size)
			return;
		signal.id = o[at + i];
		mps_send_signal(&p->t, &signal);
	}
}

/* The peer got data with a wrong checksum: the fallback that follows is for that. */
static __noinline int mps_remember_fail(struct sock *ssk)
{
	struct mptcp_subflow_context *context = mps_context(ssk);
	__u64 key = context ? (__u64)BPF_CORE_READ(context, conn) : 0;
	__u8 why = MPS_MAPPING_MP_FAIL;

	any_fallen = 1;
	bpf_map_update_elem(&fallen, &key, &why, BPF_NOEXIST);
	return 0;
}

/*
 * A packet of an open connection that carries more than timestamps and a DSS, or that is the
 * first DSS on a subflow of ours that joins.
 */
__noinline int mps_on_open_packet(struct __sk_buff *skb, __u32 egress)
{
	struct mps_options options = {};
	struct mps_place place = {};
	struct mps_packet p = {};
	struct tcp_sock *tp;
	struct sock *sk;
	_Bool is_joining;
	__u32 signals;
	__u64 key;

	tp = mps_skb_tcp(skb);
	if (!tp || !tp->is_mptcp)
		return 1;
	sk = &tp->inet_conn.icsk_inet.sk;
	key = (__u64)sk;
	is_joining = !egress && mps_is_joining(key);
	if (!mps_find_tcp(skb, &place))
		return 1;
	if (!is_joining && mps_only_dss(skb, &place))
		return 1;
	if (!mps_read_packet(skb, &place, &p, &options, egress))
		return 1;
	signals = mps_signals(&options);
	p.t.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (!mps_join_wanted(&p.t))
		return 1;
	if (is_joining && signals & 1) {
		bpf_map_delete_elem(&joining, &key);
		p.option = MPS_OPTION_DSS;
		p.version = 0xff;
		mps_send_packet(&p, sk, MPS_JOIN_CONFIRMED, MPS_HOOK_SKB_INGRESS, 1, 0);
	}
	if (signals & 2 && !egress)
		mps_remember_fail(sk);
	if (signals & ~3u)
		mps_send_signals(&p, &options, signals, sk, egress ? MPS_HOOK_SKB_EGRESS : MPS_HOOK_SKB_INGRESS);
	return 1;
}

#endif
