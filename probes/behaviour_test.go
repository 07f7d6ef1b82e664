package probes

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

func behaveAll(t *testing.T) map[string]snapshot.Subject {
	t.Helper()
	out := map[string]snapshot.Subject{}
	for _, step := range behaviourSteps(source.Host{}) {
		subjects := step.Run(context.Background(), source.Host{})
		if len(subjects) != 1 || subjects[0].Kind != step.Kind || subjects[0].ID != step.ID {
			t.Fatalf("step %s gave %+v, want the one subject that it names", step.ID, subjects)
		}
		out[step.ID] = subjects[0]
	}
	return out
}

// TestBehaviourOnThisKernel runs everything twice: all is right, what comes out is
// equal, and nothing is left open.
func TestBehaviourOnThisKernel(t *testing.T) {
	needCensus(t)
	behaveAll(t) // whatever is opened once and for all
	before := openFiles(t)
	start := time.Now()
	first := behaveAll(t)
	took := time.Since(start)
	second := behaveAll(t)
	if d := cmp.Diff(first, second, cmp.Comparer(snapshot.Value.Equal)); d != "" {
		t.Errorf("two runs differ:\n%s", d)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
	results := int64(0)
	for id, s := range first {
		checkBehaviour(t, id, &s)
		n, _ := s.Attrs["vectors"].Int()
		results += n
	}
	t.Logf("%d results of %d cases took %v", results, len(first), took)
}

func checkBehaviour(t *testing.T, id string, s *snapshot.Subject) {
	t.Helper()
	for name := range s.Attrs {
		if _, ok := behaviourKind.Attr(name); !ok {
			t.Errorf("%s: attribute %s is not declared", id, name)
		}
	}
	switch {
	case s.Outcome == snapshot.Unsupported:
		if s.Reason == "" || s.Text("offered") != "no" {
			t.Errorf("%s is unsupported and does not say by what: %+v", id, s)
		}
	case s.Outcome != snapshot.Measured:
		t.Errorf("%s: %s, %s", id, s.Outcome, s.Reason)
	case s.Text("result") != resultRight || s.Text("program") == "":
		t.Errorf("%s: %s: %s", id, s.Text("result"), s.Text("wrong"))
	}
}

// tried runs one trial and gives its subject.
func tried(t *testing.T, id string, trial Trial, err error) snapshot.Subject {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	c := BehaviourCase{Name: "c", Build: func() (Trial, error) { return trial, nil }}
	return behaviourStep(Behaviour{Name: "b"}, c)(context.Background(), source.Host{})[0]
}

// TestSabotagedGoldens: whichever result of whichever case ought to be another, the case
// says that it is wrong. One byte of every vector is changed in turn, near its end.
func TestSabotagedGoldens(t *testing.T) {
	needCensus(t)
	for _, b := range Behaviours() {
		for _, c := range b.Cases {
			id := b.Name + "/" + c.Name
			trial, err := c.Build()
			for i := range trial.Vectors {
				trial.Vectors[i].Want[len(trial.Vectors[i].Want)-1] ^= 0x10
			}
			s := tried(t, id, trial, err)
			if s.Outcome == snapshot.Unsupported {
				continue
			}
			if s.Text("result") != resultWrong || s.Text("wrong") == "" {
				t.Errorf("%s: %s %q of goldens that are not so", id, s.Text("result"), s.Text("wrong"))
			}
		}
	}
}

// miscompile changes the first instruction of a program that change changes.
func miscompile(t *testing.T, ins asm.Instructions, change func(*asm.Instruction) bool) asm.Instructions {
	t.Helper()
	ins = slices.Clone(ins)
	for i := range ins {
		if change(&ins[i]) {
			return ins
		}
	}
	t.Fatal("no such instruction")
	return nil
}

// becomes changes an opcode into another.
func becomes(from, to asm.OpCode) func(*asm.Instruction) bool {
	return func(ins *asm.Instruction) bool {
		if ins.OpCode != from {
			return false
		}
		ins.OpCode = to
		return true
	}
}

// helperBecomes calls another helper.
func helperBecomes(from, to asm.BuiltinFunc) func(*asm.Instruction) bool {
	return func(ins *asm.Instruction) bool {
		if !ins.IsBuiltinCall() || ins.Constant != int64(from) {
			return false
		}
		ins.Constant = int64(to)
		return true
	}
}

// immediate changes a constant.
func immediate(op asm.OpCode, from, to int64) func(*asm.Instruction) bool {
	return func(ins *asm.Instruction) bool {
		if ins.OpCode != op || ins.Constant != from {
			return false
		}
		ins.Constant = to
		return true
	}
}

// TestMiscompiledPrograms: of each group one program has one instruction that is another,
// as if it had been translated wrongly.
func TestMiscompiledPrograms(t *testing.T) {
	needCensus(t)
	movImm := asm.Mov.Op(asm.ImmSource)
	for id, change := range map[string]func(*asm.Instruction) bool{
		"alu64/register":             becomes(asm.Sub.Op(asm.RegSource), asm.Xor.Op(asm.RegSource)),
		"alu32/register":             becomes(asm.And.Op32(asm.RegSource), asm.And.Op(asm.RegSource)), // the upper half stays
		"shifts/register64":          becomes(asm.ArSh.Op(asm.RegSource), asm.RSh.Op(asm.RegSource)),
		"sign_extension/moves":       becomes(asm.MovSX8.Op(asm.RegSource), asm.MovSX16.Op(asm.RegSource)),
		"byte_swap/to_endian":        immediate(asm.HostTo(asm.BE, asm.R0, asm.Half).OpCode, 16, 32),
		"atomics/add":                func(i *asm.Instruction) bool { return i.OpCode.Mode() == asm.AtomicMode && changed(&i.Offset, 4) },
		"division_modulo/register64": becomes(asm.Mod.Op(asm.RegSource), asm.Div.Op(asm.RegSource)),
		"signed_loads/packet":        becomes(asm.LoadMemSXOp(asm.Byte), asm.LoadMemOp(asm.Byte)),
		"memory/fill":                becomes(asm.LoadMemOp(asm.Half), asm.LoadMemOp(asm.Byte)),
		"jumps/register":             func(i *asm.Instruction) bool { return i.OpCode.JumpOp() == asm.JSGT && jumps(i, asm.JSGE) },
		"subprograms/arguments":      immediate(asm.Mul.Op(asm.ImmSource), 11, 12),
		"tail_calls/known_target":    immediate(movImm, 3, 1),
		"bounded_loops/counted":      immediate(asm.Mul.Op(asm.ImmSource), 3, 4),
		"map_array/update":           immediate(movImm, updateNoExist, updateAny),
		"map_hash/key8":              immediate(movImm, updateExist, updateAny),
		"map_lru/half_full":          helperBecomes(asm.FnMapUpdateElem, asm.FnMapLookupElem),
		"map_lpm/default_route":      func(i *asm.Instruction) bool { return i.OpCode == asm.StoreImmOp(asm.Word) && constantIs(i, 24) },
		"map_queue_stack/queue":      immediate(movImm, updateExist, updateAny),
		"map_ring_buffer/order":      helperBecomes(asm.FnRingbufDiscard, asm.FnRingbufSubmit),
		"helpers/rewrite":            immediate(movImm, ipSource, ipTarget),
	} {
		c := caseOf(t, id)
		trial, err := c.Build()
		if err != nil {
			t.Fatal(err)
		}
		spec := *trial.Spec
		spec.Instructions = miscompile(t, spec.Instructions, change)
		trial.Spec = &spec
		if s := tried(t, id, trial, nil); s.Outcome == snapshot.Measured && s.Text("result") != resultWrong || s.Outcome == snapshot.Inconclusive {
			t.Errorf("%s: %s %s %s of a program that is miscompiled", id, s.Outcome, s.Reason, s.Text("result"))
		}
	}
}

func changed(off *int16, by int16) bool { *off += by; return true }

func constantIs(i *asm.Instruction, n int64) bool { i.Constant = n; return true }

func jumps(i *asm.Instruction, op asm.JumpOp) bool { i.OpCode = i.OpCode.SetJumpOp(op); return true }

func caseOf(t *testing.T, id string) BehaviourCase {
	t.Helper()
	for _, b := range Behaviours() {
		for _, c := range b.Cases {
			if b.Name+"/"+c.Name == id {
				return c
			}
		}
	}
	t.Fatalf("no case %s", id)
	return BehaviourCase{}
}

// TestWrongIsTold: who reads the report sees the operands, what was wanted and what came.
func TestWrongIsTold(t *testing.T) {
	needCensus(t)
	s := new(sheet)
	s.apply(formula{"add64", func(dst, src asm.Register) asm.Instructions {
		return asm.Instructions{asm.Add.Reg(dst, src)}
	}, func(a, b uint64) uint64 { return a - b }}, asm.R8, asm.R3)
	trial, err := s.trial([][2]uint64{{5, 0}, {5, 3}})
	got := tried(t, "add", trial, err)
	if want := "add64 r8 r3 of 0x5, 0x3: want 0x2, got 0x8"; got.Text("wrong") != want {
		t.Errorf("got %q, want %q", got.Text("wrong"), want)
	}
}

// TestBehaviourCouldNotTell: what the kernel does not know is unsupported, all else that
// goes wrong is inconclusive; neither is a result.
func TestBehaviourCouldNotTell(t *testing.T) {
	needCensus(t)
	program := func(typ ebpf.ProgramType, ins ...asm.Instruction) Trial {
		return Trial{Program: Program{Spec: &ebpf.ProgramSpec{Type: typ, License: "GPL", Instructions: append(ins, ending()...)}},
			Vectors: []Vector{{In: ethernet(64), Want: ethernet(64)}}}
	}
	tiny := program(ebpf.SchedCLS)
	tiny.Vectors = []Vector{{In: make([]byte, 4), Want: make([]byte, 4)}}
	noArray := program(ebpf.SchedCLS)
	noArray.Maps = oneMap(ebpf.MapSpec{Type: ebpf.Array, KeySize: 3, ValueSize: 8, MaxEntries: 1})
	for name, test := range map[string]struct {
		trial Trial
		want  snapshot.Outcome
	}{
		"helper nobody knows":     {program(ebpf.SchedCLS, asm.BuiltinFunc(9999).Call()), snapshot.Unsupported},
		"operation nobody knows":  {program(ebpf.SchedCLS, asm.StoreMem(asm.R10, -8, asm.R1, asm.DWord), asm.Mov.Imm(asm.R2, 1), asm.Instruction{OpCode: opAtomic.SetAtomicOp(0x7700), Dst: asm.R10, Src: asm.R2, Offset: -8}), snapshot.Unsupported},
		"program that is refused": {program(ebpf.SchedCLS, asm.LoadMem(asm.R0, asm.R3, 0, asm.DWord)), snapshot.Inconclusive},
		"packet too short":        {tiny, snapshot.Inconclusive},
		"no such map":             {noArray, snapshot.Inconclusive},
	} {
		s := tried(t, name, test.trial, nil)
		if s.Outcome != test.want || s.Reason == "" || s.Text("result") != "" {
			t.Errorf("%s: %s %q, want %s: %v", name, s.Outcome, s.Reason, test.want, s.Attrs)
		}
	}
	var s snapshot.Subject
	trialError(&s, errors.Join(errors.New("test run program"), unix.EINTR))
	if s.Outcome != snapshot.Inconclusive {
		t.Errorf("an interrupted run is %s", s.Outcome)
	}
}

// TestNoOverflowingDivision: the one division that old kernels fault on is in no case.
func TestNoOverflowingDivision(t *testing.T) {
	for _, p := range divisionPairs() {
		if overflows(p[0], p[1]) || overflows(p[0], p[0]) {
			t.Errorf("%#x is divided by %#x", p[0], p[1])
		}
	}
	for _, ins := range specOf(t, "division_modulo/signed_constant") {
		if ins.OpCode.Class().IsALU() && (ins.OpCode.ALUOp() == asm.SDiv || ins.OpCode.ALUOp() == asm.SMod) && ins.Constant == -1 {
			t.Errorf("a signed division by -1: %v", ins)
		}
	}
}

func specOf(t *testing.T, id string) asm.Instructions {
	t.Helper()
	c := caseOf(t, id)
	trial, err := c.Build()
	if err != nil {
		t.Fatal(err)
	}
	return trial.Spec.Instructions
}
