/* SPDX-License-Identifier: GPL-2.0-only */
/* machine.h - what the stand-in needs of the real kernel, in plain C: the kernel's headers end here. */
#ifndef STANDIN_MACHINE_H
#define STANDIN_MACHINE_H

/* Runs it in a softirq, on another CPU if there is one, and waits for its end. */
void machine_softirq(void (*function)(void *), void *argument);
/* Runs it in a kworker and waits for its end. */
void machine_worker(void (*function)(void *), void *argument);
/* Of the initial network namespace. */
unsigned int machine_namespace(void);
unsigned long long machine_random(void);
/* The token of a key, as MPTCP version 0 makes it: the first 4 bytes of its SHA-1, as they are sent. */
unsigned int machine_token(unsigned long long key);
/* net.mptcp.mptcp_enabled */
int machine_enabled(void);
int machine_pid(void);
/* Adds a line to the ground truth. */
void machine_truth(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
