/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * mpscope.bpf.c - the programs, in one object: whatever way a hook is attached, its handler is the
 * same, and so are the maps. The loader loads of them what the kernel takes (Sources/Probes).
 * What is observed is in handlers/; attach/ only unpacks arguments.
 */
#include <asm/ptrace.h>
#include <bpf/bpf_tracing.h>

#include "handlers/answer.h"
#include "handlers/data.h"
#include "handlers/fallback.h"
#include "handlers/join.h"
#include "handlers/lifetime.h"
#include "handlers/packet.h"
#include "handlers/request.h"
#include "handlers/reset.h"
#include "handlers/state.h"
#include "handlers/sysctl.h"

#include "attach/tracepoint.h"
#include "attach/fentry.h"
#include "attach/kprobe.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
