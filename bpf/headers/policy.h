/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Who talks to whom (peers), and whether they may (rules, in tiers). */
#pragma once

#include "core.h"
#include "net.h"

INLINE u32 identity(const struct addr *addr, u8 family)
{
	struct cidr key = { .bits = family == 6 ? 160 : 64, .family = family, .addr = *addr };
	struct peer *p = map_lookup(&peers, &key);

	return p ? p->identity : 0;
}

/* The most specific of up to four rules: both ends named, one end, none. */
SUBPROG struct rule *find_rule(const struct flow *f, u32 tier)
{
	struct rule_key key = {
		.bits = RULE_EXACT,
		.src_id = f->src_id,
		.dst_id = f->dst_id,
		.tier = tier,
		.family = f->tuple.family,
		.proto = f->tuple.proto,
		.dport = f->tuple.dport,
	};
	struct rule *both, *one;

	both = map_lookup(&rules, &key);
	if (both && both->bits == RULE_EXACT)
		return both;
	key.dst_id = 0;
	one = map_lookup(&rules, &key);
	if (!one) {
		key.src_id = 0;
		key.dst_id = f->dst_id;
		one = map_lookup(&rules, &key);
	}
	if (both && (!one || both->bits >= one->bits))
		return both;
	if (one)
		return one;
	key.dst_id = 0;
	return map_lookup(&rules, &key);
}

#if RATE_LIMIT
enum { TOKENS_MAX = 64, NS_PER_TOKEN = 1000000 };

SUBPROG int take_token(u32 id)
{
	struct bucket *b = map_lookup(&buckets, &id);
	u64 now, fresh;

	if (!b)
		return 0; /* no limit is set for this identity */
	now = ktime_get_ns();
	fresh = now > b->filled_ns ? (now - b->filled_ns) / NS_PER_TOKEN : 0;
	if (fresh) {
		u64 tokens = b->tokens + fresh;

		b->tokens = tokens > TOKENS_MAX ? TOKENS_MAX : tokens;
		b->filled_ns = now;
	}
	if (!b->tokens)
		return DROP_RATE;
	b->tokens--;
	return 0;
}
#endif

/* Asks the tiers in order until one decides. */
SUBPROG int apply_policy(struct flow *f, u32 enforce)
{
	u32 flags = 0;

	LOOP
	for (int tier = 0; tier < POLICY_TIERS; tier++) {
		struct rule *r = find_rule(f, tier);

		if (!r)
			continue;
		__sync_fetch_and_add(&r->packets, 1);
		flags |= r->flags;
		if (r->action == ACTION_NEXT_TIER)
			continue;
		if (r->action == ACTION_DENY && !(flags & POLICY_AUDIT)) {
			f->policy = flags | POLICY_LOG;
			return DROP_POLICY;
		}
		if (r->action != ACTION_ALLOW)
			flags |= POLICY_AUDIT | POLICY_LOG;
		f->policy = flags;
#if RATE_LIMIT
		if (flags & POLICY_LIMIT)
			return take_token(f->src_id);
#endif
		return 0;
	}
	f->policy = flags;
	return enforce && !(flags & POLICY_AUDIT) ? DROP_POLICY : 0;
}
