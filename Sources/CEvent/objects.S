/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled BPF programs, as bytes of the executable. objects.h is made by `make` and
 * holds the hash of every object: the build system sees a change of it, where it would not
 * see a change of the objects themselves.
 */
#include "objects.h"

	.section .rodata.mpscope, "a"

	.macro object name, file
	.balign 16
	.global mps_object_\name\()_start
	.global mps_object_\name\()_end
mps_object_\name\()_start:
	.incbin "\file"
mps_object_\name\()_end:
	.byte 0
	.endm

	object mainline, mpscope.bpf.o
	object multipath, multipath.bpf.o
	object multipath_perf, multipath-perf.bpf.o

	.section .note.GNU-stack, "", @progbits
