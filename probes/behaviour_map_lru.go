package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "map_lru",
	Doc: `Hash maps that forget.
While half of such a map is free, nothing is forgotten; when it is full, an update still succeeds and the newest entry
is there. Connection tables that forget too early cut connections.`,
	Rests: "Documentation/bpf/map_hash.rst, BPF_MAP_TYPE_LRU_HASH; free entries are handed to CPUs by up to 128 (LOCAL_FREE_TARGET in kernel/bpf/bpf_lru_list.c)",
	Cases: []BehaviourCase{
		{Name: "half_full", Doc: "96 entries of 256, all of them found again", Cost: 2 * time.Millisecond, Build: lruHalfFull},
		{Name: "overfull", Doc: "480 entries into 256 places, each found at once", Cost: 3 * time.Millisecond, Build: lruOverfull},
	},
})

// lruEntries is twice the most that a kernel hands to one CPU, so that it never forgets
// an entry while half of them are free.
const lruEntries = 256

// lruRound is how many entries one run makes: the verifier walks every one.
const lruRound = 48

func lruSheet() *sheet {
	s := &sheet{maps: oneMap(ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: lruEntries})}
	s.wipeKey()
	s.add(operands()...)
	s.add(asm.Mov.Imm(asm.R9, 0), asm.Mov.Imm(asm.R8, 0))
	return s
}

// lruLoop does something lruRound times, with the key in R6, and counts in R8 how often R0
// was other than 0 after it.
func (s *sheet) lruLoop(label string, body asm.Instructions) {
	s.add(asm.StoreMem(asm.R10, stackKey, asm.R6, asm.DWord).WithSymbol(label), asm.StoreMem(asm.R10, stackValue, asm.R6, asm.DWord))
	s.add(body...)
	s.add(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JEq), Dst: asm.R0, Offset: 1}, asm.Add.Imm(asm.R8, 1),
		asm.Add.Imm(asm.R6, 1), asm.Add.Imm(asm.R9, 1), asm.JLT.Imm(asm.R9, lruRound, label))
}

func lruUpdate() asm.Instructions {
	return append(arguments("map", stackKey, stackValue), asm.Mov.Imm(asm.R4, updateAny), asm.FnMapUpdateElem.Call(), asm.Mov.Reg32(asm.R0, asm.R0))
}

// lruLookup leaves 0 in R0 where the entry is there and bears its key.
func lruLookup() asm.Instructions {
	return then(arguments("map", stackKey), asm.Instructions{asm.FnMapLookupElem.Call()}, valueOr(missing), asm.Instructions{asm.Sub.Reg(asm.R0, asm.R6)})
}

// lruHalfFull writes in its first two runs and looks everything up in its last two.
func lruHalfFull() (Trial, error) {
	s := lruSheet()
	s.add(asm.JNE.Imm(asm.R7, 0, "look"))
	s.lruLoop("write", lruUpdate())
	s.add(asm.Ja.Label("done"), asm.Mov.Imm(asm.R9, 0).WithSymbol("look"))
	s.lruLoop("read", lruLookup())
	s.add(asm.Mov.Reg(asm.R0, asm.R8).WithSymbol("done"))
	s.result("entries lost", asm.R0, asm.R1, always(0))
	return s.trial([][2]uint64{{1 << 20, 0}, {1<<20 + lruRound, 0}, {1 << 20, 1}, {1<<20 + lruRound, 1}})
}

func lruOverfull() (Trial, error) {
	s := lruSheet()
	s.lruLoop("round", then(lruUpdate(), asm.Instructions{{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JNE), Dst: asm.R0, Offset: 9}}, lruLookup()))
	s.add(asm.Mov.Reg(asm.R0, asm.R8))
	s.result("updates that did not stay", asm.R0, asm.R1, always(0))
	var pairs [][2]uint64
	for i := range uint64(10) {
		pairs = append(pairs, [2]uint64{1<<40 + i*lruRound, 0})
	}
	return s.trial(pairs)
}
