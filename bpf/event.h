/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * event.h - the one definition of what the BPF programs tell user space.
 *
 * C11, no kernel headers. The BPF programs fill these structures, Swift imports
 * the same file through the CEvent target. All numbers are in host byte order
 * except addresses, which are 16 bytes in network order (IPv4 is v4-mapped), so
 * that one comparison serves both families.
 *
 * An event is an mps_event, followed by an mps_owner when MPS_F_OWNER is set
 * (only then did a process ask for what happened; softirq has no owner).
 */
#ifndef MPSCOPE_EVENT_H
#define MPSCOPE_EVENT_H

#ifdef __bpf__
typedef unsigned char mps_u8;
typedef unsigned short mps_u16;
typedef unsigned int mps_u32;
typedef unsigned long long mps_u64;
#else
#include <stdint.h>
typedef uint8_t mps_u8;
typedef uint16_t mps_u16;
typedef uint32_t mps_u32;
typedef uint64_t mps_u64;
#endif

/* Raised whenever a field changes its place or meaning. */
#define MPS_EVENT_VERSION 3

/* What was observed. Order is part of the ABI. */
enum mps_kind {
	MPS_NONE = 0,
	MPS_SOCKET_CREATED = 1,       /* an MPTCP socket was made (mptcp_init_sock said yes) */
	MPS_SOCKET_RELEASED = 2,      /* its last descriptor was closed */
	MPS_LISTENER_OPENED = 3,      /* ssk or TCP socket CLOSE -> LISTEN */
	MPS_LISTENER_CLOSED = 4,      /* LISTEN -> CLOSE */
	MPS_CONNECT = 5,              /* ssk CLOSE -> SYN_SENT: tcp_connect is next */
	MPS_SYN_OUT = 6,              /* packet: SYN leaves */
	MPS_SYN_IN = 7,               /* packet: SYN reaches a listener */
	MPS_SYNACK_OUT = 8,           /* packet: SYN-ACK leaves */
	MPS_SYNACK_IN = 9,            /* packet: SYN-ACK reaches a socket in SYN_SENT */
	MPS_ACK_IN = 10,              /* packet: third ACK reaches a listener */
	MPS_SUBFLOW_ESTABLISHED = 11, /* ssk SYN_SENT -> ESTABLISHED, options not yet read */
	MPS_CHILD_ESTABLISHED = 12,   /* ssk SYN_RECV -> ESTABLISHED, options read */
	MPS_MSK_ESTABLISHED = 13,     /* msk SYN_SENT -> ESTABLISHED: the client's verdict */
	MPS_MSK_ACCEPTED = 14,        /* msk LISTEN -> ESTABLISHED: the server cloned an msk */
	MPS_RESET_IN = 15,            /* a RST reached the socket */
	MPS_SUBFLOW_CLOSED = 16,      /* ssk or TCP socket * -> CLOSE */
	MPS_MSK_CLOSED = 17,          /* msk * -> CLOSE */
	MPS_JOIN_CONFIRMED = 18,      /* the peer's first DSS on a joining subflow of ours: it took the MP_JOIN */
	MPS_RESET_OUT = 19,           /* an MPTCP listener answers with a RST */
	MPS_FALLBACK = 20,            /* data without a mapping: MPTCP is over for this connection */
	MPS_ADDRESS = 21,             /* packet: ADD_ADDR or RM_ADDR, one for each address or id */
	/* what only functions tell */
	MPS_SOCKET_REFUSED = 22,      /* mptcp_init_sock, or socket(), said no: error */
	MPS_REQUEST = 23,             /* subflow_check_req took a SYN: token */
	MPS_SYNACK_TAKEN = 24,        /* mptcp_finish_connect: the SYN-ACK's MP_CAPABLE is right */
	MPS_CHILD_DROPPED = 25,       /* mptcp_subflow_drop_ctx: a listener's child becomes plain TCP */
	MPS_JOIN_FAILED = 26,         /* __mptcp_subflow_connect failed before there was a SYN */
	MPS_JOIN_AUTHENTIC = 27,      /* mptcp_finish_join: the peer's HMAC is right */
	MPS_SYN_GIVES_UP = 28,        /* mptcp_active_detect_blackhole: SYNs ask no more from here on */
	MPS_BLACKHOLE = 29,           /* mptcp_active_disable: no SYN of this namespace asks for a while */
	MPS_PM_ESTABLISHED = 30,      /* mptcp_event(MPTCP_EVENT_ESTABLISHED) */
	MPS_SYNACK_DISCARDED = 31,    /* mptcp_rcv_synsent_state_process returned 2: as if it had not come */
	MPS_FORCED_CLOSE = 32,        /* mptcp_sub_force_close: this end gives a subflow up */
	MPS_SETTING = 33,             /* a write to net.mptcp.*: an mps_setting_event */
	MPS_KIND_COUNT
};

/* Where it was observed; also the index of the loss counters. */
enum mps_hook {
	MPS_HOOK_SET_STATE = 0,      /* raw tracepoint inet_sock_set_state */
	MPS_HOOK_SKB_EGRESS = 1,     /* cgroup_skb/egress */
	MPS_HOOK_SKB_INGRESS = 2,    /* cgroup_skb/ingress */
	MPS_HOOK_RECEIVE_RESET = 3,  /* raw tracepoint tcp_receive_reset */
	MPS_HOOK_SOCK_CREATE = 4,    /* cgroup/sock_create */
	MPS_HOOK_SOCK_RELEASE = 5,   /* cgroup/sock_release */
	MPS_HOOK_SEND_RESET = 6,     /* raw tracepoint tcp_send_reset */
	MPS_HOOK_DATA_AVAIL = 7,     /* raw tracepoint subflow_check_data_avail */
	/* functions, by fentry and fexit, or by kprobe and kretprobe */
	MPS_HOOK_TCP_CONNECT = 8,
	MPS_HOOK_INIT_SOCK = 9,      /* mptcp_init_sock, and its return */
	MPS_HOOK_CHECK_REQ = 10,     /* subflow_check_req returns */
	MPS_HOOK_FINISH_CONNECT = 11, /* subflow_finish_connect */
	MPS_HOOK_MPTCP_FINISH_CONNECT = 12,
	MPS_HOOK_SYN_RECV_SOCK = 13, /* subflow_syn_recv_sock */
	MPS_HOOK_CLONE_INIT = 14,    /* mptcp_sk_clone_init returns */
	MPS_HOOK_MSK_STATE = 15,     /* mptcp_set_state, before 6.8 __mptcp_set_connected */
	MPS_HOOK_TRY_FALLBACK = 16,  /* __mptcp_try_fallback */
	MPS_HOOK_DROP_CTX = 17,      /* mptcp_subflow_drop_ctx */
	MPS_HOOK_SUBFLOW_CONNECT = 18, /* __mptcp_subflow_connect returns */
	MPS_HOOK_FINISH_JOIN = 19,   /* mptcp_finish_join */
	MPS_HOOK_RESET_REASON = 20,  /* subflow_add_reset_reason */
	MPS_HOOK_DETECT_BLACKHOLE = 21, /* mptcp_active_detect_blackhole returns */
	MPS_HOOK_ACTIVE_DISABLE = 22, /* mptcp_active_disable */
	MPS_HOOK_MPTCP_EVENT = 23,   /* mptcp_event */
	/* functions of the out-of-tree stack */
	MPS_HOOK_ENABLE_SOCK = 24,   /* mptcp_enable_sock */
	MPS_HOOK_LISTEN_START = 25,  /* inet_csk_listen_start returns */
	MPS_HOOK_SYN_OPTIONS = 26,   /* mptcp_syn_options */
	MPS_HOOK_CONN_REQUEST = 27,  /* mptcp_conn_request */
	MPS_HOOK_TCP_CONN_REQUEST = 28, /* tcp_conn_request */
	MPS_HOOK_REQSK_INIT = 29,    /* mptcp_reqsk_init returns */
	MPS_HOOK_JOIN_REQSK_INIT = 30, /* mptcp_join_reqsk_init returns */
	MPS_HOOK_SYNACK_OPTIONS = 31, /* mptcp_synack_options */
	MPS_HOOK_SYNSENT = 32,       /* mptcp_rcv_synsent_state_process, and its return */
	MPS_HOOK_TCP_FINISH_CONNECT = 33, /* tcp_finish_connect */
	MPS_HOOK_TCP_CHECK_REQ = 34, /* tcp_check_req */
	MPS_HOOK_CHECK_REQ_MASTER = 35, /* mptcp_check_req_master, and its return */
	MPS_HOOK_CHECK_REQ_CHILD = 36, /* mptcp_check_req_child, and its return */
	MPS_HOOK_UPDATE_METASOCKET = 37, /* mptcp_update_metasocket */
	MPS_HOOK_TCP_SET_STATE = 38, /* tcp_set_state */
	MPS_HOOK_ACK_IN_INFINITE = 39, /* mptcp_handle_ack_in_infinite */
	MPS_HOOK_FORCE_CLOSE = 40,   /* mptcp_sub_force_close */
	MPS_HOOK_SYSCTL = 41,        /* cgroup/sysctl */
	MPS_HOOK_SOCKET_EXIT = 42,   /* tracepoint syscalls:sys_exit_socket */
	MPS_HOOK_COUNT
};

/* mps_event.flags */
#define MPS_F_OWNER          0x0001 /* an mps_owner follows */
#define MPS_F_MPTCP          0x0002 /* the socket (or the listener) is MPTCP */
#define MPS_F_REQUEST_MPTCP  0x0004 /* ctx->request_mptcp: the SYN asks for MP_CAPABLE */
#define MPS_F_REQUEST_JOIN   0x0008 /* ctx->request_join: the SYN asks for MP_JOIN */
#define MPS_F_MP_CAPABLE     0x0010 /* ctx->mp_capable: the peer agreed */
#define MPS_F_MP_JOIN        0x0020 /* ctx->mp_join */
#define MPS_F_BACKUP         0x0040 /* ctx->backup or request_bkup */
#define MPS_F_CHECKSUM       0x0080 /* msk->csum_enabled; MPS_CONNECT: as it was made */
#define MPS_F_MPC_DROP       0x0100 /* ctx->mpc_drop: SYNs with MP_CAPABLE went unanswered */
#define MPS_F_PACKET         0x0200 /* option and version come from a packet's bytes */
#define MPS_F_REMOTE_TOKEN   0x0400 /* remote_token is set, remote_key is not */
#define MPS_F_V6ONLY_SOCKET  0x0800 /* an AF_INET6 socket (its peer may be v4-mapped) */
#define MPS_F_PM_LISTENER    0x1000 /* ctx->pm_listener: the path manager's own */
#define MPS_F_FALLBACK       0x2000 /* the msk has fallen back */
#define MPS_F_FULL           0x4000 /* msk->fully_established; a join that is gone: ctx->fully_established */
#define MPS_F_RESET_REASON   0x8000 /* reset_reason is set */

/* mps_event.option: the MPTCP subtype a packet carried (RFC 8684, section 3). */
#define MPS_OPTION_MP_CAPABLE 0x0
#define MPS_OPTION_MP_JOIN    0x1
#define MPS_OPTION_DSS        0x2
#define MPS_OPTION_ADD_ADDR   0x3
#define MPS_OPTION_RM_ADDR    0x4
#define MPS_OPTION_MP_FAIL    0x6
#define MPS_OPTION_TCPRST     0x8
#define MPS_OPTION_UNKNOWN    0xfe /* not looked at */
#define MPS_OPTION_NONE       0xff /* looked at: there is no option 30 */

/*
 * Which of the kernel's counters (enum linux_mptcp_mib_field, whose numbers move between
 * versions) rose while the kernel handled what the event tells; 0: none of these.
 */
enum mps_mib {
	MPS_MIB_NONE = 0,
	MPS_MIB_SYNTX_DISABLED = 1,     /* MPCapableSYNTXDisabled: the blackhole state holds */
	MPS_MIB_MD5SIG_FALLBACK = 2,    /* MD5SigFallback */
	MPS_MIB_JOIN_NO_TOKEN = 3,      /* MPJoinNoTokenFound */
	MPS_MIB_JOIN_REJECTED = 4,      /* MPJoinRejected */
	MPS_MIB_JOIN_ACK_HMAC = 5,      /* MPJoinAckHMacFailure */
	MPS_MIB_JOIN_SYNACK_HMAC = 6,   /* MPJoinSynAckHMacFailure */
	MPS_MIB_MISMATCH_PORT_SYN = 7,  /* MismatchPortSynRx */
	MPS_MIB_MISMATCH_PORT_ACK = 8,  /* MismatchPortAckRx */
	MPS_MIB_TOKEN_INIT = 9,         /* MPFallbackTokenInit: no token to be had */
	MPS_MIB_FALLBACK_SYNACK = 10,   /* MPCapableFallbackSYNACK */
	MPS_MIB_SYNTX_DROP = 11,        /* MPCapableSYNTXDrop */
	MPS_MIB_DATA_FALLBACK = 12,     /* MPCapableDataFallback */
	MPS_MIB_DSS_FALLBACK = 13,      /* DssFallback */
	MPS_MIB_DSS_CORRUPTION = 14,    /* DSSCorruptionFallback */
	MPS_MIB_SIMULT_CONNECT = 15,    /* SimultConnectFallback */
	MPS_MIB_INFINITE_MAP_TX = 16,   /* InfiniteMapTx */
	MPS_MIB_OTHER_FALLBACK = 17,    /* __mptcp_try_fallback with a counter not in this list */
	MPS_MIB_COUNT
};

/* What get_mapping_status() said of data (MPS_FALLBACK: mps_event.option_flags). */
#define MPS_MAPPING_INVALID 1
#define MPS_MAPPING_DUMMY 4
#define MPS_MAPPING_BAD_CSUM 5
#define MPS_MAPPING_NODSS 6
#define MPS_MAPPING_MP_FAIL 7 /* none of the kernel's: the peer's MP_FAIL had come */
#define MPS_MAPPING_INFINITE 8 /* nor this: the out-of-tree stack maps without a DSS from here on */

/* Why an MPTCP listener sends a RST is not told by this kernel (MPS_RESET_OUT: mps_event.option_flags). */
#define MPS_RESET_UNEXPLAINED 1

struct mps_event {
	mps_u16 version;     /* MPS_EVENT_VERSION */
	mps_u8 kind;         /* enum mps_kind */
	mps_u8 hook;         /* enum mps_hook */
	mps_u16 flags;       /* MPS_F_* */
	mps_u16 cpu;
	mps_u64 time;        /* ns, CLOCK_MONOTONIC */
	mps_u64 ssk;         /* subflow, TCP socket or listener; the kernel's pointer */
	mps_u64 msk;         /* MPTCP socket, 0 when there is none */
	mps_u64 listener;    /* listener of a child or of a packet, 0 when unknown */
	mps_u64 cookie;      /* socket cookie of the listener, else of the msk, else the ssk; 0: never made */
	mps_u64 remote_key;  /* the peer's key as in ctx->remote_key; never written anywhere */
	mps_u8 local[16];
	mps_u8 remote[16];   /* MPS_ADDRESS: the address in the option, all 0 when it has none */
	mps_u16 local_port;
	mps_u16 remote_port;
	mps_u32 netns;       /* inode number */
	mps_u32 token;       /* 0: none */
	mps_u32 remote_token;/* joins: the token asked for; else see MPS_F_REMOTE_TOKEN */
	mps_u16 error;       /* sk->sk_err, errno */
	mps_u8 reset_reason; /* of MP_TCPRST, RFC 8684 section 3.6; see MPS_F_RESET_REASON */
	mps_u8 mib;          /* enum mps_mib */
	mps_u8 old_state;    /* TCP_* as in include/net/tcp_states.h */
	mps_u8 new_state;
	mps_u8 option;       /* MPS_OPTION_* */
	mps_u8 mptcp_version;/* of the packet's option, 0xff unknown */
	mps_u8 option_flags; /* MP_CAPABLE: the flag bits A to H; MP_JOIN: backup; MPS_FALLBACK and
				MPS_MSK_CLOSED: why it fell back, MPS_MAPPING_*; MPS_RESET_OUT:
				MPS_RESET_UNEXPLAINED */
	mps_u8 retransmits;  /* SYNs sent again, up to 255; MPS_SYN_IN: how often a SYN-ACK may be */
	mps_u8 local_id;     /* address ids of a join, 0xff not set */
	mps_u8 remote_id;
	mps_u32 losses;      /* how many events had been lost for want of room when this one was sent */
};

/* Only for events in which the running process is the owner. */
struct mps_owner {
	mps_u32 pid;         /* thread group */
	mps_u32 tid;
	mps_u32 uid;
	mps_u32 inode;       /* of the application's socket in sockfs, 0 unknown */
	mps_u64 cgroup;      /* cgroup v2 id */
	mps_u8 comm[16];     /* not always terminated */
	mps_u64 created;     /* ns, CLOCK_MONOTONIC, when that socket was made; 0: not known */
};

struct mps_owned_event {
	struct mps_event event;
	struct mps_owner owner;
};

/* Longer than any name below net.mptcp and any value; what is longer is cut. Each ends with a 0. */
#define MPS_SETTING_BYTES 40

/* Before the kernel takes the write, or refuses it. event.netns: whose setting it is. */
struct mps_setting_event {
	struct mps_event event;
	struct mps_owner owner; /* who writes */
	mps_u8 name[MPS_SETTING_BYTES]; /* below net.mptcp */
	mps_u8 old_value[MPS_SETTING_BYTES]; /* as in /proc, with its newline */
	mps_u8 new_value[MPS_SETTING_BYTES]; /* as it was written */
};

/*
 * Counters that user space maps: one entry for each CPU and hook. `events` is every
 * event that a handler decided to send, `lost` those for which the ring had no room,
 * `table_full` those that could not be followed because a map was full.
 */
#define MPS_MAX_CPUS 1024
#define MPS_MAX_HOOKS 64

struct mps_counter {
	mps_u64 events;
	mps_u64 lost;
	mps_u64 table_full;
	mps_u64 caught; /* signed: what a second program handled that the first was skipped for */
};

/* What the loader tells the programs, before they are loaded (read-only afterwards). */
struct mps_config {
	mps_u32 self;          /* thread group of mpscope: its sockets are not traced */
	mps_u32 netns;         /* only this namespace; 0: all */
	mps_u16 port;          /* either end; 0: any */
	mps_u16 local_port;
	mps_u16 remote_port;
	mps_u8 family;         /* 4, 6 or 0: both */
	mps_u8 side;           /* 1 client, 2 server, 0 both */
	mps_u8 steps;          /* send what only --steps shows */
	mps_u8 all_tcp;        /* send plain TCP as well */
	mps_u8 prefix_length;  /* of address, in bits of the 128; 0: any */
	mps_u8 pad[5];
	mps_u8 address[16];    /* either end, network order, v4-mapped */
	mps_u64 wake_bytes;    /* wake the reader when this much is waiting */
	mps_u32 per_cpu_distance; /* from per-CPU `runqueues` to `this_cpu_off`, signed; 0: not known */
	mps_u32 pad2;
};

/* 127.109.112.115, where mpscope makes connections to find out where the kernel keeps a flag. */
#define MPS_OWN_ADDRESS 0x7f6d7073
/* And the name of the thread that does. */
#define MPS_OWN_THREAD "mpscope-self"

#define MPS_SIDE_CLIENT 1
#define MPS_SIDE_SERVER 2

#define MPS_AT(type, field, offset) \
	_Static_assert(__builtin_offsetof(struct type, field) == (offset), #type "." #field)

_Static_assert(sizeof(struct mps_event) == 120, "mps_event");
MPS_AT(mps_event, version, 0);
MPS_AT(mps_event, kind, 2);
MPS_AT(mps_event, flags, 4);
MPS_AT(mps_event, time, 8);
MPS_AT(mps_event, ssk, 16);
MPS_AT(mps_event, msk, 24);
MPS_AT(mps_event, listener, 32);
MPS_AT(mps_event, cookie, 40);
MPS_AT(mps_event, remote_key, 48);
MPS_AT(mps_event, local, 56);
MPS_AT(mps_event, remote, 72);
MPS_AT(mps_event, local_port, 88);
MPS_AT(mps_event, netns, 92);
MPS_AT(mps_event, token, 96);
MPS_AT(mps_event, remote_token, 100);
MPS_AT(mps_event, error, 104);
MPS_AT(mps_event, reset_reason, 106);
MPS_AT(mps_event, mib, 107);
MPS_AT(mps_event, old_state, 108);
MPS_AT(mps_event, option, 110);
MPS_AT(mps_event, retransmits, 113);
MPS_AT(mps_event, remote_id, 115);
MPS_AT(mps_event, losses, 116);
_Static_assert(sizeof(struct mps_owner) == 48, "mps_owner");
MPS_AT(mps_owner, inode, 12);
MPS_AT(mps_owner, cgroup, 16);
MPS_AT(mps_owner, comm, 24);
MPS_AT(mps_owner, created, 40);
_Static_assert(sizeof(struct mps_owned_event) == 168, "mps_owned_event");
_Static_assert(sizeof(struct mps_setting_event) == 288, "mps_setting_event");
_Static_assert(sizeof(struct mps_counter) == 32, "mps_counter");
_Static_assert(sizeof(struct mps_config) == 56, "mps_config");
MPS_AT(mps_config, address, 24);
MPS_AT(mps_config, wake_bytes, 40);
MPS_AT(mps_config, per_cpu_distance, 48);

#endif
