/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * transport.bpf.c - for PerfBufferTests: each run sends one event, whose number the test gives. Built
 * as programs for old kernels are: the perf buffer, no global variables.
 */
#define MPS_PERF_BUFFER
#define MPS_NO_GLOBALS

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "settings.h"
#include "transport.h"

SEC("raw_tracepoint")
int send_number(struct bpf_raw_tracepoint_args *ctx)
{
	struct mps_owned_event *e;
	/* Events of both sizes, as they come. */
	__u64 number = ctx->args[0];

	if (!mps_switch(MPS_SWITCH_TRACING))
		return 0;
	e = mps_room(sizeof(*e), MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_begin(&e->event, sizeof(*e), MPS_CONNECT, MPS_HOOK_SET_STATE);
	e->event.ssk = number;
	if (number & 1) {
		e->event.flags = MPS_F_OWNER;
		e->owner.pid = number;
		mps_send(ctx, e, sizeof(*e), MPS_HOOK_SET_STATE);
	} else {
		mps_send(ctx, e, sizeof(e->event), MPS_HOOK_SET_STATE);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
