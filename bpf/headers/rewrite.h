/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Changes fields of a packet and the checksums over them. */
#pragma once

#include "core.h"
#include "net.h"

/* Offset of the checksum in the transport header, 0 where there is none to mend. */
INLINE u32 l4_check(u8 proto)
{
	switch (proto) {
	case P_TCP:
		return offset_of(struct tcp_header, check);
	case P_UDP:
		return offset_of(struct udp_header, check);
	case P_ICMP6:
		return offset_of(struct icmp_header, check);
	}
	return 0; /* ICMP has no pseudo header */
}

/* UDP over IPv4 may go without a checksum; zero then stays zero. */
INLINE u64 csum_flags(u8 proto)
{
	return proto == P_UDP ? CSUM_KEEP_ZERO : 0;
}

SUBPROG int rewrite_addr4(struct __sk_buff *skb, const struct flow *f, be32 from, be32 to, u32 at)
{
	u32 check = l4_check(f->tuple.proto);

	if (from == to)
		return 0;
	if (check && !(f->flags & FLOW_LATER_FRAGMENT) &&
	    l4_csum_replace(skb, f->l4_off + check, from, to, csum_flags(f->tuple.proto) | CSUM_PSEUDO | 4))
		return DROP_REWRITE;
	if (l3_csum_replace(skb, f->l3_off + offset_of(struct ip4_header, check), from, to, 4))
		return DROP_REWRITE;
	return skb_store_bytes(skb, f->l3_off + at, &to, 4, 0) ? DROP_REWRITE : 0;
}

SUBPROG int rewrite_addr6(struct __sk_buff *skb, const struct flow *f, const struct addr *from, const struct addr *to, u32 at)
{
	u32 check = l4_check(f->tuple.proto);
	s64 diff;

	if (same_addr(from, to))
		return 0;
	diff = csum_diff(from->w, 16, to->w, 16, 0);
	if (diff < 0)
		return DROP_REWRITE;
	if (check && !(f->flags & FLOW_LATER_FRAGMENT) &&
	    l4_csum_replace(skb, f->l4_off + check, 0, diff, csum_flags(f->tuple.proto) | CSUM_PSEUDO))
		return DROP_REWRITE;
	return skb_store_bytes(skb, f->l3_off + at, to->w, 16, 0) ? DROP_REWRITE : 0;
}

/* at is the offset of the port in the transport header, 0 or 2. */
SUBPROG int rewrite_port(struct __sk_buff *skb, const struct flow *f, be16 from, be16 to, u32 at)
{
	u32 check = l4_check(f->tuple.proto);

	if (from == to || f->flags & FLOW_LATER_FRAGMENT)
		return 0;
	if (f->tuple.proto != P_TCP && f->tuple.proto != P_UDP) /* an echo keeps its id */
		return 0;
	if (l4_csum_replace(skb, f->l4_off + check, from, to, csum_flags(f->tuple.proto) | 2))
		return DROP_REWRITE;
	return skb_store_bytes(skb, f->l4_off + at, &to, 2, 0) ? DROP_REWRITE : 0;
}

/* One hop less. IPv4's header checksum is mended by hand, in the packet. */
SUBPROG int age_packet(struct __sk_buff *skb, const struct flow *f)
{
	if (f->tuple.family == 6) {
		struct ip6_header *ip = pkt_at(skb, f->l3_off, sizeof(*ip));

		if (!ip)
			return DROP_SHORT;
		if (ip->hops <= 1)
			return DROP_IP6_HEADER;
		ip->hops--;
	} else {
		struct ip4_header *ip = pkt_at(skb, f->l3_off, sizeof(*ip));
		u16 before;

		if (!ip)
			return DROP_SHORT;
		if (ip->ttl <= 1)
			return DROP_IP4_HEADER;
		before = ip->ttl | (u16)ip->proto << 8; /* the word as it lies in memory */
		ip->ttl--;
		ip->check = adjust(ip->check, before, before - 1);
	}
	return 0;
}

#if MAX_TCPOPTS
/* Lowers the segment size of a SYN to what the path takes. */
SUBPROG int clamp_mss(struct __sk_buff *skb, const struct flow *f, u32 limit)
{
	be16 *mss, from, to = hton16(limit);

	if (!f->mss_off || !limit)
		return 0;
	mss = pkt_at(skb, f->mss_off, sizeof(*mss));
	if (!mss)
		return DROP_SHORT;
	from = *mss;
	if (ntoh16(from) <= limit)
		return 0;
	/* An option may begin at an odd offset: its bytes are swapped in the sum. */
	if ((f->mss_off - f->l4_off) & 1) {
		u16 swapped_from = ntoh16(from), swapped_to = ntoh16(to);

		if (l4_csum_replace(skb, f->l4_off + offset_of(struct tcp_header, check), swapped_from, swapped_to, 2))
			return DROP_REWRITE;
	} else if (l4_csum_replace(skb, f->l4_off + offset_of(struct tcp_header, check), from, to, 2)) {
		return DROP_REWRITE;
	}
	return skb_store_bytes(skb, f->mss_off, &to, sizeof(to), 0) ? DROP_REWRITE : 0;
}
#endif

#if ICMP_ERRORS
/*
 * Puts the service address back into the packet an error quotes, so that the
 * client knows it. The quoted IPv4 header sums up to the same as before, its own
 * checksum being mended; only the port changes the sum of the ICMP message.
 */
SUBPROG int rewrite_quoted4(struct __sk_buff *skb, const struct flow *f)
{
	be32 from = f->quoted.dst.w[0], to = f->nat_addr.w[0];
	be16 port = f->nat_port;
	u32 l4 = f->quoted_off + sizeof(struct ip4_header);

	if (l3_csum_replace(skb, f->quoted_off + offset_of(struct ip4_header, check), from, to, 4))
		return DROP_REWRITE;
	if (skb_store_bytes(skb, f->quoted_off + offset_of(struct ip4_header, dst), &to, 4, 0))
		return DROP_REWRITE;
	if (l4_csum_replace(skb, f->l4_off + offset_of(struct icmp_header, check), f->quoted.dport, port, 2))
		return DROP_REWRITE;
	return skb_store_bytes(skb, l4 + 2, &port, 2, 0) ? DROP_REWRITE : 0;
}

/* As for IPv4, but no header checksum makes up for the address. */
SUBPROG int rewrite_quoted6(struct __sk_buff *skb, const struct flow *f)
{
	u32 check = f->l4_off + offset_of(struct icmp_header, check);
	u32 l4 = f->quoted_off + sizeof(struct ip6_header);
	s64 diff = csum_diff(f->quoted.dst.w, 16, f->nat_addr.w, 16, 0);
	be16 port = f->nat_port;

	if (diff < 0 || l4_csum_replace(skb, check, 0, diff, 0))
		return DROP_REWRITE;
	if (skb_store_bytes(skb, f->quoted_off + offset_of(struct ip6_header, dst), f->nat_addr.w, 16, 0))
		return DROP_REWRITE;
	if (l4_csum_replace(skb, check, f->quoted.dport, port, 2))
		return DROP_REWRITE;
	return skb_store_bytes(skb, l4 + 2, &port, 2, 0) ? DROP_REWRITE : 0;
}
#endif
