/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the stages hand to each other, and the words they use for it. */
#pragma once

#include "abi.h"

enum stage {
	STAGE_PARSE,
	STAGE_POLICY,
	STAGE_CT,
	STAGE_LB,
	STAGE_NAT4,
	STAGE_NAT6,
	STAGE_EMIT,
	STAGES,
};

/* Why a packet ended the way it did. The order is the index into metrics. */
enum reason {
	PASSED,
	PASSED_UNTRACKED, /* ARP, neighbour discovery, protocols without ports */
	DROP_SHORT,
	DROP_VLAN_DEPTH,
	DROP_IP4_HEADER,
	DROP_IP4_CHECKSUM,
	DROP_IP4_OPTION,
	DROP_IP6_HEADER,
	DROP_IP6_CHAIN,
	DROP_IP6_OPTION,
	DROP_FRAGMENT, /* a later fragment whose first one was not seen */
	DROP_L4_HEADER,
	DROP_TCP_FLAGS,
	DROP_POLICY,
	DROP_RATE,
	DROP_CT_INVALID,
	DROP_CT_FULL,
	DROP_NO_BACKEND,
	DROP_SNAT_PORTS,
	DROP_REWRITE,
	DROP_STATE,     /* no scratch or no configuration */
	DROP_TAIL_CALL, /* the next stage is not in the table */
	REASONS,
};

/* Aligned to 8: copies then take half the loads, and no spills. */
#define WIDE __attribute__((aligned(8)))

/* IPv4 uses the first word and leaves the others zero. */
struct addr {
	be32 w[4];
};

struct tuple {
	struct addr src;
	struct addr dst;
	be16 sport;
	be16 dport;
	u8 proto;
	u8 family; /* 4 or 6 */
	u16 zero;
} WIDE;

enum nat_flag {
	NAT_DST = 1 << 0,   /* to a backend */
	NAT_SRC = 1 << 1,   /* a reply, back to the service address */
	NAT_QUOTED = 1 << 2, /* inside an ICMP error */
	NAT_MASQ = 1 << 3,  /* hide the source behind the node */
};

enum ct_result { CT_NONE, CT_NEW, CT_ESTABLISHED, CT_REPLY, CT_RELATED };

enum policy_flag {
	POLICY_LOG = 1 << 0,
	POLICY_MASQ = 1 << 1,
	POLICY_NOTRACK = 1 << 2,
	POLICY_LIMIT = 1 << 3,
	POLICY_AUDIT = 1 << 4,
};

enum flow_flag {
	FLOW_FRAGMENT = 1 << 0,
	FLOW_LATER_FRAGMENT = 1 << 1,
	FLOW_ICMP_ERROR = 1 << 2,
	FLOW_ROUTER_ALERT = 1 << 3,
	FLOW_NO_PORTS = 1 << 4,
	FLOW_MULTICAST = 1 << 5,
};

struct flow {
	struct tuple tuple;
	struct tuple quoted; /* the packet an ICMP error is about, as quoted */
	struct addr nat_addr;
	be16 nat_port;
	u16 nat;
	u32 l3_off;
	u32 l4_off;
	u32 quoted_off;
	u32 mss_off; /* value of the segment size option, 0 for none */
	u32 frag_id;
	u32 reason;
	u32 src_id;
	u32 dst_id;
	u32 service;
	u32 policy;
	u32 flags;
	u16 vlan; /* innermost tag */
	u8 vlans;
	u8 ct;
	u8 tcp_flags;
	u8 icmp_type;
	u8 stage; /* last stage that had a say */
	u8 zero;
} WIDE;
