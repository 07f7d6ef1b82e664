/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Protocol headers and numbers, as the RFCs give them. */
#pragma once

enum ethertype {
	ETH_IP4 = 0x0800,
	ETH_ARP = 0x0806,
	ETH_VLAN = 0x8100,
	ETH_IP6 = 0x86dd,
	ETH_QINQ = 0x88a8,
};

enum ipproto {
	P_HOPOPTS = 0,
	P_ICMP = 1,
	P_TCP = 6,
	P_UDP = 17,
	P_ROUTING = 43,
	P_FRAGMENT = 44,
	P_AH = 51,
	P_ICMP6 = 58,
	P_NONE = 59,
	P_DSTOPTS = 60,
	P_MOBILITY = 135,
};

struct eth_header {
	u8 dst[6];
	u8 src[6];
	be16 type;
} __attribute__((packed));

struct vlan_tag {
	be16 tci;
	be16 type;
};

struct ip4_header {
	u8 ver_ihl;
	u8 tos;
	be16 tot_len;
	be16 id;
	be16 frag;
	u8 ttl;
	u8 proto;
	u16 check;
	be32 src;
	be32 dst;
};

struct ip6_header {
	be32 ver_flow;
	be16 payload_len;
	u8 next;
	u8 hops;
	be32 src[4];
	be32 dst[4];
};

struct ip6_ext {
	u8 next;
	u8 len;
	u8 type;     /* routing header; first option otherwise */
	u8 segments; /* routing header */
	be32 id;     /* fragment header; bytes 2-3 are offset and flags */
};

struct tcp_header {
	be16 sport;
	be16 dport;
	be32 seq;
	be32 ack;
	u8 offset;
	u8 flags;
	be16 window;
	u16 check;
	be16 urgent;
};

struct udp_header {
	be16 sport;
	be16 dport;
	be16 len;
	u16 check;
};

struct icmp_header {
	u8 type;
	u8 code;
	u16 check;
	be16 id;
	be16 seq;
};

enum { IP4_MORE = 0x2000, IP4_OFFSET = 0x1fff };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };
enum { OPT_END = 0, OPT_NOP = 1, OPT_RECORD_ROUTE = 7, OPT_TIMESTAMP = 68, OPT_LSRR = 131, OPT_SSRR = 137, OPT_ROUTER_ALERT = 148 };
enum { TCPOPT_MSS = 2, TCPOPT_WSCALE = 3, TCPOPT_SACK_OK = 4, TCPOPT_TIMESTAMP = 8 };
enum { TLV_PAD1 = 0, TLV_PADN = 1, TLV_ROUTER_ALERT = 5, TLV_JUMBO = 0xc2, TLV_HOME_ADDRESS = 0xc9 };
