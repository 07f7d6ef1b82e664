package collect

import (
	"context"
	"fmt"
	"strings"

	"lastgood/internal/boot"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// WarningKind is the kind of what the kernel said of itself while programs were
// loaded.
const WarningKind = "kernel.warning"

// Kinds declares the kinds that collecting itself gives.
func Kinds() []snapshot.Kind {
	return []snapshot.Kind{{
		Name: WarningKind,
		Doc: "A fault that the kernel reported about itself while a group of programs was loaded: new warnings in /dev/kmsg " +
			"and new taint flags. What else ran at that moment may be the cause as well.",
		Attrs: []snapshot.Attr{
			{Name: "lines", Noise: snapshot.Evidence, Doc: "the kernel's messages"},
			{Name: "taint", Noise: snapshot.Evidence, Doc: "the taint flags that came"},
		},
		Rules: []snapshot.Rule{{
			Code: "kernel-warned", On: snapshot.OnNew, Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "the kernel reported a fault of its own while {name} was measured",
			Hint:    "read the lines with `lastgood show`, and hold this kernel back until they are understood",
		}},
	}, {
		Name: snapshot.SourceKind,
		Doc:  "How one source of facts fared.",
		Attrs: []snapshot.Attr{
			{Name: snapshot.SourceKinds, Noise: snapshot.Evidence, Doc: "the kinds that the source vouches for"},
			{Name: snapshot.SourceSubjects, Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how many subjects it found"},
			{Name: snapshot.SourceTook, Unit: snapshot.Seconds, Noise: snapshot.Sampled, Doc: "how long it took"},
			{Name: snapshot.SourceUptime, Unit: snapshot.Seconds, Noise: snapshot.Evidence, Doc: "of `settle`, the wait for devices: how long after boot it ended"},
		},
	}}
}

// watch looks at the kernel log and the taint flags before and after each group.
type watch struct {
	ctx   context.Context
	host  source.Host
	log   *kernelLog
	err   error
	taint uint64
	found []snapshot.Subject
}

func newWatch(ctx context.Context, host source.Host) *watch {
	w := &watch{ctx: context.WithoutCancel(ctx), host: host}
	w.log, w.err = openKernelLog("/dev/kmsg")
	var err error
	if w.taint, err = boot.Taint(w.ctx, host.Root); err != nil && w.err == nil {
		w.err = err
	}
	return w
}

func (w *watch) close() {
	if w.log != nil {
		w.log.Close()
	}
}

// look gathers what came since the last look and attributes it to group.
func (w *watch) look(group string) {
	if w.log == nil || w.err != nil {
		return
	}
	messages, err := w.log.read()
	if err != nil {
		w.err = err
	}
	lines := alarming(messages)
	taint, err := boot.Taint(w.ctx, w.host.Root)
	if err != nil {
		w.err = err
		taint = w.taint
	}
	gained := taint &^ w.taint
	w.taint = taint
	if len(lines) == 0 && gained == 0 {
		return
	}
	s := snapshot.Subject{Kind: WarningKind, ID: group, Label: group, Outcome: snapshot.Measured}
	if len(lines) > 0 {
		s.Set("lines", snapshot.Text(clipLines(lines)))
	}
	if gained != 0 {
		s.Set("taint", snapshot.List(boot.TaintFlags(gained)...))
	}
	w.found = append(w.found, s)
}

// clipLines bounds the evidence of a flood.
func clipLines(lines []string) string {
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most:most], fmt.Sprintf("… and %d more", len(lines)-most))
	}
	return strings.Join(lines, "\n")
}

func (w *watch) subjects() []snapshot.Subject {
	src := source.Source{Name: "kernel_log", Kinds: Kinds()[:1]}
	return append(w.found, sourceSubject(src, w.err, len(w.found), 0))
}
