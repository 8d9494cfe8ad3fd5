/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * tracepoint.h - what every kernel offers, also where there are no kprobes and no fentry: raw
 * tracepoints, and programs at the root of cgroup v2, which see every network namespace.
 */
#ifndef MPSCOPE_ATTACH_TRACEPOINT_H
#define MPSCOPE_ATTACH_TRACEPOINT_H

SEC("raw_tracepoint/inet_sock_set_state")
int inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_set_state_first((struct sock *)ctx->args[0], ctx->args[1], ctx->args[2]);
}

SEC("raw_tracepoint/inet_sock_set_state")
int inet_sock_set_state_2(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_set_state_second((struct sock *)ctx->args[0], ctx->args[1], ctx->args[2]);
}

SEC("raw_tracepoint/tcp_receive_reset")
int tcp_receive_reset(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_reset_in((struct sock *)ctx->args[0]);
}

SEC("raw_tracepoint/tcp_send_reset")
int tcp_send_reset(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_reset_out((struct sock *)ctx->args[0], (struct sk_buff *)ctx->args[1], ctx->args[2]);
}

/* Before 6.10 it has no reason, and a program that reads one is refused. */
SEC("raw_tracepoint/tcp_send_reset")
int tcp_send_reset_2(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_reset_out((struct sock *)ctx->args[0], (struct sk_buff *)ctx->args[1], 0);
}

SEC("raw_tracepoint/subflow_check_data_avail")
int subflow_check_data_avail(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_data_first((__u8)ctx->args[0], (struct sk_buff *)ctx->args[1]);
}

SEC("raw_tracepoint/subflow_check_data_avail")
int subflow_check_data_avail_2(struct bpf_raw_tracepoint_args *ctx)
{
	return mps_on_data_second((__u8)ctx->args[0], (struct sk_buff *)ctx->args[1]);
}

/* What every syscalls:sys_exit_* has: `ret` at byte 16. */
struct mps_syscall_exit {
	__u64 common;
	__s64 number;
	__s64 result;
};

/* Attached only while MPTCP is switched off in some namespace, see Sources/Probes. */
SEC("tracepoint")
int sys_exit_socket(struct mps_syscall_exit *ctx)
{
	return mps_on_socket_exit(ctx->result);
}

/* Every program below returns 1: go on, nothing is changed. */

SEC("cgroup_skb/egress")
int skb_egress(struct __sk_buff *skb)
{
	return mps_on_packet_out(skb);
}

SEC("cgroup_skb/ingress")
int skb_ingress(struct __sk_buff *skb)
{
	return mps_on_packet_in(skb);
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *sk)
{
	return mps_on_socket(sk, MPS_SOCKET_CREATED, MPS_HOOK_SOCK_CREATE);
}

SEC("cgroup/sysctl")
int sysctl(struct bpf_sysctl *ctx)
{
	return mps_on_sysctl(ctx);
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	return mps_on_socket(sk, MPS_SOCKET_RELEASED, MPS_HOOK_SOCK_RELEASE);
}

#endif
