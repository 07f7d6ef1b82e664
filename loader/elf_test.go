package loader

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// TestMeasureELF measures programs of a real object file: maps, read-only data,
// global and static functions with BTF, CO-RE, kfuncs, variables of the kernel.
func TestMeasureELF(t *testing.T) {
	needBPF(t)
	types := btf.NewCache()
	if _, err := types.Kernel(); err != nil {
		t.Fatalf("this kernel has no BTF: %v", err)
	}
	for _, tt := range []struct {
		program string
		verdict Verdict
		phase   Phase
		reason  Reason
		library bool // resolved and loaded by cilium/ebpf
	}{
		{program: "functions", verdict: Accepted, phase: PhaseInfo},
		{program: "core", verdict: Accepted, phase: PhaseInfo},
		{program: "core_lost", verdict: Rejected, phase: PhaseVerify, reason: ReasonBTF},
		{program: "kfunc", verdict: Accepted, phase: PhaseInfo},
		{program: "kfunc_lost", verdict: Rejected, phase: PhaseRelocate, reason: ReasonKfunc, library: true},
		{program: "kfunc_weak", verdict: Accepted, phase: PhaseInfo, library: true},
		{program: "ksym_lost", verdict: Rejected, phase: PhaseRelocate, reason: ReasonUnsupported, library: true},
		{program: "ksym", verdict: Accepted, phase: PhaseInfo, library: true},
		{program: "kconfig", verdict: Accepted, phase: PhaseInfo, library: true},
		{program: "fentry_lost", verdict: Rejected, phase: PhaseRelocate, reason: ReasonUnsupported},
	} {
		t.Run(tt.program, func(t *testing.T) {
			req := elfRequest(t, tt.program)
			req.Types = types
			before := len(req.Spec.Instructions)
			var rec recorder
			m := measureWith(req, rec.call)
			if m.Verdict != tt.verdict || m.Phase != tt.phase || m.Reason != tt.reason {
				t.Errorf("verdict %q phase %q reason %q, want %q %q %q: %s %s\n%s", m.Verdict, m.Phase, m.Reason, tt.verdict, tt.phase, tt.reason, m.Cause, m.Inconclusive, m.LogTail)
			}
			if want := boolInt(!tt.library && tt.phase != PhaseRelocate); rec.loads != want {
				t.Errorf("%d loads of our own, want %d", rec.loads, want)
			}
			if tt.verdict == Accepted {
				checkAccepted(t, m)
			}
			if len(req.Spec.Instructions) != before {
				t.Error("the request was changed")
			}
		})
	}
}

func elfRequest(t *testing.T, program string) Request {
	t.Helper()
	coll, err := ebpf.LoadCollectionSpec("testdata/elf.o")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := CreateMaps(coll.Maps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseMaps(maps) })
	spec := coll.Programs[program]
	if spec == nil {
		t.Fatalf("testdata/elf.o has no program %s", program)
	}
	return Request{Spec: spec, Maps: maps}
}

// TestMeasureAgreesWithLibrary holds our own linking against the library's.
func TestMeasureAgreesWithLibrary(t *testing.T) {
	needBPF(t)
	for _, program := range []string{"functions", "core", "kfunc"} {
		t.Run(program, func(t *testing.T) {
			req := elfRequest(t, program)
			ours := Measure(t.Context(), req)

			l := newLoad(req, bpf)
			spec := req.Spec.Copy()
			if err := bindMaps(spec.Instructions, req.Maps); err != nil {
				t.Fatal(err)
			}
			var out outcome
			prog := l.throughLibrary(&linkedProgram{spec: spec}, &out)
			if prog == nil {
				t.Fatalf("the library's load failed: %v %s", out.errno, out.log)
			}
			defer prog.close()
			theirs := out.measurement()
			readInfo(bpf, prog.prog.FD(), &theirs)
			if ours.Stats.Subprograms != theirs.Stats.Subprograms || ours.Stats.InsnsProcessed != theirs.Stats.InsnsProcessed ||
				ours.XlatedBytes != theirs.XlatedBytes || ours.JitedBytes != theirs.JitedBytes {
				t.Errorf("ours %+v\ntheirs %+v", ours, theirs)
			}
		})
	}
}

func TestFunctionsAreSeparate(t *testing.T) {
	needBPF(t)
	m := Measure(t.Context(), elfRequest(t, "functions"))
	if m.Stats.Subprograms != Some(3) || len(m.Stats.StackDepths) != 3 {
		t.Errorf("subprograms %v, stacks %v, want 3: main, check and twice", m.Stats.Subprograms, m.Stats.StackDepths)
	}
}

// TestLoadKeepsProgram runs the loaded program, as later phases do.
func TestLoadKeepsProgram(t *testing.T) {
	needBPF(t)
	for _, program := range []string{"functions", "kconfig"} {
		prog, m := Load(t.Context(), elfRequest(t, program))
		if prog == nil {
			t.Fatalf("%s: %+v", program, m)
		}
		ret, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
		if err != nil || program == "kconfig" && ret != 1 {
			t.Errorf("%s returned %d: %v", program, ret, err)
		}
		if err := prog.Close(); err != nil {
			t.Error(err)
		}
	}
	if prog, m := Load(t.Context(), Request{Spec: stack(520)}); prog != nil || m.Verdict != Rejected {
		t.Errorf("program %v of a rejected load, %+v", prog, m)
	}
}

// TestSmallLogIsNotRetried gives the log too little room: cilium/ebpf would load
// again, this package must not.
func TestSmallLogIsNotRetried(t *testing.T) {
	needBPF(t)
	var rec recorder
	m := measureWith(Request{Spec: subprograms(256), LogSize: minLogSize}, rec.call)
	if rec.loads != 1 || m.Verdict != Accepted || m.Stats.Subprograms != Some(256) {
		t.Errorf("%d loads, verdict %q, subprograms %v", rec.loads, m.Verdict, m.Stats.Subprograms)
	}
	rec = recorder{}
	m = measureWith(Request{Spec: socket(returnZero()...)}, func(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
		if cmd == unix.BPF_PROG_LOAD {
			(*progLoadAttr)(attr).logSize = 64 // the kernel keeps the tail
		}
		return rec.call(cmd, attr, size)
	})
	if rec.loads != 1 || m.Verdict != "" || !strings.Contains(m.Inconclusive, "did not fit") {
		t.Errorf("%d loads, %q %q", rec.loads, m.Verdict, m.Inconclusive)
	}
}
