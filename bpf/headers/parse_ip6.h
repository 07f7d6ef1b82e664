/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* IPv6 with its chain of extension headers. */
#pragma once

#include "core.h"
#include "net.h"

enum ext_kind {
	EXT_HOPOPTS = 1,
	EXT_ROUTING = 2,
	EXT_FRAGMENT = 4,
	EXT_DSTOPTS = 8,
	EXT_AH = 16,
	EXT_MOBILITY = 32,
	EXT_DSTOPTS_LAST = 64, /* destination options may come twice, RFC 8200 4.1 */
};

INLINE u32 ext_kind(u8 next)
{
	switch (next) {
	case P_HOPOPTS:
		return EXT_HOPOPTS;
	case P_ROUTING:
		return EXT_ROUTING;
	case P_FRAGMENT:
		return EXT_FRAGMENT;
	case P_DSTOPTS:
		return EXT_DSTOPTS;
	case P_AH:
		return EXT_AH;
	case P_MOBILITY:
		return EXT_MOBILITY;
	}
	return 0;
}

/* Walks the options of a hop-by-hop or destination header from off to end. */
SUBPROG int ip6_options(struct __sk_buff *skb, struct flow *f, u32 off, u32 end, u32 kind)
{
	LOOP
	for (int i = 0; i < MAX_TLVS; i++) {
		u8 *tlv;

		if (off >= end)
			break;
		tlv = pkt_at(skb, off, 1);
		if (!tlv)
			return DROP_SHORT;
		if (*tlv == TLV_PAD1) {
			off++;
			continue;
		}
		tlv = pkt_at(skb, off, 2);
		if (!tlv)
			return DROP_SHORT;
		if (tlv[0] == TLV_JUMBO) /* no frame here is that long */
			return DROP_IP6_OPTION;
		if (tlv[0] == TLV_HOME_ADDRESS && kind == EXT_HOPOPTS)
			return DROP_IP6_OPTION;
		if (tlv[0] == TLV_ROUTER_ALERT) {
			if (kind != EXT_HOPOPTS || tlv[1] != 2)
				return DROP_IP6_OPTION;
			f->flags |= FLOW_ROUTER_ALERT;
		}
		off += 2 + tlv[1];
	}
	return off == end ? 0 : DROP_IP6_OPTION;
}

/* Is this header allowed after those already seen? */
INLINE u32 ext_order(u32 seen, u32 kind)
{
	if (kind == EXT_HOPOPTS && seen)
		return 0;
	if (kind == EXT_DSTOPTS && seen & EXT_DSTOPTS)
		kind = EXT_DSTOPTS_LAST;
	if (seen & kind)
		return 0;
	return kind;
}

INLINE u32 ext_length(const struct ip6_ext *ext, u32 kind)
{
	if (kind == EXT_FRAGMENT)
		return 8;
	if (kind == EXT_AH)
		return (ext->len + 2) * 4;
	return (ext->len + 1) * 8;
}

INLINE void ext_fragment(struct flow *f, const struct ip6_ext *ext)
{
	u32 bits = (u32)ext->type << 8 | ext->segments;

	f->frag_id = ext->id;
	if (bits & 0xfff8)
		f->flags |= FLOW_LATER_FRAGMENT;
	if (bits & 0xfff9) /* an atomic fragment, RFC 6946, is none */
		f->flags |= FLOW_FRAGMENT;
}

/* Follows the chain to the upper layer; fills its offset and protocol. */
SUBPROG int ip6_chain(struct __sk_buff *skb, struct flow *f, u32 off, u8 next)
{
	u32 seen = 0;

	LOOP
	for (int i = 0; i < MAX_EXTHDRS; i++) {
		u32 kind = ext_kind(next);
		struct ip6_ext *ext;
		u32 len;

		if (!kind || f->flags & FLOW_LATER_FRAGMENT)
			break;
		kind = ext_order(seen, kind);
		if (!kind)
			return DROP_IP6_CHAIN;
		seen |= kind;
		ext = pkt_at(skb, off, sizeof(*ext));
		if (!ext)
			return DROP_SHORT;
		next = ext->next;
		len = ext_length(ext, kind);
		if (off + len > skb->len)
			return DROP_SHORT;
		if (kind == EXT_ROUTING && ext->segments) /* type 0 and its like: RFC 5095 */
			return DROP_IP6_CHAIN;
		if (kind == EXT_FRAGMENT)
			ext_fragment(f, ext);
		if (kind & (EXT_HOPOPTS | EXT_DSTOPTS | EXT_DSTOPTS_LAST)) {
			int reason = ip6_options(skb, f, off + 2, off + len, kind);

			if (reason)
				return reason;
		}
		off += len;
	}
	if (ext_kind(next) && !(f->flags & FLOW_LATER_FRAGMENT))
		return DROP_IP6_CHAIN;
	f->l4_off = off;
	f->tuple.proto = next;
	return 0;
}

SUBPROG int parse_ip6(struct __sk_buff *skb, struct flow *f)
{
	struct ip6_header *ip = pkt_at(skb, f->l3_off, sizeof(*ip));

	if (!ip)
		return DROP_SHORT;
	if ((ntoh32(ip->ver_flow) >> 28) != 6 || !ip->hops)
		return DROP_IP6_HEADER;
	if (f->l3_off + sizeof(*ip) + ntoh16(ip->payload_len) > skb->len)
		return DROP_SHORT;
	if ((ip->src[0] & hton32(0xff000000)) == hton32(0xff000000)) /* nobody sends from a group */
		return DROP_IP6_HEADER;
	f->tuple.family = 6;
	for (int i = 0; i < 4; i++) {
		f->tuple.src.w[i] = ip->src[i];
		f->tuple.dst.w[i] = ip->dst[i];
	}
	return ip6_chain(skb, f, f->l3_off + sizeof(*ip), ip->next);
}
