/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled BPF programs, as bytes of the executable. objects.h is made by `make` and
 * holds the hash of every object: the build system sees a change of it, where it would not
 * see a change of the objects themselves.
 */
#include "objects.h"

	.section .rodata.mpscope, "a"

	.balign 16
	.global mps_object_start
	.global mps_object_end
mps_object_start:
	.incbin "mpscope.bpf.o"
mps_object_end:
	.byte 0

	.section .note.GNU-stack, "", @progbits
