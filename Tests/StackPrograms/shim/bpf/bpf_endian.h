/* SPDX-License-Identifier: Apache-2.0 */
/* In libbpf's place: what the programs ask of it, for the machine that the tests run on. */
#ifndef MPSCOPE_SHIM_BPF_ENDIAN_H
#define MPSCOPE_SHIM_BPF_ENDIAN_H

#include "../shim.h"

#endif
