package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(deductionFamily("deduce_call",
	`What is known across a call.
Arguments keep what was known of them on the way into a function of the program's own, its result on the way out, and
the results of some helpers have bounds. A deduction that is lost has programs built of noinline functions refused, or
makes them dearer.`,
	"set_callee_state() and prepare_func_exit(); do_refine_retval_range() in kernel/bpf/verifier.c",
	"5.3",
	deduction{name: "argument", doc: "an argument of at most 100 is at most 100 in the function",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("callee"), asm.JNE.Imm(asm.R0, 0, dead)}),
		end: asm.Instructions{
			asm.Mov.Imm(asm.R0, 0).WithSymbol("callee"), asm.JLE.Imm(asm.R1, 100, "callee_end"), asm.Mov.Imm(asm.R0, 1), asm.Return().WithSymbol("callee_end")}},
	deduction{name: "result", doc: "a function that returns at most 100 returns at most 100",
		body: asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("callee"), asm.JGT.Imm(asm.R0, 100, dead)},
		end:  asm.Instructions{asm.Mov.Reg(asm.R0, asm.R1).WithSymbol("callee"), asm.And.Imm(asm.R0, 63), asm.Return()}},
	deduction{name: "link_over_call", doc: "a copy that was made before a call is still one after",
		body: asm.Instructions{asm.Mov.Reg(asm.R8, asm.R6), asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("callee"), asm.JGT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R8, 10, dead)},
		end:  asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("callee"), asm.Return()}},
	deduction{name: "processor_id", doc: "the number of this CPU is below 2^20",
		body: asm.Instructions{asm.FnGetSmpProcessorId.Call(), asm.JGT.Imm(asm.R0, 1<<20, dead)}},
	deduction{name: "string_length", doc: "bpf_probe_read_kernel_str returns at most the size of the buffer", typ: ebpf.Kprobe,
		body: asm.Instructions{
			storeImm(-8, 0), asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -8), asm.Mov.Imm(asm.R2, 8), asm.Mov.Reg(asm.R3, asm.R6),
			asm.FnProbeReadKernelStr.Call(), asm.JSGT.Imm(asm.R0, 8, dead)}},
	deduction{name: "beside_buffer", doc: "the half of a zeroed slot that bpf_skb_load_bytes does not write is still zero",
		body: asm.Instructions{
			storeImm(-8, 0), asm.Mov.Reg(asm.R1, asm.R9), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -8), asm.Mov.Imm(asm.R4, 4),
			asm.FnSkbLoadBytes.Call(), asm.LoadMem(asm.R1, asm.RFP, -4, asm.Word), asm.JNE.Imm(asm.R1, 0, dead)}},
))
