/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What is known of one direction of a connection, and how its bytes are reached. */
#pragma once

#include "map.h"
#include "net.h"

#ifndef L7_SIZE
#error "compile with -DL7_SIZE=1, 2 or 3"
#endif

#if L7_SIZE == 1
#define HTTP1_BYTES 4    /* bytes of text walked in one packet */
#define HTTP2_FRAMES 1   /* frames walked in one packet */
#define HPACK_FIELDS 1   /* header fields walked in one frame */
#define NAME_BYTES 5     /* bytes of a literal name that are looked at */
#define DIGITS 3         /* of a number written as a header's value */
#define VARINT_BYTES 1   /* continuation bytes of an HPACK integer */
#elif L7_SIZE == 2
#define HTTP1_BYTES 5
#define HTTP2_FRAMES 1
#define HPACK_FIELDS 2
#define NAME_BYTES 7
#define DIGITS 4
#define VARINT_BYTES 1
#else
#define HTTP1_BYTES 10
#define HTTP2_FRAMES 2
#define HPACK_FIELDS 2
#define NAME_BYTES 10
#define DIGITS 5
#define VARINT_BYTES 1
#endif

#define MAX_OFFSET 2048  /* nothing beyond is looked at */
#define PATH_BYTES 64    /* kept of a path; a power of two */
#define HOST_BYTES 32    /* kept of a host name; a power of two */

enum proto { PROTO_UNKNOWN, PROTO_HTTP1, PROTO_HTTP2, PROTO_OTHER };
enum method { METHOD_NONE, METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_HEAD, METHOD_DELETE, METHOD_OTHER };
enum stream_flag { STREAM_CUT = 1, STREAM_BAD = 2, STREAM_CHUNKED = 4, STREAM_HUFFMAN = 8, STREAM_COMPLETE = 16 };

/* Where in the text of HTTP/1 the next byte belongs. */
enum h1_state { H1_METHOD, H1_PATH, H1_VERSION, H1_STATUS, H1_REASON, H1_LINE, H1_NAME, H1_VALUE, H1_END, H1_BODY };
enum header { HEADER_OTHER, HEADER_HOST, HEADER_LENGTH, HEADER_ENCODING, HEADER_PATH, HEADER_METHOD, HEADER_STATUS };

struct stream_key {
	be32 src[4];
	be32 dst[4];
	be16 sport;
	be16 dport;
};

/* The part of a frame that is still to be read. */
struct cursor {
	u32 off;
	u32 end;
};

struct stream {
	u64 bytes;
	struct cursor at;    /* in this packet */
	struct cursor block; /* of headers, in a frame */
	u32 skip;      /* bytes of a body or a frame that are still to come */
	u32 length;    /* of the body, as the header says */
	u32 hash;      /* of the word being read */
	u32 verb;      /* hash of the first word of a message */
	u32 name;      /* hash of the name of a header */
	u32 stream_id; /* of the last HEADERS frame */
	u32 path_len;  /* whole, however much of it is kept */
	u32 host_len;
	u16 status;
	u16 headers;
	u16 frames;
	u8 proto;
	u8 method;
	u32 state;
	u32 flags;
	u8 path[PATH_BYTES];
	u8 host[HOST_BYTES];
};

MAP(streams, LRU_HASH, struct stream_key, struct stream, 64, 0);
MAP(blank, ARRAY, u32, struct stream, 1, 0);

/*
 * Returns len bytes of the frame at off, or NULL if they are not all there. The
 * bound on off is what lets the verifier add it to a packet pointer.
 */
INLINE const u8 *bytes_at(struct __sk_buff *skb, u32 off, u32 len)
{
	const u8 *end = (const u8 *)(long)skb->data_end;
	const u8 *at = (const u8 *)(long)skb->data;

	opaque(off); /* what is added must be what is compared: a sum of 32 bits is linked since 7.0 only */
	if (off > MAX_OFFSET)
		return NULL;
	at += off;
	opaque(at);
	if (at + len > end)
		return NULL;
	return at;
}

INLINE int byte_at(struct __sk_buff *skb, u32 off)
{
	const u8 *at = bytes_at(skb, off, 1);

	return at ? *at : -1;
}

/* One step of the hash that words are told apart by (djb2, exclusive or). */
INLINE u32 mix(u32 hash, u32 c)
{
	return (hash * 33) ^ c;
}

/* The same over a literal, folded by the compiler. */
#define START 5381u
INLINE u32 word(const char *s, u32 len)
{
	u32 h = START;

#pragma unroll
	for (u32 i = 0; i < 18; i++) {
		if (i < len)
			h = mix(h, s[i]);
	}
	return h;
}
#define WORD(s) word(s, sizeof(s) - 1)

INLINE u32 lower(u32 c)
{
	return c - 'A' < 26 ? c | 0x20 : c;
}

INLINE u32 method_of(u32 hash)
{
	if (hash == WORD("GET"))
		return METHOD_GET;
	if (hash == WORD("POST"))
		return METHOD_POST;
	if (hash == WORD("PUT"))
		return METHOD_PUT;
	if (hash == WORD("HEAD"))
		return METHOD_HEAD;
	if (hash == WORD("DELETE"))
		return METHOD_DELETE;
	return METHOD_OTHER;
}

INLINE void keep_path(struct stream *s, u32 c)
{
	u32 at = s->path_len;

	if (at < PATH_BYTES)
		s->path[at] = c;
	s->path_len = at + 1;
}

INLINE void keep_host(struct stream *s, u32 c)
{
	u32 at = s->host_len;

	if (at < HOST_BYTES)
		s->host[at] = c;
	s->host_len = at + 1;
}
