package probes

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "helpers",
	Doc: `Helpers on packets.
Bytes read from and written to a packet, checksums computed and mended, a clock that does not go back, packets made
longer and shorter at both ends. Load balancers and address translation are built of these.`,
	Rests: "include/uapi/linux/bpf.h, the helpers' descriptions; RFC 1071 for checksums",
	Cases: []BehaviourCase{
		{Name: "csum_diff", Doc: "a checksum over 40 bytes that the packet gives, from a seed", Cost: time.Millisecond, Build: checksumDiff},
		{Name: "load_bytes", Doc: "bytes of a packet are copied to the stack", Cost: time.Millisecond, Build: loadBytes},
		{Name: "rewrite", Doc: "an address is overwritten and the header's checksum mended", Cost: time.Millisecond, Build: rewriteAddress},
		{Name: "clock", Doc: "the monotonic clock, read twice", Cost: time.Millisecond, Build: clockGoesOn},
		{Name: "change_tail", Doc: "a packet is cut off and made longer", Cost: time.Millisecond, Build: changeTail},
		{Name: "xdp_head", Doc: "an XDP program takes bytes off a packet's head and puts some before it", Cost: time.Millisecond, Build: adjustHead},
		{Name: "xdp_tail", Doc: "an XDP program takes bytes off a packet's tail", Cost: time.Millisecond, Build: adjustTail},
	},
})

// bytesOf fills n bytes with a pattern in which neighbours differ.
func bytesOf(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*37) ^ seed
	}
	return b
}

// fold adds up 16-bit words as RFC 1071 has it, in this machine's order.
func fold(sum uint64, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint64(binary.NativeEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// checksumDiff sums up the operands and what is between. Kernels from 6.13 on fold the sum
// themselves (6a4794d5a3e2), so the program does for all.
func checksumDiff() (Trial, error) {
	const seed = 0x1234
	s := new(sheet)
	s.add(operands()...)
	for i := range int16(5) {
		s.add(asm.StoreMem(asm.R10, -64+8*i, asm.R6, asm.DWord), asm.Add.Reg(asm.R6, asm.R7))
	}
	s.add(asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -64), asm.Mov.Imm(asm.R4, 40),
		asm.Mov.Imm(asm.R5, seed), asm.FnCsumDiff.Call(), asm.Mov.Reg32(asm.R0, asm.R0))
	for range 2 {
		s.add(asm.Mov.Reg(asm.R1, asm.R0), asm.RSh.Imm(asm.R1, 16), asm.And.Imm(asm.R0, 0xffff), asm.Add.Reg(asm.R0, asm.R1))
	}
	s.result("checksum", asm.R0, asm.R1, func(a, b uint64) uint64 {
		var bytes []byte
		for range 5 {
			bytes, a = append(bytes, numberBytes(a)...), a+b
		}
		return uint64(fold(seed, bytes))
	})
	return s.trial(numberPairs(0))
}

func loadBytes() (Trial, error) {
	s := new(sheet)
	for _, at := range []int32{sheetA, sheetA + 3, sheetB, sheetB - 1} {
		s.add(asm.LoadMem(asm.R1, asm.R10, stackContext, asm.DWord), asm.Mov.Imm(asm.R2, at), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -64),
			asm.Mov.Imm(asm.R4, 8), asm.FnSkbLoadBytes.Call(), asm.LoadMem(asm.R0, asm.R10, -64, asm.DWord))
		s.result(fmt.Sprintf("bytes from %d on", at), asm.R0, asm.R1, func(a, b uint64) uint64 {
			both := append(numberBytes(a), numberBytes(b)...)
			return number(both[at-sheetA:][:8])
		})
	}
	s.add(asm.LoadMem(asm.R1, asm.R10, stackContext, asm.DWord), asm.Mov.Imm(asm.R2, 4000), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -64),
		asm.Mov.Imm(asm.R4, 8), asm.FnSkbLoadBytes.Call())
	s.result32("bytes behind the packet", -14) // EFAULT
	s.add(asm.LoadMem(asm.R0, asm.R10, -64, asm.DWord))
	s.result("what is left of them", asm.R0, asm.R1, always(0))
	return s.trial(numberPairs(1)[1:])
}

func clockGoesOn() (Trial, error) {
	s := new(sheet)
	s.add(asm.FnKtimeGetNs.Call(), asm.Mov.Reg(asm.R6, asm.R0), asm.FnKtimeGetNs.Call(), asm.Mov.Imm(asm.R7, 0),
		asm.JLT.Reg(asm.R0, asm.R6, "back"), asm.JEq.Imm(asm.R6, 0, "back"), asm.Mov.Imm(asm.R7, 1), asm.Mov.Reg(asm.R0, asm.R7).WithSymbol("back"))
	s.result("clock goes on", asm.R0, asm.R1, always(1))
	return s.trial([][2]uint64{{0, 0}, {1, 1}})
}

// rawTrial runs a program of a type on one packet.
func rawTrial(typ ebpf.ProgramType, what string, ins asm.Instructions, in, want []byte, returns uint32) (Trial, error) {
	return Trial{
		Program: Program{Spec: &ebpf.ProgramSpec{Type: typ, License: "GPL", Instructions: ins}},
		Vectors: []Vector{{What: what, In: in, Want: want, Return: returns}},
	}, nil
}

// orShort goes to label where the call before it failed.
func orShort(label string) asm.Instruction { return asm.JNE.Imm32(asm.R0, 0, label) }

// Places in an IPv4 header behind an Ethernet header.
const (
	ipHeader   = 14
	ipChecksum = ipHeader + 10
	ipSource   = ipHeader + 12
	ipTarget   = ipHeader + 16
)

// rewriteAddress overwrites the source with the target's address, first in the checksum
// and then in the header.
func rewriteAddress() (Trial, error) {
	in := append(ethernet(14), bytesOf(50, 0x45)...)
	header := func(b []byte) []byte { return b[ipHeader : ipHeader+20] }
	binary.NativeEndian.PutUint16(in[ipChecksum:], 0)
	binary.NativeEndian.PutUint16(in[ipChecksum:], ^fold(0, header(in)))
	want := append([]byte{}, in...)
	copy(want[ipSource:ipSource+4], in[ipTarget:])
	binary.NativeEndian.PutUint16(want[ipChecksum:], 0)
	binary.NativeEndian.PutUint16(want[ipChecksum:], ^fold(0, header(want)))
	load := func(from, to int32) asm.Instructions {
		return asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, from), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, to),
			asm.Mov.Imm(asm.R4, 4), asm.FnSkbLoadBytes.Call(), orShort(short)}
	}
	ins := then(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, load(ipSource, -8), load(ipTarget, -16), asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, ipChecksum), asm.LoadMem(asm.R3, asm.R10, -8, asm.Word),
		asm.LoadMem(asm.R4, asm.R10, -16, asm.Word), asm.Mov.Imm(asm.R5, 4), asm.FnL3CsumReplace.Call(), orShort(short),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, ipSource), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, 4), asm.Mov.Imm(asm.R5, 0), asm.FnSkbStoreBytes.Call(), orShort(short),
		asm.Mov.Imm(asm.R0, 0), asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return()})
	return rawTrial(ebpf.SchedCLS, "an address rewritten", ins, in, want, 0)
}

// changeTail cuts a packet to 60 bytes and makes it 90 long: the new bytes are zeros.
func changeTail() (Trial, error) {
	in := append(ethernet(14), bytesOf(66, 0xa5)...)
	want := append(append([]byte{}, in[:60]...), make([]byte, 30)...)
	ins := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for _, n := range []int32{60, 90} {
		ins = append(ins, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, n), asm.Mov.Imm(asm.R3, 0), asm.FnSkbChangeTail.Call(), orShort(short))
	}
	ins = append(ins, asm.Mov.Imm(asm.R0, 0), asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return())
	return rawTrial(ebpf.SchedCLS, "a packet cut to 60 bytes and made 90 long", ins, in, want, 0)
}

// returnPass is XDP_PASS, what the programs below return where all went well.
const returnPass = 2

// adjustHead takes 20 bytes off the head, then puts 8 before it and fills them.
func adjustHead() (Trial, error) {
	in := append(ethernet(14), bytesOf(66, 0x3c)...)
	want := append([]byte{1, 2, 3, 4, 5, 6, 7, 8}, in[20:]...)
	ins := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for _, n := range []int32{20, -8} {
		ins = append(ins, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, n), asm.FnXdpAdjustHead.Call(), orShort(short))
	}
	ins = append(ins, asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), asm.LoadMem(asm.R3, asm.R6, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, 8), asm.JGT.Reg(asm.R4, asm.R3, short))
	for i := range int32(8) {
		ins = append(ins, asm.Mov.Imm(asm.R1, i+1), asm.StoreMem(asm.R2, int16(i), asm.R1, asm.Byte))
	}
	ins = append(ins, asm.Mov.Imm(asm.R0, returnPass), asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return())
	return rawTrial(ebpf.XDP, "20 bytes taken off and 8 put on", ins, in, want, returnPass)
}

func adjustTail() (Trial, error) {
	in := append(ethernet(14), bytesOf(66, 0xc3)...)
	return rawTrial(ebpf.XDP, "17 bytes taken off", asm.Instructions{
		asm.Mov.Imm(asm.R2, -17), asm.FnXdpAdjustTail.Call(), orShort(short),
		asm.Mov.Imm(asm.R0, returnPass), asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return(),
	}, in, append([]byte{}, in[:len(in)-17]...), returnPass)
}
