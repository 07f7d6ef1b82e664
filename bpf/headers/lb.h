/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Services: which address and port stand for which backends. */
#pragma once

#include "core.h"
#include "net.h"

SUBPROG struct service *find_service(const struct flow *f)
{
	struct service_key key = {
		.addr = f->tuple.dst,
		.port = f->tuple.dport,
		.proto = f->tuple.proto,
		.family = f->tuple.family,
	};
	struct service *s = map_lookup(&services, &key);

	if (s)
		return s;
	key.port = 0; /* all ports of an address */
	return map_lookup(&services, &key);
}

#if AFFINITY
/* The slot this client was given before, or a number no slot has. */
INLINE u32 remembered_slot(const struct flow *f, const struct service *s)
{
	struct affinity_key key = { .client = f->tuple.src, .service = s->id };
	struct affinity *a = map_lookup(&affinities, &key);

	if (!a || ktime_get_ns() - a->used_ns > (u64)s->affinity_s * 1000000000ull)
		return BACKENDS;
	return a->slot;
}

INLINE void remember_slot(const struct flow *f, const struct service *s, u32 slot)
{
	struct affinity_key key = { .client = f->tuple.src, .service = s->id };
	struct affinity a = { .used_ns = ktime_get_ns(), .slot = slot };

	map_update(&affinities, &key, &a, ANY);
}
#endif

/* Where to begin looking: consistent hash table if the service has one. */
INLINE u32 first_slot(const struct service *s, u32 hash)
{
	if (s->flags & SERVICE_LUT) {
		u32 id = s->id;
		void *lut = map_lookup(&luts, &id);
		u32 at = hash % LUT_SIZE;
		u32 *slot = lut ? map_lookup(lut, &at) : NULL;

		if (slot)
			return *slot;
	}
	return hash;
}

/* Takes slot if its backend takes new connections. */
INLINE int try_slot(struct flow *f, void *slots, u32 slot)
{
	struct backend *b = map_lookup(slots, &slot);

	if (!b || b->state != BACKEND_ACTIVE)
		return 0;
	f->nat_addr = b->addr;
	f->nat_port = b->port ? b->port : f->tuple.dport;
	f->nat |= NAT_DST;
	return 1;
}

SUBPROG int pick_backend(struct flow *f, const struct service *s)
{
	u32 id = s->id, count = s->count, slot;
	void *slots = map_lookup(&backends, &id);

	if (!slots || !count || count > BACKENDS)
		return DROP_NO_BACKEND;
#if AFFINITY
	if (s->flags & SERVICE_AFFINITY) {
		slot = remembered_slot(f, s);
		if (slot < count && try_slot(f, slots, slot)) {
			remember_slot(f, s, slot);
			return 0;
		}
	}
#endif
	slot = first_slot(s, hash_tuple(&f->tuple, id));
	LOOP
	for (int i = 0; i < LB_PROBES; i++) {
		slot %= count;
		if (try_slot(f, slots, slot)) {
#if AFFINITY
			if (s->flags & SERVICE_AFFINITY)
				remember_slot(f, s, slot);
#endif
			return 0;
		}
		slot++;
	}
	return DROP_NO_BACKEND;
}

/* Gives a new connection to a service its backend; others pass unchanged. */
SUBPROG int balance(struct flow *f)
{
	struct service *s;

	if (f->ct != CT_NEW || f->flags & FLOW_NO_PORTS)
		return 0;
	s = find_service(f);
	if (!s)
		return 0;
	f->service = s->id;
	if (s->flags & SERVICE_MASQ)
		f->policy |= POLICY_MASQ;
	return pick_backend(f, s);
}
