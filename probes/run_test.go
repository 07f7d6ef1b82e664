package probes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// measureAll runs the whole catalogue the way the child process does.
func measureAll(t *testing.T) (map[string]snapshot.Subject, time.Duration) {
	t.Helper()
	out := map[string]snapshot.Subject{}
	start := time.Now()
	for _, step := range probeSteps(source.Host{}) {
		subjects := step.Run(context.Background(), source.Host{})
		if len(subjects) != 1 || subjects[0].Kind != step.Kind || subjects[0].ID != step.ID {
			t.Fatalf("step %s gave %+v, want the one subject that it names", step.ID, subjects)
		}
		out[step.ID] = subjects[0]
	}
	return out, time.Since(start)
}

// exact keeps the attributes that must not vary from load to load.
func exact(all map[string]snapshot.Subject) map[string]snapshot.Attrs {
	out := map[string]snapshot.Attrs{}
	for id, s := range all {
		out[id] = snapshot.Attrs{}
		for name, v := range s.Attrs {
			if decl, ok := probeKind.Attr(name); !ok || decl.Noise == snapshot.Exact {
				out[id][name] = v
			}
		}
	}
	return out
}

// TestProbesOnThisKernel loads everything twice: what comes out is well formed and
// equal, and nothing is left open.
func TestProbesOnThisKernel(t *testing.T) {
	needCensus(t)
	measureAll(t) // whatever is opened once and for all
	before := openFiles(t)
	first, took := measureAll(t)
	second, _ := measureAll(t)
	if d := cmp.Diff(exact(first), exact(second), cmp.Comparer(snapshot.Value.Equal)); d != "" {
		t.Errorf("two runs differ:\n%s", d)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
	for id, s := range first {
		checkProbe(t, id, &s)
	}
	t.Logf("%d cases of %d families took %v", len(first), len(Families()), took)
}

func checkProbe(t *testing.T, id string, s *snapshot.Subject) {
	t.Helper()
	for name := range s.Attrs {
		if _, ok := probeKind.Attr(name); !ok {
			t.Errorf("%s: attribute %s is not declared", id, name)
		}
	}
	switch s.Outcome {
	case snapshot.Unsupported:
		if s.Reason == "" || s.Text("offered") != "no" {
			t.Errorf("%s is unsupported and does not say by what: %+v", id, s)
		}
		return
	case snapshot.Measured:
	default:
		t.Errorf("%s: %s, %s", id, s.Outcome, s.Reason)
		return
	}
	verdict := s.Text("verdict")
	if _, ok := s.Attrs["insns_processed"].Int(); !ok || verdict == "" || s.Text("program") == "" || len(s.Errs) > 0 {
		t.Errorf("%s is measured in part only: %+v", id, s)
	}
	// A mechanism probe is made to be taken. The two sides of limits, and reads of
	// stack that this kernel refuses, are looked at by themselves.
	if verdict != "accepted" && s.Text("shape") != string(Limit) && s.Text("family") != "accept_stack_read" {
		t.Errorf("%s is refused: %s", id, s.Text("cause"))
	}
	if unknown := s.Text("unknown_log_lines"); unknown != "" {
		t.Errorf("%s: the log has lines that nobody knows: %s", id, unknown)
	}
}

// TestExplodedProbesOnlyWarn: a merge that is lost altogether makes no critical
// finding by itself, which takes a growth of 20,000 insns.
func TestExplodedProbesOnlyWarn(t *testing.T) {
	needCensus(t)
	all, _ := measureAll(t)
	for id, s := range all {
		if n, _ := s.Attrs["insns_processed"].Int(); s.Text("shape") == string(Merge) && n >= 20_000 {
			t.Errorf("%s takes %d insns, want fewer than 20,000", id, n)
		}
	}
}

// TestLimits: the kernel's limits are the same on all kernels that have them, bar
// the sizes of stack.
func TestLimits(t *testing.T) {
	needCensus(t)
	want := map[string]string{
		"limit_call_depth/beyond": "call_depth", "limit_functions/beyond": "subprograms", "limit_insns/beyond": "too_complex",
		"limit_jump_sequence/beyond": "jump_sequence", "limit_maps/beyond": "maps", "limit_packet/beyond": "precision",
		"limit_packet/variable_beyond": "precision", "limit_stack/beyond": "stack", "limit_stack_of_calls/beyond": "stack",
		"limit_stack_of_calls/eight_beyond": "stack", "limit_tail_call/beyond": "stack",
	}
	either := map[string]bool{"limit_stack_of_calls/tracing_beyond": true, "limit_stack_of_calls/rounding": true}
	all, _ := measureAll(t)
	for id, s := range all {
		if s.Text("shape") != string(Limit) || s.Outcome == snapshot.Unsupported || either[id] {
			continue
		}
		verdict := "accepted"
		if want[id] != "" {
			verdict = "rejected"
		}
		if s.Text("verdict") != verdict || s.Text("reason") != want[id] {
			t.Errorf("%s: %s %s, want %s %s: %s", id, s.Text("verdict"), s.Text("reason"), verdict, want[id], s.Text("cause"))
		}
	}
	if n, _ := all["limit_insns/within"].Attrs["insns_processed"].Int(); n != 1_000_000 {
		t.Errorf("limit_insns/within walks %d insns, want 1,000,000 and no fewer", n)
	}
}

// notMade lists what a 6.18 kernel does not deduce, and since when others do. All
// else in the deduction families it deduces.
var notMade = map[string]string{
	"deduce_call/beside_buffer":                "never: helpers make the whole slot unknown",
	"deduce_division/quotient":                 "7.0",
	"deduce_division/quotient_half":            "7.0",
	"deduce_division/quotient_unknown_half":    "7.0",
	"deduce_division/remainder":                "7.0",
	"deduce_division/remainder_half":           "7.0",
	"deduce_division/remainder_small":          "7.0",
	"deduce_fill/high_word_constant":           "never so far",
	"deduce_fill/shifted_constant_byte":        "never so far",
	"deduce_known_bits/two_values":             "7.2",
	"deduce_link/copy_extended_unknown":        "never so far",
	"deduce_link/copy_plus_twice":              "never so far",
	"deduce_link/equal_registers":              "never so far",
	"deduce_link_spill/spilled_plus":           "never so far",
	"deduce_lookup/bounded_key":                "never so far",
	"deduce_lookup/key_too_high":               "never: it would be wrong",
	"deduce_not_equal/inside_range":            "7.2",
	"deduce_not_equal/same_constant":           "7.2",
	"deduce_same_register/below_itself":        "6.19",
	"deduce_same_register/minus_itself":        "never so far",
	"deduce_same_register/not_equal_copy":      "never so far",
	"deduce_same_register/not_equal_itself":    "6.19",
	"deduce_same_register/xor_itself":          "never so far",
	"deduce_shift/left_by_register":            "never so far",
	"deduce_signed_division/quotient":          "7.0",
	"deduce_signed_division/remainder":         "7.0",
	"deduce_zero_stack/joined_halves":          "never so far",
	"deduce_zero_stack/rest_of_spilled_zero":   "before 6.12",
	"deduce_zero_stack/rest_of_zero":           "before 6.12",
	"deduce_zero_stack/unknown_offset":         "before 6.12, and 7.3",
	"deduce_zero_stack/unknown_offset_spilled": "before 6.12, and 7.3",
}

// TestDeductions is the table of what this series of kernels is known to prove.
func TestDeductions(t *testing.T) {
	needCensus(t)
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	if release := unix.ByteSliceToString(uts.Release[:]); !strings.HasPrefix(release, "6.18.44") {
		t.Skipf("the table is of 6.18.44, this is %s: stable kernels gain and lose deductions", release)
	}
	all, _ := measureAll(t)
	for id, s := range all {
		got := s.Text("deduction")
		if got == "" {
			continue
		}
		want := deductionMade
		if notMade[id] != "" {
			want = deductionNotMade
		}
		if got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	for id := range notMade {
		if _, ok := all[id]; !ok {
			t.Errorf("%s is in the table and not in the catalogue", id)
		}
	}
}

// TestKernelThatLacksSomething: it is unsupported, neither refused nor inconclusive.
func TestKernelThatLacksSomething(t *testing.T) {
	needCensus(t)
	for name, ins := range map[string]asm.Instruction{
		"helper":          asm.BuiltinFunc(9999).Call(),
		"kernel function": kernelFunction("bpf_of_no_kernel"),
	} {
		c := Case{Name: "x", Doc: "x", Build: func() (Program, error) {
			return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: append(asm.Instructions{ins}, ending()...)}}, nil
		}}
		s := stepOf(Family{Name: "x", Shape: Merge}, c, btf.NewCache())(context.Background(), source.Host{})[0]
		if s.Outcome != snapshot.Unsupported || s.Reason == "" {
			t.Errorf("%s: %s %q, want unsupported: %v", name, s.Outcome, s.Reason, s.Attrs)
		}
	}
}

func TestLacks(t *testing.T) {
	for _, test := range []struct {
		m    loader.Measurement
		want bool
	}{
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonInstruction, Cause: "unknown opcode e5"}, true},
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonInstruction, Cause: "BPF_MOV uses reserved fields"}, true},
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonHelper, Cause: "invalid func unknown#181"}, true},
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonBTF, Cause: "number of funcs in func_info doesn't match number of subprogs"}, true},
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonBTF, Cause: "Arg#0 type PTR in function() is not supported yet."}, true},
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonUnsupported}, true},
		{loader.Measurement{Verdict: loader.Rejected, Phase: loader.PhaseRelocate, Reason: loader.ReasonKfunc}, true},
		{loader.Measurement{Verdict: loader.Rejected, Phase: loader.PhaseVerify, Reason: loader.ReasonKfunc, Cause: "expected an initialized iter_num"}, false},
		{loader.Measurement{Verdict: loader.Rejected, Reason: loader.ReasonMemoryAccess, Cause: "invalid size of register fill"}, false},
		{loader.Measurement{Verdict: loader.Accepted}, false},
		{loader.Measurement{Inconclusive: "no memory"}, false},
	} {
		if got := lacks(&test.m); got != test.want {
			t.Errorf("%+v: %v, want %v", test.m, got, test.want)
		}
	}
}

// TestInterpret: what the counters of one program mean.
func TestInterpret(t *testing.T) {
	for _, test := range []struct {
		name    string
		c       Case
		verdict string
		insns   int
		want    snapshot.Attrs
	}{
		{"made", Case{Penalty: 80}, "accepted", 12, snapshot.Attrs{"deduction": snapshot.Text("made")}},
		{"not made", Case{Penalty: 80}, "accepted", 92, snapshot.Attrs{"deduction": snapshot.Text("not made")}},
		{"refused", Case{Penalty: 80}, "rejected", 12, snapshot.Attrs{}},
		{"merged", Case{Behind: 280}, "accepted", 341, snapshot.Attrs{"paths": snapshot.Int(1)}},
		{"exploded", Case{Behind: 280}, "accepted", 8972, snapshot.Attrs{"paths": snapshot.Int(32)}},
		{"neither", Case{}, "accepted", 8972, snapshot.Attrs{}},
	} {
		s := snapshot.Subject{Outcome: snapshot.Measured}
		s.Set("verdict", snapshot.Text(test.verdict))
		s.Set("insns_processed", snapshot.Int(test.insns))
		interpret(&s, &test.c)
		delete(s.Attrs, "verdict")
		delete(s.Attrs, "insns_processed")
		if d := cmp.Diff(test.want, s.Attrs, cmp.Comparer(snapshot.Value.Equal)); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

// TestAbsentIsNotZero: what a kernel does not say is no attribute.
func TestAbsentIsNotZero(t *testing.T) {
	s := snapshot.Subject{Outcome: snapshot.Measured}
	record(&s, loader.Measurement{Verdict: loader.Accepted, Phase: loader.PhaseInfo, Stats: loader.Stats{InsnsProcessed: loader.Some(uint64(0))}})
	want := snapshot.Attrs{"verdict": snapshot.Text("accepted"), "phase": snapshot.Text("info"), "insns_processed": snapshot.Int(0)}
	if d := cmp.Diff(want, s.Attrs, cmp.Comparer(snapshot.Value.Equal)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestAFamilyIsOneFile: a family stands in one file, and that file holds nothing that
// lists others.
func TestAFamilyIsOneFile(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Families() {
		found := 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			declares := strings.Contains(string(text), `Name: "`+f.Name+`"`) || strings.Contains(string(text), `Family("`+f.Name+`"`)
			if !strings.HasSuffix(file, "_test.go") && declares {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s is named in %d files, want 1", f.Name, found)
		}
	}
}
