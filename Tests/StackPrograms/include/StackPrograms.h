/* SPDX-License-Identifier: Apache-2.0 */
/*
 * StackPrograms.h - the programs for the out-of-tree stack (bpf/multipath.bpf.c), compiled for this
 * machine: what they send when the kernel's functions are called with sockets that a test makes up.
 * No kernel is asked.
 *
 * Everything here belongs to the thread that calls it.
 */
#ifndef MPSCOPE_STACK_PROGRAMS_H
#define MPSCOPE_STACK_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Forgets everything; `config` (struct mps_config) is what the loader would tell the programs. */
void stack_begin(const void *config);
/* Frees what was made. */
void stack_end(void);

/* What the programs see of the moment: where, when, and which process was running. */
struct stack_moment {
	uint64_t time;
	uint32_t cpu;
	uint32_t pid;
	uint32_t tid;
	uint32_t uid;
	char comm[16];
};
void stack_now(const struct stack_moment *moment);

/* Events since stack_begin(). */
size_t stack_event_count(void);
const void *stack_event(size_t number, size_t *size);

/* A network namespace. */
void *stack_net(uint32_t inode, int synack_retries);

/* A socket's fields, by the kernel's names; host byte order but for the addresses. */
struct stack_socket {
	uint8_t local[16];
	uint8_t remote[16];
	bool ipv6;
	uint16_t num;
	uint16_t sport;
	uint16_t dport;
	uint8_t state;
	uint64_t cookie;
	bool sock_mptcp; /* SOCK_MPTCP */
	bool kern_sock;
	int err;
	uint32_t total_retrans;
	bool request_mptcp;
	bool mpc;
	uint32_t loc_token;
	void *net;
	void *meta_sk;
	void *mpcb;
	bool has_mptcp; /* tp->mptcp is not NULL */
	bool slave_sk;
	bool fully_established;
	bool pre_established;
	uint8_t loc_id;
	uint8_t rem_id;
	uint32_t inode; /* 0: no application has it */
};
void *stack_socket_new(void);
void stack_socket_set(void *sk, const struct stack_socket *fields);

/* What a connection has once (struct mptcp_cb). */
struct stack_mpcb {
	bool dss_csum;
	bool server_side;
	bool infinite_mapping_rcv;
	bool infinite_mapping_snd;
	uint32_t loc_token;
	uint32_t rem_token;
};
void *stack_mpcb_new(void);
void stack_mpcb_set(void *mpcb, const struct stack_mpcb *fields);

/* A half-open handshake at a server. */
struct stack_request {
	uint8_t local[16];
	uint8_t remote[16];
	bool ipv6;
	uint16_t num;
	uint16_t dport;
	void *net;
	void *listener;
	bool is_sub;
	uint32_t loc_token;
	uint8_t loc_id;
	uint8_t rem_id;
};
void *stack_request_new(const struct stack_request *fields);

/* A packet: its IP header, and behind it the TCP header at `transport`. */
void *stack_packet(const void *bytes, size_t size, size_t transport);

/* The kernel's functions are called: ... */
void stack_mptcp_enable_sock(void *sk);
void stack_inet_csk_listen_start(void *sk, int result);
void stack_mptcp_syn_options(void *sk);
void stack_mptcp_conn_request(void *sk, void *skb);
void stack_tcp_conn_request(void *sk, void *skb);
void stack_mptcp_reqsk_init(void *request);
void stack_mptcp_join_reqsk_init(void *request);
void stack_mptcp_synack_options(void *request);
void stack_tcp_finish_connect(void *sk);
void stack_tcp_check_req(void *sk, void *skb, void *request);
void stack_mptcp_update_metasocket(void *sk);
void stack_mptcp_handle_ack_in_infinite(void *sk);
void stack_mptcp_sub_force_close(void *sk);
/* Before the state changes. */
void stack_tcp_set_state(void *sk, int state);

/* ... and these begin and return, so that others may be called between. */
struct stack_call {
	unsigned long frame;
	void *result_at; /* what `skptr` points to */
};
struct stack_call stack_tcp_connect(void *sk);
void stack_tcp_connect_returns(struct stack_call call);
struct stack_call stack_synsent(void *sk, void *skb);
/* `now`: what *skptr has become. */
void stack_synsent_returns(struct stack_call call, void *now, int result);
struct stack_call stack_mptcp_check_req_master(void *sk, void *child);
void stack_mptcp_check_req_master_returns(struct stack_call call, int result);
struct stack_call stack_mptcp_check_req_child(void *meta, void *child, void *skb);
void stack_mptcp_check_req_child_returns(struct stack_call call, void *result);

#endif
