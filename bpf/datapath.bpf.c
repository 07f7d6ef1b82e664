//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A small datapath, as network agents have them: a packet is parsed, judged,
 * tracked, balanced, translated and reported, each in a program of its own that
 * ends in a tail call. It is there to be verified and run on test packets.
 */
#include "headers/abi.h"
#include "headers/net.h"
#include "headers/flow.h"
#include "headers/limits.h"
#include "headers/maps.h"
#include "headers/core.h"
#include "headers/parse_l2.h"
#include "headers/parse_ip4.h"
#include "headers/parse_ip6.h"
#include "headers/parse_l4.h"
#include "headers/policy.h"
#include "headers/conntrack.h"
#include "headers/lb.h"
#include "headers/nat.h"
#include "headers/emit.h"

char announced[] SEC("license") = "Dual BSD/GPL";

SUBPROG int parse_packet(struct __sk_buff *skb, struct flow *f)
{
	u32 ethertype = 0;
	int reason = parse_l2(skb, f, &ethertype);

	if (reason)
		return reason;
	switch (ethertype) {
	case ETH_IP4:
		reason = parse_ip4(skb, f);
		break;
	case ETH_IP6:
		reason = parse_ip6(skb, f);
		break;
	default:
		return PASSED_UNTRACKED;
	}
	return reason ? reason : parse_l4(skb, f);
}

SEC("tc") int dp_parse(struct __sk_buff *skb)
{
	struct flow f = { .stage = STAGE_PARSE };
	u32 want = skb->len < PULL_BYTES ? skb->len : PULL_BYTES;

	if (skb_pull_data(skb, want))
		return next_unless(skb, &f, STAGE_EMIT, DROP_SHORT);
	return next_unless(skb, &f, STAGE_POLICY, parse_packet(skb, &f));
}

SEC("tc") int dp_policy(struct __sk_buff *skb)
{
	const struct config *c = get_config();
	struct flow f;
	int reason = restore(&f, STAGE_POLICY);

	if (reason || !c) {
		dp_account(skb, DROP_STATE);
		return ACT_SHOT;
	}
	f.src_id = identity(&f.tuple.src, f.tuple.family);
	f.dst_id = identity(&f.tuple.dst, f.tuple.family);
	reason = apply_policy(&f, c->flags & CONFIG_ENFORCE);
	return next_unless(skb, &f, f.policy & POLICY_NOTRACK ? STAGE_EMIT : STAGE_CT, reason);
}

SEC("tc") int dp_conntrack(struct __sk_buff *skb)
{
	struct flow f;
	int reason = restore(&f, STAGE_CT);

	if (reason) {
		dp_account(skb, reason);
		return ACT_SHOT;
	}
	reason = f.flags & FLOW_MULTICAST ? PASSED_UNTRACKED : ct_track(skb, &f);
	return next_unless(skb, &f, STAGE_LB, reason);
}

SEC("tc") int dp_lb(struct __sk_buff *skb)
{
	struct flow f;
	int reason = restore(&f, STAGE_LB);

	if (reason) {
		dp_account(skb, reason);
		return ACT_SHOT;
	}
	reason = balance(&f);
	return next_unless(skb, &f, f.tuple.family == 6 ? STAGE_NAT6 : STAGE_NAT4, reason);
}

SEC("tc") int dp_nat4(struct __sk_buff *skb)
{
	struct tuple wire;
	struct flow f;
	int reason = restore(&f, STAGE_NAT4);

	if (reason || f.tuple.family != 4) {
		dp_account(skb, DROP_STATE);
		return ACT_SHOT;
	}
	wire = f.tuple;
#if MAX_TCPOPTS
	if (f.mss_off) {
		const struct config *c = get_config();

		reason = c ? clamp_mss(skb, &f, c->mss) : DROP_STATE;
	}
#endif
#if ICMP_ERRORS
	if (f.nat & NAT_QUOTED)
		reason = rewrite_quoted4(skb, &f);
	else
#endif
	if (!reason)
		reason = nat_flow(skb, &f, &wire);
	if (!reason)
		reason = age_packet(skb, &f);
	return next_unless(skb, &f, STAGE_EMIT, reason);
}

SEC("tc") int dp_nat6(struct __sk_buff *skb)
{
	struct tuple wire;
	struct flow f;
	int reason = restore(&f, STAGE_NAT6);

	if (reason || f.tuple.family != 6) {
		dp_account(skb, DROP_STATE);
		return ACT_SHOT;
	}
	wire = f.tuple;
#if MAX_TCPOPTS || PREFIX_NAT6
	const struct config *c = get_config();

	if (!c) {
		dp_account(skb, DROP_STATE);
		return ACT_SHOT;
	}
#endif
#if MAX_TCPOPTS
	reason = clamp_mss(skb, &f, c->mss);
#endif
#if ICMP_ERRORS
	if (f.nat & NAT_QUOTED)
		reason = rewrite_quoted6(skb, &f);
	else
#endif
	if (!reason)
		reason = nat_flow(skb, &f, &wire);
#if PREFIX_NAT6
	if (!reason)
		reason = translate_prefix(skb, &f, c, &wire);
#endif
	if (!reason)
		reason = age_packet(skb, &f);
	return next_unless(skb, &f, STAGE_EMIT, reason);
}

SEC("tc") int dp_emit(struct __sk_buff *skb)
{
	const struct config *c = get_config();
	struct flow f;
	u32 zero = 0;
	struct flow *kept = map_lookup(&scratch, &zero);

	if (!kept || !c) {
		dp_account(skb, DROP_STATE);
		return ACT_SHOT;
	}
	f = *kept; /* the stage stays that of the one who decided */
	dp_account(skb, f.reason);
	if (c->flags & CONFIG_EVENTS && worth_an_event(&f))
		report(skb, &f);
	skb->mark = f.src_id << 16 | (f.service & 0xffff);
	return f.reason > PASSED_UNTRACKED ? ACT_SHOT : ACT_OK;
}
