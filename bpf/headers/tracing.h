/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the tracing programs use of the kernel. They are raw tracepoint programs:
 * any kernel since 5.10 loads and test-runs these without anything to attach to.
 */
#pragma once

#include "map.h"

/*
 * Maps of tracing programs are allocated beforehand: for one that is not, kernels before
 * 6.1 (34dd3bad1a6f) warn when the program is loaded.
 */

/* The context of a raw tracepoint: the arguments of the tracepoint. */
struct raw_args {
	u64 arg[6];
};

static u64 (*const get_current_pid_tgid)(void) = (void *)14;
static u64 (*const get_current_uid_gid)(void) = (void *)15;
static long (*const get_current_comm)(void *to, u32 size) = (void *)16;
static long (*const read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const read_user_str)(void *to, u32 size, const void *from) = (void *)114;

/*
 * The user's registers as x86-64 saves them. Written down here and read with
 * read_kernel(): no type of the running kernel is asked for, so that the program
 * is the same on every one.
 */
struct saved_regs {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
