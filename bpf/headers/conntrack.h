/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Connections: one entry for each direction, found by the tuple on the wire. */
#pragma once

#include "core.h"
#include "net.h"

enum { SECOND = 1000000000ull };

INLINE u64 lifetime(const struct flow *f, u32 seen)
{
	if (f->tuple.proto != P_TCP)
		return 60ull * SECOND;
	if (seen & (TCP_RST | TCP_FIN))
		return 10ull * SECOND;
	if (seen & TCP_ACK)
		return 21600ull * SECOND;
	return 60ull * SECOND;
}

/* Counts the packet and moves the state on; 0 if the entry is of no more use. */
INLINE int refresh(struct __sk_buff *skb, struct flow *f, struct conn *c)
{
	u64 now = ktime_get_ns();

	if (c->expires_ns < now)
		return 0;
	if (f->tuple.proto == P_TCP) {
		/* A new SYN after the end of the old connection: ports are used again. */
		if ((f->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && c->seen & (TCP_FIN | TCP_RST))
			return 0;
		c->seen |= f->tcp_flags;
	}
	c->expires_ns = now + lifetime(f, c->seen);
	__sync_fetch_and_add(&c->packets, 1);
	__sync_fetch_and_add(&c->bytes, skb->len);
	return 1;
}

/* Takes over from the entry what translation the packet needs. */
INLINE void adopt(struct flow *f, const struct conn *c)
{
	f->ct = c->reply ? CT_REPLY : CT_ESTABLISHED;
	f->service = c->service;
	f->nat_addr = c->nat_addr;
	f->nat_port = c->nat_port;
	f->nat |= c->nat;
}

#if ICMP_ERRORS
/* The quoted packet went the other way, so its reply entry holds the translation. */
SUBPROG int ct_related(struct flow *f)
{
	struct tuple back;
	struct conn *c;

	reverse(&back, &f->quoted);
	c = map_lookup(&conns, &back);
	if (!c)
		c = map_lookup(&conns, &f->quoted);
	if (!c)
		return DROP_CT_INVALID;
	f->ct = CT_RELATED;
	f->service = c->service;
	if (c->reply && c->nat & NAT_SRC) {
		f->nat_addr = c->nat_addr;
		f->nat_port = c->nat_port;
		f->nat = NAT_QUOTED;
	}
	return 0;
}
#endif

SUBPROG int ct_create(struct __sk_buff *skb, struct flow *f)
{
	struct conn c = {
		.expires_ns = ktime_get_ns() + lifetime(f, f->tcp_flags),
		.packets = 1,
		.bytes = skb->len,
		.seen = f->tcp_flags,
	};

	if (f->tuple.proto == P_TCP && !(f->tcp_flags & TCP_SYN))
		return DROP_CT_INVALID; /* the middle of a connection never seen */
	f->ct = CT_NEW;
	return map_update(&conns, &f->tuple, &c, ANY) ? DROP_CT_FULL : 0;
}

SUBPROG int ct_track(struct __sk_buff *skb, struct flow *f)
{
	struct tuple back;
	struct conn *c;

#if ICMP_ERRORS
	if (f->flags & FLOW_ICMP_ERROR)
		return ct_related(f);
#endif
	c = map_lookup(&conns, &f->tuple);
	if (c) {
		if (refresh(skb, f, c)) {
			adopt(f, c);
			return 0;
		}
		map_delete(&conns, &f->tuple);
	}
	reverse(&back, &f->tuple);
	c = map_lookup(&conns, &back);
	if (c && !c->reply && refresh(skb, f, c)) {
		f->ct = CT_REPLY; /* not translated, so the other entry tells all */
		f->service = c->service;
		return 0;
	}
	return ct_create(skb, f);
}

/*
 * Writes the translation of a new connection into its entry and adds the entry
 * its replies will be found by; wire is the tuple after translation.
 */
SUBPROG int ct_bind(struct flow *f, const struct tuple *wire)
{
	struct conn *c = map_lookup(&conns, &f->tuple);
	struct conn reply = {
		.nat_addr = f->tuple.dst,
		.nat_port = f->tuple.dport,
		.nat = NAT_SRC,
		.service = f->service,
		.reply = 1,
	};
	struct tuple back;

	if (!c)
		return DROP_CT_INVALID;
	c->nat_addr = f->nat_addr;
	c->nat_port = f->nat_port;
	c->nat = f->nat;
	c->service = f->service;
	reply.expires_ns = c->expires_ns;
	reverse(&back, wire);
	return map_update(&conns, &back, &reply, ANY) ? DROP_CT_FULL : 0;
}
