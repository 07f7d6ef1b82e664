package probes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// maxWrong is how many wrong results are told.
const maxWrong = 4

// trialTries is how often a trial is begun anew, with maps of its own, where a signal
// got between: a run that was interrupted may have changed its maps already.
const trialTries = 3

// outputPad is room for what a program makes a packet longer by.
const outputPad = 256

// behaviourStep runs one case and gives its subject.
func behaviourStep(b Behaviour, c BehaviourCase) func(context.Context, source.Host) []snapshot.Subject {
	return func(ctx context.Context, _ source.Host) []snapshot.Subject {
		s := snapshot.Subject{Kind: behaviourKind.Name, ID: b.Name + "/" + c.Name, Outcome: snapshot.Measured}
		s.Set("group", snapshot.Text(b.Name))
		trial, err := c.Build()
		if err == nil {
			err = trialDigest(&s, &trial)
		}
		if err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
			return []snapshot.Subject{s}
		}
		for range trialTries {
			if err = runTrial(ctx, &s, &trial); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		trialError(&s, err)
		return []snapshot.Subject{s}
	}
}

// trialDigest names the programs, the maps, the inputs and what is wanted of them.
func trialDigest(s *snapshot.Subject, t *Trial) error {
	h := sha256.New()
	programs := []Program{t.Program}
	for _, in := range t.Inserted {
		fmt.Fprintln(h, in.Array, in.Index)
		if in.Spec != nil {
			programs = append(programs, Program{Spec: in.Spec})
		}
	}
	for i := range programs {
		var of snapshot.Subject
		if err := digest(&of, &programs[i]); err != nil {
			return err
		}
		fmt.Fprintln(h, of.Text("program"))
	}
	for _, v := range t.Vectors {
		fmt.Fprintln(h, v.Return, len(v.In), len(v.Want))
		h.Write(v.In)
		h.Write(v.Want)
	}
	fmt.Fprintln(h, t.WantAfter)
	s.Set("program", snapshot.Text(hex.EncodeToString(h.Sum(nil)[:8])))
	return nil
}

// trialError is the outcome of a trial that could not be run to its end.
func trialError(s *snapshot.Subject, err error) {
	var missing *lackingError
	switch {
	case err == nil:
	case errors.As(err, &missing):
		lacking(s, missing.cause)
		s.Set("cause", snapshot.Text(s.Reason))
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, enotsupp):
		lacking(s, err.Error())
		s.Set("cause", snapshot.Text(s.Reason))
	default:
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
	}
}

// lackingError says that the kernel does not know something that a program is made of.
type lackingError struct{ cause string }

func (e *lackingError) Error() string { return "the kernel lacks something: " + e.cause }

// behaviourUnknown is what the verifier says that unknownToKernel does not name:
// check_atomic() of an operation that is not known, and check_btf_func() of a function
// that is only called back, which kernels before 5.13 (69c087ba6225) do not count.
var behaviourUnknown = []string{"invalid atomic opcode", "number of funcs in func_info doesn't match number of subprogs"}

// loadProgram loads a program for running. The caller closes it.
func loadProgram(ctx context.Context, spec *ebpf.ProgramSpec, maps map[string]*ebpf.Map) (*ebpf.Program, error) {
	prog, m := loader.Load(ctx, loader.Request{Spec: spec, Maps: maps, Types: btf.NewCache()})
	switch {
	case prog != nil:
		return prog, nil
	case m.Inconclusive != "":
		return nil, fmt.Errorf("load program: %s", m.Inconclusive)
	case lacks(&m), slices.ContainsFunc(behaviourUnknown, func(text string) bool { return strings.Contains(m.Cause, text) }):
		return nil, &lackingError{m.Cause}
	}
	return nil, fmt.Errorf("load program: refused in phase %s: %s", m.Phase, m.Cause)
}

// runTrial makes maps, loads, runs every vector and writes down what was wrong. An
// error means that it could not be told.
func runTrial(ctx context.Context, s *snapshot.Subject, t *Trial) error {
	made, err := loader.CreateMaps(t.Maps)
	if err != nil {
		return err
	}
	defer loader.CloseMaps(made)
	prog, err := loadProgram(ctx, t.Spec, made)
	if err != nil {
		return err
	}
	defer prog.Close()
	if err := insertAll(ctx, t, prog, made); err != nil {
		return err
	}
	var wrong []string
	vectors, room := 0, 0
	for i := range t.Vectors {
		room = max(room, len(t.Vectors[i].In)+outputPad, len(t.Vectors[i].Want)+outputPad)
	}
	out := make([]byte, room)
	for i := range t.Vectors {
		v := &t.Vectors[i]
		ran, err := loader.TestRun(ctx, prog, loader.Run{Data: v.In, Out: out})
		if err != nil {
			return err
		}
		vectors += max(v.Compared, 1)
		wrong = append(wrong, differences(t, v, ran)...)
	}
	if t.After != nil {
		got, err := t.After(made)
		if err != nil {
			return err
		}
		vectors++
		if got != t.WantAfter {
			wrong = append(wrong, fmt.Sprintf("in the maps: want %s, got %s", t.WantAfter, got))
		}
	}
	report(s, vectors, wrong)
	return nil
}

// insertAll fills the program arrays. The programs there are kept by the arrays, so
// their descriptors are closed at once.
func insertAll(ctx context.Context, t *Trial, self *ebpf.Program, made map[string]*ebpf.Map) error {
	for _, in := range t.Inserted {
		prog := self
		if in.Spec != nil {
			var err error
			if prog, err = loadProgram(ctx, in.Spec, made); err != nil {
				return err
			}
		}
		err := made[in.Array].Update(in.Index, uint32(prog.FD()), ebpf.UpdateAny)
		if prog != self {
			prog.Close()
		}
		if err != nil {
			return fmt.Errorf("insert program into %s: %w", in.Array, err)
		}
	}
	return nil
}

// report puts the answer into the subject.
func report(s *snapshot.Subject, vectors int, wrong []string) {
	s.Set("vectors", snapshot.Int(vectors))
	s.Set("result", snapshot.Text(resultRight))
	if len(wrong) == 0 {
		return
	}
	s.Set("result", snapshot.Text(resultWrong))
	told := slices.Clone(wrong[:min(len(wrong), maxWrong)])
	if more := len(wrong) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	s.Set("wrong", snapshot.Text(strings.Join(told, "; ")))
}

// differences says what a run left that it ought not to have, eight bytes a line:
// as wide as a register.
func differences(t *Trial, v *Vector, ran loader.Ran) []string {
	if ran.Return != v.Return {
		return []string{fmt.Sprintf("%s: want return value %#x, got %#x", v.What, v.Return, ran.Return)}
	}
	if len(ran.Out) != len(v.Want) {
		return []string{fmt.Sprintf("%s: want a packet of %d bytes, got %d", v.What, len(v.Want), len(ran.Out))}
	}
	if bytes.Equal(ran.Out, v.Want) {
		return nil
	}
	var wrong []string
	for at := 0; at < len(v.Want); at += 8 {
		end := min(at+8, len(v.Want))
		want, got := v.Want[at:end], ran.Out[at:end]
		if bytes.Equal(want, got) {
			continue
		}
		if t.Place == nil {
			wrong = append(wrong, fmt.Sprintf("%s: want %x at byte %d, got %x", v.What, want, at, got))
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s of %s: want %#x, got %#x", t.Place(at), v.What, number(want), number(got)))
	}
	return wrong
}
