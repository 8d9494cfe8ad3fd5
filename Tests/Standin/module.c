// SPDX-License-Identifier: GPL-2.0-only
/*
 * module.c - the stand-in as a module of a real kernel: /proc/mpscope_standin and the switch.
 *
 *	write: a row's name, or `listen NAME`, `socket NAME`, `connect NAME` for its parts
 *	read:  what was played since the last `clear`, a line for each record that is to be seen of it
 *
 * This is a stand-in for tests: no packet is sent, no socket of the kernel's is touched.
 */
#include <crypto/sha1.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "machine.h"
#include "rows.h"

#define NAME "mpscope_standin"
#define ROOM 65536

static DEFINE_MUTEX(playing);
static char *truth;
static size_t length;
static int enabled = 1;

/* ---------------------------------------------------------------- what machine.h promises */

struct errand {
	struct timer_list timer;
	struct work_struct work;
	struct completion done;
	void (*function)(void *);
	void *argument;
};

static void in_timer(struct timer_list *timer)
{
	struct errand *errand = from_timer(errand, timer, timer);

	errand->function(errand->argument);
	complete(&errand->done);
}

void machine_softirq(void (*function)(void *), void *argument)
{
	struct errand errand = { .function = function, .argument = argument };
	int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());

	init_completion(&errand.done);
	timer_setup_on_stack(&errand.timer, in_timer, TIMER_PINNED);
	errand.timer.expires = jiffies + 1;
	/* A machine with one CPU: then it interrupts whatever runs while this one waits. */
	add_timer_on(&errand.timer, cpu < nr_cpu_ids ? cpu : raw_smp_processor_id());
	wait_for_completion(&errand.done);
	del_timer_sync(&errand.timer);
	destroy_timer_on_stack(&errand.timer);
}

static void in_worker(struct work_struct *work)
{
	struct errand *errand = container_of(work, struct errand, work);

	errand->function(errand->argument);
}

void machine_worker(void (*function)(void *), void *argument)
{
	struct errand errand = { .function = function, .argument = argument };

	INIT_WORK_ONSTACK(&errand.work, in_worker);
	schedule_work(&errand.work);
	flush_work(&errand.work);
	destroy_work_on_stack(&errand.work);
}

unsigned int machine_namespace(void)
{
	return init_net.ns.inum;
}

unsigned long long machine_random(void)
{
	return get_random_u64();
}

unsigned int machine_token(unsigned long long key)
{
	__u32 digest[SHA1_DIGEST_WORDS], workspace[SHA1_WORKSPACE_WORDS];
	__u8 block[64] = {};

	memcpy(block, &key, sizeof(key));
	/* The padding of a message of eight bytes. */
	block[8] = 0x80;
	block[63] = 64;
	sha1_init(digest);
	sha1_transform(digest, block, workspace);
	return (__force __u32)cpu_to_be32(digest[0]);
}

int machine_enabled(void)
{
	return READ_ONCE(enabled);
}

int machine_pid(void)
{
	return current->tgid;
}

void machine_truth(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	length += vscnprintf(truth + length, ROOM - length, format, arguments);
	va_end(arguments);
}

/* ---------------------------------------------------------------- /proc/mpscope_standin */

static int show(struct seq_file *file, void *nothing)
{
	mutex_lock(&playing);
	seq_write(file, truth, length);
	mutex_unlock(&playing);
	return 0;
}

static int opened(struct inode *inode, struct file *file)
{
	return single_open_size(file, show, NULL, ROOM);
}

static ssize_t written(struct file *file, const char __user *bytes, size_t count, loff_t *offset)
{
	char text[80], *name;
	const char *what = "all";
	int failed = 0;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, bytes, count))
		return -EFAULT;
	text[count] = 0;
	name = strim(text);
	if (strchr(name, ' '))
		what = strsep(&name, " ");
	mutex_lock(&playing);
	if (!strcmp(name, "clear"))
		length = 0;
	else
		failed = row_play(what, name);
	mutex_unlock(&playing);
	return failed ? -failed : count;
}

static const struct proc_ops operations = {
	.proc_open = opened,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = written,
};

static int show_rows(struct seq_file *file, void *nothing)
{
	const char *name;

	for (unsigned int i = 0; (name = row_name(i)); i++)
		seq_printf(file, "%s\n", name);
	return 0;
}

/* ---------------------------------------------------------------- the switch */

static struct ctl_table table[] = {
	{
		.procname = "mptcp_enabled",
		.data = &enabled,
		.maxlen = sizeof(enabled),
		.mode = 0644,
		.proc_handler = proc_dointvec_minmax,
		.extra1 = SYSCTL_ZERO,
		.extra2 = SYSCTL_TWO,
	},
	{}
};
static struct ctl_table_header *header;

static int __init begin(void)
{
	truth = kvzalloc(ROOM, GFP_KERNEL);
	if (!truth)
		return -ENOMEM;
	/* Of the initial namespace, beside what this kernel has there of its own. */
	header = register_net_sysctl(&init_net, "net/mptcp", table);
	if (!header || !proc_create(NAME, 0600, NULL, &operations) ||
	    !proc_create_single(NAME "_rows", 0400, NULL, show_rows)) {
		remove_proc_entry(NAME, NULL);
		if (header)
			unregister_net_sysctl_table(header);
		kvfree(truth);
		return -ENOMEM;
	}
	return 0;
}

static void __exit end(void)
{
	remove_proc_entry(NAME "_rows", NULL);
	remove_proc_entry(NAME, NULL);
	unregister_net_sysctl_table(header);
	kvfree(truth);
}

module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Stand-in for the functions of an out-of-tree MPTCP stack, for mpscope's tests");
