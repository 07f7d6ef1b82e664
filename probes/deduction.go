package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A deduction probe asks whether the verifier can prove one thing. It builds a
// value so that a branch on it can never be taken, and puts a block of insns that
// do nothing behind the branch: a verifier that makes the deduction never walks the
// block, one that does not walks it once.
//
// Three questions are not asked, though a kernel that can answer them exists: whether one
// value is left of known bits and a range (6.19.11), whether a masked sign is all that a
// number is, and what half a number is between two signs. Where the verifier cannot tell,
// 6.17 to 6.19.10 find their own bounds contradictory on the way, warn
// (reg_bounds_sanity_check) and are tainted: no probe is worth that on somebody's host.

// deductionPenalty is how many insns the block has. No probe is that long without it.
const deductionPenalty = 80

// deductionCost is about what a load of that size takes on a slow machine.
const deductionCost = 300 * time.Microsecond

// Labels that a deduction probe branches to.
const (
	dead = "dead" // the block that can never be reached
	out  = "out"  // the end, for values that the probe is not about
)

// deduction is the plan of one deduction probe.
type deduction struct {
	name, doc string
	// body starts with unknown 64-bit numbers in R6 and R7 and the context in R9. It
	// goes to dead where the verifier should know that it cannot, to out where the
	// value is not one that the probe is about, and falls through otherwise.
	body asm.Instructions
	// end stands behind the exit: functions.
	end  asm.Instructions
	maps map[string]*ebpf.MapSpec
	// typ is the program's type, a packet classifier where it is not given.
	typ ebpf.ProgramType
}

func (d *deduction) build() (Program, error) {
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R9, asm.R1),
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
	ins = append(ins, d.body...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol(out), asm.Return())
	penalty := tail(deductionPenalty)
	penalty[0] = penalty[0].WithSymbol(dead)
	ins = append(ins, penalty...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0), asm.Return())
	ins = append(ins, d.end...)
	typ := d.typ
	if typ == ebpf.UnspecifiedProgram {
		typ = ebpf.SchedCLS
	}
	return Program{Spec: &ebpf.ProgramSpec{Type: typ, Instructions: ins, License: "GPL"}, Maps: d.maps}, nil
}

// deductionFamily makes a family of deduction probes.
func deductionFamily(name, doc, rests, since string, plans ...deduction) Family {
	f := Family{Name: name, Shape: Deduction, Doc: doc, Rests: rests, Since: since}
	for _, d := range plans {
		f.Cases = append(f.Cases, Case{Name: d.name, Doc: d.doc, Penalty: deductionPenalty, Cost: deductionCost, Build: d.build})
	}
	return f
}

// within goes to out unless lo <= r <= hi, unsigned.
func within(r asm.Register, lo, hi int32) asm.Instructions {
	ins := asm.Instructions{asm.JGT.Imm(r, hi, out)}
	if lo > 0 {
		ins = append(ins, asm.JLT.Imm(r, lo, out))
	}
	return ins
}

// withinSigned goes to out unless lo <= r <= hi, signed.
func withinSigned(r asm.Register, lo, hi int32) asm.Instructions {
	return asm.Instructions{asm.JSGT.Imm(r, hi, out), asm.JSLT.Imm(r, lo, out)}
}

// withinSigned32 goes to out unless lo <= the low half of r <= hi, signed.
func withinSigned32(r asm.Register, lo, hi int32) asm.Instructions {
	return asm.Instructions{asm.JSGT.Imm32(r, hi, out), asm.JSLT.Imm32(r, lo, out)}
}

// then strings pieces of a body together.
func then(pieces ...asm.Instructions) asm.Instructions {
	var ins asm.Instructions
	for _, p := range pieces {
		ins = append(ins, p...)
	}
	return ins
}
