package probes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// stepOf runs one case and gives its subject.
func stepOf(f Family, c Case, types *btf.Cache) func(context.Context, source.Host) []snapshot.Subject {
	return func(ctx context.Context, _ source.Host) []snapshot.Subject {
		s := snapshot.Subject{Kind: probeKind.Name, ID: f.Name + "/" + c.Name, Outcome: snapshot.Measured}
		s.Set("family", snapshot.Text(f.Name))
		s.Set("shape", snapshot.Text(f.Shape))
		program, err := c.Build()
		if err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
			return []snapshot.Subject{s}
		}
		if err := digest(&s, &program); err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
			return []snapshot.Subject{s}
		}
		runProgram(ctx, &s, &program, types)
		interpret(&s, &c)
		return []snapshot.Subject{s}
	}
}

// runProgram makes the program's maps, loads it once and keeps what was measured.
func runProgram(ctx context.Context, s *snapshot.Subject, p *Program, types *btf.Cache) {
	made, err := loader.CreateMaps(p.Maps)
	if errors.Is(err, ebpf.ErrNotSupported) {
		lacking(s, err.Error())
		return
	}
	if err != nil {
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
		return
	}
	defer loader.CloseMaps(made)
	record(s, loader.Measure(ctx, loader.Request{Spec: p.Spec, Maps: made, Types: types}))
}

// record puts a measurement into a subject's attributes; what is not known is absent.
func record(s *snapshot.Subject, m loader.Measurement) {
	switch {
	case m.Inconclusive != "":
		s.Outcome, s.Reason = snapshot.Inconclusive, m.Inconclusive
	case lacks(&m):
		lacking(s, m.Cause)
	}
	setText(s, "verdict", string(m.Verdict))
	setText(s, "reason", string(m.Reason))
	setText(s, "phase", string(m.Phase))
	if m.Errno != 0 {
		setText(s, "errno", unix.ErrnoName(m.Errno))
	}
	if m.InsnCount > 0 {
		s.Set("insns", snapshot.Int(m.InsnCount))
	}
	recordStats(s, &m.Stats)
	setNumber(s, "xlated_bytes", m.XlatedBytes)
	setNumber(s, "jited_bytes", m.JitedBytes)
	setNumber(s, "memlock_bytes", m.MemlockBytes)
	setNumber(s, "verified_insns", m.VerifiedInsns)
	if m.LoadSeconds > 0 {
		s.Set("load_seconds", snapshot.Float(m.LoadSeconds))
	}
	setText(s, "cause", m.Cause)
	if m.Verdict != loader.Accepted {
		setText(s, "log_tail", m.LogTail)
	}
	setText(s, "unknown_log_lines", strings.Join(m.Unknown, "\n"))
	if len(m.Errs) > 0 {
		s.Fail("info", fmt.Errorf("%s", strings.Join(m.Errs, "; ")))
	}
}

// lacking says that the kernel has nothing that the program could be measured with.
func lacking(s *snapshot.Subject, cause string) {
	s.Outcome, s.Reason = snapshot.Unsupported, cmp.Or(cause, "the kernel does not know this kind of program")
	s.Set("offered", snapshot.Text("no"))
}

// unknownToKernel are texts of the verifier's about an instruction or a function that
// it does not know: the probe cannot be measured there, which is no verdict on what
// it is made of. They are of check_alu_op(), check_cond_jmp_op(), check_helper_call(),
// add_subprog_and_kfunc() and check_btf_func() in kernel/bpf/verifier.c, and of
// btf_prepare_func_args() in kernel/bpf/btf.c.
var unknownToKernel = []string{
	"unknown opcode", "reserved fields", "invalid BPF_ALU", "invalid BPF_JMP", "BPF_END uses", "invalid may_goto",
	"invalid func unknown#", "function calls to other bpf functions are allowed",
	"kernel function calls are not", "calling kernel function", "loading/calling other bpf or kernel functions",
	"kernel btf_id 4294967295 ", // what a call by name becomes where the kernel has no function of that name
	"unrecognized bpf_ld_imm64 insn",
	"number of funcs in func_info doesn't match", // where an address of a function is none, to 5.12, the function is none either
	") is not supported yet",                     // arguments of global functions that are pointers, to 5.11
}

// lacks tells whether a rejection means that the kernel is older than what the
// program is made of. It goes by what the kernel says, never by its version.
func lacks(m *loader.Measurement) bool {
	switch {
	case m.Verdict != loader.Rejected:
		return false
	case m.Reason == loader.ReasonUnsupported:
		return true
	case m.Phase == loader.PhaseRelocate: // a kfunc or a type that is not there
		return m.Reason == loader.ReasonKfunc || m.Reason == loader.ReasonBTF
	case m.Phase == loader.PhaseMapCreate: // a kind of map, or a flag
		return true
	}
	return slices.ContainsFunc(unknownToKernel, func(text string) bool { return strings.Contains(m.Cause, text) })
}

func setText(s *snapshot.Subject, attr, text string) {
	if text != "" {
		s.Set(attr, snapshot.Text(text))
	}
}

func setNumber[T ~int | ~int64 | ~uint64](s *snapshot.Subject, attr string, n loader.Opt[T]) {
	if v, ok := n.Get(); ok {
		s.Set(attr, snapshot.Int(v))
	}
}

// digest names the program: its insns before the kernel's addresses are filled in,
// and the shapes and contents of its maps.
func digest(s *snapshot.Subject, p *Program) error {
	code, err := loader.EncodeInsns(p.Spec.Instructions)
	if err != nil {
		return fmt.Errorf("digest program: %w", err)
	}
	h := sha256.New()
	fmt.Fprintln(h, p.Spec.Type, p.Spec.AttachType, p.Spec.AttachTo, p.Spec.Flags)
	h.Write(code)
	for i := range p.Spec.Instructions {
		ins := &p.Spec.Instructions[i]
		if ins.IsLoadFromMap() || ins.IsKfuncCall() { // by name until it is loaded
			fmt.Fprintln(h, i, ins.Reference())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Maps)) {
		m := p.Maps[name]
		fmt.Fprintln(h, name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, m.Contents)
	}
	s.Set("program", snapshot.Text(hex.EncodeToString(h.Sum(nil)[:8])))
	return nil
}

// interpret says what the counters of a deduction or a merge mean.
func interpret(s *snapshot.Subject, c *Case) {
	n, ok := s.Attrs["insns_processed"].Int()
	if !ok || s.Outcome != snapshot.Measured || s.Text("verdict") != string(loader.Accepted) {
		return
	}
	if c.Penalty > 0 {
		made := deductionMade
		if n >= int64(c.Penalty) {
			made = deductionNotMade
		}
		s.Set("deduction", snapshot.Text(made))
	}
	if c.Behind > 0 {
		behind := int64(c.Behind)
		s.Set("paths", snapshot.Int(max(1, (n+behind/2)/behind)))
	}
}

// recordStats keeps the verifier's own counters.
func recordStats(s *snapshot.Subject, st *loader.Stats) {
	setNumber(s, "insns_processed", st.InsnsProcessed)
	setNumber(s, "insns_limit", st.InsnsLimit)
	setNumber(s, "total_states", st.TotalStates)
	setNumber(s, "peak_states", st.PeakStates)
	setNumber(s, "max_states_per_insn", st.MaxStatesPerInsn)
	setNumber(s, "mark_read", st.MarkRead)
	setNumber(s, "subprograms", st.Subprograms)
	if v, ok := st.VerificationSeconds.Get(); ok {
		s.Set("verification_seconds", snapshot.Float(v))
	}
	if depth, ok := st.StackMax.Get(); ok {
		s.Set("stack_depth", snapshot.Int(depth))
	} else {
		setNumber(s, "stack_depth", st.DeepestFrame())
	}
	if len(st.StackDepths) > 0 {
		setText(s, "stack_depths", strings.Trim(strings.ReplaceAll(fmt.Sprint(st.StackDepths), " ", "+"), "[]"))
	}
}
