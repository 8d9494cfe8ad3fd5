/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * multipath.bpf.c - the programs for the out-of-tree stack (multipath-tcp.org), by the names of the
 * seed's walk: kprobes and kretprobes that unpack arguments and call the handlers in multipath/.
 */
#include <asm/ptrace.h>
#include "kernel/multipath.h"
#include <bpf/bpf_tracing.h>

#include "multipath/accept.h"
#include "multipath/answer.h"
#include "multipath/connect.h"
#include "multipath/request.h"
#include "multipath/state.h"

/* Where a call's return address is: the same at its beginning and at its return. */
#define mps_frame(ctx) PT_REGS_SP(ctx)
#ifdef __TARGET_ARCH_x86
/* It has been taken from the stack. */
#define mps_frame_returned(ctx) (PT_REGS_SP(ctx) - 8)
#else
#define mps_frame_returned(ctx) PT_REGS_SP(ctx)
#endif

SEC("kprobe/mptcp_enable_sock")
int BPF_KPROBE(enable_sock, struct sock *sk)
{
	return mps_on_enable_sock(ctx, sk);
}

SEC("kprobe/inet_csk_listen_start")
int BPF_KPROBE(listen_start, struct sock *sk)
{
	return mps_stash(mps_frame(ctx), MPS_HOOK_LISTEN_START, sk, 0, 0);
}

SEC("kretprobe/inet_csk_listen_start")
int BPF_KRETPROBE(listen_start_returns, int result)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_LISTEN_START, &in))
		return 0;
	return mps_on_listen(ctx, (struct sock *)in.first, result);
}

SEC("kprobe/tcp_connect")
int BPF_KPROBE(connect, struct sock *sk)
{
	mps_stash(mps_frame(ctx), MPS_HOOK_TCP_CONNECT, sk, 0, 0);
	return mps_on_connect_begin(ctx, sk);
}

SEC("kretprobe/tcp_connect")
int BPF_KRETPROBE(connect_returns)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_TCP_CONNECT, &in))
		return 0;
	return mps_on_connect_end(ctx, (struct sock *)in.first);
}

SEC("kprobe/mptcp_syn_options")
int BPF_KPROBE(syn_options, struct sock *sk)
{
	return mps_on_syn_options(ctx, sk);
}

SEC("kprobe/mptcp_conn_request")
int BPF_KPROBE(conn_request, struct sock *sk, struct sk_buff *skb)
{
	return mps_on_conn_request(ctx, sk, skb);
}

SEC("kprobe/tcp_conn_request")
int BPF_KPROBE(tcp_conn_request, void *rsk_ops, void *af_ops, struct sock *sk, struct sk_buff *skb)
{
	return mps_on_tcp_conn_request(ctx, sk, skb);
}

SEC("kprobe/mptcp_reqsk_init")
int BPF_KPROBE(reqsk_init, void *req)
{
	return mps_stash(mps_frame(ctx), MPS_HOOK_REQSK_INIT, req, 0, 0);
}

SEC("kretprobe/mptcp_reqsk_init")
int BPF_KRETPROBE(reqsk_init_returns)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_REQSK_INIT, &in))
		return 0;
	return mps_on_reqsk_init(ctx, (struct request_sock *)in.first, MPS_HOOK_REQSK_INIT);
}

SEC("kprobe/mptcp_join_reqsk_init")
int BPF_KPROBE(join_reqsk_init, void *mpcb, void *req)
{
	return mps_stash(mps_frame(ctx), MPS_HOOK_JOIN_REQSK_INIT, req, 0, 0);
}

SEC("kretprobe/mptcp_join_reqsk_init")
int BPF_KRETPROBE(join_reqsk_init_returns)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_JOIN_REQSK_INIT, &in))
		return 0;
	return mps_on_reqsk_init(ctx, (struct request_sock *)in.first, MPS_HOOK_JOIN_REQSK_INIT);
}

SEC("kprobe/mptcp_synack_options")
int BPF_KPROBE(synack_options, struct request_sock *req)
{
	return mps_on_synack_options(ctx, req);
}

SEC("kprobe/mptcp_rcv_synsent_state_process")
int BPF_KPROBE(synsent, struct sock *sk, void *skptr, struct sk_buff *skb)
{
	mps_stash(mps_frame(ctx), MPS_HOOK_SYNSENT, sk, skptr, skb);
	return mps_on_synack_begin(ctx, sk, skb);
}

SEC("kretprobe/mptcp_rcv_synsent_state_process")
int BPF_KRETPROBE(synsent_returns, int result)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_SYNSENT, &in))
		return 0;
	return mps_on_synack(ctx, (struct sock *)in.first, (struct sock **)in.second, (struct sk_buff *)in.third,
			     result);
}

SEC("kprobe/tcp_finish_connect")
int BPF_KPROBE(finish_connect, struct sock *sk)
{
	return mps_on_finish_connect(ctx, sk);
}

SEC("kprobe/tcp_check_req")
int BPF_KPROBE(check_req, struct sock *sk, struct sk_buff *skb, struct request_sock *req)
{
	return mps_on_check_req(ctx, sk, skb, req);
}

SEC("kprobe/mptcp_check_req_master")
int BPF_KPROBE(check_req_master, struct sock *sk, struct sock *child)
{
	mps_stash(mps_frame(ctx), MPS_HOOK_CHECK_REQ_MASTER, sk, child, 0);
	return mps_on_child(sk, child);
}

SEC("kretprobe/mptcp_check_req_master")
int BPF_KRETPROBE(check_req_master_returns, int result)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_CHECK_REQ_MASTER, &in))
		return 0;
	return mps_on_child_accepted(ctx, (struct sock *)in.first, (struct sock *)in.second, result);
}

SEC("kprobe/mptcp_check_req_child")
int BPF_KPROBE(check_req_child, void *meta, void *child, void *req, void *skb)
{
	return mps_stash(mps_frame(ctx), MPS_HOOK_CHECK_REQ_CHILD, meta, child, skb);
}

SEC("kretprobe/mptcp_check_req_child")
int BPF_KRETPROBE(check_req_child_returns, struct sock *result)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_frame_returned(ctx), MPS_HOOK_CHECK_REQ_CHILD, &in))
		return 0;
	return mps_on_join_checked(ctx, (struct sock *)in.first, (struct sock *)in.second,
				   (struct sk_buff *)in.third, result);
}

SEC("kprobe/mptcp_update_metasocket")
int BPF_KPROBE(update_metasocket, struct sock *any)
{
	return mps_on_update_metasocket(ctx, any);
}

SEC("kprobe/mptcp_handle_ack_in_infinite")
int BPF_KPROBE(ack_in_infinite, struct sock *sk)
{
	return mps_on_ack(ctx, sk);
}

SEC("kprobe/mptcp_sub_force_close")
int BPF_KPROBE(force_close, struct sock *sk)
{
	return mps_on_force_close(ctx, sk);
}

SEC("kprobe/tcp_set_state")
int BPF_KPROBE(set_state, struct sock *sk, int state)
{
	return mps_on_set_state(ctx, sk, state);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
