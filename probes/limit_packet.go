package probes

import (
	"github.com/cilium/ebpf/asm"
)

var _ = register(limitFamily("limit_packet",
	`How far into a packet a check against its end reaches.
A program compares a pointer into the packet with its end and may then read up to there, but only so far. Where the
limit is lower, parsers of large packets are refused.`,
	"MAX_PACKET_OFF (kernel/bpf/verifier.c), 65535",
	"4.7",
	limitCase{name: "within", doc: "a check of 65535 bytes, and a read of the last", ins: func() asm.Instructions { return packetReach(65535) }},
	limitCase{name: "beyond", doc: "a check of 65536 bytes, and a read of the last", ins: func() asm.Instructions { return packetReach(65536) }},
	limitCase{name: "variable_within", doc: "the same reached by an unknown number below 4096", ins: func() asm.Instructions { return packetVariable(65535 - 4095) }},
	limitCase{name: "variable_beyond", doc: "the same with one byte more", ins: func() asm.Instructions { return packetVariable(65535 - 4095 + 1) }},
))

// packetReach checks n bytes of packet and reads the last.
func packetReach(n int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbDataEnd, asm.Word),
		asm.Add.Imm(asm.R2, n),
		asm.JGT.Reg(asm.R2, asm.R3, "end"),
		asm.LoadMem(asm.R0, asm.R2, -1, asm.Byte),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}
}

// packetVariable checks an unknown number below 4096 and n bytes more, and reads the last.
func packetVariable(n int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbDataEnd, asm.Word),
		asm.LoadMem(asm.R4, asm.R1, 0, asm.Word),
		asm.And.Imm(asm.R4, 4095),
		asm.Add.Reg(asm.R2, asm.R4),
		asm.Add.Imm(asm.R2, n),
		asm.JGT.Reg(asm.R2, asm.R3, "end"),
		asm.LoadMem(asm.R0, asm.R2, -1, asm.Byte),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}
}
