package boot

import (
	"context"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// KernelKind is the kind of the running kernel's condition.
const KernelKind = "boot.kernel"

var _ = catalogue.Add(source.Source{
	Name:  "kernel_state",
	Doc:   "The running kernel's condition: taint, lockdown, microcode, CPU mitigations.",
	Kinds: []snapshot.Kind{kernelKind},
	Read:  readKernel,
})

var kernelKind = snapshot.Kind{
	Name: KernelKind,
	Doc:  "The condition of the running kernel. What names the kernel is in the snapshot's identity.",
	Attrs: []snapshot.Attr{
		{Name: "taint", Better: snapshot.LowerBetter, Doc: "taint flags that are set, each as its letter and meaning"},
		{Name: "lockdown", Doc: "lockdown level: none, integrity or confidentiality"},
		{Name: "panic_on_warn", Doc: "whether a warning of the kernel's is a panic (kernel.panic_on_warn)"},
		{Name: "microcode_revisions", Unit: snapshot.Count, Better: snapshot.LowerBetter, Limit: 1, Doc: "how many microcode revisions the online CPUs run"},
		{Name: "microcode", Noise: snapshot.Evidence, Doc: "the microcode revisions that the online CPUs run"},
		{Name: "mitigations", Doc: "what the kernel does about each CPU vulnerability, as NAME=STATE"},
	},
	Rules: []snapshot.Rule{{
		Code: "kernel-tainted", On: snapshot.OnWorse, Attr: "taint", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "the kernel became tainted: {gained}",
		Hint:    "the kernel log says what set the flag (`journalctl -k -b`)",
	}, {
		Code: "lockdown-changed", On: snapshot.OnChanged, Attr: "lockdown", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
		Message: "kernel lockdown went from {old} to {new}",
		Hint:    "confidentiality keeps BPF programs from reading kernel memory; see `lockdown=` on the kernel command line and Secure Boot",
	}, {
		Code: "panic-on-warn-set", On: snapshot.OnBecomes, Attr: "panic_on_warn", From: []string{"no"}, To: []string{"yes"},
		Severity: snapshot.Info, Class: snapshot.ClassConfig,
		Message: "a kernel warning is now a panic (kernel.panic_on_warn=1): measurements near the kernel's limits are left out",
	}, {
		Code: "microcode-mixed", On: snapshot.OnAbove, Attr: "microcode_revisions", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
		Message: "the CPUs run {new} different microcode revisions",
		Hint:    "some CPUs did not take the update: load microcode early, from the initramfs, or update the firmware",
	}, {
		Code: "mitigation-changed", On: snapshot.OnChanged, Attr: "mitigations", Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "CPU mitigations changed: now [{gained}], before [{lost}]",
	}},
}

// readKernel gives one subject, "running". A recording that holds none of the
// files gives it as skipped.
func readKernel(ctx context.Context, host source.Host) ([]snapshot.Subject, error) {
	s := snapshot.Subject{Kind: KernelKind, ID: "running", Label: "running kernel", Outcome: snapshot.Measured}
	attr(ctx, host, &s, "taint", func(mask uint64) snapshot.Value { return snapshot.List(TaintFlags(mask)...) }, Taint)
	attr(ctx, host, &s, "lockdown", snapshot.Text[string], lockdown)
	attr(ctx, host, &s, "panic_on_warn", snapshot.Bool, PanicOnWarn)
	attr(ctx, host, &s, "mitigations", mitigationList, mitigations)
	if revisions := attr(ctx, host, &s, "microcode_revisions", revisionCount, microcode); len(revisions) > 0 {
		s.Set("microcode", snapshot.List(revisions...))
	}
	switch {
	case len(s.Attrs) > 0:
	case len(s.Errs) > 0:
		s.Outcome, s.Reason = snapshot.Inconclusive, "none of the kernel's own files could be read"
	default:
		s.Outcome, s.Reason = snapshot.Skipped, "the recording holds nothing of it"
	}
	return []snapshot.Subject{s}, nil
}

// attr reads one attribute into s: its value, or why it could not be read.
func attr[T any](ctx context.Context, host source.Host, s *snapshot.Subject, name string, value func(T) snapshot.Value, read func(context.Context, *sysfs.Root) (T, error)) T {
	v, err := read(ctx, host.Root)
	switch {
	case err == nil:
		s.Set(name, value(v))
	case !sysfs.Absent(err):
		s.Fail(name, err)
	}
	return v
}

func mitigationList(m map[string]string) snapshot.Value {
	var items []string
	for name, state := range m {
		items = append(items, name+"="+state)
	}
	return snapshot.List(items...)
}

// revisionCount is no value where CPUs do not name their microcode.
func revisionCount(revisions []string) snapshot.Value {
	if len(revisions) == 0 {
		return snapshot.Value{}
	}
	return snapshot.Int(len(revisions))
}
