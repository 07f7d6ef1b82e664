package loader

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// foldLogs are listings as the generations of kernels word them, of programs of
// eight instructions whose second function starts at 5.
var foldLogs = []struct {
	name   string
	log    string
	visits []uint32
	pruned []uint32
	paths  []uint32
	totals []uint64
}{
	{
		name: "to 5.1: the state stands before each instruction",
		log: "0: R1=ctx(id=0,off=0,imm=0) R10=fp0\n0: (b7) r0 = 0\n1: R0_w=inv0 R1=ctx(id=0,off=0,imm=0) R10=fp0\n1: (15) if r1 == 0x0 goto pc+2\n" +
			" R0=inv0 R1=inv(id=0) R10=fp0\n2: R0=inv0 R1=inv(id=0) R10=fp0\n2: (95) exit\n\nfrom 1 to 4: R0=inv0 R1=inv0 R10=fp0\n4: R0=inv0 R1=inv0 R10=fp0\n4: (95) exit\n" +
			"processed 4 insns (limit 131072), stack depth 0\n",
		visits: []uint32{1, 1, 1, 0, 1, 0, 0, 0}, paths: []uint32{0, 0, 0, 0, 1, 0, 0, 0}, totals: []uint64{4, 0},
	},
	{
		name: "5.2 on: pruned paths, precision, source without its place",
		log: "; int x = 0;\n0: (b7) r0 = 0\n1: (55) if r1 != 0x0 goto pc+2\nlast_idx 1 first_idx 0\nregs=2 stack=0 before 0: (b7) r0 = 0\n" +
			"3: (b7) r0 = 1\n4: safe\n\nfrom 1 to 4: safe\nfrom 1 to 2 (speculative execution): safe\nprocessed 6 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1\n",
		visits: []uint32{1, 1, 1, 1, 2, 0, 0, 0}, pruned: []uint32{0, 0, 1, 0, 2, 0, 0, 0}, paths: []uint32{0, 0, 1, 0, 1, 0, 0, 0}, totals: []uint64{6, 0},
	},
	{
		name: "6.x: the state stands behind the instruction, source with its place, liveness in front",
		log: "func#0 @0\nfunc#1 @5\nLive regs before insn:\n      0: .......... (b7) r0 = 0\n      1: 0......... (85) call pc+3\n" +
			"0: R1=ctx() R10=fp0\n; int f(void) @ a.c:12\n0: (b7) r0 = 0                        ; R0=0\n1: (85) call pc+3\ncaller:\n R10=fp0\ncallee:\n frame1: R1=ctx() R10=fp0\n" +
			"5: (55) if r1 != 0x0 goto pc+1        ; frame1: R1=scalar()\nmark_precise: frame1: regs=r1 stack= before 5: (55) if r1 != 0x0 goto pc+1\n6: (b7) r0 = 1\n7: (95) exit\n" +
			"returning from callee:\n frame1: R0=1\nto caller at 2:\n R0=1 R10=fp0\n2: (95) exit\n\nfrom 5 to 7: frame1: R0=0 R10=fp0\n7: (95) exit\nreturning from callee:\n frame1: R0=1\nto caller at 2:\n R0=1 R10=fp0\n\nfrom 7 to 2: safe\n" +
			"verification time 90 usec\nstack depth 0+0\nprocessed 8 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 2 mark_read 0\n",
		visits: []uint32{1, 1, 2, 0, 0, 1, 1, 2}, pruned: []uint32{0, 0, 1, 0, 0, 0, 0, 0}, paths: []uint32{0, 0, 1, 0, 0, 0, 0, 1}, totals: []uint64{8, 4},
	},
	{
		name: "global functions stand alone, newest statistics",
		log: "Validating f() func#1...\n5: R1=scalar() R10=fp0\n5: (b7) r0 = 0\n6: (95) exit\nFunc#1 ('f') is safe for any args that match its prototype\n" +
			"0: (85) call pc+4\nFunc#1 ('f') is global and assumed valid.\n1: R0=scalar()\n1: (95) exit\nverification time 9 usec\nstack depth max 0\n" +
			"subprog 0 (main) main insns_self 2 insns_total 2 stack 0\nsubprog 1 (f) global insns_self 2 insns_total 2 stack 0\nprocessed 4 insns (limit 1000000)\n",
		visits: []uint32{1, 1, 0, 0, 0, 1, 1, 0}, totals: []uint64{2, 2},
	},
	{
		name: "7.3: passes that list the program before the walk",
		log: "func#0 @0\nfunc#1 @5\ntopo_order[0] = \nsubprog#0: analyzing (depth 0)...\nsubprog#0:\n  0: (b7) r0 = 0\n1: (85) call pc+3\nsubprog#1 f:\n5: (b7) r0 = 0\n" +
			"stack use/def subprog#0 (d0,cs0):\n0: (b7) r0 = 0\n2: (95) exit\nLive regs before insn:\n      0: .12345.... (b7) r0 = 0\n" +
			"0: R1=ctx() R10=fp0\n0: (b7) r0 = 0                        ;\n1: (85) call pc+3\ncaller:\n R10=fp0\ncallee:\n frame1: R1=ctx() R10=fp0\n5: frame1: R10=fp0\n5: (b7) r0 = 0                        ; frame1: R0=0\n7: (95) exit\n" +
			"returning from callee:\n frame1: R0=0 R10=fp0\nto caller at 2:\n R0=0 R10=fp0\n\nfrom 7 to 2: R0=0 R10=fp0\n2: (95) exit\nverification time 40727 usec\nstack depth max 0\n" +
			"subprog 0 (<unknown>) main insns_self 3 insns_total 5 stack 0\nsubprog 1 (<unknown>) static insns_self 2 insns_total 2 stack 0\nprocessed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
		visits: []uint32{1, 1, 1, 0, 0, 1, 0, 1}, paths: []uint32{0, 0, 1, 0, 0, 0, 0, 0}, totals: []uint64{5, 2},
	},
	{
		name:   "cut off within a line, instructions that are not there, lines like instructions",
		log:    "0: (b7) r0 = 0\n99: (b7) r0 = 0\n12345678901: (b7) r0\n1: (zz) r0\n1: (b7 r0\n1 (b7) r0\n 1: (b7) r0\n1: safer\nfrom 1 to: safe\nfrom x to 2: safe\nfrom 1 to 99: safe\n1: (b7) r",
		visits: []uint32{1, 1, 0, 0, 0, 0, 0, 0}, totals: []uint64{2, 0},
	},
}

// TestFold folds every log whole and in pieces of every small size.
func TestFold(t *testing.T) {
	for _, tt := range foldLogs {
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= len(tt.log); size++ {
				f := foldPieces([]byte(tt.log), size, 8, []int{0, 5})
				for _, c := range []struct {
					what      string
					got, want []uint32
				}{{"visits", f.visits, tt.visits}, {"pruned", f.pruned, tt.pruned}, {"paths", f.paths, tt.paths}} {
					if c.want == nil {
						c.want = make([]uint32, 8)
					}
					if diff := cmp.Diff(c.want, c.got); diff != "" {
						t.Fatalf("pieces of %d: %s (-want +got):\n%s", size, c.what, diff)
					}
				}
				if diff := cmp.Diff(tt.totals, f.calls.totals()); diff != "" {
					t.Fatalf("pieces of %d: totals (-want +got):\n%s", size, diff)
				}
				if string(f.tail) != tt.log {
					t.Fatalf("pieces of %d: the end of the log is %q", size, f.tail)
				}
				p := ParseLog(string(f.tail))
				if n, ok := p.Stats.InsnsProcessed.Get(); ok && n != f.attributed() {
					t.Fatalf("%d visits, the log says %d", f.attributed(), n)
				}
			}
		})
	}
}

func foldPieces(log []byte, size, slots int, starts []int) *logFold {
	f := newLogFold(slots, starts)
	for len(log) > 0 {
		n := min(size, len(log))
		f.add(log[:n])
		log = log[n:]
	}
	f.finish()
	return f
}

func TestFoldKeepsTheEnd(t *testing.T) {
	line := "0: (b7) r0 = 0\n"
	for _, size := range []int{7, 1000, foldTail - 1, 3 * foldTail} {
		f := foldPieces([]byte(strings.Repeat(line, 300_000)+"processed 300000 insns (limit 1000000)\n"), size, 1, []int{0})
		if len(f.tail) > 2*foldTail || ParseLog(string(f.tail)).Stats.InsnsProcessed != Some(uint64(300_000)) || f.visits[0] != 300_000 {
			t.Errorf("pieces of %d: %d bytes kept, %d visits", size, len(f.tail), f.visits[0])
		}
	}
}

// FuzzFold: any text, cut anywhere, gives the same counts, and they add up.
func FuzzFold(f *testing.F) {
	for _, l := range foldLogs {
		f.Add([]byte(l.log), uint16(7))
	}
	f.Fuzz(func(t *testing.T, log []byte, size uint16) {
		starts := []int{0, 3, 5}
		whole := foldPieces(log, len(log)+1, 8, starts)
		parts := foldPieces(log, int(size)+1, 8, starts)
		if diff := cmp.Diff(whole.visits, parts.visits); diff != "" {
			t.Fatalf("cut into pieces of %d (-whole +pieces):\n%s", size+1, diff)
		}
		var sum, self uint64
		for i := range whole.visits {
			sum += uint64(whole.visits[i])
			if whole.pruned[i] > whole.visits[i] {
				t.Fatalf("slot %d: %d of %d visits pruned", i, whole.pruned[i], whole.visits[i])
			}
		}
		for _, c := range whole.calls.chains {
			self += c.visits
		}
		if sum != self || sum != whole.attributed() || whole.bytes != uint64(len(log)) {
			t.Fatalf("%d visits, %d in chains, %d bytes of %d", sum, self, whole.bytes, len(log))
		}
		for i, n := range whole.calls.totals() {
			if n > sum {
				t.Fatalf("function %d: %d of %d", i, n, sum)
			}
		}
	})
}

func TestExplainStatistics(t *testing.T) {
	log := "verification time 9 usec\nstack depth max 16\nsubprog 0 (main) main insns_self 30 insns_total 100 stack 16\nsubprog 1 (f) static insns_self 70 insns_total 70 stack 0\n" +
		"processed 100 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0\n"
	m := outcome{log: log}.measurement()
	e, ok := ExplainStatistics("p", m)
	n := uint64(100)
	want := Explanation{Program: "p", Verdict: Accepted, Processed: &n, Attributed: 100, Method: MethodStatistics, Functions: []FunctionInsns{
		{Name: "main", Linkage: "main", First: -1, Self: 30, Total: 100}, {Name: "f", Linkage: "static", First: -1, Self: 70, Total: 70},
	}}
	if diff := cmp.Diff(want, e); diff != "" || !ok {
		t.Errorf("ok %v (-want +got):\n%s", ok, diff)
	}
	if _, ok := ExplainStatistics("p", outcome{log: "processed 100 insns (limit 1000000)\n"}.measurement()); ok {
		t.Error("an explanation out of nothing")
	}
}
