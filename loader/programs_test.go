package loader

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

func program(typ ebpf.ProgramType, insns ...asm.Instructions) *ebpf.ProgramSpec {
	spec := &ebpf.ProgramSpec{Name: "lg_test", Type: typ, License: "GPL"}
	for _, i := range insns {
		spec.Instructions = append(spec.Instructions, i...)
	}
	return spec
}

func socket(insns ...asm.Instruction) *ebpf.ProgramSpec { return program(ebpf.SocketFilter, insns) }

// jumps returns n pending branches: each comparison leaves the way out unexplored.
func jumps(n int) *ebpf.ProgramSpec {
	insns := asm.Instructions{asm.FnGetPrandomU32.Call()}
	for i := range n {
		insns = append(insns, asm.JEq.Imm(asm.R0, int32(i), "out"))
	}
	return program(ebpf.SocketFilter, insns, asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return()})
}

// frames returns a chain of n functions, each calling the next.
func frames(n int) *ebpf.ProgramSpec {
	var insns asm.Instructions
	for i := range n {
		first := asm.Mov.Imm(asm.R0, 0)
		if i > 0 {
			first = first.WithSymbol(fmt.Sprint("f", i))
		}
		insns = append(insns, first)
		if i < n-1 {
			insns = append(insns, asm.Call.Label(fmt.Sprint("f", i+1)))
		}
		insns = append(insns, asm.Return())
	}
	return program(ebpf.SocketFilter, insns)
}

// subprograms returns a program of n functions, the first calling all others.
func subprograms(n int) *ebpf.ProgramSpec {
	var insns, bodies asm.Instructions
	for i := 1; i < n; i++ {
		name := fmt.Sprint("f", i)
		insns = append(insns, asm.Call.Label(name))
		bodies = append(bodies, asm.Mov.Imm(asm.R0, 0).WithSymbol(name), asm.Return())
	}
	return program(ebpf.SocketFilter, insns, returnZero(), bodies)
}

// stack writes to the lowest bytes of a frame of size bytes.
func stack(size int16) *ebpf.ProgramSpec {
	return socket(asm.Mov.Imm(asm.R0, 0), asm.StoreMem(asm.R10, -size, asm.R0, asm.DWord), asm.Return())
}

// twoStacks is two functions with frames of size bytes, one calling the other.
func twoStacks(typ ebpf.ProgramType, size int16) *ebpf.ProgramSpec {
	return program(typ, asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),
		asm.StoreMem(asm.R10, -size, asm.R0, asm.DWord),
		asm.Call.Label("callee"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("callee"),
		asm.StoreMem(asm.R10, -size, asm.R0, asm.DWord),
		asm.Return(),
	})
}

// loop counts to n.
func loop(n int32) *ebpf.ProgramSpec {
	return socket(
		asm.Mov.Imm(asm.R0, 0),
		asm.Add.Imm(asm.R0, 1).WithSymbol("again"),
		asm.JLT.Imm(asm.R0, n, "again"),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	)
}

// usesMaps refers to n maps by name.
func usesMaps(tb testing.TB, n int) Request {
	tb.Helper()
	specs := make(map[string]*ebpf.MapSpec)
	var insns asm.Instructions
	for i := range n {
		name := fmt.Sprint("m", i)
		specs[name] = arraySpec(8)
		insns = append(insns, asm.LoadMapPtr(asm.R1, 0).WithReference(name))
	}
	maps, err := CreateMaps(specs)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { CloseMaps(maps) })
	return Request{Spec: program(ebpf.SocketFilter, insns, returnZero()), Maps: maps}
}

func arraySpec(valueSize uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: valueSize, MaxEntries: 1}
}

// lookup loads the address of a map's element 0 into R0; "out" ends the program.
func lookup(body ...asm.Instruction) *ebpf.ProgramSpec {
	insns := asm.Instructions{
		asm.StoreImm(asm.R10, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, 0).WithReference("map"),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
	}
	return program(ebpf.SocketFilter, insns, body, asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return()})
}

func withMap(tb testing.TB, spec *ebpf.ProgramSpec, m *ebpf.MapSpec) Request {
	tb.Helper()
	maps, err := CreateMaps(map[string]*ebpf.MapSpec{"map": m})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { CloseMaps(maps) })
	return Request{Spec: spec, Maps: maps}
}
