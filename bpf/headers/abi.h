/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The part of the kernel's BPF ABI that these programs use: helper numbers, map
 * types, the context of a tc classifier. Written down here so that the build
 * needs a compiler and nothing else.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef u16 be16;
typedef u32 be32;
typedef u16 __attribute__((may_alias)) u16_part; /* half of a wider word */

#define NULL ((void *)0)
#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define SUBPROG static __attribute__((noinline)) /* verified once per call */
#define GLOBAL __attribute__((noinline))         /* verified once, on its own */

/* Objects are little endian (bpfel), so network order is always the other one. */
#define ntoh16(x) ((u16)__builtin_bswap16(x))
#define hton16(x) ((be16)__builtin_bswap16(x))
#define ntoh32(x) ((u32)__builtin_bswap32(x))
#define hton32(x) ((be32)__builtin_bswap32(x))
#define offset_of(type, member) __builtin_offsetof(type, member)

/* Keeps the compiler from splitting a bounds check and the access it guards. */
#define opaque(x) asm volatile("" : "+r"(x))

/* A walk stays a loop however short, so that its cost grows evenly with its bound. */
#define LOOP _Pragma("clang loop unroll(disable)")

/* BTF map definitions: a number is the length of an array type. */
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type) *name
#define INNER(type) typeof(type) *values[]

enum map_type {
	HASH = 1,
	ARRAY = 2,
	PROG_ARRAY = 3,
	PERCPU_ARRAY = 6,
	LRU_HASH = 9,
	LPM_TRIE = 11,
	ARRAY_OF_MAPS = 12,
	HASH_OF_MAPS = 13,
	RINGBUF = 27,
};

enum { NO_PREALLOC = 1 };                 /* map flag */
enum { ANY = 0, NOEXIST = 1 };            /* update flag */

enum verdict {
	ACT_OK = 0,
	ACT_SHOT = 2,
};

/* Flags of l4_csum_replace; the low nibble is the size of the field. */
enum { CSUM_PSEUDO = 1 << 4, CSUM_KEEP_ZERO = 1 << 5 };

/* The kernel knows the context of a global function by this name. */
struct __sk_buff {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol;
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 priority;
	u32 ingress_ifindex;
	u32 ifindex;
	u32 tc_index;
	u32 cb[5];
	u32 hash;
	u32 tc_classid;
	u32 data;
	u32 data_end;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const ktime_get_ns)(void) = (void *)5;
static long (*const skb_store_bytes)(struct __sk_buff *skb, u32 off, const void *from, u32 len, u64 flags) = (void *)9;
static long (*const l3_csum_replace)(struct __sk_buff *skb, u32 off, u64 from, u64 to, u64 size) = (void *)10;
static long (*const l4_csum_replace)(struct __sk_buff *skb, u32 off, u64 from, u64 to, u64 flags) = (void *)11;
static long (*const tail_call)(void *ctx, void *progs, u32 index) = (void *)12;
static long (*const skb_load_bytes)(const struct __sk_buff *skb, u32 off, void *to, u32 len) = (void *)26;
static s64 (*const csum_diff)(const be32 *from, u32 from_size, const be32 *to, u32 to_size, u32 seed) = (void *)28;
static long (*const skb_pull_data)(struct __sk_buff *skb, u32 len) = (void *)39;
static void *(*const ringbuf_reserve)(void *ringbuf, u64 size, u64 flags) = (void *)131;
static void (*const ringbuf_submit)(void *data, u64 flags) = (void *)132;
