/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The end of every packet: counted, reported, let go or not. */
#pragma once

#include "core.h"

INLINE void fill_event(struct event *e, const struct flow *f, u32 len)
{
	e->time_ns = ktime_get_ns();
	e->tuple = f->tuple;
	e->reason = f->reason;
	e->len = len;
	e->src_id = f->src_id;
	e->dst_id = f->dst_id;
	e->service = f->service;
	e->vlan = f->vlan;
	e->vlans = f->vlans;
	e->ct = f->ct;
	e->stage = f->stage;
	e->tcp_flags = f->tcp_flags;
	e->nat = f->nat;
	e->flags = f->flags;
}

/* Drops, new connections and what a rule asks for; the rest is only counted. */
INLINE int worth_an_event(const struct flow *f)
{
	return f->reason > PASSED_UNTRACKED || f->ct == CT_NEW || f->policy & POLICY_LOG;
}

SUBPROG int report(struct __sk_buff *skb, const struct flow *f)
{
	struct event *e = ringbuf_reserve(&events, sizeof(*e), 0);
	u32 len = skb->len;

	if (!e)
		return -1; /* the reader is late; the counters still tell */
	fill_event(e, f, len);
	__builtin_memset(e->head, 0, sizeof(e->head));
	if (len >= EVENT_HEAD)
		skb_load_bytes(skb, 0, e->head, EVENT_HEAD);
	else if (len >= 14)
		skb_load_bytes(skb, 0, e->head, 14);
	ringbuf_submit(e, 0);
	return 0;
}
