/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * emit.h - from a handler to the ring buffer: filter, reserve, submit, and count
 * what did not fit. Its transport is transport.h.
 */
#ifndef MPSCOPE_EMIT_H
#define MPSCOPE_EMIT_H

#include "event.h"
#include "kernel/mainline.h"

/* Set by the loader, then frozen: the verifier removes what a run does not use. */
const volatile struct mps_config config = {};

#define MPS_WAKE_BYTES config.wake_bytes
#include "transport.h"

/*
 * Whether anything is sent. Set once every program is attached and cleared before the first is
 * detached, so that no handshake is seen by some of them only.
 */
volatile __u32 tracing = 0;

/* Which hooks are attached, 1 << MPS_HOOK_*: set before `tracing`. Of two that see the same, one tells it. */
volatile __u32 attached = 0;

/*
 * Which bit of msk->flags is MPTCP_FALLBACK_DONE, and one; 0: not calibrated. While `calibrating`
 * is a namespace's number, the loader makes two connections there: one falls back, one does not.
 */
volatile __u32 fallback_bit = 0;
volatile __u32 calibrating = 0;
__u32 calibrated = 0;
__u64 calibration[2] = {};

/* How many events were lost so far; each event carries it, so that a gap is seen where it is. */
__u32 losses = 0;

/* Never read: keeps the events' layout in the object's BTF, where a test holds it against Swift's. */
struct mps_owned_event *layout_of_events = 0;

struct mps_tuple {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 netns;
} __attribute__((aligned(8)));

static __always_inline _Bool mps_is_attached(__u32 hook)
{
	return attached >> hook & 1;
}

static __always_inline _Bool mps_netns_wanted(__u32 netns)
{
	return !config.netns || config.netns == netns;
}

/* Of some mpscope's own, when it calibrates: 127.109.112.115 ("mps"), in a namespace of its own. */
static __always_inline _Bool mps_is_ours(const __u8 *address)
{
	return ((const __u32 *)address)[3] == bpf_htonl(MPS_OWN_ADDRESS);
}

static __always_inline _Bool mps_fell_back(unsigned long flags)
{
	return fallback_bit ? flags >> ((fallback_bit - 1) & 63) & 1 : mps_has_fallen_back(flags);
}

static __always_inline _Bool mps_address_wanted(const __u8 *address)
{
	/* Whole bytes first, then the bits that remain. */
	__u32 whole = config.prefix_length / 8, rest = config.prefix_length % 8;

	for (__u32 i = 0; i < 16; i++) {
		if (i < whole && address[i] != config.address[i])
			return 0;
		if (i == whole && rest && (address[i] ^ config.address[i]) >> (8 - rest))
			return 0;
	}
	return 1;
}

static __always_inline _Bool mps_is_v4(const __u8 *address)
{
	const __u32 *words = (const __u32 *)address;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

/*
 * Whether the filters want a connection with these ends. What is not known yet (a
 * client's local port before inet_hash_connect) passes, and is decided by user space.
 */
static __always_inline _Bool mps_wanted(const struct mps_tuple *t, __u32 side)
{
	if (!mps_netns_wanted(t->netns) || mps_is_ours(t->remote))
		return 0;
	if (config.side && side && config.side != side)
		return 0;
	if (config.remote_port && config.remote_port != t->remote_port)
		return 0;
	/* A client's port is not known at connect(): its later events must not be lost alone. */
	if (side == MPS_SIDE_SERVER) {
		if (config.local_port && config.local_port != t->local_port)
			return 0;
		if (config.port && config.port != t->local_port && config.port != t->remote_port)
			return 0;
	}
	if (config.family && (config.family == 4) != mps_is_v4(t->remote))
		return 0;
	if (config.prefix_length && !mps_address_wanted(t->local) && !mps_address_wanted(t->remote))
		return 0;
	return 1;
}

/* Additional subflows belong to a connection that other ends decided about: user space knows it. */
static __always_inline _Bool mps_join_wanted(const struct mps_tuple *t)
{
	return mps_netns_wanted(t->netns) && !mps_is_ours(t->remote);
}

static __always_inline void *mps_reserve(__u64 size, __u32 kind, __u32 hook)
{
	struct mps_event *e;

	if (!tracing)
		return 0;
	e = mps_room(size, hook);
	if (!e) {
		__sync_fetch_and_add(&losses, 1);
		return 0;
	}
	mps_begin(e, size, kind, hook);
	e->losses = losses;
	return e;
}

static __always_inline void mps_submit(void *e)
{
	mps_send(0, e, 0, 0);
}

static __always_inline void mps_fill_owner(struct mps_owned_event *e)
{
	__u64 id = bpf_get_current_pid_tgid();

	e->event.flags |= MPS_F_OWNER;
	e->owner.pid = id >> 32;
	e->owner.tid = id;
	e->owner.uid = bpf_get_current_uid_gid();
	e->owner.cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(e->owner.comm, sizeof(e->owner.comm));
}

static __always_inline void mps_fill_tuple(struct mps_event *e, const struct mps_tuple *t)
{
	__builtin_memcpy(e->local, t->local, 16);
	__builtin_memcpy(e->remote, t->remote, 16);
	e->local_port = t->local_port;
	e->remote_port = t->remote_port;
	e->netns = t->netns;
}

#endif
