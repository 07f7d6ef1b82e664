/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* How a system call's arguments are described, kept and selected; how much of it. */
#pragma once

#include "tracing.h"

#ifndef FILTER_SIZE
#error "compile with -DFILTER_SIZE=1, 2 or 3"
#endif

#if FILTER_SIZE == 1
#define ARGS 2      /* copied of one call */
#define SELECTORS 1 /* of one call; one that matches is enough */
#define MATCHES 1   /* of one selector; all must hold */
#define TEXT 4      /* bytes of a string compared */
#define IOVECS 0    /* pieces of a scattered buffer */
#elif FILTER_SIZE == 2
#define ARGS 3
#define SELECTORS 1
#define MATCHES 1
#define TEXT 6
#define IOVECS 1
#else
#define ARGS 5
#define SELECTORS 2
#define MATCHES 2
#define TEXT 6
#define IOVECS 1
#endif

#define MAX_ARGS 8       /* a power of two, as are all of these */
#define EVENT_BYTES 4096
#define TEXT_BYTES 256   /* of one string */
#define PIECE_BYTES 512  /* of one buffer */
#define VALUES 4         /* of one match */
#define EVENT_MASK (EVENT_BYTES - 1)

enum arg_type { ARG_NONE, ARG_INT, ARG_LONG, ARG_TEXT, ARG_BUFFER, ARG_ADDRESS, ARG_IOVEC };
enum match_op { OP_NONE, OP_EQUAL, OP_BELOW, OP_ABOVE, OP_BETWEEN, OP_MASK, OP_PREFIX, OP_SUFFIX };
enum match_flag { MATCH_NOT = 1, MATCH_SIGNED = 2 };
enum action { ACTION_DROP, ACTION_POST, ACTION_COUNT };

struct arg_spec {
	u8 type;
	u8 from; /* which argument of the call */
	u8 size; /* which one says how long it is */
	u8 zero;
	u32 most; /* bytes kept of it */
};

struct call {
	u32 args; /* in use */
	u32 selectors;
	struct arg_spec arg[MAX_ARGS];
};

struct match {
	u8 arg;
	u8 op;
	u8 flags;
	u8 len; /* of text */
	u32 values;
	u64 value[VALUES];
	u8 text[16];
};

struct selector {
	u32 matches;
	u32 action;
	struct match match[4];
};

struct selector_key {
	u32 call;
	u32 index;
};

struct event {
	u64 pid_tgid;
	u64 uid_gid;
	u32 call;
	u32 size;
	u32 action;
	u32 selector;
	u64 raw[MAX_ARGS];
	u32 at[MAX_ARGS];
	u32 len[MAX_ARGS];
	u8 comm[16];
	/* room for what begins at the last byte that the mask lets through */
	u8 bytes[EVENT_BYTES + PIECE_BYTES + 16];
};

MAP(calls, HASH, u32, struct call, 64, 0);
MAP(selectors, HASH, struct selector_key, struct selector, 64, 0);
MAP(events, PERCPU_ARRAY, u32, struct event, 1, 0);
MAP(counts, HASH, u32, u64, 64, 0);
