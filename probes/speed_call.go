package probes

import (
	"encoding/binary"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = clocked(Speed{
	Name: "call",
	Doc: `Calls.
Of a function, of a helper, and from program to program. Programs of agents make dozens for each packet; mitigations
against speculation and hardening of the JIT show here first.`,
	Cases: []SpeedCase{
		{Name: "function", Doc: "call of a function of the program's own", Cost: 4 * time.Millisecond, Each: speedUnroll, Repeat: 4000, Build: functionCalls},
		{Name: "helper", Doc: "call of a helper that reads the clock", Cost: 6 * time.Millisecond, Each: speedUnroll, Repeat: 1000, Build: clockCalls},
		{Name: "tail_call", Doc: "tail call of the program itself, 33 times in a run", Cost: 6 * time.Millisecond, Each: maxTailCalls, Repeat: 500, Build: tailCalls},
	},
})

func functionCalls() (Trial, error) {
	s := new(sheet)
	s.add(operands()...)
	for range speedUnroll {
		s.add(asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("add"))
	}
	s.end = asm.Instructions{asm.Mov.Reg(asm.R0, asm.R1).WithSymbol("add"), asm.Add.Imm(asm.R0, 1), asm.Return()}
	return s.trial([][2]uint64{{1, 2}})
}

func clockCalls() (Trial, error) {
	s := new(sheet)
	for range speedUnroll {
		s.add(asm.FnKtimeGetNs.Call())
	}
	return s.trial([][2]uint64{{0, 0}})
}

// skbControl is the offset of cb[0], a program's own, in struct __sk_buff
// (include/uapi/linux/bpf.h).
const skbControl = 48

// tailCalls goes on in itself 33 times. It counts these itself: were a kernel's own
// count wrong, nobody else would stop it.
func tailCalls() (Trial, error) {
	ins := then(asm.Instructions{asm.LoadMem(asm.R4, asm.R1, skbControl, asm.Word), asm.Mov.Reg(asm.R6, asm.R1),
		asm.JGE.Imm(asm.R4, maxTailCalls, "end"), asm.Add.Imm(asm.R4, 1), asm.StoreMem(asm.R1, skbControl, asm.R4, asm.Word),
		asm.Mov.Imm(asm.R3, 0), asm.LoadMapPtr(asm.R2, 0).WithReference("progs"), asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R4, 0).WithSymbol("end"), asm.StoreMem(asm.R6, skbControl, asm.R4, asm.Word)}, ending())
	in := ethernet(sheetResults)
	return Trial{Program: Program{Maps: programArray(), Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: ins}},
		Inserted: []Inserted{{Array: "progs"}}, Vectors: []Vector{{In: in, Want: in}}}, nil
}

var _ = clocked(Speed{
	Name: "packet",
	Doc: `Packets.
A header rewritten with its checksum by helpers, and headers read in place. What a load balancer does for each packet.`,
	Cases: []SpeedCase{
		{Name: "rewrite", Doc: "an address overwritten and its checksum mended by helpers", Cost: 4 * time.Millisecond, Each: 1, Repeat: 4000, Build: rewriteAddress},
		{Name: "write", Doc: "numbers of the packet read, swapped and written in place", Cost: 4 * time.Millisecond, Each: speedUnroll, Repeat: 4000, Build: writeInPlace},
		{Name: "xdp_read", Doc: "headers of a packet read by an XDP program, which asks for each whether it is there", Cost: 4 * time.Millisecond, Each: xdpReads, Repeat: 1, Build: xdpRead},
	},
})

func writeInPlace() (Trial, error) {
	s := new(sheet)
	s.add(packet(asm.R1))
	for range speedUnroll {
		s.add(asm.LoadMem(asm.R2, asm.R1, sheetA, asm.DWord), asm.LoadMem(asm.R3, asm.R1, sheetB, asm.DWord),
			asm.StoreMem(asm.R1, sheetA, asm.R3, asm.DWord), asm.StoreMem(asm.R1, sheetB, asm.R2, asm.DWord))
	}
	return s.trial([][2]uint64{{1, 2}})
}

// xdpReads is how many headers the program reads. It is not repeated: a repeated run of
// an XDP program has the kernel patch its dispatcher and wait for all CPUs, twice
// (bpf_prog_change_xdp(), 5.6).
const xdpReads = 2000

func xdpRead() (Trial, error) {
	ins := asm.Instructions{asm.Mov.Imm(asm.R0, returnPass), asm.Mov.Imm(asm.R7, 0),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), asm.LoadMem(asm.R3, asm.R1, 4, asm.Word)}
	for range xdpReads {
		ins = append(ins, asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, 34), asm.JGT.Reg(asm.R4, asm.R3, short),
			asm.LoadMem(asm.R5, asm.R2, ipSource, asm.Word), asm.Add.Reg(asm.R7, asm.R5))
	}
	ins = append(ins, asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return())
	in := make([]byte, 64)
	binary.BigEndian.PutUint16(in[12:], 0x88b5)
	return rawTrial(ebpf.XDP, "headers read", ins, in, in, returnPass)
}
