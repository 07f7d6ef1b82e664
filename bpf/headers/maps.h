/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Maps are small: the datapath is verified and tried on test packets, never attached. */
#pragma once

#include "flow.h"
#include "limits.h"

enum config_flag { CONFIG_ENFORCE = 1 << 0, CONFIG_EVENTS = 1 << 1, CONFIG_PREFIX_NAT = 1 << 2 };

struct config {
	u32 flags;
	u32 mss;       /* largest segment size let through, 0 for any */
	be32 snat4;    /* address of the node, 0 for no masquerading */
	u16 port_min;  /* first source port of the node, host order */
	u16 port_span; /* how many, at least 1 */
	struct addr snat6;
	struct addr prefix_in;  /* /48 pair of RFC 6296 */
	struct addr prefix_out;
};

struct cidr {
	u32 bits; /* 32 for the family, then of the address */
	u32 family;
	struct addr addr;
};

struct peer {
	u32 identity;
	u32 flags;
};

/* Ordered so that a shorter prefix means any port, then any protocol. */
struct rule_key {
	u32 bits;
	u32 src_id;
	u32 dst_id;
	u16 tier;
	u8 family;
	u8 proto;
	be16 dport;
	u16 zero;
};

enum { RULE_ANY_PROTO = 88, RULE_ANY_PORT = 96, RULE_EXACT = 112 };
enum action { ACTION_ALLOW, ACTION_DENY, ACTION_NEXT_TIER, ACTION_AUDIT };

struct rule {
	u16 action;
	u16 bits; /* the prefix it was entered with */
	u32 flags;
	u64 packets;
};

struct bucket {
	u64 tokens;
	u64 filled_ns;
};

struct conn {
	u64 expires_ns;
	u64 packets;
	u64 bytes;
	struct addr nat_addr; /* backend; service address in the entry of a reply */
	be16 nat_port;
	u16 nat;
	u32 service;
	u8 reply; /* entry of the reply direction */
	u8 seen;  /* TCP flags so far */
	u16 zero;
	u32 zero2;
};

struct frag_key {
	struct addr src;
	struct addr dst;
	u32 id;
	u32 proto;
};

struct ports {
	be16 sport;
	be16 dport;
};

struct service_key {
	struct addr addr;
	be16 port;
	u8 proto;
	u8 family;
};

enum service_flag { SERVICE_MASQ = 1 << 0, SERVICE_AFFINITY = 1 << 1, SERVICE_LUT = 1 << 2 };

struct service {
	u32 id;
	u32 count; /* slots in use, at most BACKENDS */
	u32 flags;
	u32 affinity_s;
};

enum { BACKEND_ACTIVE = 1, BACKEND_DRAINING = 2 };

struct backend {
	struct addr addr;
	be16 port;
	u8 state;
	u8 zero;
};

struct affinity_key {
	struct addr client;
	u32 service;
};

struct affinity {
	u64 used_ns;
	u32 slot;
	u32 zero;
};

struct snat_entry {
	struct addr addr;
	be16 port;
	u16 zero;
};

struct counter {
	u64 packets;
	u64 bytes;
};

struct event {
	u64 time_ns;
	struct tuple tuple;
	u32 reason;
	u32 len;
	u32 src_id;
	u32 dst_id;
	u32 service;
	u16 vlan;
	u8 vlans;
	u8 ct;
	u8 stage;
	u8 tcp_flags;
	u16 nat;
	u32 flags;
	u8 head[EVENT_HEAD];
};

#define MAP(name, kind, key_type, value_type, entries, flag_bits)                                  \
	struct {                                                                                   \
		NUMBER(type, kind);                                                                \
		TYPE(key, key_type);                                                               \
		TYPE(value, value_type);                                                           \
		NUMBER(max_entries, entries);                                                      \
		NUMBER(map_flags, flag_bits);                                                      \
	} name SEC(".maps")

MAP(settings, ARRAY, u32, struct config, 1, 0);
MAP(scratch, PERCPU_ARRAY, u32, struct flow, 1, 0);
MAP(metrics, PERCPU_ARRAY, u32, struct counter, REASONS, 0);
MAP(peers, LPM_TRIE, struct cidr, struct peer, 256, NO_PREALLOC);
MAP(rules, LPM_TRIE, struct rule_key, struct rule, 256, NO_PREALLOC);
MAP(conns, LRU_HASH, struct tuple, struct conn, 512, 0);
MAP(fragments, LRU_HASH, struct frag_key, struct ports, 128, 0);
MAP(services, HASH, struct service_key, struct service, 128, NO_PREALLOC);
MAP(snat, LRU_HASH, struct tuple, struct snat_entry, 256, 0);
#if AFFINITY
MAP(affinities, LRU_HASH, struct affinity_key, struct affinity, 128, 0);
#endif
#if RATE_LIMIT
MAP(buckets, HASH, u32, struct bucket, 128, NO_PREALLOC);
#endif

struct {
	NUMBER(type, PROG_ARRAY);
	NUMBER(key_size, sizeof(u32));
	NUMBER(value_size, sizeof(u32));
	NUMBER(max_entries, STAGES);
} stages SEC(".maps");

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 1 << 16);
} events SEC(".maps");

/* Sizes, not types: clang leaves a type behind two pointers undescribed. */
struct backend_slots {
	NUMBER(type, ARRAY);
	NUMBER(key_size, sizeof(u32));
	NUMBER(value_size, sizeof(struct backend));
	NUMBER(max_entries, BACKENDS);
};

/* service id -> its backends */
struct {
	NUMBER(type, HASH_OF_MAPS);
	TYPE(key, u32);
	NUMBER(max_entries, 64);
	NUMBER(map_flags, NO_PREALLOC);
	INNER(struct backend_slots);
} backends SEC(".maps");

struct lut_slots {
	NUMBER(type, ARRAY);
	NUMBER(key_size, sizeof(u32));
	NUMBER(value_size, sizeof(u32));
	NUMBER(max_entries, LUT_SIZE);
};

/* service id -> hash -> backend slot, for services that hash consistently */
struct {
	NUMBER(type, ARRAY_OF_MAPS);
	TYPE(key, u32);
	NUMBER(max_entries, 64);
	INNER(struct lut_slots);
} luts SEC(".maps");
