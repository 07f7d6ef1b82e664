package compare

import (
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// TrendCode is the code of the findings that Trend makes. No kind's rule makes them, for
// a rule sees two boots and a trend takes three.
const TrendCode = "headroom-trend"

// TrendKernels is how many kernels a trend takes at least.
const TrendKernels = 3

// trendKinds are the kinds that are looked at: programs of the node's own.
var trendKinds = []string{"bpf.loaded", "bpf.program"}

// Attributes of these kinds that a trend is made of.
const (
	trendAttr    = "insns_processed"
	trendLimit   = "insns_limit"
	trendProgram = "program" // digest of the program, where its kind has one
)

// KernelBoot is what was measured at one boot of a kernel.
type KernelBoot struct {
	Release  string
	Snapshot *snapshot.Snapshot
}

// Trend finds programs that took half of what was left of the verifier's limit, or more,
// at each of the last kernels: they are accepted today and will break if it goes on. The
// boots are given oldest first, the last one being judged; of a kernel that ran several
// times the newest boot counts. A finding takes TrendKernels kernels. Programs that are
// known to be others than they were are not followed across the change.
func Trend(boots []KernelBoot) []snapshot.Finding {
	kernels := newestOfEach(boots)
	if len(kernels) < TrendKernels {
		return nil
	}
	var out []snapshot.Finding
	now := kernels[len(kernels)-1].Snapshot
	for i := range now.Subjects {
		s := &now.Subjects[i]
		if !slices.Contains(trendKinds, s.Kind) {
			continue
		}
		if steps := fallingSteps(kernels, s); len(steps) >= TrendKernels {
			out = append(out, trendFinding(s, steps))
		}
	}
	return out
}

// MayTrend reports whether a program of the snapshot has so little left that Trend may
// find something: whoever halves what is left twice ends at a quarter or less. It spares
// reading the history of a node where all is well.
func MayTrend(s *snapshot.Snapshot) bool {
	return slices.ContainsFunc(s.Subjects, func(sub snapshot.Subject) bool {
		if !slices.Contains(trendKinds, sub.Kind) {
			return false
		}
		left, ok := headroom(&sub)
		return ok && left <= 1.0/(1<<(TrendKernels-1))
	})
}

// newestOfEach keeps the newest boot of each kernel, in order of these boots.
func newestOfEach(boots []KernelBoot) []KernelBoot {
	var out []KernelBoot
	for _, b := range slices.Backward(boots) {
		if !slices.ContainsFunc(out, func(o KernelBoot) bool { return o.Release == b.Release }) {
			out = append(out, b)
		}
	}
	slices.Reverse(out)
	return out
}

// trendStep is what a program took on one kernel.
type trendStep struct {
	release string
	insns   snapshot.Value
	left    float64
}

// fallingSteps are the last kernels at each of which the program had half or less of
// what it had at the one before, oldest first. A kernel on which it was not measured is
// passed over: the program was not there, or the kernel does not count.
func fallingSteps(kernels []KernelBoot, now *snapshot.Subject) []trendStep {
	var back []trendStep // newest first
	for _, k := range slices.Backward(kernels) {
		s := k.Snapshot.Subject(now.Key())
		if s == nil {
			continue
		}
		left, ok := headroom(s)
		if !ok {
			continue
		}
		if s.Text(trendProgram) != now.Text(trendProgram) {
			break
		}
		if n := len(back); n > 0 && (back[n-1].left > left/2 || back[n-1].left == left) {
			break
		}
		back = append(back, trendStep{k.Release, s.Attrs[trendAttr], left})
	}
	// The judged kernel must be part of it.
	if len(back) == 0 || back[0].release != kernels[len(kernels)-1].Release {
		return nil
	}
	slices.Reverse(back)
	return back
}

// headroom is the share of the limit that a measured program leaves, and whether it can be told.
func headroom(s *snapshot.Subject) (float64, bool) {
	if s.Outcome != snapshot.Measured {
		return 0, false
	}
	n, ok1 := s.Attrs[trendAttr].Number()
	limit, ok2 := s.Attrs[trendLimit].Number()
	if !ok1 || !ok2 || limit <= 0 || n > limit {
		return 0, false
	}
	return 1 - n/limit, true
}

func trendFinding(s *snapshot.Subject, steps []trendStep) snapshot.Finding {
	var told []string
	for _, step := range steps {
		told = append(told, fmt.Sprintf("%s %.0f %%", step.release, step.left*100))
	}
	first, last := steps[0].insns, steps[len(steps)-1].insns
	return snapshot.Finding{
		Code: TrendCode, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Subject: snapshot.SubjectRef{Kind: s.Kind, ID: s.ID, Label: s.Label},
		Attr:    trendAttr, Old: &first, New: &last,
		Message: fmt.Sprintf("%s: half of the headroom or more went at each of the last %d kernels: %s", s.Name(), len(steps)-1, strings.Join(told, ", ")),
		Hint:    "one more kernel like these and the verifier may refuse the program: make it smaller, or see whether its agent has a newer one",
	}
}
