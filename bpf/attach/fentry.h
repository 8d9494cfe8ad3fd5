/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * fentry.h - the kernel's functions, by name, where they begin (fentry) and where they return
 * (fexit): the cheapest way, and one that knows the arguments of what returns.
 */
#ifndef MPSCOPE_ATTACH_FENTRY_H
#define MPSCOPE_ATTACH_FENTRY_H

SEC("fentry/tcp_connect")
int BPF_PROG(fentry_tcp_connect, struct sock *sk)
{
	return mps_on_tcp_connect(sk, 0);
}

SEC("fentry/tcp_connect")
int BPF_PROG(fentry_tcp_connect_2, struct sock *sk)
{
	return mps_on_tcp_connect(sk, 1);
}

SEC("fexit/mptcp_init_sock")
int BPF_PROG(fexit_init_sock, struct sock *sk, int result)
{
	mps_on_init_sock(sk, result);
	return 0;
}

SEC("fexit/subflow_check_req")
int BPF_PROG(fexit_check_req, struct request_sock *req, struct sock *listener, struct sk_buff *skb, int result)
{
	return result ? 0 : mps_on_request(listener, req);
}

SEC("fentry/subflow_finish_connect")
int BPF_PROG(fentry_finish_connect, struct sock *sk, struct sk_buff *skb)
{
	return mps_on_synack(sk, skb);
}

SEC("fentry/mptcp_finish_connect")
int BPF_PROG(fentry_mptcp_finish_connect, struct sock *ssk)
{
	return mps_tell_subflow(ssk, MPS_SYNACK_TAKEN, MPS_HOOK_MPTCP_FINISH_CONNECT);
}

SEC("fentry/subflow_syn_recv_sock")
int BPF_PROG(fentry_syn_recv_sock, struct sock *sk, struct sk_buff *skb)
{
	return mps_on_third_ack(sk, skb);
}

SEC("fexit/mptcp_sk_clone_init")
int BPF_PROG(fexit_clone_init, void *sk, void *options, void *ssk, void *req, struct sock *msk)
{
	return mps_on_clone_init(msk);
}

SEC("fentry/mptcp_set_state")
int BPF_PROG(fentry_set_state, struct sock *sk, int state)
{
	return mps_on_msk_state(sk, state);
}

SEC("fentry/__mptcp_set_connected")
int BPF_PROG(fentry_set_connected, struct sock *sk)
{
	return mps_on_msk_state(sk, TCP_ESTABLISHED);
}

SEC("fentry/__mptcp_try_fallback")
int BPF_PROG(fentry_try_fallback, struct mptcp_sock *msk, int mib)
{
	return mps_on_try_fallback(msk, mib);
}

SEC("fentry/mptcp_subflow_drop_ctx")
int BPF_PROG(fentry_drop_ctx, struct sock *ssk)
{
	return mps_on_child_dropped(ssk);
}

SEC("fexit/__mptcp_subflow_connect")
int BPF_PROG(fexit_subflow_connect, struct mptcp_sock *msk, void *local, void *remote, int result)
{
	return mps_on_subflow_connect(msk, local, remote, result);
}

SEC("fentry/mptcp_finish_join")
int BPF_PROG(fentry_finish_join, struct sock *ssk)
{
	return mps_tell_subflow(ssk, MPS_JOIN_AUTHENTIC, MPS_HOOK_FINISH_JOIN);
}

SEC("fentry/subflow_add_reset_reason")
int BPF_PROG(fentry_reset_reason, struct sk_buff *skb, __u8 reason)
{
	return mps_on_reset_reason(skb, reason);
}

SEC("fexit/mptcp_active_detect_blackhole")
int BPF_PROG(fexit_detect_blackhole, struct sock *ssk)
{
	return mps_on_detect_blackhole(ssk);
}

SEC("fentry/mptcp_active_disable")
int BPF_PROG(fentry_active_disable, struct sock *sk)
{
	return mps_on_active_disable(sk);
}

SEC("fentry/mptcp_event")
int BPF_PROG(fentry_mptcp_event, int type, void *msk, struct sock *ssk)
{
	return mps_on_mptcp_event(type, ssk);
}

#endif
