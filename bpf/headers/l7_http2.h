/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* HTTP/2: frames (RFC 9113) and the headers in them (HPACK, RFC 7541). */
#pragma once

#include "l7.h"

enum { FRAME_HEADER = 9 }; /* bytes */
enum { FRAME_HEADERS = 1 }; /* type */
enum { FLAG_PADDED = 8, FLAG_PRIORITY = 32 };

/* Entries of HPACK's static table. */
enum { STATIC_AUTHORITY = 1, STATIC_GET = 2, STATIC_POST = 3, STATIC_ROOT = 4, STATIC_INDEX = 5, STATIC_200 = 8, STATIC_500 = 14, STATIC_LENGTH = 28 };

/* An integer with a prefix of some bits (5.1); -1 if it is cut or too large. */
SUBPROG s64 hpack_int(struct __sk_buff *skb, struct cursor *c, u32 mask)
{
	int byte = byte_at(skb, c->off);
	u32 value, shift = 0;

	if (byte < 0 || c->off >= c->end)
		return -1;
	c->off++;
	value = byte & mask;
	if (value < mask)
		return value;
	LOOP
	for (u32 i = 0; i < VARINT_BYTES; i++) {
		byte = byte_at(skb, c->off);
		if (byte < 0 || c->off >= c->end)
			return -1;
		c->off++;
		value += (u32)(byte & 127) << shift;
		if (!(byte & 128))
			return value;
		shift += 7;
	}
	return -1;
}

/* A string's length; c is left at its first byte. All of it is in the frame. */
INLINE s64 hpack_string(struct __sk_buff *skb, struct stream *s, struct cursor *c)
{
	int byte = byte_at(skb, c->off);
	s64 len;

	if (byte < 0)
		return -1;
	if (byte & 128)
		s->flags |= STREAM_HUFFMAN;
	len = hpack_int(skb, c, 127);
	if (len < 0 || c->off > c->end || len > c->end - c->off)
		return -1;
	return byte & 128 ? len | 1LL << 32 : len;
}

INLINE u32 hpack_indexed_name(u32 index)
{
	switch (index) {
	case STATIC_AUTHORITY:
		return HEADER_HOST;
	case STATIC_GET:
	case STATIC_POST:
		return HEADER_METHOD;
	case STATIC_ROOT:
	case STATIC_INDEX:
		return HEADER_PATH;
	case STATIC_LENGTH:
		return HEADER_LENGTH;
	}
	return index >= STATIC_200 && index <= STATIC_500 ? HEADER_STATUS : HEADER_OTHER;
}

/* Which header a name written out is: by its length and its first bytes. */
SUBPROG int hpack_literal_name(struct __sk_buff *skb, u32 off, u32 len)
{
	u32 hash = START;

	if (len > NAME_BYTES)
		return HEADER_OTHER;
	LOOP
	for (u32 i = 0; i < NAME_BYTES && i < len; i++) {
		int byte = byte_at(skb, off + i);

		if (byte < 0)
			return HEADER_OTHER;
		hash = mix(hash, byte);
	}
	if (hash == WORD(":path"))
		return HEADER_PATH;
	if (hash == WORD(":method"))
		return HEADER_METHOD;
	if (hash == WORD(":status"))
		return HEADER_STATUS;
	if (hash == WORD(":authority"))
		return HEADER_HOST;
	return hash == WORD("content-length") ? HEADER_LENGTH : HEADER_OTHER;
}

INLINE void hpack_indexed(struct stream *s, u32 index)
{
	switch (index) {
	case STATIC_GET:
		s->method = METHOD_GET;
		break;
	case STATIC_POST:
		s->method = METHOD_POST;
		break;
	case STATIC_ROOT:
	case STATIC_INDEX:
		s->path_len = index == STATIC_ROOT ? 1 : 11; /* "/index.html" */
		s->path[0] = '/';
		break;
	case STATIC_200:
		s->status = 200;
		break;
	case STATIC_200 + 1:
		s->status = 204;
		break;
	case STATIC_200 + 2:
		s->status = 206;
		break;
	case STATIC_200 + 3:
		s->status = 304;
		break;
	case STATIC_200 + 4:
		s->status = 400;
		break;
	case STATIC_200 + 5:
		s->status = 404;
		break;
	case STATIC_500:
		s->status = 500;
		break;
	}
	s->headers++;
}

INLINE u32 method_by_letters(const u8 *at)
{
	switch (at[0] << 16 | at[1] << 8 | at[2]) {
	case 'G' << 16 | 'E' << 8 | 'T':
		return METHOD_GET;
	case 'P' << 16 | 'O' << 8 | 'S':
		return METHOD_POST;
	case 'P' << 16 | 'U' << 8 | 'T':
		return METHOD_PUT;
	case 'H' << 16 | 'E' << 8 | 'A':
		return METHOD_HEAD;
	case 'D' << 16 | 'E' << 8 | 'L':
		return METHOD_DELETE;
	}
	return METHOD_OTHER;
}

/* A number in decimal, as much of it as fits into DIGITS. */
SUBPROG u32 decimal(struct __sk_buff *skb, u32 off, u32 len)
{
	u32 number = 0;

	LOOP
	for (u32 i = 0; i < DIGITS && i < len; i++) {
		u32 digit = byte_at(skb, off + i) - '0';

		if (digit > 9)
			break;
		number = number * 10 + digit;
	}
	return number;
}

/* A length of 1 to most, a power of two, in a form that any verifier takes for that. */
INLINE u32 at_most(u32 len, u32 most)
{
	u32 less = (len < most ? len : most) - 1;

	opaque(less); /* or the mask is taken for superfluous */
	return (less & (most - 1)) + 1;
}

/* Keeps a plain value of a header that is wanted. */
SUBPROG int hpack_value(struct __sk_buff *skb, struct stream *s, u32 header, u32 off, u32 len)
{
	const u8 *at;

	if (!len)
		return 0;
	switch (header) {
	case HEADER_PATH:
		s->path_len = len;
		return skb_load_bytes(skb, off, s->path, at_most(len, PATH_BYTES));
	case HEADER_HOST:
		s->host_len = len;
		return skb_load_bytes(skb, off, s->host, at_most(len, HOST_BYTES));
	case HEADER_METHOD:
		at = bytes_at(skb, off, 3);
		s->method = at ? method_by_letters(at) : METHOD_OTHER;
		break;
	case HEADER_STATUS:
		s->status = decimal(skb, off, len);
		break;
	case HEADER_LENGTH:
		s->length = decimal(skb, off, len);
		break;
	}
	return 0;
}

/* One field of a header block (6.1 to 6.3); -1 where the block cannot be read on. */
SUBPROG int hpack_field(struct __sk_buff *skb, struct stream *s, struct cursor *c)
{
	int byte = byte_at(skb, c->off);
	u32 header, mask;
	s64 n;

	if (byte < 0)
		return -1;
	if (byte & 0x80)
		mask = 127; /* indexed */
	else if (byte & 0x40)
		mask = 63; /* literal, to be remembered */
	else if (byte & 0x20)
		mask = 31; /* a new size of the table */
	else
		mask = 15; /* literal, not to be remembered */
	n = hpack_int(skb, c, mask);
	if (n < 0)
		return -1;
	if (mask == 127) {
		hpack_indexed(s, n);
		return 0;
	}
	if (mask == 31)
		return 0;
	header = hpack_indexed_name(n);
	if (!n) {
		n = hpack_string(skb, s, c);
		if (n < 0)
			return -1;
		header = n >> 32 ? HEADER_OTHER : hpack_literal_name(skb, c->off, n);
		c->off += (u32)n;
	}
	n = hpack_string(skb, s, c);
	if (n < 0)
		return -1;
	s->headers++;
	if (!(n >> 32) && hpack_value(skb, s, header, c->off, n))
		return -1;
	c->off += (u32)n;
	return 0;
}

/* The header block of a HEADERS frame, without padding and priority. */
SUBPROG int h2_headers(struct __sk_buff *skb, struct stream *s, u32 off, u32 end, u32 flags)
{
	struct cursor *c = &s->block;

	c->off = off;
	c->end = end;
	if (flags & FLAG_PADDED) {
		int padding = byte_at(skb, c->off);

		if (padding < 0 || (u32)padding >= end - off)
			return -1;
		c->off++;
		c->end -= padding;
	}
	if (flags & FLAG_PRIORITY)
		c->off += 5;
	LOOP
	for (u32 i = 0; i < HPACK_FIELDS; i++) {
		if (c->off >= c->end) {
			s->flags |= STREAM_COMPLETE;
			return 0;
		}
		if (hpack_field(skb, s, c)) {
			s->flags |= STREAM_BAD;
			return -1;
		}
	}
	s->flags |= c->off < c->end ? STREAM_CUT : STREAM_COMPLETE;
	return 0;
}

/* The rest of a frame that began in this or an earlier packet. */
INLINE int h2_skip(struct stream *s, struct cursor *c)
{
	u32 left = c->off < c->end ? c->end - c->off : 0;
	u32 take = s->skip < left ? s->skip : left;

	s->skip -= take;
	c->off += take;
	return s->skip || c->off >= c->end;
}

SUBPROG int http2(struct __sk_buff *skb, struct stream *s, struct cursor *c)
{
	LOOP
	for (u32 i = 0; i < HTTP2_FRAMES; i++) {
		const u8 *h;
		u32 len, type, flags, stop;

		if (h2_skip(s, c))
			return 0;
		h = bytes_at(skb, c->off, FRAME_HEADER);
		if (!h)
			break;
		len = (u32)h[0] << 16 | (u32)h[1] << 8 | h[2];
		type = h[3];
		flags = h[4];
		s->frames++;
		c->off += FRAME_HEADER;
		s->skip = len;
		if (type != FRAME_HEADERS)
			continue;
		s->stream_id = ((u32)h[5] << 24 | (u32)h[6] << 16 | (u32)h[7] << 8 | h[8]) & 0x7fffffff;
		stop = c->off + len;
		if (stop > c->end) { /* the rest of the block is not followed */
			s->flags |= STREAM_CUT;
			stop = c->end;
		}
		if (h2_headers(skb, s, c->off, stop, flags))
			s->flags |= STREAM_BAD;
	}
	if (!h2_skip(s, c))
		s->flags |= STREAM_CUT;
	return 0;
}
