/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sysctl.h - a process writes one of MPTCP's settings. */
#ifndef MPSCOPE_HANDLERS_SYSCTL_H
#define MPSCOPE_HANDLERS_SYSCTL_H

#include "socket.h"

#define MPS_SETTING_PREFIX 10 /* net/mptcp/ */

/*
 * The network namespace whose setting it is: not always the writer's, as a file that was opened in
 * one may be written from another. Its table belongs to the namespace's own set.
 */
static __always_inline __u32 mps_setting_netns(struct bpf_sysctl *ctx)
{
	struct ctl_table_set *set = BPF_CORE_READ((struct bpf_sysctl_kern *)ctx, head, set);
	__u64 offset = MPS_OFFSET(net, sysctls);

	return set ? BPF_CORE_READ((struct net *)((__u64)set - offset), ns.inum) : 0;
}

/* Any sysctl, read or written. The kernel may refuse the value yet. */
static __always_inline int mps_on_sysctl(struct bpf_sysctl *ctx)
{
	char name[MPS_SETTING_PREFIX + MPS_SETTING_BYTES] __attribute__((aligned(8))) = {};
	struct mps_setting_event *e;
	__u32 netns;

	if (!ctx->write || bpf_sysctl_get_name(ctx, name, sizeof(name), 0) <= MPS_SETTING_PREFIX)
		return 1;
	if (__builtin_memcmp(name, "net/mptcp/", MPS_SETTING_PREFIX))
		return 1;
	netns = mps_setting_netns(ctx);
	if (!mps_netns_wanted(netns))
		return 1;
	e = mps_reserve(sizeof(*e), MPS_SETTING, MPS_HOOK_SYSCTL);
	if (!e)
		return 1;
	e->event.netns = netns;
	__builtin_memcpy(e->name, name + MPS_SETTING_PREFIX, sizeof(e->name));
	bpf_sysctl_get_current_value(ctx, (char *)e->old_value, sizeof(e->old_value));
	bpf_sysctl_get_new_value(ctx, (char *)e->new_value, sizeof(e->new_value));
	mps_fill_owner((struct mps_owned_event *)e);
	mps_submit(e);
	return 1;
}

#endif
