//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A filter of system calls by their arguments, as security agents have them: what
 * the arguments are is configured; they are copied one behind the other into an
 * event, each at an offset that depends on all before, and the event is kept if a
 * set of selectors says so.
 */
#include "headers/arg_types.h"

char announced[] SEC("license") = "Dual BSD/GPL";

/* Each copy returns how many bytes of the event it took, less than 0 on a fault. */
INLINE long copy_number(struct event *e, u32 off, u64 value, u32 size)
{
	u8 *at = &e->bytes[off & EVENT_MASK];

	if (size == 4)
		*(u32 *)at = value;
	else
		*(u64 *)at = value;
	return size;
}

SUBPROG long copy_text(struct event *e, u32 off, u64 from)
{
	u32 *len = (u32 *)&e->bytes[off & EVENT_MASK];
	long n = read_user_str(&e->bytes[(off & EVENT_MASK) + 4], TEXT_BYTES, (const void *)from);

	if (n < 0)
		return n;
	*len = n ? n - 1 : 0;
	return *len + 4;
}

SUBPROG long copy_buffer(struct event *e, u32 off, u64 from, u64 size, u32 most)
{
	u32 take = size < most ? size : most;

	if (take >= PIECE_BYTES)
		take = PIECE_BYTES - 1;
	*(u32 *)&e->bytes[off & EVENT_MASK] = size;
	if (read_user(&e->bytes[(off & EVENT_MASK) + 4], take & (PIECE_BYTES - 1), (const void *)from))
		return -1;
	return take + 4;
}

/* A socket address is as long as its family says. */
SUBPROG long copy_address(struct event *e, u32 off, u64 from, u64 size)
{
	u16 family = 0;
	u32 want = 2;

	if (read_user(&family, sizeof(family), (const void *)from))
		return -1;
	if (family == 1)
		want = 110;
	else if (family == 2)
		want = 16;
	else if (family == 10)
		want = 28;
	if (size < want)
		want = size;
	if (read_user(&e->bytes[off & EVENT_MASK], want & 127, (const void *)from))
		return -1;
	return want & 127;
}

#if IOVECS
struct iovec {
	u64 base;
	u64 len;
};

/* A buffer in pieces, one behind the other as if it were whole. */
SUBPROG long copy_iovec(struct event *e, u32 off, u64 from, u64 pieces, u32 most)
{
	u32 begin = off, whole = 0;

	off += 4;
	LOOP
	for (u32 i = 0; i < IOVECS; i++) {
		struct iovec v;
		u32 take;

		if (i >= pieces || whole >= most)
			break;
		if (read_user(&v, sizeof(v), (const void *)(from + i * sizeof(v))))
			return -1;
		take = v.len < most - whole ? v.len : most - whole;
		if (take >= PIECE_BYTES)
			take = PIECE_BYTES - 1;
		if (read_user(&e->bytes[off & EVENT_MASK], take & (PIECE_BYTES - 1), (const void *)v.base))
			return -1;
		off += take;
		whole += take;
	}
	*(u32 *)&e->bytes[begin & EVENT_MASK] = whole;
	return off - begin;
}
#endif

/* Copies an argument to off. Returns how long it is there. */
INLINE long copy_arg(struct event *e, const struct arg_spec *spec, u32 off)
{
	u64 value = e->raw[spec->from & (MAX_ARGS - 1)];
	u64 size = e->raw[spec->size & (MAX_ARGS - 1)];

	switch (spec->type) {
	case ARG_INT:
		return copy_number(e, off, value, 4);
	case ARG_LONG:
		return copy_number(e, off, value, 8);
	case ARG_TEXT:
		return copy_text(e, off, value);
	case ARG_BUFFER:
		return copy_buffer(e, off, value, size, spec->most);
	case ARG_ADDRESS:
		return copy_address(e, off, value, size);
#if IOVECS
	case ARG_IOVEC:
		return copy_iovec(e, off, value, size, spec->most);
#endif
	}
	return 0;
}

SUBPROG int copy_args(struct event *e, const struct call *call)
{
	u32 off = 0;

	LOOP
	for (u32 i = 0; i < ARGS; i++) {
		long n;

		if (i >= call->args)
			break;
		n = copy_arg(e, &call->arg[i], off);
		e->at[i] = off;
		if (n < 0) { /* what cannot be read is an empty argument */
			e->len[i] = 0;
			continue;
		}
		e->len[i] = n;
		off += n;
		if (off > EVENT_BYTES - PIECE_BYTES)
			break;
	}
	e->size = off;
	return 0;
}

SUBPROG int match_number(const struct match *m, u64 value)
{
	u64 low = m->value[0], high = m->value[1];

	switch (m->op) {
	case OP_EQUAL:
		for (u32 i = 0; i < VALUES; i++) {
			if (i < m->values && m->value[i] == value)
				return 1;
		}
		return 0;
	case OP_BELOW:
		return m->flags & MATCH_SIGNED ? (s64)value < (s64)low : value < low;
	case OP_ABOVE:
		return m->flags & MATCH_SIGNED ? (s64)value > (s64)low : value > low;
	case OP_BETWEEN:
		if (m->flags & MATCH_SIGNED)
			return (s64)value >= (s64)low && (s64)value <= (s64)high;
		return value >= low && value <= high;
	case OP_MASK:
		return (value & low) != 0;
	}
	return 0;
}

/* Compares text at the begin or the end of a copied string. */
SUBPROG int match_text(const struct event *e, const struct match *m, u32 at, u32 len)
{
	u32 want = m->len;

	if (want > TEXT || want > len)
		return 0;
	if (m->op == OP_SUFFIX)
		at += len - want;
	LOOP
	for (u32 i = 0; i < TEXT; i++) {
		if (i >= want)
			break;
		if (e->bytes[(at + i) & EVENT_MASK] != m->text[i & 15])
			return 0;
	}
	return 1;
}

SUBPROG int match_one(const struct event *e, const struct call *call, const struct match *m)
{
	u32 i = m->arg & (MAX_ARGS - 1), at = e->at[i], type = call->arg[i].type;
	int hit = 0;
	u64 value;

	switch (type) {
	case ARG_INT:
		value = *(const u32 *)&e->bytes[at & EVENT_MASK];
		if (m->flags & MATCH_SIGNED)
			value = (s64)(s32)value;
		hit = match_number(m, value);
		break;
	case ARG_LONG:
		hit = match_number(m, *(const u64 *)&e->bytes[at & EVENT_MASK]);
		break;
	case ARG_TEXT:
	case ARG_BUFFER:
		if (e->len[i] >= 4)
			hit = match_text(e, m, at + 4, e->len[i] - 4);
		break;
	case ARG_ADDRESS:
		hit = match_number(m, *(const u16 *)&e->bytes[at & EVENT_MASK]);
		break;
	}
	return m->flags & MATCH_NOT ? !hit : hit;
}

/* The first selector all of whose matches hold decides; 0 if there is one. */
SUBPROG int select(struct event *e, const struct call *call)
{
	struct selector_key key = { .call = e->call };

	LOOP
	for (u32 i = 0; i < SELECTORS; i++) {
		const struct selector *s;
		u32 held = 0;

		if (i >= call->selectors)
			break;
		key.index = i;
		s = map_lookup(&selectors, &key);
		if (!s)
			break;
		LOOP
		for (u32 j = 0; j < MATCHES; j++) {
			if (j >= s->matches || !match_one(e, call, &s->match[j]))
				break;
			held++;
		}
		if (held == s->matches) {
			e->action = s->action;
			e->selector = i;
			return 0;
		}
	}
	return -1;
}

SEC("raw_tp") int filter_args(struct raw_args *ctx)
{
	u32 zero = 0, number = ctx->arg[1];
	struct event *e = map_lookup(&events, &zero);
	struct call *call = map_lookup(&calls, &number);
	struct saved_regs regs;
	u64 *count;

	if (!e || !call || read_kernel(&regs, sizeof(regs), (const void *)ctx->arg[0]))
		return 0;
	e->pid_tgid = get_current_pid_tgid();
	e->uid_gid = get_current_uid_gid();
	get_current_comm(e->comm, sizeof(e->comm));
	e->call = number;
	e->raw[0] = regs.di;
	e->raw[1] = regs.si;
	e->raw[2] = regs.dx;
	e->raw[3] = regs.r10;
	e->raw[4] = regs.r8;
	e->raw[5] = regs.r9;
	copy_args(e, call);
	e->action = ACTION_DROP;
	if (select(e, call))
		return 0;
	count = map_lookup(&counts, &number);
	if (count)
		*count += 1;
	return e->action == ACTION_POST ? e->size : 0;
}
