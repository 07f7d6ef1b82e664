/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The one knob: how much of real traffic the datapath understands. A larger
 * datapath walks longer header chains and offers more services; it does not
 * repeat itself.
 */
#pragma once

#ifndef DATAPATH_SIZE
#error "compile with -DDATAPATH_SIZE=1, 2 or 3"
#endif

#if DATAPATH_SIZE == 1
#define MAX_VLANS 1    /* tags of a frame */
#define MAX_EXTHDRS 1  /* IPv6 extension headers */
#define MAX_TLVS 2     /* options in one hop-by-hop or destination header */
#define MAX_IPOPTS 2   /* options of an IPv4 header */
#define MAX_TCPOPTS 0  /* options of a SYN, walked for the segment size */
#define POLICY_TIERS 1 /* ordered rule sets */
#define LB_PROBES 1    /* backends tried until one is fit */
#define SNAT_TRIES 2   /* source ports tried until one is free */
#define ICMP_ERRORS 0  /* relate and translate the packet quoted in an error */
#define AFFINITY 0     /* clients keep their backend */
#define RATE_LIMIT 0   /* token bucket per identity */
#define PREFIX_NAT6 0  /* stateless IPv6 prefix translation */
#elif DATAPATH_SIZE == 2
#define MAX_VLANS 2
#define MAX_EXTHDRS 3
#define MAX_TLVS 2
#define MAX_IPOPTS 3
#define MAX_TCPOPTS 3
#define POLICY_TIERS 2
#define LB_PROBES 3
#define SNAT_TRIES 4
#define ICMP_ERRORS 1
#define AFFINITY 1
#define RATE_LIMIT 0
#define PREFIX_NAT6 0
#else
#define MAX_VLANS 3
#define MAX_EXTHDRS 4
#define MAX_TLVS 3
#define MAX_IPOPTS 4
#define MAX_TCPOPTS 4
#define POLICY_TIERS 4
#define LB_PROBES 8
#define SNAT_TRIES 8
#define ICMP_ERRORS 1
#define AFFINITY 1
#define RATE_LIMIT 1
#define PREFIX_NAT6 1
#endif

#define MAX_OFFSET 512 /* headers reach no further than this into a frame */
#define PULL_BYTES 512
#define BACKENDS 16    /* slots of one service */
#define LUT_SIZE 64    /* slots of one consistent hash table */
#define EVENT_HEAD 64  /* bytes of the frame kept in an event */
