/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* HTTP/1: text, one byte at a time, so that a message may be cut anywhere. */
#pragma once

#include "l7.h"

/* The first word of a line; what it says is found out when the line is over. */
INLINE u32 h1_first_word(struct stream *s, u32 c)
{
	if (c == ' ') {
		s->verb = s->hash;
		s->length = s->path_len = s->host_len = 0;
		s->status = s->headers = 0;
		return s->hash == WORD("HTTP/1.1") ? H1_STATUS : H1_PATH;
	}
	if (c > ' ')
		return H1_METHOD;
	s->flags |= STREAM_BAD;
	return H1_END;
}

INLINE u32 h1_name(struct stream *s, u32 c)
{
	if (c == ':') {
		s->name = s->hash;
		return H1_VALUE;
	}
	if (c > ' ')
		return H1_NAME;
	s->flags |= STREAM_BAD;
	return H1_END;
}

INLINE u32 h1_value(struct stream *s, u32 c)
{
	u32 digit = c - '0';

	if (c == '\n') {
		s->headers++;
		return H1_LINE;
	}
	if (s->name == WORD("host")) {
		if (c > ' ')
			keep_host(s, c);
	} else if (s->name == WORD("content-length") && digit < 10) {
		/* 32 bits: what does not fit is no length that anybody sends */
		if (s->length > 0xffffffff / 10 - 1)
			s->flags |= STREAM_BAD;
		else
			s->length = s->length * 10 + digit;
	} else if (s->name == WORD("transfer-encoding")) {
		s->flags |= STREAM_CHUNKED;
	}
	return H1_VALUE;
}

/* Where the byte behind c belongs. */
INLINE u32 h1_step(struct stream *s, u32 state, u32 c)
{
	switch (state) {
	case H1_METHOD:
		return h1_first_word(s, c);
	case H1_PATH:
		if (c == ' ')
			return H1_VERSION;
		if (c < ' ') {
			s->flags |= STREAM_BAD;
			return H1_END;
		}
		keep_path(s, c);
		return H1_PATH;
	case H1_STATUS:
		if (c - '0' >= 10)
			return H1_REASON;
		s->status = s->status * 10 + (c - '0');
		return H1_STATUS;
	case H1_VERSION:
	case H1_REASON:
		return c == '\n' ? H1_LINE : state;
	case H1_LINE:
		if (c == '\r')
			return H1_LINE;
		return c == '\n' ? H1_BODY : H1_NAME;
	case H1_NAME:
		return h1_name(s, c);
	case H1_VALUE:
		return h1_value(s, c);
	}
	return H1_END;
}

/* The end of the headers: then comes the body, or the next message. */
INLINE u32 h1_headers_end(struct stream *s)
{
	s->flags |= STREAM_COMPLETE;
	s->method = s->status ? METHOD_NONE : method_of(s->verb);
	if (s->flags & STREAM_CHUNKED) { /* chunks are not followed */
		u32 end = H1_END;

		/*
		 * Or the compiler shifts the flag to make the state of it, and 6.17 to 6.19.10
		 * find the bounds of what is not zero and then shifted contradictory, and warn.
		 */
		opaque(end);
		return end;
	}
	s->skip = s->length;
	return H1_METHOD;
}

/* What is left of a body whose length was given. */
INLINE void skip_body(struct stream *s, struct cursor *c)
{
	u32 left = c->end - c->off;
	u32 take = s->skip < left ? s->skip : left;

	s->skip -= take;
	c->off += take;
}

SUBPROG int http1(struct __sk_buff *skb, struct stream *s, struct cursor *c)
{
	LOOP
	for (u32 i = 0; i < HTTP1_BYTES; i++) {
		int byte = byte_at(skb, c->off);
		u32 state = s->state, next;

		if (byte < 0 || state >= H1_END)
			break;
		next = h1_step(s, state, byte);
		/* A word begins anew with every state. */
		if (next != state)
			s->hash = START;
		if (next == H1_NAME || next == H1_METHOD)
			s->hash = mix(s->hash, state == H1_METHOD ? (u32)byte : lower(byte));
		s->state = next;
		c->off++;
	}
	if (s->state == H1_BODY) {
		s->state = h1_headers_end(s);
		skip_body(s, c);
	}
	if (c->off < c->end && s->state < H1_END)
		s->flags |= STREAM_CUT;
	return 0;
}
