/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * kprobe.h - the same functions where fentry can't be used. A kretprobe does not know the arguments:
 * the kprobe before it keeps them.
 */
#ifndef MPSCOPE_ATTACH_KPROBE_H
#define MPSCOPE_ATTACH_KPROBE_H

SEC("kprobe/tcp_connect")
int BPF_KPROBE(kprobe_tcp_connect, struct sock *sk)
{
	return mps_on_tcp_connect(sk, 0);
}

SEC("kprobe/mptcp_init_sock")
int BPF_KPROBE(kprobe_init_sock, struct sock *sk)
{
	return mps_stash(mps_thread_in(MPS_HOOK_INIT_SOCK), sk, 0, 0);
}

SEC("kretprobe/mptcp_init_sock")
int BPF_KRETPROBE(kretprobe_init_sock, int result)
{
	struct mps_stashed in;

	if (mps_unstash(mps_thread_in(MPS_HOOK_INIT_SOCK), &in))
		mps_on_init_sock((struct sock *)in.first, result);
	return 0;
}

SEC("kprobe/subflow_check_req")
int BPF_KPROBE(kprobe_check_req, void *req, void *listener)
{
	return mps_stash(mps_softirq_in(MPS_HOOK_CHECK_REQ), req, listener, 0);
}

SEC("kretprobe/subflow_check_req")
int BPF_KRETPROBE(kretprobe_check_req, int result)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_softirq_in(MPS_HOOK_CHECK_REQ), &in) || result)
		return 0;
	return mps_on_request((struct sock *)in.second, (struct request_sock *)in.first);
}

SEC("kprobe/subflow_finish_connect")
int BPF_KPROBE(kprobe_finish_connect, struct sock *sk, struct sk_buff *skb)
{
	return mps_on_synack(sk, skb);
}

SEC("kprobe/mptcp_finish_connect")
int BPF_KPROBE(kprobe_mptcp_finish_connect, struct sock *ssk)
{
	return mps_tell_subflow(ssk, MPS_SYNACK_TAKEN, MPS_HOOK_MPTCP_FINISH_CONNECT);
}

SEC("kprobe/subflow_syn_recv_sock")
int BPF_KPROBE(kprobe_syn_recv_sock, struct sock *sk, struct sk_buff *skb)
{
	return mps_on_third_ack(sk, skb);
}

SEC("kretprobe/mptcp_sk_clone_init")
int BPF_KRETPROBE(kretprobe_clone_init, struct sock *msk)
{
	return mps_on_clone_init(msk);
}

SEC("kprobe/mptcp_set_state")
int BPF_KPROBE(kprobe_set_state, struct sock *sk, int state)
{
	return mps_on_msk_state(sk, state);
}

SEC("kprobe/__mptcp_set_connected")
int BPF_KPROBE(kprobe_set_connected, struct sock *sk)
{
	return mps_on_msk_state(sk, TCP_ESTABLISHED);
}

SEC("kprobe/__mptcp_try_fallback")
int BPF_KPROBE(kprobe_try_fallback, struct mptcp_sock *msk, int mib)
{
	return mps_on_try_fallback(msk, mib);
}

SEC("kprobe/mptcp_subflow_drop_ctx")
int BPF_KPROBE(kprobe_drop_ctx, struct sock *ssk)
{
	return mps_on_child_dropped(ssk);
}

SEC("kprobe/__mptcp_subflow_connect")
int BPF_KPROBE(kprobe_subflow_connect, void *msk, void *local, void *remote)
{
	return mps_stash(mps_thread_in(MPS_HOOK_SUBFLOW_CONNECT), msk, local, remote);
}

SEC("kretprobe/__mptcp_subflow_connect")
int BPF_KRETPROBE(kretprobe_subflow_connect, int result)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_thread_in(MPS_HOOK_SUBFLOW_CONNECT), &in))
		return 0;
	return mps_on_subflow_connect((struct mptcp_sock *)in.first, (struct mptcp_addr_info *)in.second,
				      (struct mptcp_addr_info *)in.third, result);
}

SEC("kprobe/mptcp_finish_join")
int BPF_KPROBE(kprobe_finish_join, struct sock *ssk)
{
	return mps_tell_subflow(ssk, MPS_JOIN_AUTHENTIC, MPS_HOOK_FINISH_JOIN);
}

SEC("kprobe/subflow_add_reset_reason")
int BPF_KPROBE(kprobe_reset_reason, struct sk_buff *skb, __u32 reason)
{
	return mps_on_reset_reason(skb, reason);
}

SEC("kprobe/mptcp_active_detect_blackhole")
int BPF_KPROBE(kprobe_detect_blackhole, struct sock *ssk)
{
	return mps_stash(mps_softirq_in(MPS_HOOK_DETECT_BLACKHOLE), ssk, 0, 0);
}

SEC("kretprobe/mptcp_active_detect_blackhole")
int BPF_KRETPROBE(kretprobe_detect_blackhole)
{
	struct mps_stashed in;

	if (!mps_unstash(mps_softirq_in(MPS_HOOK_DETECT_BLACKHOLE), &in))
		return 0;
	return mps_on_detect_blackhole((struct sock *)in.first);
}

SEC("kprobe/mptcp_active_disable")
int BPF_KPROBE(kprobe_active_disable, struct sock *sk)
{
	return mps_on_active_disable(sk);
}

SEC("kprobe/mptcp_event")
int BPF_KPROBE(kprobe_mptcp_event, int type, void *msk, struct sock *ssk)
{
	return mps_on_mptcp_event(type, ssk);
}

#endif
