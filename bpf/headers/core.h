/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What every stage does: reach packet bytes, keep state, go on or give up. */
#pragma once

#include "flow.h"
#include "limits.h"
#include "maps.h"

/*
 * Returns len bytes of the frame at off, or NULL if they are not all there. len
 * is a constant. The bound on off is what lets the verifier add it to a packet
 * pointer (its limit is 65,535).
 */
INLINE void *pkt_at(struct __sk_buff *skb, u32 off, u32 len)
{
	void *end = (void *)(long)skb->data_end;
	void *at = (void *)(long)skb->data;

	if (off > MAX_OFFSET)
		return NULL;
	at += off;
	opaque(at);
	if (at + len > end)
		return NULL;
	return at;
}

INLINE u16 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* RFC 1624, equation 3: the checksum after one 16 bit word went from -> to. */
INLINE u16 adjust(u16 check, u16 from, u16 to)
{
	return fold((u64)(u16)~check + (u16)~from + to);
}

INLINE int same_addr(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

INLINE void reverse(struct tuple *to, const struct tuple *from)
{
	to->src = from->dst;
	to->dst = from->src;
	to->sport = from->dport;
	to->dport = from->sport;
	to->proto = from->proto;
	to->family = from->family;
	to->zero = 0;
}

INLINE const struct config *get_config(void)
{
	u32 zero = 0;

	return map_lookup(&settings, &zero);
}

INLINE int restore(struct flow *f, u32 stage)
{
	u32 zero = 0;
	struct flow *kept = map_lookup(&scratch, &zero);

	if (!kept)
		return DROP_STATE;
	*f = *kept;
	f->stage = stage;
	return 0;
}

/* Counts a packet under reason. Global: the verifier checks it for any reason. */
GLOBAL int dp_account(struct __sk_buff *skb, u32 reason)
{
	struct counter *c;

	if (reason >= REASONS)
		reason = DROP_STATE;
	c = map_lookup(&metrics, &reason);
	if (!c)
		return -1;
	c->packets++;
	c->bytes += skb->len;
	return 0;
}

/* Mixes four words into one; the multipliers are those of murmur3. */
GLOBAL int dp_hash(u32 a, u32 b, u32 c, u32 d)
{
	u32 h = a * 0xcc9e2d51;

	h = (h << 15 | h >> 17) ^ b * 0x1b873593;
	h = (h << 13 | h >> 19) * 5 + 0xe6546b64;
	h ^= c * 0xcc9e2d51;
	h = (h << 15 | h >> 17) ^ d * 0x1b873593;
	h ^= h >> 16;
	h *= 0x85ebca6b;
	return h ^ h >> 13;
}

INLINE u32 hash_tuple(const struct tuple *t, u32 seed)
{
	u32 src = t->src.w[0] ^ t->src.w[1] ^ t->src.w[2] ^ t->src.w[3];
	u32 dst = t->dst.w[0] ^ t->dst.w[1] ^ t->dst.w[2] ^ t->dst.w[3];

	return dp_hash(src, dst, (u32)t->sport << 16 | t->dport, t->proto + seed);
}

/* Leaves for another stage with the state kept; returns only if it is not there. */
INLINE int next(struct __sk_buff *skb, const struct flow *f, u32 stage)
{
	u32 zero = 0;
	struct flow *kept = map_lookup(&scratch, &zero);

	if (!kept) {
		dp_account(skb, DROP_STATE);
		return ACT_SHOT;
	}
	*kept = *f;
	tail_call(skb, &stages, stage);
	dp_account(skb, DROP_TAIL_CALL);
	return ACT_SHOT;
}

/* Goes on to stage, or to the end with the reason why not. */
INLINE int next_unless(struct __sk_buff *skb, struct flow *f, u32 stage, u32 reason)
{
	if (reason) {
		f->reason = reason;
		stage = STAGE_EMIT;
	}
	return next(skb, f, stage);
}
