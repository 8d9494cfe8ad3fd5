/* SPDX-License-Identifier: Apache-2.0 */
/* The event ABI (bpf/event.h, which is its only definition) and the compiled BPF programs. */
#ifndef MPSCOPE_CEVENT_H
#define MPSCOPE_CEVENT_H

#include "../../../bpf/event.h"

#include <stddef.h>

#define MPS_OBJECT(name)                                                                       \
	extern const unsigned char mps_object_##name##_start[], mps_object_##name##_end[];      \
	static inline const void *mps_object_##name(size_t *size)                               \
	{                                                                                       \
		*size = (size_t)(mps_object_##name##_end - mps_object_##name##_start);          \
		return mps_object_##name##_start;                                               \
	}

MPS_OBJECT(mainline)
MPS_OBJECT(multipath)
MPS_OBJECT(multipath_perf)

#endif
