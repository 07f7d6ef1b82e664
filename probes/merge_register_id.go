package probes

import "github.com/cilium/ebpf/asm"

var _ = register(mergeFamily("merge_register_id",
	`Paths that differ in names that the verifier gives to numbers.
A number that is copied gets a name, so that what is learnt of one copy holds for the other. A name whose copies are
gone, or that means the same under another name, is no difference. A higher count means that the verifier takes names
for differences, which optimised programs with many copies feel most.`,
	"check_ids() and idmap in kernel/bpf/verifier.c; clear_singular_ids(), 7.0",
	"5.3",
	merge{name: "lost_twin", grows: true, doc: "a number whose copy is gone against a fresh one, used as an offset",
		setup: clearBuffer, left: keepLostTwin(0), right: keepFresh, use: useOwnOffset},
	merge{name: "lost_twin_plus", doc: "the same with the copy plus 4",
		setup: clearBuffer, left: keepLostTwin(4), right: keepFreshPlus, use: useOwnOffset},
	merge{name: "other_name", doc: "a pair of copies under one name or another",
		setup: clearBuffer, left: keepCopy, right: keepCopySwapped, use: useOwnOffset},
	merge{name: "undecided", grows: true, doc: "a copy against an unrelated number, compared where the outcome is open",
		setup: clearBuffer, left: keepCopyWide, right: keepOtherWide, use: useUndecided},
	merge{name: "compared_apart", doc: "the check was done on the number or on its copy",
		setup: clearBuffer, left: keepChecked(asm.R7), right: keepChecked(asm.R8), use: useOwnOffset, branches: 3},
))

// keepLostTwin leaves a number below 8 that has the name of a copy that is gone.
func keepLostTwin(plus int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		ins := asm.Instructions{fresh, asm.And.Imm(asm.R0, 7), asm.Mov.Reg(asm.R7, asm.R0)}
		if plus != 0 {
			ins = append(ins, asm.Add.Imm(asm.R7, plus))
		}
		return append(append(ins, asm.Mov.Imm(asm.R0, 0), asm.Mov.Imm(asm.R8, 0)), pair(i)...)
	}
}

// keepFresh leaves a number below 8 that never had a copy but the one on the stack.
func keepFresh(i int) asm.Instructions {
	return append(asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Mov.Imm(asm.R8, 0)}, pair(i)...)
}

func keepFreshPlus(i int) asm.Instructions {
	return append(asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Add.Imm(asm.R7, 4), asm.Mov.Imm(asm.R8, 0)}, pair(i)...)
}

// keepCopySwapped makes the copy the other way about than keepCopy.
func keepCopySwapped(i int) asm.Instructions {
	ins := asm.Instructions{fresh, asm.Mov.Reg(asm.R8, asm.R0), asm.And.Imm(asm.R8, 7), asm.Mov.Reg(asm.R7, asm.R8)}
	return append(ins, pair(i)...)
}

// keepCopyWide leaves two copies of an unknown number.
func keepCopyWide(i int) asm.Instructions {
	return append(asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.Mov.Reg(asm.R8, asm.R7)}, pair(i)...)
}

// keepOtherWide leaves two unknown numbers.
func keepOtherWide(i int) asm.Instructions {
	return append(asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.Mov.Reg(asm.R8, asm.R6)}, pair(i)...)
}

// keepChecked leaves two copies of a number below 8, of which one was compared.
func keepChecked(r asm.Register) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := "checked" + string(rune('a'+i)) + r.String()
		ins := asm.Instructions{
			fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 15), asm.Mov.Reg(asm.R8, asm.R7),
			asm.JLT.Imm(r, 8, label), asm.Mov.Imm(asm.R7, 0), asm.Mov.Imm(asm.R8, 0), asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
		}
		return append(ins, pair(i)...)
	}
}

// useUndecided compares the number where either outcome is possible.
func useUndecided(i int) asm.Instructions {
	label := "open" + string(rune('a'+i))
	return append(fill(i), asm.JGT.Imm(asm.R7, 2, label), asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0).WithSymbol(label))
}
