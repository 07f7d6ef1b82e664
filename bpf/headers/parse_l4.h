/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* TCP, UDP, ICMP and ICMPv6, the ports of fragments, and packets quoted in errors. */
#pragma once

#include "core.h"
#include "net.h"

/* Combinations no stack sends. Global: called with any flags. */
GLOBAL int dp_tcp_flags(u32 flags)
{
	if (!(flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)))
		return DROP_TCP_FLAGS;
	if (flags & TCP_SYN && flags & (TCP_FIN | TCP_RST))
		return DROP_TCP_FLAGS;
	if (flags & TCP_FIN && !(flags & TCP_ACK))
		return DROP_TCP_FLAGS;
	return 0;
}

#if MAX_TCPOPTS
enum { SEEN_MSS = 1, SEEN_WSCALE = 2, SEEN_SACK = 4, SEEN_TSTAMP = 8 };

INLINE u32 tcp_option_kind(u8 type)
{
	switch (type) {
	case TCPOPT_MSS:
		return SEEN_MSS;
	case TCPOPT_WSCALE:
		return SEEN_WSCALE;
	case TCPOPT_SACK_OK:
		return SEEN_SACK;
	case TCPOPT_TIMESTAMP:
		return SEEN_TSTAMP;
	}
	return 0;
}

/* Finds the segment size among the options of a SYN. */
SUBPROG int tcp_options(struct __sk_buff *skb, struct flow *f, u32 end)
{
	u32 off = f->l4_off + sizeof(struct tcp_header);
	u32 seen = 0;

	LOOP
	for (int i = 0; i < MAX_TCPOPTS; i++) {
		u8 *opt;
		u32 kind;

		if (off >= end)
			return 0;
		opt = pkt_at(skb, off, 1);
		if (!opt)
			return DROP_SHORT;
		if (*opt == OPT_END)
			return 0;
		if (*opt == OPT_NOP) {
			off++;
			continue;
		}
		opt = pkt_at(skb, off, 2);
		if (!opt)
			return DROP_SHORT;
		if (opt[1] < 2 || off + opt[1] > end)
			return DROP_L4_HEADER;
		kind = tcp_option_kind(opt[0]);
		if (seen & kind)
			return DROP_L4_HEADER;
		seen |= kind;
		if (kind == SEEN_MSS) {
			if (opt[1] != 4)
				return DROP_L4_HEADER;
			f->mss_off = off + 2;
		}
		off += opt[1];
	}
	return 0; /* what is left is not looked at */
}
#endif

SUBPROG int parse_tcp(struct __sk_buff *skb, struct flow *f)
{
	struct tcp_header *tcp = pkt_at(skb, f->l4_off, sizeof(*tcp));
	u32 len;
	int reason;

	if (!tcp)
		return DROP_SHORT;
	f->tuple.sport = tcp->sport;
	f->tuple.dport = tcp->dport;
	f->tcp_flags = tcp->flags;
	len = (tcp->offset >> 4) * 4;
	if (len < sizeof(*tcp) || f->l4_off + len > skb->len)
		return DROP_L4_HEADER;
	reason = dp_tcp_flags(tcp->flags);
#if MAX_TCPOPTS
	if (!reason && f->tcp_flags & TCP_SYN && len > sizeof(*tcp))
		reason = tcp_options(skb, f, f->l4_off + len);
#endif
	return reason;
}

SUBPROG int parse_udp(struct __sk_buff *skb, struct flow *f)
{
	struct udp_header *udp = pkt_at(skb, f->l4_off, sizeof(*udp));
	u32 len;

	if (!udp)
		return DROP_SHORT;
	len = ntoh16(udp->len);
	/* The length covers the datagram, so in a fragment it exceeds the packet. */
	if (len < sizeof(*udp) || (!(f->flags & FLOW_FRAGMENT) && f->l4_off + len > skb->len))
		return DROP_L4_HEADER;
	f->tuple.sport = udp->sport;
	f->tuple.dport = udp->dport;
	return 0;
}

#if ICMP_ERRORS
/* Reads ports of the quoted packet: 8 bytes of it are promised, RFC 792. */
INLINE int quoted_ports(struct __sk_buff *skb, struct flow *f, u32 off)
{
	struct ports *p;

	if (f->quoted.proto != P_TCP && f->quoted.proto != P_UDP)
		return DROP_L4_HEADER;
	p = pkt_at(skb, off, 8);
	if (!p)
		return DROP_SHORT;
	f->quoted.sport = p->sport;
	f->quoted.dport = p->dport;
	f->quoted.family = f->tuple.family;
	f->flags |= FLOW_ICMP_ERROR;
	return 0;
}

SUBPROG int quoted_ip4(struct __sk_buff *skb, struct flow *f)
{
	struct ip4_header *ip = pkt_at(skb, f->quoted_off, sizeof(*ip));

	if (!ip)
		return DROP_SHORT;
	if (ip->ver_ihl != 0x45 || ip->frag & hton16(IP4_OFFSET))
		return DROP_L4_HEADER;
	f->quoted.src.w[0] = ip->src;
	f->quoted.dst.w[0] = ip->dst;
	f->quoted.proto = ip->proto;
	return quoted_ports(skb, f, f->quoted_off + sizeof(*ip));
}

SUBPROG int quoted_ip6(struct __sk_buff *skb, struct flow *f)
{
	struct ip6_header *ip = pkt_at(skb, f->quoted_off, sizeof(*ip));

	if (!ip)
		return DROP_SHORT;
	for (int i = 0; i < 4; i++) {
		f->quoted.src.w[i] = ip->src[i];
		f->quoted.dst.w[i] = ip->dst[i];
	}
	f->quoted.proto = ip->next;
	return quoted_ports(skb, f, f->quoted_off + sizeof(*ip));
}
#endif

/* Echo id stands for both ports; errors are tied to the packet they quote. */
SUBPROG int parse_icmp(struct __sk_buff *skb, struct flow *f)
{
	struct icmp_header *icmp = pkt_at(skb, f->l4_off, sizeof(*icmp));
	int six = f->tuple.proto == P_ICMP6;

	if (!icmp)
		return DROP_SHORT;
	f->icmp_type = icmp->type;
	if (six != (f->tuple.family == 6)) /* each belongs to its own family */
		return DROP_L4_HEADER;
	if (six ? icmp->type >= 128 && icmp->type <= 129 : icmp->type == 0 || icmp->type == 8) {
		f->tuple.sport = icmp->id;
		f->tuple.dport = icmp->id;
		return 0;
	}
	if (six && icmp->type >= 133 && icmp->type <= 137)
		return PASSED_UNTRACKED;
#if ICMP_ERRORS
	f->quoted_off = f->l4_off + sizeof(*icmp);
	if (six && icmp->type >= 1 && icmp->type <= 4)
		return quoted_ip6(skb, f);
	if (!six && (icmp->type == 3 || icmp->type == 11 || icmp->type == 12))
		return quoted_ip4(skb, f);
#endif
	return PASSED_UNTRACKED;
}

/* Ports are in the first fragment only: it leaves them for the later ones. */
SUBPROG int fragment_ports(struct flow *f)
{
	struct frag_key key = {
		.src = f->tuple.src,
		.dst = f->tuple.dst,
		.id = f->frag_id,
		.proto = f->tuple.proto,
	};
	struct ports *known;

	if (!(f->flags & FLOW_LATER_FRAGMENT)) {
		struct ports first = { f->tuple.sport, f->tuple.dport };

		map_update(&fragments, &key, &first, ANY);
		return 0;
	}
	known = map_lookup(&fragments, &key);
	if (!known)
		return DROP_FRAGMENT;
	f->tuple.sport = known->sport;
	f->tuple.dport = known->dport;
	return 0;
}

SUBPROG int parse_l4(struct __sk_buff *skb, struct flow *f)
{
	int reason = 0;

	if (f->flags & FLOW_LATER_FRAGMENT)
		return fragment_ports(f);
	switch (f->tuple.proto) {
	case P_TCP:
		reason = parse_tcp(skb, f);
		break;
	case P_UDP:
		reason = parse_udp(skb, f);
		break;
	case P_ICMP:
	case P_ICMP6:
		reason = parse_icmp(skb, f);
		break;
	default: /* AH's payload, ESP, GRE, SCTP …: by address only */
		f->flags |= FLOW_NO_PORTS;
	}
	if (!reason && f->flags & FLOW_FRAGMENT)
		reason = fragment_ports(f);
	return reason;
}
