package loader

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestRecordedLogs judges logs of real kernels again, without a kernel.
func TestRecordedLogs(t *testing.T) {
	files, err := filepath.Glob("testdata/logs/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d recorded logs: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			var want golden
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			log, err := os.ReadFile(name + ".log")
			if err != nil {
				t.Fatal(err)
			}
			m := outcome{errno: unix.Errno(want.Errno), log: string(log), insns: want.Insns}.measurement()
			if diff := cmp.Diff(want, goldenOf(m)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if len(m.Unknown) > 0 {
				t.Errorf("unknown statistics: %q", m.Unknown)
			}
		})
	}
}

func TestParseLog(t *testing.T) {
	u := Some[uint64]
	for _, tt := range []struct {
		name string
		log  string
		want Parsed
	}{
		{name: "empty"},
		{
			name: "to 5.1",
			log:  "processed 2389 insns (limit 131072), stack depth 216+8\n",
			want: Parsed{Stats: Stats{InsnsProcessed: u(2389), InsnsLimit: u(131072), StackDepths: []int{216, 8}, Subprograms: Some(2)}},
		},
		{
			name: "to 4.13, without a limit",
			log:  "processed 12 insns, stack depth 0\n",
			want: Parsed{Stats: Stats{InsnsProcessed: u(12), StackDepths: []int{0}, Subprograms: Some(1)}},
		},
		{
			name: "from 5.2",
			log:  "verification time 1250 usec\nstack depth 64+0+16\nprocessed 100 insns (limit 1000000) max_states_per_insn 4 total_states 9 peak_states 8 mark_read 3\n",
			want: Parsed{Stats: Stats{VerificationSeconds: Some(0.00125), StackDepths: []int{64, 0, 16}, Subprograms: Some(3),
				InsnsProcessed: u(100), InsnsLimit: u(1000000), MaxStatesPerInsn: u(4), TotalStates: u(9), PeakStates: u(8), MarkRead: u(3)}},
		},
		{
			name: "newer",
			log:  "verification time 7 usec\nstack depth 64+8 max 72\ninsns processed 90+10\nprocessed 100 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
			want: Parsed{Stats: Stats{VerificationSeconds: Some(0.000007), StackDepths: []int{64, 8}, StackMax: Some(72), Subprograms: Some(2), InsnsPerSubprog: []uint64{90, 10},
				InsnsProcessed: u(100), InsnsLimit: u(1000000), MaxStatesPerInsn: u(0), TotalStates: u(0), PeakStates: u(0), MarkRead: u(0)}},
		},
		{
			name: "newest",
			log:  "verification time 7 usec\nstack depth max 72\nsubprog 0 (prog) main insns_self 90 insns_total 100 stack 64\nsubprog 1 (helper) static insns_self 10 insns_total 10 stack 8\nprocessed 100 insns (limit 1000000) max_states_per_insn 1 total_states 2 peak_states 2 mark_read 0\n",
			want: Parsed{Stats: Stats{VerificationSeconds: Some(0.000007), StackMax: Some(72), StackDepths: []int{64, 8}, Subprograms: Some(2),
				PerSubprog: []SubprogStats{
					{Index: 0, Name: "prog", Linkage: "main", InsnsSelf: 90, InsnsTotal: 100, Stack: 64},
					{Index: 1, Name: "helper", Linkage: "static", InsnsSelf: 10, InsnsTotal: 10, Stack: 8},
				},
				InsnsProcessed: u(100), InsnsLimit: u(1000000), MaxStatesPerInsn: u(1), TotalStates: u(2), PeakStates: u(2), MarkRead: u(0)}},
		},
		{
			name: "any order, some missing",
			log:  "processed 5 insns (limit 1000000) total_states 1\nstack depth 8\n",
			want: Parsed{Stats: Stats{InsnsProcessed: u(5), InsnsLimit: u(1000000), TotalStates: u(1), StackDepths: []int{8}, Subprograms: Some(1)}},
		},
		{
			name: "cause before the statistics",
			log:  "0: R1=ctx() R10=fp0\n0: (bf) r0 = r3\nR3 !read_ok\nverification time 3 usec\nstack depth 0\n",
			want: Parsed{Stats: Stats{VerificationSeconds: Some(0.000003), StackDepths: []int{0}, Subprograms: Some(1)}, Cause: "R3 !read_ok", Reason: ReasonMemoryAccess},
		},
		{
			name: "cause before a state dump",
			log:  "infinite loop detected at insn 1\ncur state: R0=scalar() R10=fp0\nold state: R0=scalar() R10=fp0\nstack depth 0\n",
			want: Parsed{Stats: Stats{StackDepths: []int{0}, Subprograms: Some(1)}, Cause: "infinite loop detected at insn 1", Reason: ReasonLoop},
		},
		{
			name: "cause the table does not know",
			log:  "something new went wrong\nstack depth 0\n",
			want: Parsed{Stats: Stats{StackDepths: []int{0}, Subprograms: Some(1)}, Cause: "something new went wrong"},
		},
		{
			name: "cut off in a number",
			log:  "stack depth 8\nprocessed 100 insns (limit 1000000) max_states_per_insn 4 total_states 1",
			want: Parsed{Stats: Stats{StackDepths: []int{8}, Subprograms: Some(1), InsnsProcessed: u(100), InsnsLimit: u(1000000), MaxStatesPerInsn: u(4)}, Truncated: true},
		},
		{
			name: "cut off in the stack",
			log:  "verification time 3 usec\nstack depth 64+1",
			want: Parsed{Stats: Stats{VerificationSeconds: Some(0.000003)}, Truncated: true},
		},
		{
			name: "head lost",
			log:  "epth 64+1\nprocessed 3 insns (limit 1000000)\n",
			want: Parsed{Stats: Stats{InsnsProcessed: u(3), InsnsLimit: u(1000000)}, Cause: "epth 64+1"},
		},
		{
			name: "unknown lines and keys",
			log:  "verification time 3 usec\nscratch pages 12\nstack depth 0\nprocessed 3 insns (limit 1000000) total_states 1 widget_states 7\npruned 12 states early\n",
			want: Parsed{
				Stats:   Stats{VerificationSeconds: Some(0.000003), StackDepths: []int{0}, Subprograms: Some(1), InsnsProcessed: u(3), InsnsLimit: u(1000000), TotalStates: u(1)},
				Unknown: []string{"scratch pages 12", "processed 3 insns (limit 1000000) total_states 1 widget_states 7", "pruned 12 states early"},
			},
		},
		{
			name: "a statistic worded anew is no cause",
			log:  "R3 !read_ok\nverification took 55 usec\nstack use 64 of 512\nprocessed 1 insns (limit 1000000)\n",
			want: Parsed{Stats: Stats{InsnsProcessed: u(1), InsnsLimit: u(1000000)}, Unknown: []string{"verification took 55 usec"}, Cause: "R3 !read_ok", Reason: ReasonMemoryAccess},
		},
		{
			name: "numbers out of range are not taken",
			log:  "processed 99999999999999999999 insns (limit 1000000)\nstack depth -1\n",
			want: Parsed{Unknown: []string{"processed 99999999999999999999 insns (limit 1000000)", "stack depth -1"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseLog(tt.log)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDeepestFrame(t *testing.T) {
	if _, ok := (Stats{StackMax: Some(72)}).DeepestFrame().Get(); ok {
		t.Error("a sum over call chains was taken for a frame")
	}
	if got := (Stats{StackDepths: []int{8, 64, 16}}).DeepestFrame(); got != Some(64) {
		t.Errorf("deepest frame = %v, want 64", got)
	}
}

// TestReasonOf holds texts no program of the live tests brings about here.
func TestReasonOf(t *testing.T) {
	for text, want := range map[string]Reason{
		"The sequence of 1025 jumps is too complex for async cb.":                                    ReasonJumpSequence,
		"BPF program is too large. Processed 131073 insn":                                            ReasonTooComplex,
		"back-edge from insn 5 to 2":                                                                 ReasonLoop,
		"invalid stack off=-520 size=8":                                                              ReasonStack,
		"stack size of subprog 1 is 528. Too large":                                                  ReasonStack,
		"tail_calls are not allowed when call stack of previous frames is 256 bytes. Too large":      ReasonStack,
		"verifier bug: REG INVARIANTS VIOLATION (true_reg1): range bounds violation":                 ReasonVerifierBug,
		"verifier internal error: no src_reg":                                                        ReasonVerifierBug,
		"BUG is_state_visited:branches_to_explore=1 insn 5":                                          ReasonVerifierBug,
		"func_proto [12] incompatible with vmlinux":                                                  ReasonBTF,
		"invalid func unknown#195896080":                                                             ReasonBTF,
		"(18) r10 = 0xbad2310":                                                                       ReasonBTF,
		"invalid func unknown#2002000001":                                                            ReasonKfunc,
		"calling kernel function scx_bpf_cpu_rq is not allowed":                                      ReasonKfunc,
		"kernel function bpf_cgroup_release args#0 expected pointer to STRUCT cgroup but R1 has ...": ReasonKfunc,
		"calling kernel functions are not allowed in non-JITed programs":                             ReasonJIT,
		"JIT does not support calling kfunc bpf_rcu_read_lock#12":                                    ReasonJIT,
		"unknown func bpf_set_retval#187":                                                            ReasonHelper,
		"program of this type cannot use helper bpf_probe_read#4":                                    ReasonHelper,
		"program must be sleepable to call sleepable kfunc bpf_arena_alloc_pages":                    ReasonKfunc,
		"helper call might sleep in a non-sleepable prog":                                            ReasonLock,
		"bpf_spin_unlock is missing":                                                                 ReasonLock,
		"Unreleased reference id=4 alloc_insn=3":                                                     ReasonLock,
		"At program exit the register R0 has smin=9 smax=9 should have been in [0, 1]":               ReasonReturn,
		"R1 unbounded memory access, make sure to bounds check any such access":                      ReasonPrecision,
		"R2 invalid mem access 'inv'":                                                                ReasonMemoryAccess,
		"R2 invalid mem access 'scalar'":                                                             ReasonMemoryAccess,
		"R1 type=scalar expected=fp, pkt, pkt_meta":                                                  ReasonMemoryAccess,
		"loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN":    ReasonPermission,
		"R1 pointer arithmetic of map value goes out of range, prohibited for !root":                 ReasonPermission,
		"attach_btf_id 12 points to disabled hook bpf_lsm_x":                                         ReasonUnsupported,
		"Attaching fexit/fmod_ret to __noreturn functions is rejected.":                              ReasonUnsupported,
		"Arg#1 type PTR in f() is not supported yet.":                                                ReasonBTF,
		"The total number of maps per program has reached the limit of 64":                           ReasonMaps,
		"a sentence of a kernel to come":                                                             "",
	} {
		if got := reasonOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add("verification time 7 usec\nstack depth 64+8 max 72\ninsns processed 90+10\nprocessed 100 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n")
	f.Add("stack depth max 72\nsubprog 0 (prog) main insns_self 90 insns_total 100 stack 64\n")
	f.Add("processed 12 insns, stack depth 0")
	f.Add("R3 !read_ok\nprocessed 0 insns (limit 1000000) max_states_per_insn")
	f.Add("processed \nstack depth \nverification time \ninsns processed \nsubprog \n")
	f.Add("R0=1 R1_w=fp0\n; int x = 5\nfrom 1 to 2: R0=0\n")
	f.Fuzz(func(t *testing.T, log string) {
		p := ParseLog(log)
		if len(p.Unknown) > maxUnknown || len(p.Stats.StackDepths) > maxSubprogs || len(p.Cause) > maxLine {
			t.Errorf("unbounded result: %d unknown, %d stacks, cause of %d", len(p.Unknown), len(p.Stats.StackDepths), len(p.Cause))
		}
		if p.Reason != "" && reasonOf(p.Cause) != p.Reason {
			t.Errorf("cause %q is not of class %q", p.Cause, p.Reason)
		}
		if p.Stats.InsnsProcessed.Set && !strings.Contains(log, "processed ") {
			t.Error("counter out of nothing")
		}
		// A cut must never change a value, only take it away.
		if whole, cut := p.Stats.TotalStates, ParseLog(strings.TrimRight(log, "\n")).Stats.TotalStates; strings.Count(log, "processed ") == 1 && cut.Set && cut != whole {
			t.Errorf("total states %v became %v in a log cut short", whole, cut)
		}
	})
}

// millionLines is a level 2 log as a rejected program leaves it.
func millionLines() string {
	var b strings.Builder
	for range 333_333 {
		b.WriteString("123: R0=scalar(id=3,smin=0) R1=ctx() R10=fp0 fp-8=mmmmmmmm\n; value += *(u64 *)(data + off);\n124: (bf) r0 = r6                      ; R0_w=scalar()\n")
	}
	b.WriteString("R3 !read_ok\nverification time 3 usec\nstack depth 8\nprocessed 900000 insns (limit 1000000) max_states_per_insn 4 total_states 9 peak_states 8 mark_read 3\n")
	return b.String()
}

func TestMillionLines(t *testing.T) {
	log := millionLines()
	p := ParseLog(log)
	if p.Stats.InsnsProcessed != Some[uint64](900000) || p.Cause != "R3 !read_ok" {
		t.Errorf("processed %v, cause %q", p.Stats.InsnsProcessed, p.Cause)
	}
	if tail := logTail(log); len(tail) > tailBytes || !strings.HasPrefix(tail, "12") && tail[0] != ';' || !strings.HasSuffix(tail, "mark_read 3\n") {
		t.Errorf("tail of %d bytes starts %q", len(tail), tail[:40])
	}
	if n := testing.AllocsPerRun(1, func() { ParseLog(log) }); n > 50 {
		t.Errorf("%v allocations for a million lines", n)
	}
}

func BenchmarkParseLogMillionLines(b *testing.B) {
	log := millionLines()
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		ParseLog(log)
	}
}

func BenchmarkParseLogStats(b *testing.B) {
	log := "verification time 1250 usec\nstack depth 64+0+16\nprocessed 100 insns (limit 1000000) max_states_per_insn 4 total_states 9 peak_states 8 mark_read 3\n"
	b.ReportAllocs()
	for b.Loop() {
		ParseLog(log)
	}
}
