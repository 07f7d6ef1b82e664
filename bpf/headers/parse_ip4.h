/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* IPv4 with options and fragments. */
#pragma once

#include "core.h"
#include "net.h"

/* What an option does to the packet; each kind but padding is allowed once. */
enum { SEEN_RECORD_ROUTE = 1, SEEN_TIMESTAMP = 2, SEEN_ALERT = 4, SEEN_OTHER = 8 };

INLINE u32 ip4_option_kind(u8 type)
{
	switch (type) {
	case OPT_RECORD_ROUTE:
		return SEEN_RECORD_ROUTE;
	case OPT_TIMESTAMP:
		return SEEN_TIMESTAMP;
	case OPT_ROUTER_ALERT:
		return SEEN_ALERT;
	}
	return SEEN_OTHER;
}

/* Walks the options between the fixed header and end. */
SUBPROG int ip4_options(struct __sk_buff *skb, struct flow *f, u32 end)
{
	u32 off = f->l3_off + sizeof(struct ip4_header);
	u32 seen = 0;

	LOOP
	for (int i = 0; i < MAX_IPOPTS; i++) {
		u8 *opt;
		u32 kind;

		if (off >= end)
			return 0;
		opt = pkt_at(skb, off, 2);
		if (!opt)
			return DROP_SHORT;
		if (opt[0] == OPT_END)
			return 0;
		if (opt[0] == OPT_NOP) {
			off++;
			continue;
		}
		if (opt[0] == OPT_LSRR || opt[0] == OPT_SSRR) /* the sender picks the route: no */
			return DROP_IP4_OPTION;
		kind = ip4_option_kind(opt[0]);
		if (seen & kind & ~SEEN_OTHER)
			return DROP_IP4_OPTION;
		seen |= kind;
		if (opt[1] < 2 || off + opt[1] > end)
			return DROP_IP4_OPTION;
		if (kind == SEEN_ALERT) {
			if (opt[1] != 4)
				return DROP_IP4_OPTION;
			f->flags |= FLOW_ROUTER_ALERT;
		}
		off += opt[1];
	}
	return off >= end ? 0 : DROP_IP4_OPTION;
}

/* The header checksum, option words included, must fold to zero. */
SUBPROG int ip4_checksum(struct __sk_buff *skb, u32 off, u32 words)
{
	u64 sum = 0;

	for (u32 i = 0; i < 15; i++) {
		be32 *word;

		if (i >= words)
			break;
		word = pkt_at(skb, off + i * 4, 4);
		if (!word)
			return DROP_SHORT;
		sum += *word;
	}
	return fold(sum) ? DROP_IP4_CHECKSUM : 0;
}

SUBPROG int parse_ip4(struct __sk_buff *skb, struct flow *f)
{
	struct ip4_header *ip = pkt_at(skb, f->l3_off, sizeof(*ip));
	u32 words, total, frag;
	int reason;

	if (!ip)
		return DROP_SHORT;
	words = ip->ver_ihl & 0xf;
	total = ntoh16(ip->tot_len);
	if (ip->ver_ihl >> 4 != 4 || words < 5 || total < words * 4 || !ip->ttl)
		return DROP_IP4_HEADER;
	if (f->l3_off + total > skb->len)
		return DROP_SHORT;
	f->tuple.family = 4;
	f->tuple.proto = ip->proto;
	f->tuple.src.w[0] = ip->src;
	f->tuple.dst.w[0] = ip->dst;
	f->frag_id = ip->id;
	f->l4_off = f->l3_off + words * 4;
	frag = ntoh16(ip->frag);
	if (frag & IP4_OFFSET)
		f->flags |= FLOW_LATER_FRAGMENT;
	if (frag & (IP4_OFFSET | IP4_MORE))
		f->flags |= FLOW_FRAGMENT;
	if (words > 5) {
		reason = ip4_options(skb, f, f->l4_off);
		if (reason)
			return reason;
	}
	return ip4_checksum(skb, f->l3_off, words);
}
