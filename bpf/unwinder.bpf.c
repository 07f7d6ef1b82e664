//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * An unwinder of user stacks without frame pointers, as continuous profilers have
 * them: for each frame, the mapping that holds the program counter is searched,
 * then the row of its unwind table, and the row says where the caller's registers
 * are. It begins at the registers that a system call was entered with.
 */
#include "headers/tracing.h"

char announced[] SEC("license") = "Dual BSD/GPL";

#ifndef UNWINDER_SIZE
#error "compile with -DUNWINDER_SIZE=1, 2 or 3"
#endif

#if UNWINDER_SIZE == 1
#define FRAMES 2    /* of one stack */
#define DEPTH 3     /* steps of the search for a row: tables of 2^DEPTH rows */
#define MAP_DEPTH 2 /* steps of the search for a mapping */
#define PLT 0       /* rows that depend on the program counter */
#elif UNWINDER_SIZE == 2
#define FRAMES 3
#define DEPTH 3
#define MAP_DEPTH 3
#define PLT 1
#else
#define FRAMES 4
#define DEPTH 5
#define MAP_DEPTH 3
#define PLT 1
#endif

#define MAPPINGS 32   /* of one process; a power of two */
#define MAX_FRAMES 32 /* kept of a stack; a power of two */

enum outcome { COMPLETE, NO_PROCESS, NO_MAPPING, NO_ROW, BAD_ROW, BAD_READ, NOT_UPWARDS, TOO_DEEP, OUTCOMES };
enum cfa_rule { CFA_END, CFA_SP, CFA_BP, CFA_DEREF_SP, CFA_DEREF_BP, CFA_PLT, CFA_SIGNAL };
enum bp_rule { BP_SAME, BP_AT_CFA, BP_AT_BP, BP_UNDEFINED };

struct mapping {
	u64 begin;
	u64 end;
	u64 bias;  /* address of the program minus that in its file */
	u32 table; /* of its unwind rows */
	u32 rows;
};

struct process {
	u32 mappings; /* in use, sorted */
	u32 zero;
	struct mapping at[MAPPINGS];
};

/* From pc on, up to the next row's. */
struct row {
	u32 pc;
	u8 cfa;
	u8 bp;
	short cfa_offset; /* in units of 8 bytes, but for a deref */
	short bp_offset;
	u16 zero;
};

struct row_key {
	u32 table;
	u32 index;
};

struct frame {
	u64 pc; /* in the file */
	u32 table;
	u32 row;
};

struct stack {
	u64 pid_tgid;
	u32 frames;
	u32 outcome;
	u64 last_cfa;
	struct frame at[MAX_FRAMES];
};

struct registers {
	u64 ip;
	u64 sp;
	u64 bp;
};

MAP(processes, HASH, u32, struct process, 64, 0);
MAP(rows, HASH, struct row_key, struct row, 1024, 0);
MAP(stacks, ARRAY, u32, struct stack, 1, 0);
MAP(outcomes, PERCPU_ARRAY, u32, u64, OUTCOMES, 0);

/* The mapping that holds ip, by bisection; NULL if there is none. */
SUBPROG struct mapping *find_mapping(struct process *p, u64 ip)
{
	u32 low = 0, high = p->mappings;

	if (high > MAPPINGS)
		return NULL;
	LOOP
	for (int i = 0; i < MAP_DEPTH; i++) {
		u32 middle = (low + high) / 2;

		if (low >= high)
			break;
		if (p->at[middle & (MAPPINGS - 1)].end <= ip)
			low = middle + 1;
		else
			high = middle;
	}
	if (low >= p->mappings || low >= MAPPINGS)
		return NULL;
	return ip >= p->at[low].begin && ip < p->at[low].end ? &p->at[low] : NULL;
}

/* The last row that begins at pc or before, by bisection; it is put into found. */
SUBPROG int find_row(const struct mapping *m, u64 pc, struct row *found, u32 *index)
{
	struct row_key key = { .table = m->table };
	u32 low = 0, high = m->rows, hit = 0;
	struct row *r;

	if (high > 1u << DEPTH)
		return NO_ROW;
	LOOP
	for (int i = 0; i <= DEPTH; i++) {
		if (low >= high)
			break;
		key.index = low + (high - low) / 2;
		r = map_lookup(&rows, &key);
		if (!r)
			return NO_ROW;
		if (r->pc <= pc) {
			*found = *r;
			hit = 1;
			*index = key.index;
			low = key.index + 1;
		} else {
			high = key.index;
		}
	}
	return hit ? 0 : NO_ROW;
}

/* The value of the caller's stack pointer. */
INLINE int find_cfa(const struct row *r, const struct registers *regs, u64 *cfa)
{
	u64 at;

	switch (r->cfa) {
	case CFA_SP:
		*cfa = regs->sp + r->cfa_offset * 8;
		return 0;
	case CFA_BP:
		*cfa = regs->bp + r->cfa_offset * 8;
		return 0;
	case CFA_DEREF_SP:
	case CFA_DEREF_BP:
		at = (r->cfa == CFA_DEREF_SP ? regs->sp : regs->bp) + (r->cfa_offset & ~7);
		if (read_user(cfa, sizeof(*cfa), (const void *)at))
			return BAD_READ;
		*cfa += (r->cfa_offset & 7) * 8;
		return 0;
#if PLT
	case CFA_PLT: /* an entry pushes a word in its last insns */
		*cfa = regs->sp + 8 + ((regs->ip & 15) >= 11 ? 8 : 0);
		return 0;
	case CFA_SIGNAL: /* the kernel left all registers on the stack */
		at = regs->sp + r->cfa_offset * 8;
		if (read_user(cfa, sizeof(*cfa), (const void *)at))
			return BAD_READ;
		return 0;
#endif
	}
	return BAD_ROW;
}

/* From a frame to its caller's. Returns 0 to go on, else an outcome. */
SUBPROG int step(const struct row *r, struct registers *regs)
{
	u64 cfa = 0, bp = regs->bp, ip = 0;
	int err;

	if (r->cfa == CFA_END)
		return -1;
	err = find_cfa(r, regs, &cfa);
	if (err)
		return err;
	if (cfa <= regs->sp)
		return NOT_UPWARDS;
	switch (r->bp) {
	case BP_AT_CFA:
		if (read_user(&bp, sizeof(bp), (const void *)(cfa + r->bp_offset * 8)))
			return BAD_READ;
		break;
	case BP_AT_BP:
		if (read_user(&bp, sizeof(bp), (const void *)(regs->bp + r->bp_offset * 8)))
			return BAD_READ;
		break;
	case BP_UNDEFINED:
		bp = 0;
		break;
	}
	if (read_user(&ip, sizeof(ip), (const void *)(cfa - 8)))
		return BAD_READ;
	regs->ip = ip;
	regs->sp = cfa;
	regs->bp = bp;
	return ip ? 0 : -1;
}

/* All frames, innermost first. */
SUBPROG int unwind(struct process *p, struct stack *out, struct registers *regs)
{
	struct row r = {};

	LOOP
	for (u32 i = 0; i < FRAMES; i++) {
		/* A return address may lie behind the function that it returns to. */
		u64 ip = regs->ip - (i ? 1 : 0);
		struct mapping *m = find_mapping(p, ip);
		u32 index = 0;
		int err;

		if (!m)
			return NO_MAPPING;
		err = find_row(m, ip - m->bias, &r, &index);
		out->at[i & (MAX_FRAMES - 1)] = (struct frame){ .pc = ip - m->bias, .table = m->table, .row = index };
		out->frames = i + 1;
		if (err)
			return err;
		err = step(&r, regs);
		if (err)
			return err < 0 ? COMPLETE : err;
		out->last_cfa = regs->sp;
	}
	return TOO_DEEP;
}

SEC("raw_tp") int unwind_user(struct raw_args *ctx)
{
	u64 pid_tgid = get_current_pid_tgid();
	u32 pid = pid_tgid >> 32, zero = 0, outcome;
	struct registers regs = {};
	struct saved_regs saved;
	struct process *p;
	struct stack *out;
	u64 *count;

	p = map_lookup(&processes, &pid);
	out = map_lookup(&stacks, &zero);
	if (!p || !out || read_kernel(&saved, sizeof(saved), (const void *)ctx->arg[0]))
		return 0;
	regs.ip = saved.ip;
	regs.sp = saved.sp;
	regs.bp = saved.bp;
	out->pid_tgid = pid_tgid;
	out->frames = 0;
	outcome = unwind(p, out, &regs);
	out->outcome = outcome;
	count = map_lookup(&outcomes, &outcome);
	if (count)
		*count += 1;
	return outcome;
}
