/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Which fields a packet's translation changes, and in what order. */
#pragma once

#include "conntrack.h"
#include "rewrite.h"
#include "snat.h"

enum side { SOURCE, DESTINATION };

/* Rewrites one end of the packet, and wire along with it. */
SUBPROG int translate(struct __sk_buff *skb, const struct flow *f, struct tuple *wire, const struct snat_entry *to, u32 side)
{
	u32 four = side == SOURCE ? offset_of(struct ip4_header, src) : offset_of(struct ip4_header, dst);
	u32 six = side == SOURCE ? offset_of(struct ip6_header, src) : offset_of(struct ip6_header, dst);
	struct addr *addr = side == SOURCE ? &wire->src : &wire->dst;
	be16 *port = side == SOURCE ? &wire->sport : &wire->dport;
	int reason;

	if (f->tuple.family == 6)
		reason = rewrite_addr6(skb, f, addr, &to->addr, six);
	else
		reason = rewrite_addr4(skb, f, addr->w[0], to->addr.w[0], four);
	if (reason)
		return reason;
	reason = rewrite_port(skb, f, *port, to->port, side == SOURCE ? 0 : 2);
	*addr = to->addr;
	*port = to->port;
	return reason;
}

/* Hides the source behind the node. */
SUBPROG int masquerade(struct __sk_buff *skb, struct flow *f, struct tuple *wire)
{
	struct snat_entry e = {};
	int reason;

	if (f->tuple.proto != P_TCP && f->tuple.proto != P_UDP)
		return 0; /* nothing to tell replies apart by */
	reason = snat_find(wire, &e);
	if (reason)
		return reason;
	f->nat |= NAT_MASQ;
	return translate(skb, f, wire, &e, SOURCE);
}

/* Gives a reply to a hidden connection its destination back. */
SUBPROG int unmasquerade(struct __sk_buff *skb, struct flow *f, struct tuple *wire)
{
	struct snat_entry *known = map_lookup(&snat, &f->tuple);
	struct snat_entry e;

	if (!known)
		return 0;
	e = *known;
	return translate(skb, f, wire, &e, DESTINATION);
}

#if PREFIX_NAT6
/*
 * RFC 6296: puts another /48 before the source address and makes up for it in the
 * word behind, so that no transport checksum changes.
 */
SUBPROG int translate_prefix(struct __sk_buff *skb, const struct flow *f, const struct config *c, struct tuple *wire)
{
	const u16_part *out = (const u16_part *)&c->prefix_out;
	const u16_part *in = (const u16_part *)&c->prefix_in;
	u16_part *from = (u16_part *)&wire->src;
	u16 word;

	if (!(c->flags & CONFIG_PREFIX_NAT))
		return 0;
	for (int i = 0; i < 3; i++) {
		if (from[i] != in[i])
			return 0;
	}
	word = from[3];
	for (int i = 0; i < 3; i++) {
		word = ~adjust(~word, out[i], in[i]);
		from[i] = out[i];
	}
	from[3] = word == 0xffff ? 0 : word;
	return skb_store_bytes(skb, f->l3_off + offset_of(struct ip6_header, src), wire->src.w, 16, 0) ? DROP_REWRITE : 0;
}
#endif

/* All of it: destination first, since the source is hidden from the backend. */
SUBPROG int nat_flow(struct __sk_buff *skb, struct flow *f, struct tuple *wire)
{
	struct snat_entry to = { .addr = f->nat_addr, .port = f->nat_port };
	int reason = 0;

	if (f->nat & NAT_DST)
		reason = translate(skb, f, wire, &to, DESTINATION);
	else if (f->nat & NAT_SRC)
		reason = translate(skb, f, wire, &to, SOURCE);
	if (reason)
		return reason;
	if (f->ct == CT_REPLY)
		return unmasquerade(skb, f, wire);
	if (f->nat & NAT_MASQ || f->policy & POLICY_MASQ)
		reason = masquerade(skb, f, wire);
	if (!reason && f->ct == CT_NEW && f->nat)
		reason = ct_bind(f, wire);
	return reason;
}
