package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A limit probe is a pair of programs, one that just keeps within one of the
// kernel's limits and one that just does not. The limit has changed where one of
// them gets the other verdict.

// limitCase is one side.
type limitCase struct {
	name, doc string
	cost      time.Duration
	typ       ebpf.ProgramType // a packet classifier where it is not given
	ins       func() asm.Instructions
	maps      func() map[string]*ebpf.MapSpec
	grow      *Growth
}

// limitGrowth is a row of packet classifiers.
func limitGrowth(parameter string, from, to int, ins func(n int) asm.Instructions, maps func(n int) map[string]*ebpf.MapSpec) *Growth {
	return &Growth{Parameter: parameter, From: from, To: to, Build: func(n int) (Program, error) {
		side := limitCase{ins: func() asm.Instructions { return ins(n) }}
		if maps != nil {
			side.maps = func() map[string]*ebpf.MapSpec { return maps(n) }
		}
		return side.build()
	}}
}

// limitFamily makes a family of limit probes. They come near a limit of the
// kernel's by what they are, so all are risky.
func limitFamily(name, doc, rests, since string, sides ...limitCase) Family {
	f := Family{Name: name, Shape: Limit, Doc: doc, Rests: rests, Since: since}
	for _, s := range sides {
		f.Cases = append(f.Cases, Case{Name: s.name, Doc: s.doc, Cost: max(s.cost, deductionCost), Risky: true, Build: s.build, Grow: s.grow})
	}
	return f
}

func (s *limitCase) build() (Program, error) {
	p := Program{Spec: &ebpf.ProgramSpec{Type: s.typ, Instructions: s.ins(), License: "GPL"}}
	if s.typ == ebpf.UnspecifiedProgram {
		p.Spec.Type = ebpf.SchedCLS
	}
	if s.maps != nil {
		p.Maps = s.maps()
	}
	return p, nil
}

// ending returns 0 from the program or the function.
func ending() asm.Instructions { return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()} }

// useStack writes the lowest 8 of n bytes of stack.
func useStack(n int) asm.Instruction { return storeImm(int16(-n), 0) }

// chain is n functions that call one another, the program itself among them. Each
// uses so many bytes of stack.
func chain(n, stack int) asm.Instructions {
	var ins asm.Instructions
	for i := range n {
		f := asm.Instructions{}
		if stack > 0 {
			f = append(f, useStack(stack))
		}
		if i < n-1 {
			f = append(f, asm.Call.Label(fmt.Sprintf("f%d", i+1)))
		}
		f = append(f, ending()...)
		f[0] = f[0].WithSymbol(fmt.Sprintf("f%d", i))
		ins = append(ins, f...)
	}
	return ins
}
