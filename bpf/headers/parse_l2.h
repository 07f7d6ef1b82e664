/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Ethernet and VLAN tags, in the frame and in the metadata of the skb. */
#pragma once

#include "core.h"
#include "net.h"

/*
 * Finds the ethertype behind all tags and puts the offset of what follows into
 * f. Returns a reason, 0 to go on.
 */
SUBPROG int parse_l2(struct __sk_buff *skb, struct flow *f, u32 *ethertype)
{
	struct eth_header *eth = pkt_at(skb, 0, sizeof(*eth));
	u32 off = sizeof(*eth);
	u32 type;

	if (!eth)
		return DROP_SHORT;
	if (eth->dst[0] & 1)
		f->flags |= FLOW_MULTICAST;
	if (skb->vlan_present) { /* the driver or the stack has taken the outer tag off */
		f->vlan = skb->vlan_tci & 0xfff;
		f->vlans = 1;
	}
	type = ntoh16(eth->type);
	LOOP
	for (int i = 0; i < MAX_VLANS; i++) {
		struct vlan_tag *tag;

		if (type != ETH_VLAN && type != ETH_QINQ)
			break;
		tag = pkt_at(skb, off, sizeof(*tag));
		if (!tag)
			return DROP_SHORT;
		f->vlan = ntoh16(tag->tci) & 0xfff;
		f->vlans++;
		type = ntoh16(tag->type);
		off += sizeof(*tag);
	}
	if (type == ETH_VLAN || type == ETH_QINQ)
		return DROP_VLAN_DEPTH;
	f->l3_off = off;
	*ethertype = type;
	return 0;
}
