/* SPDX-License-Identifier: Apache-2.0 */
/* In the kernel's place. */
#ifndef MPSCOPE_SHIM_PTRACE_H
#define MPSCOPE_SHIM_PTRACE_H

/* Where the call has its return address, and what it returned. */
struct pt_regs {
	unsigned long sp;
};

#endif
