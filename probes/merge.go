package probes

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A merge probe asks whether the verifier sees that two paths differ in nothing
// that matters. It strings mergeDiamonds two-way branches together, each of which
// leaves something different behind, and then a tail: a verifier that merges the
// paths walks the tail once, one that does not walks it 2^mergeDiamonds times.
const (
	mergeDiamonds = 5
	// mergeTail keeps an exploded probe under 20,000 insns, so that a probe alone
	// never makes a critical finding, and above the 5,000 that make a warning.
	mergeTail = 250
)

// merge is the plan of one merge probe.
type merge struct {
	name string
	doc  string
	// setup runs once, before the branches. R6 holds an unknown 64-bit number and
	// R9 the context afterwards, whatever it does.
	setup asm.Instructions
	// left and right are the arms of branch i: left is verified first. They may use
	// R0 to R5 freely.
	left, right func(i int) asm.Instructions
	// use comes behind the tail and reads what the arms left; without it the
	// difference would be dead and any verifier would merge.
	use func(i int) asm.Instructions
	// last comes once behind all uses.
	last asm.Instructions
	// end stands behind the exit: subprograms.
	end  asm.Instructions
	maps map[string]*ebpf.MapSpec
	// branches is how many there are, where it is not mergeDiamonds: for arms that
	// branch themselves.
	branches int
	// kind is the program's type, a packet classifier where it is not given, and flags
	// those that it is loaded with.
	kind  ebpf.ProgramType
	flags uint32
	// typed programs call functions back, which must all have type information.
	typed bool
	// cost is about how long a load takes where it is not mergeCost.
	cost time.Duration
	// grows is the largest number of branches that the stack has room for, where the
	// breaking point is looked for; 0 where it is not.
	grows int
}

// oneSlot is how many branches the stack has room for where each has a slot of 8 bytes.
const oneSlot = 56

// growth is the row of the same probe with more and more branches.
func (m *merge) growth() *Growth {
	if m.grows == 0 {
		return nil
	}
	return &Growth{Parameter: "branches", From: 2, To: m.grows, Build: func(n int) (Program, error) {
		larger := *m
		larger.branches = n
		return larger.build()
	}}
}

// slot is the stack offset of the 8 bytes that branch i writes.
func slot(i int) int16 { return int16(-8 * (i + 1)) }

// build strings the branches, the tail and the uses together.
func (m *merge) build() (Program, error) {
	var ins asm.Instructions
	ins = append(ins,
		asm.Mov.Reg(asm.R9, asm.R1),
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(asm.R6, asm.R0),
	)
	ins = append(ins, m.setup...)
	n := cmp.Or(m.branches, mergeDiamonds)
	for i := range n {
		ins = append(ins, diamond(fmt.Sprintf("branch%d", i), m.left(i), m.right(i))...)
	}
	ins = append(ins, tail(mergeTail)...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("uses"))
	for i := range n {
		ins = append(ins, m.use(i)...)
	}
	ins = append(ins, m.last...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0), asm.Return())
	if m.typed {
		ins = mainFunction(ins)
	}
	ins = append(ins, m.end...)
	spec := &ebpf.ProgramSpec{Type: cmp.Or(m.kind, ebpf.SchedCLS), Flags: m.flags, Instructions: ins, License: "GPL"}
	return Program{Spec: spec, Maps: m.maps}, nil
}

// behind is how many insns stand behind the branches, and the last branch among
// them: with it the quotient comes out as the number of paths.
func (m *merge) behind() int {
	n := mergeTail + diamondInsns
	for i := range cmp.Or(m.branches, mergeDiamonds) {
		n += len(m.use(i))
	}
	return n
}

// diamondInsns is about how long a branch is.
const diamondInsns = 14

// diamond branches on an unknown bit. Before and behind the arms stand enough
// insns for the verifier to keep a state where they meet: it keeps one where 8
// insns and 2 jumps passed since the last (is_state_visited in verifier.c).
func diamond(label string, left, right asm.Instructions) asm.Instructions {
	ins := asm.Instructions{asm.FnGetPrandomU32.Call(), asm.JSet.Imm(asm.R0, 1, label+"_right")}
	ins = append(ins, left...)
	ins = append(ins, asm.Ja.Label(label+"_join"))
	r := append(asm.Instructions{}, right...)
	r[0] = r[0].WithSymbol(label + "_right")
	ins = append(ins, r...)
	join := tail(8)
	join[0] = join[0].WithSymbol(label + "_join")
	return append(ins, join...)
}

// tail is n insns that do nothing and depend on nothing.
func tail(n int) asm.Instructions {
	ins := make(asm.Instructions, n)
	for i := range ins {
		ins[i] = asm.Mov.Imm(asm.R0, int32(i))
	}
	return ins
}

// family makes a family of merge probes.
func mergeFamily(name, doc, rests, since string, plans ...merge) Family {
	f := Family{Name: name, Shape: Merge, Doc: doc, Rests: rests, Since: since}
	for _, m := range plans {
		f.Cases = append(f.Cases, Case{Name: m.name, Doc: m.doc, Behind: m.behind(), Cost: cmp.Or(m.cost, mergeCost), Build: m.build, Grow: m.growth()})
	}
	return f
}

// The pieces that arms and uses are made of.

// storeNumber spills the constant n to the slot of branch i, 8 bytes.
func storeNumber(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{asm.Mov.Imm(asm.R1, n), asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord)}
	}
}

// storeUnknown spills an unknown number, 8 bytes.
func storeUnknown(i int) asm.Instructions {
	return asm.Instructions{asm.StoreMem(asm.RFP, slot(i), asm.R6, asm.DWord)}
}

// storeHalves writes two unknown 4-byte halves: the slot holds bytes of which the
// verifier keeps no value.
func storeHalves(i int) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, slot(i), asm.R6, asm.Word),
		asm.StoreMem(asm.RFP, slot(i)+4, asm.R6, asm.Word),
	}
}

// storeZero writes zero by a store of an immediate, 8 bytes.
func storeZero(i int) asm.Instructions {
	return asm.Instructions{storeImm(slot(i), 0)}
}

// storeImm is *(u64 *)(fp + off) = n. The library's own StoreImm encodes no
// 8-byte store.
func storeImm(off int16, n int32) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.StClass) | asm.OpCode(asm.MemMode) | asm.OpCode(asm.DWord), Dst: asm.RFP, Offset: off, Constant: int64(n)}
}

// storePointer spills the context pointer.
func storePointer(i int) asm.Instructions {
	return asm.Instructions{asm.StoreMem(asm.RFP, slot(i), asm.R9, asm.DWord)}
}

// leaveAlone leaves the slot alone.
func leaveAlone(int) asm.Instructions { return asm.Instructions{asm.Mov.Imm(asm.R1, 0)} }

// read reads size bytes of the slot at an offset into it.
func read(at int16, size asm.Size) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{asm.LoadMem(asm.R1, asm.RFP, slot(i)+at, size)}
	}
}

func overwriteByte(i int) asm.Instructions {
	return append(storeUnknown(i), asm.StoreMem(asm.RFP, slot(i)+3, asm.R0, asm.Byte))
}

func storeTwoZeros(i int) asm.Instructions {
	return asm.Instructions{asm.StoreImm(asm.RFP, slot(i), 0, asm.Word), asm.StoreImm(asm.RFP, slot(i)+4, 0, asm.Word)}
}

func storeLowHalf(i int) asm.Instructions {
	return asm.Instructions{asm.StoreMem(asm.RFP, slot(i), asm.R6, asm.Word)}
}

func overwriteByHalves(i int) asm.Instructions {
	return append(storeHalves(i), read(0, dw)(i)...)
}

// flagged makes R8 a flag that is 0 where the branches are verified with reads
// impossible: the path with the flag set jumps over the branches to the reads. Where
// readsFirst is set that path is verified before the other.
func flagged(readsFirst bool) asm.Instructions {
	ins := asm.Instructions{asm.Mov.Imm(asm.R8, 0), asm.FnGetPrandomU32.Call()}
	fill := asm.Instructions{}
	for i := range mergeDiamonds {
		fill = append(fill, storeNumber(1)(i)...)
	}
	set := append(append(asm.Instructions{}, fill...), asm.Mov.Imm(asm.R8, 1), asm.Ja.Label("uses"))
	if readsFirst {
		ins = append(ins, asm.JSet.Imm(asm.R0, 1, "no_flag"))
		ins = append(ins, set...)
		return append(ins, asm.Mov.Imm(asm.R8, 0).WithSymbol("no_flag"))
	}
	ins = append(ins, asm.JSet.Imm(asm.R0, 1, "flag"), asm.Ja.Label("no_flag"))
	set[0] = set[0].WithSymbol("flag")
	ins = append(ins, set...)
	return append(ins, asm.Mov.Imm(asm.R8, 0).WithSymbol("no_flag"))
}

// readIfFlag reads the slot where R8 is 1.
func readIfFlag(i int) asm.Instructions {
	label := fmt.Sprintf("skip%d", i)
	return asm.Instructions{
		asm.JNE.Imm(asm.R8, 1, label),
		asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord),
		asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
	}
}

// readIfImpossible reads the slot where an unknown number below 16 is above 31.
func readIfImpossible(i int) asm.Instructions {
	label := fmt.Sprintf("skip%d", i)
	return asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.R6),
		asm.And.Imm(asm.R2, 15),
		asm.JLT.Imm(asm.R2, 32, label),
		asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord),
		asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
	}
}

// clearStack writes zeros below the slots of the branches, for reads at an
// unknown offset.
var clearStack = func() asm.Instructions {
	var ins asm.Instructions
	for i := mergeDiamonds; i < mergeDiamonds+4; i++ {
		ins = append(ins, storeImm(slot(i), 0))
	}
	return ins
}()

// readVariable reads one byte at an unknown place of the 16 bytes below the slots.
func readVariable(int) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.R6),
		asm.And.Imm(asm.R2, 15),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(slot(mergeDiamonds+2))),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.Byte),
	}
}

// Sizes, short where they stand in tables.
const (
	dw = asm.DWord
	w  = asm.Word
)

// mergeCost is about what an exploded merge probe takes on a slow machine.
const mergeCost = 3 * time.Millisecond

// cheap are probes that keep under 11,000 insns on all kernels that are known.
func cheap(plans ...merge) []merge {
	for i := range plans {
		plans[i].cost = time.Millisecond
	}
	return plans
}
