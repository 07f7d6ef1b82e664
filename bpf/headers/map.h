/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* How a map is declared, for the programs that stand on their own. */
#pragma once

#include "abi.h"

#define MAP(name, kind, key_type, value_type, entries, flag_bits)                                  \
	struct {                                                                                   \
		NUMBER(type, kind);                                                                \
		TYPE(key, key_type);                                                               \
		TYPE(value, value_type);                                                           \
		NUMBER(max_entries, entries);                                                      \
		NUMBER(map_flags, flag_bits);                                                      \
	} name SEC(".maps")
