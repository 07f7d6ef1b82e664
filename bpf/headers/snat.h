/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Source ports of the node, given to connections that hide behind it. */
#pragma once

#include "core.h"
#include "net.h"

/* Is there an address of the node to hide behind? It is filled into to. */
INLINE int node_addr(const struct config *c, u8 family, struct addr *to)
{
	if (family == 6) {
		*to = c->snat6;
		return to->w[0] | to->w[3];
	}
	to->w[0] = c->snat4;
	return to->w[0];
}

/*
 * Finds a free port for wire, the tuple behind the translation of the destination,
 * and writes the pair of entries. The entry of the reply decides who owns a port.
 */
SUBPROG int snat_create(const struct config *c, const struct tuple *wire, struct snat_entry *e)
{
	struct snat_entry origin = { .addr = wire->src, .port = wire->sport };
	u32 span = c->port_span ? c->port_span : 1;
	struct tuple back;
	u32 start;

	reverse(&back, wire);
	back.dst = e->addr;
	start = hash_tuple(wire, 0);
	LOOP
	for (u32 i = 0; i < SNAT_TRIES; i++) {
		back.dport = hton16(c->port_min + (start + i) % span);
		if (map_update(&snat, &back, &origin, NOEXIST))
			continue;
		e->port = back.dport;
		return map_update(&snat, wire, e, ANY) ? DROP_SNAT_PORTS : 0;
	}
	return DROP_SNAT_PORTS;
}

/* The address and port that the source of wire is to become. */
SUBPROG int snat_find(const struct tuple *wire, struct snat_entry *e)
{
	struct snat_entry *known = map_lookup(&snat, wire);
	const struct config *c;

	if (known) {
		*e = *known;
		return 0;
	}
	c = get_config();
	if (!c || !node_addr(c, wire->family, &e->addr))
		return DROP_STATE;
	return snat_create(c, wire, e);
}
