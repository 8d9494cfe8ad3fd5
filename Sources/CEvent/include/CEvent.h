/* SPDX-License-Identifier: Apache-2.0 */
/* The event ABI (bpf/event.h, which is its only definition) and the compiled BPF programs. */
#ifndef MPSCOPE_CEVENT_H
#define MPSCOPE_CEVENT_H

#include "../../../bpf/event.h"

#include <stddef.h>

extern const unsigned char mps_object_start[];
extern const unsigned char mps_object_end[];

static inline const void *mps_object(size_t *size)
{
	*size = (size_t)(mps_object_end - mps_object_start);
	return mps_object_start;
}

#endif
