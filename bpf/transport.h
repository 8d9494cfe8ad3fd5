/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * transport.h - room for an event, and its way to user space: the BPF ring buffer, or with
 * MPS_PERF_BUFFER the perf buffer, for kernels that have none (before 5.8).
 *
 * Each mps_room() that gave room is followed by its mps_send(), in the same program.
 */
#ifndef MPSCOPE_TRANSPORT_H
#define MPSCOPE_TRANSPORT_H

#include "books.h"

#ifdef MPS_PERF_BUFFER

/* One for each CPU; the loader makes the buffers. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

/* One is enough: of the kprobe programs only one at a time runs on a CPU. Not for other kinds. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_owned_event);
} room SEC(".maps");

static __always_inline void *mps_room(__u64 size, __u32 hook)
{
	struct mps_counter *counter = mps_counter_of(hook);
	__u32 zero = 0;

	mps_count(counter, events);
	return bpf_map_lookup_elem(&room, &zero);
}

#define MPS_NO_ROOM (-28) /* -ENOSPC */

/* The program's own context, as the kernel gave it; `hook` as for mps_room(). */
static __always_inline void mps_send(void *ctx, void *e, __u64 size, __u32 hook)
{
	long error = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, e, size);
	struct mps_counter *counter;

	/*
	 * What found no room the kernel counts by itself, in a PERF_RECORD_LOST before the next event of
	 * this CPU; before 5.1 it does not tell us. All else, as a CPU that came later, only we know.
	 */
	if (!error || error == MPS_NO_ROOM)
		return;
	counter = mps_counter_of(hook);
	mps_count(counter, lost);
}

#else

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* the loader sets --buffer-size */
} events SEC(".maps");

/* The reader looks by itself some fifty times a second; it is only woken when the ring fills. */
#ifndef MPS_WAKE_BYTES
#define MPS_WAKE_BYTES (bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 4)
#endif

static __always_inline void *mps_room(__u64 size, __u32 hook)
{
	struct mps_counter *counter = mps_counter_of(hook);
	void *e = bpf_ringbuf_reserve(&events, size, 0);

	mps_count(counter, events);
	if (!e)
		mps_count(counter, lost);
	return e;
}

/* Takes the same as the perf buffer's; needs only the event. */
static __always_inline void mps_send(void *ctx, void *e, __u64 size, __u32 hook)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	bpf_ringbuf_submit(e, waiting > MPS_WAKE_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif

/* What every event begins with; all else is 0, or says that it is not known. */
static __always_inline void mps_begin(struct mps_event *e, __u64 size, __u32 kind, __u32 hook)
{
	__builtin_memset(e, 0, size);
	e->version = MPS_EVENT_VERSION;
	e->kind = kind;
	e->hook = hook;
	e->cpu = bpf_get_smp_processor_id();
	e->time = bpf_ktime_get_ns();
	e->option = MPS_OPTION_UNKNOWN;
	e->mptcp_version = 0xff;
	e->local_id = 0xff;
	e->remote_id = 0xff;
}

#endif
