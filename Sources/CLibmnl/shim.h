/* SPDX-License-Identifier: Apache-2.0 */
/* libmnl and the netlink families that mpscope reads. */
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/inet_diag.h>
#include <linux/mptcp.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
