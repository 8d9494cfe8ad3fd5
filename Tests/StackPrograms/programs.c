/* SPDX-License-Identifier: Apache-2.0 */
/* The programs as they are, compiled with shim/ in libbpf's place; and sockets for them to read. */
#define MPS_NO_GLOBALS
#define MPS_PERF_BUFFER

/* preserve_access_index means nothing here. */
#pragma clang diagnostic ignored "-Wunknown-attributes"
/* The maps' definitions name no variables that anybody uses. */
#pragma clang diagnostic ignored "-Wunused-parameter"

#include <stdlib.h>

#include "multipath.bpf.c"

#include "StackPrograms.h"

/* Everything that was allocated, and every element of a map. */
struct shim_block {
	struct shim_block *next;
};

struct shim_element {
	struct shim_element *next;
	const void *map;
	unsigned long key_size;
	unsigned char *key;
	unsigned char *value;
};

struct shim_sent {
	size_t size;
	unsigned char bytes[sizeof(struct mps_owned_event)];
};

static _Thread_local struct {
	struct shim_block *blocks;
	struct shim_element *elements;
	struct stack_moment now;
	struct shim_sent *sent;
	size_t count;
	size_t room;
	unsigned long frame;
} shim;

static void *shim_new(size_t size)
{
	struct shim_block *block = calloc(1, sizeof(*block) + size);

	if (!block)
		abort();
	block->next = shim.blocks;
	shim.blocks = block;
	return block + 1;
}

static struct shim_element **shim_place(const void *map, const void *key, unsigned long key_size)
{
	struct shim_element **at = &shim.elements;

	while (*at && ((*at)->map != map || memcmp((*at)->key, key, key_size)))
		at = &(*at)->next;
	return at;
}

static struct shim_element *shim_add(const void *map, const void *key, unsigned long key_size,
				     unsigned long value_size)
{
	struct shim_element *element = shim_new(sizeof(*element));

	element->map = map;
	element->key_size = key_size;
	element->key = shim_new(key_size);
	memcpy(element->key, key, key_size);
	element->value = shim_new(value_size);
	element->next = shim.elements;
	shim.elements = element;
	return element;
}

void *shim_lookup(const void *map, int type, const void *key, unsigned long key_size, unsigned long value_size)
{
	struct shim_element *found = *shim_place(map, key, key_size);

	/* An array has all its elements. */
	if (!found && (type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY))
		found = shim_add(map, key, key_size, value_size);
	return found ? found->value : 0;
}

long shim_update(const void *map, int type, const void *key, unsigned long key_size, const void *value,
		 unsigned long value_size)
{
	struct shim_element *found = *shim_place(map, key, key_size);

	if (!found)
		found = shim_add(map, key, key_size, value_size);
	memcpy(found->value, value, value_size);
	return 0;
}

long shim_delete(const void *map, const void *key, unsigned long key_size)
{
	struct shim_element **at = shim_place(map, key, key_size);

	if (!*at)
		return -2; /* ENOENT */
	*at = (*at)->next;
	return 0;
}

unsigned long long bpf_ktime_get_ns(void) { return shim.now.time; }
unsigned int bpf_get_smp_processor_id(void) { return shim.now.cpu; }
unsigned long long bpf_get_current_pid_tgid(void) { return (unsigned long long)shim.now.pid << 32 | shim.now.tid; }
unsigned long long bpf_get_current_uid_gid(void) { return shim.now.uid; }

/* In no cgroup that has a number. */
unsigned long long bpf_get_current_task(void)
{
	static struct kernfs_node node;
	static struct cgroup group = { .kn = &node };
	static struct css_set set = { .dfl_cgrp = &group };
	static struct task_struct task = { .cgroups = &set };

	return (unsigned long long)&task;
}

long bpf_get_current_comm(void *to, unsigned int size)
{
	memcpy(to, shim.now.comm, size < sizeof(shim.now.comm) ? size : sizeof(shim.now.comm));
	return 0;
}

long shim_output(const void *event, unsigned long size)
{
	if (shim.count == shim.room) {
		shim.room = shim.room ? 2 * shim.room : 64;
		shim.sent = realloc(shim.sent, shim.room * sizeof(*shim.sent));
		if (!shim.sent)
			abort();
	}
	shim.sent[shim.count].size = size;
	memcpy(shim.sent[shim.count].bytes, event, size);
	shim.count++;
	return 0;
}

void stack_end(void)
{
	while (shim.blocks) {
		struct shim_block *next = shim.blocks->next;

		free(shim.blocks);
		shim.blocks = next;
	}
	free(shim.sent);
	memset(&shim, 0, sizeof(shim));
}

void stack_begin(const void *config)
{
	__u32 zero = 0, tracing = MPS_SWITCH_TRACING, one = 1;

	stack_end();
	bpf_map_update_elem(&settings, &zero, config, BPF_ANY);
	bpf_map_update_elem(&switches, &tracing, &one, BPF_ANY);
}

void stack_now(const struct stack_moment *moment) { shim.now = *moment; }
size_t stack_event_count(void) { return shim.count; }

const void *stack_event(size_t number, size_t *size)
{
	*size = shim.sent[number].size;
	return shim.sent[number].bytes;
}

void *stack_net(uint32_t inode, int synack_retries)
{
	struct net *net = shim_new(sizeof(*net));

	net->ns.inum = inode;
	net->ipv4.sysctl_tcp_synack_retries = synack_retries;
	return net;
}

static void shim_set_ends(struct sock_common *common, bool ipv6, const uint8_t *local, const uint8_t *remote)
{
	common->skc_family = ipv6 ? AF_INET6 : AF_INET;
	if (ipv6) {
		memcpy(&common->skc_v6_rcv_saddr, local, 16);
		memcpy(&common->skc_v6_daddr, remote, 16);
	} else {
		memcpy(&common->skc_rcv_saddr, local + 12, 4);
		memcpy(&common->skc_daddr, remote + 12, 4);
	}
}

/* A socket with what it points to. */
struct shim_socket {
	struct tcp_sock tp;
	struct mptcp_tcp_sock mptcp;
	struct socket_alloc application;
};

void *stack_socket_new(void) { return shim_new(sizeof(struct shim_socket)); }

void stack_socket_set(void *sk, const struct stack_socket *fields)
{
	struct shim_socket *socket = sk;
	struct tcp_sock *tp = &socket->tp;
	struct sock *sock = sk;
	struct sock_common *common = &sock->__sk_common;

	memset(common, 0, sizeof(*common));
	shim_set_ends(common, fields->ipv6, fields->local, fields->remote);
	common->skc_num = fields->num;
	common->skc_dport = bpf_htons(fields->dport);
	tp->inet_conn.icsk_inet.inet_sport = bpf_htons(fields->sport);
	common->skc_state = fields->state;
	common->skc_cookie.counter = (long long)fields->cookie;
	common->skc_flags = fields->sock_mptcp ? 1ul << SOCK_MPTCP : 0;
	common->skc_net.net = fields->net;
	sock->sk_kern_sock = fields->kern_sock;
	sock->sk_err = fields->err;
	sock->sk_socket = fields->inode ? &socket->application.socket : 0;
	socket->application.vfs_inode.i_ino = fields->inode;
	tp->total_retrans = fields->total_retrans;
	tp->request_mptcp = fields->request_mptcp;
	tp->mpc = fields->mpc;
	tp->mpcb = fields->mpcb;
	tp->meta_sk = fields->meta_sk;
	tp->mptcp = fields->has_mptcp ? &socket->mptcp : 0;
	tp->mptcp_loc_token = bpf_htonl(fields->loc_token);
	socket->mptcp.slave_sk = fields->slave_sk;
	socket->mptcp.fully_established = fields->fully_established;
	socket->mptcp.pre_established = fields->pre_established;
	socket->mptcp.loc_id = fields->loc_id;
	socket->mptcp.rem_id = fields->rem_id;
}

void *stack_mpcb_new(void) { return shim_new(sizeof(struct mptcp_cb)); }

void stack_mpcb_set(void *mpcb, const struct stack_mpcb *fields)
{
	struct mptcp_cb *cb = mpcb;

	cb->dss_csum = fields->dss_csum;
	cb->server_side = fields->server_side;
	cb->infinite_mapping_rcv = fields->infinite_mapping_rcv;
	cb->infinite_mapping_snd = fields->infinite_mapping_snd;
	cb->mptcp_loc_token = bpf_htonl(fields->loc_token);
	cb->mptcp_rem_token = bpf_htonl(fields->rem_token);
}

void *stack_request_new(const struct stack_request *fields)
{
	struct mptcp_request_sock *request = shim_new(sizeof(*request));
	struct request_sock *common = &request->req.req.req;

	shim_set_ends(&common->__req_common, fields->ipv6, fields->local, fields->remote);
	common->__req_common.skc_num = fields->num;
	common->__req_common.skc_dport = bpf_htons(fields->dport);
	common->__req_common.skc_net.net = fields->net;
	common->rsk_listener = fields->listener;
	request->is_sub = fields->is_sub;
	request->mptcp_loc_token = bpf_htonl(fields->loc_token);
	request->loc_id = fields->loc_id;
	request->rem_id = fields->rem_id;
	return request;
}

void *stack_packet(const void *bytes, size_t size, size_t transport)
{
	struct sk_buff *skb = shim_new(sizeof(*skb));

	/* A program may look a little beyond the end, as it may in the kernel. */
	skb->head = shim_new(size + 64);
	memcpy(skb->head, bytes, size);
	skb->network_header = 0;
	skb->transport_header = (__u16)transport;
	return skb;
}

/* A call has its own place on the stack; at its return the address there has been taken off. */
static struct pt_regs shim_entry(void)
{
	struct pt_regs regs = { .sp = 0x10000 + (shim.frame += 64) };

	return regs;
}

static struct pt_regs shim_return(unsigned long frame)
{
	struct pt_regs regs = { .sp = frame };

	regs.sp += frame - mps_frame_returned(&regs);
	return regs;
}

#define SHIM_SIMPLE(function, program)            \
	void stack_##function(void *sk)           \
	{                                         \
		struct pt_regs regs = shim_entry(); \
                                                  \
		shim_program_##program(&regs, sk); \
	}

SHIM_SIMPLE(mptcp_enable_sock, enable_sock)
SHIM_SIMPLE(mptcp_syn_options, syn_options)
SHIM_SIMPLE(mptcp_synack_options, synack_options)
SHIM_SIMPLE(tcp_finish_connect, finish_connect)
SHIM_SIMPLE(mptcp_update_metasocket, update_metasocket)
SHIM_SIMPLE(mptcp_handle_ack_in_infinite, ack_in_infinite)
SHIM_SIMPLE(mptcp_sub_force_close, force_close)

void stack_inet_csk_listen_start(void *sk, int result)
{
	struct pt_regs in = shim_entry(), out = shim_return(in.sp);

	shim_program_listen_start(&in, sk);
	shim_program_listen_start_returns(&out, result);
}

void stack_mptcp_conn_request(void *sk, void *skb)
{
	struct pt_regs regs = shim_entry();

	shim_program_conn_request(&regs, sk, skb);
}

void stack_tcp_conn_request(void *sk, void *skb)
{
	struct pt_regs regs = shim_entry();

	shim_program_tcp_conn_request(&regs, 0, 0, sk, skb);
}

void stack_mptcp_reqsk_init(void *request)
{
	struct pt_regs in = shim_entry(), out = shim_return(in.sp);

	shim_program_reqsk_init(&in, request);
	shim_program_reqsk_init_returns(&out);
}

void stack_mptcp_join_reqsk_init(void *request)
{
	struct pt_regs in = shim_entry(), out = shim_return(in.sp);

	shim_program_join_reqsk_init(&in, 0, request);
	shim_program_join_reqsk_init_returns(&out);
}

void stack_tcp_check_req(void *sk, void *skb, void *request)
{
	struct pt_regs regs = shim_entry();

	shim_program_check_req(&regs, sk, skb, request);
}

void stack_tcp_set_state(void *sk, int state)
{
	struct pt_regs regs = shim_entry();

	shim_program_set_state(&regs, sk, state);
}

struct stack_call stack_tcp_connect(void *sk)
{
	struct pt_regs regs = shim_entry();

	shim_program_connect(&regs, sk);
	return (struct stack_call){ .frame = regs.sp };
}

void stack_tcp_connect_returns(struct stack_call call)
{
	struct pt_regs regs = shim_return(call.frame);

	shim_program_connect_returns(&regs);
}

struct stack_call stack_synsent(void *sk, void *skb)
{
	struct pt_regs regs = shim_entry();
	void **at = shim_new(sizeof(*at));

	*at = sk;
	shim_program_synsent(&regs, sk, at, skb);
	return (struct stack_call){ .frame = regs.sp, .result_at = at };
}

void stack_synsent_returns(struct stack_call call, void *now, int result)
{
	struct pt_regs regs = shim_return(call.frame);

	*(void **)call.result_at = now;
	shim_program_synsent_returns(&regs, result);
}

struct stack_call stack_mptcp_check_req_master(void *sk, void *child)
{
	struct pt_regs regs = shim_entry();

	shim_program_check_req_master(&regs, sk, child);
	return (struct stack_call){ .frame = regs.sp };
}

void stack_mptcp_check_req_master_returns(struct stack_call call, int result)
{
	struct pt_regs regs = shim_return(call.frame);

	shim_program_check_req_master_returns(&regs, result);
}

struct stack_call stack_mptcp_check_req_child(void *meta, void *child, void *skb)
{
	struct pt_regs regs = shim_entry();

	shim_program_check_req_child(&regs, meta, child, 0, skb);
	return (struct stack_call){ .frame = regs.sp };
}

void stack_mptcp_check_req_child_returns(struct stack_call call, void *result)
{
	struct pt_regs regs = shim_return(call.frame);

	shim_program_check_req_child_returns(&regs, result);
}
