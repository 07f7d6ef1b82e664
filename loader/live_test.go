package loader

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite testdata/logs from what this kernel says")

// liveCase is a program and what any kernel with BPF makes of it.
type liveCase struct {
	name    string
	request func(testing.TB) Request
	verdict Verdict
	reason  Reason
	phase   Phase // "" means where the verdict ends
	errno   unix.Errno
}

func spec(s *ebpf.ProgramSpec) func(testing.TB) Request {
	return func(testing.TB) Request { return Request{Spec: s} }
}

func liveCases() []liveCase {
	over := func(s *ebpf.ProgramSpec, m *ebpf.MapSpec) func(testing.TB) Request {
		return func(tb testing.TB) Request { return withMap(tb, s, m) }
	}
	return []liveCase{
		{name: "straight_1000000", request: spec(program(ebpf.SocketFilter, straight(1_000_000))), verdict: Accepted},
		{name: "straight_1000001", request: spec(program(ebpf.SocketFilter, straight(1_000_001))), verdict: Rejected, reason: ReasonTooLong, errno: unix.E2BIG},
		{name: "jumps_8192", request: spec(jumps(8192)), verdict: Accepted},
		{name: "jumps_8193", request: spec(jumps(8193)), verdict: Rejected, reason: ReasonJumpSequence},
		{name: "frames_8", request: spec(frames(8)), verdict: Accepted},
		{name: "frames_9", request: spec(frames(9)), verdict: Rejected, reason: ReasonCallDepth},
		{name: "stack_512", request: spec(stack(512)), verdict: Accepted},
		{name: "stack_520", request: spec(stack(520)), verdict: Rejected, reason: ReasonStack},
		{name: "two_stacks_240", request: spec(twoStacks(ebpf.SocketFilter, 240)), verdict: Accepted},
		{name: "two_stacks_264", request: spec(twoStacks(ebpf.SocketFilter, 264)), verdict: Rejected, reason: ReasonStack},
		{name: "subprograms_256", request: spec(subprograms(256)), verdict: Accepted},
		{name: "subprograms_257", request: spec(subprograms(257)), verdict: Rejected, reason: ReasonSubprograms},
		{name: "maps_64", request: func(tb testing.TB) Request { return usesMaps(tb, 64) }, verdict: Accepted},
		{name: "maps_65", request: func(tb testing.TB) Request { return usesMaps(tb, 65) }, verdict: Rejected, reason: ReasonMaps},
		{name: "loop_1000", request: spec(loop(1000)), verdict: Accepted},
		{name: "loop_600000", request: spec(loop(600_000)), verdict: Rejected, reason: ReasonTooComplex},
		{name: "loop_endless", request: spec(socket(asm.FnGetPrandomU32.Call(), asm.JNE.Imm(asm.R0, 5, "again").WithSymbol("again"), asm.Return())), verdict: Rejected, reason: ReasonLoop},
		{name: "unreachable", request: spec(socket(asm.Mov.Imm(asm.R0, 0), asm.Return(), asm.Mov.Imm(asm.R0, 0), asm.Return())), verdict: Rejected, reason: ReasonInstruction},
		{name: "no_exit", request: spec(socket(asm.Mov.Imm(asm.R0, 0))), verdict: Rejected, reason: ReasonInstruction},
		{name: "jump_out_of_range", request: spec(socket(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass), Offset: 9}, asm.Return())), verdict: Rejected, reason: ReasonInstruction},
		{name: "bad_opcode", request: spec(socket(asm.Instruction{OpCode: 0xd8}, asm.Return())), verdict: Rejected, reason: ReasonInstruction},
		{name: "uninitialized", request: spec(socket(asm.Mov.Reg(asm.R0, asm.R3), asm.Return())), verdict: Rejected, reason: ReasonMemoryAccess},
		{name: "not_a_pointer", request: spec(socket(asm.Mov.Imm(asm.R1, 8), asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord), asm.Return())), verdict: Rejected, reason: ReasonMemoryAccess},
		{name: "context_access", request: spec(socket(asm.LoadMem(asm.R0, asm.R1, 4096, asm.Word), asm.Return())), verdict: Rejected, reason: ReasonMemoryAccess},
		{name: "value_access", request: over(lookup(asm.LoadMem(asm.R0, asm.R0, 8, asm.Byte)), arraySpec(8)), verdict: Rejected, reason: ReasonMemoryAccess},
		{name: "value_maybe_null", request: over(program(ebpf.SocketFilter, lookup().Instructions[:5], asm.Instructions{asm.LoadMem(asm.R0, asm.R0, 0, asm.Byte), asm.Return()}),
			&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1}), verdict: Rejected, reason: ReasonMemoryAccess},
		{name: "value_unbounded", request: over(lookup(
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Reg(asm.R0, asm.R1), asm.LoadMem(asm.R0, asm.R0, 0, asm.Byte)), arraySpec(8)), verdict: Rejected, reason: ReasonPrecision},
		{name: "helper_unknown", request: spec(socket(asm.BuiltinFunc(9999).Call(), asm.Return())), verdict: Rejected, reason: ReasonHelper},
		{name: "helper_of_other_type", request: spec(socket(asm.FnXdpAdjustHead.Call(), asm.Return())), verdict: Rejected, reason: ReasonHelper},
		{name: "helper_gpl_only", request: spec(&ebpf.ProgramSpec{Type: ebpf.Kprobe, License: "Proprietary",
			Instructions: asm.Instructions{asm.FnGetCurrentTask.Call(), asm.Return()}}), verdict: Rejected, reason: ReasonHelper},
		{name: "core_poisoned", request: spec(socket(asm.BuiltinFunc(0xbad2310).Call(), asm.Return())), verdict: Rejected, reason: ReasonBTF},
		{name: "kfunc_unknown", request: spec(program(ebpf.SchedCLS, asm.Instructions{{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: 1 << 30}, asm.Mov.Imm(asm.R0, 0), asm.Return()})), verdict: Rejected, reason: ReasonKfunc},
		{name: "map_of_wrong_type", request: over(lookup(), &ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}), verdict: Rejected, reason: ReasonMaps},
		{name: "tail_call_in_subprogram", request: over(program(ebpf.SocketFilter, asm.Instructions{
			asm.Call.Label("f"), asm.Return(),
			asm.LoadMapPtr(asm.R2, 0).WithReference("map").WithSymbol("f"), asm.Mov.Imm(asm.R3, 0), asm.FnTailCall.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return(),
		}), &ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}), verdict: Rejected, reason: ReasonBTF},
		{name: "reference_leaked", request: over(program(ebpf.SocketFilter, asm.Instructions{
			asm.LoadMapPtr(asm.R1, 0).WithReference("map"), asm.Mov.Imm(asm.R2, 8), asm.Mov.Imm(asm.R3, 0),
			asm.FnRingbufReserve.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return(),
		}), &ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 4096}), verdict: Rejected, reason: ReasonLock},
		{name: "return_value", request: spec(&ebpf.ProgramSpec{Type: ebpf.CGroupSock, AttachType: ebpf.AttachCGroupInetSockCreate, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 9), asm.Return()}}), verdict: Rejected, reason: ReasonReturn},
		{name: "type_unknown", request: spec(program(ebpf.ProgramType(9999), returnZero())), verdict: Rejected, reason: ReasonUnsupported, errno: unix.EINVAL},
		{name: "fentry_of_nothing", request: spec(fentry("lastgood_no_such_function")), verdict: Rejected, reason: ReasonUnsupported, phase: PhaseRelocate},
	}
}

// TestMeasureTracing has two right answers: where a host lets no one load tracing
// programs, that is not the program's fault and must not be called a rejection.
func TestMeasureTracing(t *testing.T) {
	needBPF(t)
	errno, _ := NewTrier().Prog(TryProg{Type: ebpf.Tracing, Attach: ebpf.AttachTraceFEntry, Insns: encode(t, returnZero())})
	forbidden := errno == unix.EPERM
	for _, tt := range []struct {
		name, to string
		verdict  Verdict
		reason   Reason
	}{
		{"resolved", "bpf_fentry_test1", Accepted, ""},
		{"unresolved", "", Rejected, ReasonUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Measure(t.Context(), Request{Spec: fentry(tt.to)})
			if forbidden {
				if m.Verdict != "" || m.Reason != ReasonPermission || m.Inconclusive == "" {
					t.Errorf("host forbids tracing programs: verdict %q reason %q inconclusive %q", m.Verdict, m.Reason, m.Inconclusive)
				}
				return
			}
			if m.Verdict != tt.verdict || m.Reason != tt.reason {
				t.Errorf("verdict %q reason %q, want %q %q: %s %s", m.Verdict, m.Reason, tt.verdict, tt.reason, m.Cause, m.Inconclusive)
			}
		})
	}
}

func fentry(to string) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: to, License: "GPL", Instructions: returnZero()}
}

func TestMeasureLive(t *testing.T) {
	needBPF(t)
	for _, tt := range liveCases() {
		t.Run(tt.name, func(t *testing.T) {
			var rec recorder
			m := measureWith(tt.request(t), rec.call)
			if m.Verdict != tt.verdict || m.Reason != tt.reason || m.Inconclusive != "" {
				t.Errorf("verdict %q reason %q inconclusive %q, want %q %q", m.Verdict, m.Reason, m.Inconclusive, tt.verdict, tt.reason)
			}
			if want := endPhase(tt); m.Phase != want {
				t.Errorf("phase = %q, want %q", m.Phase, want)
			}
			if tt.errno != 0 && m.Errno != tt.errno {
				t.Errorf("errno = %v, want %v", m.Errno, tt.errno)
			}
			if want := boolInt(tt.phase != PhaseRelocate); rec.loads != want {
				t.Errorf("%d loads, want %d", rec.loads, want)
			}
			if t.Failed() {
				t.Logf("errno %d, cause %q, log:\n%s", m.Errno, m.Cause, m.LogTail)
			}
			if *update && rec.loads > 0 {
				writeLog(t, tt, m, rec.log)
			}
			if tt.verdict == Accepted {
				checkAccepted(t, m)
			}
		})
	}
}

func endPhase(tt liveCase) Phase {
	switch {
	case tt.phase != "":
		return tt.phase
	case tt.verdict == Accepted:
		return PhaseInfo
	}
	return PhaseVerify
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkAccepted asks for what every kernel since 5.16 tells of a program.
func checkAccepted(t *testing.T, m Measurement) {
	t.Helper()
	if m.Stats.InsnsProcessed != m.VerifiedInsns {
		t.Errorf("log says %v insns, program info %v", m.Stats.InsnsProcessed, m.VerifiedInsns)
	}
	for name, v := range map[string]Opt[uint64]{"insns": m.Stats.InsnsProcessed, "xlated": m.XlatedBytes, "jited": m.JitedBytes, "memlock": m.MemlockBytes} {
		if n, ok := v.Get(); !ok || n == 0 {
			t.Errorf("%s = %v, want more than 0", name, v)
		}
	}
	if m.Stats.Subprograms.V < 1 || !m.Stats.VerificationSeconds.Set || m.LoadSeconds <= 0 {
		t.Errorf("subprograms %v, verification %v, load %v", m.Stats.Subprograms, m.Stats.VerificationSeconds, m.LoadSeconds)
	}
	if len(m.Errs) > 0 || len(m.Unknown) > 0 {
		t.Errorf("errors %q, unknown statistics %q", m.Errs, m.Unknown)
	}
}

// golden is the expectation beside a recorded log.
type golden struct {
	Errno   int    `json:"errno"`
	Insns   int    `json:"insns"`
	Verdict string `json:"verdict"`
	Phase   string `json:"phase"`
	Reason  string `json:"reason"`
	Cause   string `json:"cause"`
	Stats   Stats  `json:"stats"`
}

func goldenOf(m Measurement) golden {
	return golden{int(m.Errno), m.InsnCount, string(m.Verdict), string(m.Phase), string(m.Reason), m.Cause, m.Stats}
}

func writeLog(t *testing.T, tt liveCase, m Measurement, log string) {
	t.Helper()
	base := filepath.Join("testdata", "logs", "6.18_"+tt.name)
	if err := os.WriteFile(base+".log", []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(goldenOf(m), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(base+".json", append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// measureWith is Measure through another system call.
func measureWith(req Request, call bpfCall) Measurement {
	prog, m := newLoad(req, call).run(context.Background())
	if prog != nil {
		prog.close()
	}
	return m
}
