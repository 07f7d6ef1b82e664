//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A parser of HTTP/1 and HTTP/2 over the bytes of TCP segments, as observability
 * agents have them. What is known of a connection is kept in a map, so that a
 * message may be spread over packets. Segments are taken in the order they come.
 */
#include "headers/l7.h"
#include "headers/l7_http1.h"
#include "headers/l7_http2.h"

char announced[] SEC("license") = "Dual BSD/GPL";

/* Fills in key and cursor from the headers below HTTP; 0 if there is TCP with data. */
SUBPROG int find_payload(struct __sk_buff *skb, struct stream_key *key, struct cursor *c)
{
	const struct eth_header *eth = (const void *)bytes_at(skb, 0, sizeof(*eth));
	const struct tcp_header *tcp;
	u32 off = sizeof(*eth);

	if (!eth)
		return -1;
	if (ntoh16(eth->type) == ETH_IP4) {
		const struct ip4_header *ip = (const void *)bytes_at(skb, off, sizeof(*ip));

		if (!ip || ip->proto != P_TCP || ip->frag & hton16(IP4_OFFSET | IP4_MORE) || (ip->ver_ihl & 15) < 5)
			return -1;
		key->src[0] = ip->src;
		key->dst[0] = ip->dst;
		c->end = off + ntoh16(ip->tot_len);
		off += (ip->ver_ihl & 15) * 4;
	} else if (ntoh16(eth->type) == ETH_IP6) {
		const struct ip6_header *ip = (const void *)bytes_at(skb, off, sizeof(*ip));

		if (!ip || ip->next != P_TCP)
			return -1;
		for (int i = 0; i < 4; i++) {
			key->src[i] = ip->src[i];
			key->dst[i] = ip->dst[i];
		}
		off += sizeof(*ip);
		c->end = off + ntoh16(ip->payload_len);
	} else {
		return -1;
	}
	tcp = (const void *)bytes_at(skb, off, sizeof(*tcp));
	if (!tcp || tcp->offset >> 4 < 5)
		return -1;
	key->sport = tcp->sport;
	key->dport = tcp->dport;
	c->off = off + (tcp->offset >> 4) * 4;
	if (c->end > skb->len) /* a header that says more than there is */
		c->end = skb->len;
	return c->off < c->end ? 0 : -1;
}

/* Which protocol the first bytes of a connection are; HTTP/2 begins with a preface. */
INLINE u32 guess(struct __sk_buff *skb, struct cursor *c)
{
	const u8 *at = bytes_at(skb, c->off, 24);

	if (at && at[0] == 'P' && at[1] == 'R' && at[2] == 'I' && at[3] == ' ' && at[4] == '*' && at[14] == '\r' && at[18] == 'S' && at[19] == 'M') {
		c->off += 24;
		return PROTO_HTTP2;
	}
	at = bytes_at(skb, c->off, 4);
	if (!at)
		return PROTO_HTTP1; /* too little to say, text may still come */
	if (at[3] <= 7 && !at[0]) /* an answer begins with a SETTINGS frame */
		return PROTO_HTTP2;
	return at[0] - 'A' < 26u && at[1] - 'A' < 26u ? PROTO_HTTP1 : PROTO_OTHER;
}

/* The state of a connection, made on its first packet. */
INLINE struct stream *stream_of(const struct stream_key *key)
{
	struct stream *s = map_lookup(&streams, key), *none;
	u32 zero = 0;

	if (s)
		return s;
	none = map_lookup(&blank, &zero);
	if (!none || map_update(&streams, key, none, NOEXIST))
		return NULL;
	return map_lookup(&streams, key);
}

SEC("tc") int l7_parse(struct __sk_buff *skb)
{
	u32 want = skb->len < MAX_OFFSET ? skb->len : MAX_OFFSET;
	struct stream_key key = {};
	struct cursor c = {};
	struct stream *s;

	if (skb_pull_data(skb, want) || find_payload(skb, &key, &c))
		return ACT_OK;
	s = stream_of(&key);
	if (!s)
		return ACT_OK;
	s->bytes += c.end - c.off;
	if (s->proto == PROTO_UNKNOWN) {
		s->proto = guess(skb, &c);
		s->hash = START;
	}
	s->at = c;
	if (s->proto == PROTO_HTTP1) {
		skip_body(s, &s->at);
		http1(skb, s, &s->at);
	} else if (s->proto == PROTO_HTTP2) {
		http2(skb, s, &s->at);
	}
	return ACT_OK;
}
