package probes

var _ = register(mergeFamily("merge_stack_slot",
	`Paths that leave different things in a stack slot.
Two paths write the same eight bytes of stack in different ways and nobody leans on the value. A verifier that
compares slots by what is needed of them merges the paths; one that compares them by how they were written walks
everything behind them once for each. A higher count means that programs that fill structs on their stack branch by
branch (parsers, flow keys, event records) get dearer.`,
	"stacksafe() in kernel/bpf/verifier.c; slots of misc bytes accept spilled numbers since 5.10.y stable and 6.9",
	"5.3",
	merge{name: "halves_then_number", doc: "two 4-byte stores, then a spilled constant; read as 8 bytes",
		left: storeHalves, right: storeNumber(7), use: read(0, dw)},
	merge{name: "number_then_halves", doc: "a spilled constant, then two 4-byte stores; read as 8 bytes",
		left: storeNumber(7), right: storeHalves, use: read(0, dw)},
	merge{name: "zero_then_number", doc: "a stored zero, then a spilled constant",
		left: storeZero, right: storeNumber(7), use: read(0, dw)},
	merge{name: "number_then_zero", doc: "a spilled constant, then a stored zero",
		left: storeNumber(7), right: storeZero, use: read(0, dw)},
	merge{name: "number_then_unknown", grows: oneSlot, doc: "a spilled constant, then a spilled unknown number",
		left: storeNumber(7), right: storeUnknown, use: read(0, dw)},
	merge{name: "unknown_then_byte", doc: "a spilled unknown number, then the same with one byte overwritten",
		left: storeUnknown, right: overwriteByte, use: read(0, dw)},
	merge{name: "nothing_then_number", doc: "a slot that one path never writes; reading it was refused before 6.6 and 6.1.y",
		left: leaveAlone, right: storeNumber(7), use: read(0, dw)},
	merge{name: "two_numbers", grows: oneSlot, doc: "two different spilled constants of which only one half is read",
		left: storeNumber(7), right: storeNumber(9), use: read(0, w)},
))

var _ = register(mergeFamily("merge_stack_half",
	`Paths that differ in a half of a slot.
The slot is written whole and read by half, or the other way about. A verifier that follows which four bytes are
still needed merges; one that follows whole slots does not. A higher count means that programs that keep two 4-byte
fields side by side in a struct (ports, addresses, lengths) get dearer.`,
	"static stack liveness at 4-byte granularity, 7.1; zero and poison bytes of spilled constants, 7.1 to 7.2.y",
	"5.3",
	merge{name: "zero_high_half", grows: oneSlot, doc: "a spilled zero against a spilled unknown number, only the high half read",
		left: storeNumber(0), right: storeUnknown, use: read(4, w)},
	merge{name: "zero_low_half", doc: "a spilled zero against a spilled unknown number, only the low half read",
		left: storeNumber(0), right: storeUnknown, use: read(0, w)},
	merge{name: "number_high_half", doc: "a spilled zero against a spilled 9, only the high half read",
		left: storeNumber(0), right: storeNumber(9), use: read(4, w)},
	merge{name: "two_zeros_high_half", doc: "two stored 4-byte zeros against a spilled zero, only the high half read",
		left: storeTwoZeros, right: storeNumber(0), use: read(4, w)},
	merge{name: "zero_two_zeros_high_half", doc: "a spilled zero against two stored 4-byte zeros, only the high half read",
		left: storeNumber(0), right: storeTwoZeros, use: read(4, w)},
	merge{name: "half_written", grows: oneSlot, doc: "only the low half is written on one path, and only it is read",
		left: storeLowHalf, right: storeHalves, use: read(0, w)},
	merge{name: "overwritten_by_halves", doc: "what the arms left is overwritten by two 4-byte stores before it is read",
		left: storeNumber(7), right: storePointer, use: overwriteByHalves},
))

var _ = register(mergeFamily("merge_dead_read",
	`Paths that differ in what only an impossible read would read.
A read of the slot exists in the program's text, but no path that left the difference can reach it. A verifier that
follows liveness path by path merges; one that decides it from the text alone does not. A higher count means that
programs with error paths and flag-controlled branches (NAT, policy, encapsulation) get dearer.`,
	"path-insensitive stack liveness, 6.18; static liveness before verification, 7.1 (7ca5f68cda07)",
	"5.3",
	merge{name: "flag_reads_first", doc: "a pointer or a number is read only where a flag is set, and is left only where it is not; the reading path is verified first",
		setup: flagged(true), left: storePointer, right: storeUnknown, use: readIfFlag},
	merge{name: "flag_reads_last", doc: "the same with the reading path verified last",
		setup: flagged(false), left: storePointer, right: storeUnknown, use: readIfFlag},
	merge{name: "impossible_range", grows: oneSlot, doc: "the read stands behind a comparison that can never hold",
		left: storePointer, right: storeUnknown, use: readIfImpossible},
	merge{name: "variable_offset", doc: "a read at an unknown offset covers the slot beside the one that differs",
		setup: clearStack, left: storeNumber(7), right: storeNumber(9), use: readVariable},
))
