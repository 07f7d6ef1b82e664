// Package collect runs the sources and returns one Snapshot.
//
// Sources that read files run in this process, each within its time. Sources
// that load programs into the kernel run in a child process of the same binary,
// step by step: what was measured before a crash is kept, the step that crashed
// is named, and the rest goes on.
package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"lastgood/internal/boot"
	"lastgood/internal/footprint"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// Guard is the crash guard: it notes a group of steps before they run, so that
// a boot that finds the note open knows what brought the machine down.
type Guard interface {
	Begin(group string) error
	End(group string) error
	// Blocked lists the groups that must not run on this kernel, with the reason;
	// AnyGroup stands for all.
	Blocked() map[string]string
	Close() error
}

// AnyGroup in Guard.Blocked stands for every group.
const AnyGroup = "*"

// Options say what to collect and within which bounds.
type Options struct {
	Host    source.Host
	Sources []source.Source
	Tool    string // name and version, kept in the snapshot
	Phase   string // what asked for it, kept in the snapshot
	// Budget bounds the whole collection. The costliest steps that do not fit are
	// dropped beforehand, and said to be.
	Budget time.Duration
	// Jobs is how many child processes measure side by side, each on one CPU at a time.
	Jobs int
	// Guard opens the crash guard for this boot and this kernel's build-id. Where it fails
	// nothing is loaded, unless Unguarded says why that is safe.
	Guard     func(boot, build string) (Guard, error)
	Unguarded string
	// Hurry leaves the measuring process its ordinary priority: the workloads do not run
	// yet, and wait for it.
	Hurry bool
	// Input is handed to the measuring process, for it to make the same steps from.
	Input json.RawMessage
	// Child starts the measuring process; nil means this very binary.
	Child func() (string, []string, error)
	// Progress is told what goes on; it may be nil.
	Progress func(Progress)
}

// Progress says how far the collection is.
type Progress struct {
	Done, Total int
	Now         string // the group at work
}

// MinBudget is the least time that makes sense: reading the hardware alone takes some of it.
const MinBudget = 200 * time.Millisecond

// Run collects one snapshot. An error means that there is none; whatever could
// not be observed is in the snapshot as inconclusive or skipped.
func Run(ctx context.Context, o Options) (*snapshot.Snapshot, error) {
	if o.Budget < MinBudget {
		return nil, fmt.Errorf("collect snapshot: budget %v: less than %v", o.Budget, MinBudget)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Budget)
	defer cancel()
	s := &snapshot.Snapshot{Schema: snapshot.Schema, Tool: o.Tool, Taken: o.Host.Now().UTC(), Phase: o.Phase}
	o.Host.Boot, o.Host.Build = boot.Running(ctx, o.Host.Root)

	var mu sync.Mutex
	keep := func(subjects ...snapshot.Subject) {
		mu.Lock()
		defer mu.Unlock()
		s.Subjects = append(s.Subjects, subjects...)
	}
	var wg, measured sync.WaitGroup
	wg.Go(func() { s.Identity = boot.Identify(ctx, o.Host.Root) })
	var loading []source.Source
	for _, src := range o.Sources {
		if src.Steps != nil {
			loading = append(loading, src)
			continue
		}
		wg.Go(func() { keep(runReader(ctx, o.Host, src)...) })
	}
	if len(loading) > 0 {
		measured.Go(func() { keep(runSteps(ctx, &o, loading)...) })
	}
	wg.Wait()
	if len(loading) > 0 && o.Host.Root.Live() { // it waits for the measuring process now, which needs the memory
		footprint.Trim()
	}
	measured.Wait()
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("collect snapshot: interrupted")
	}
	s.Subjects = dropRepeats(s.Subjects)
	return s, s.Sort()
}

// runReader runs one source that reads files; a source that hangs, fails or
// panics costs its own subjects and nothing else.
func runReader(ctx context.Context, host source.Host, src source.Source) []snapshot.Subject {
	type answer struct {
		subjects []snapshot.Subject
		err      error
	}
	start := time.Now()
	done := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- answer{err: fmt.Errorf("read %s: fault in lastgood: %v", src.Name, p)}
			}
		}()
		subjects, err := src.Read(ctx, host)
		done <- answer{subjects, err}
	}()
	var a answer
	select {
	case a = <-done:
	case <-ctx.Done():
		a.err = fmt.Errorf("read %s: no answer within the budget", src.Name)
	}
	if a.err != nil && !errors.Is(a.err, source.ErrSkipped) {
		host.Log.Warn("source failed", "source", src.Name, "err", a.err)
	}
	return append(a.subjects, sourceSubject(src, a.err, len(a.subjects), time.Since(start)))
}

// sourceSubject says how a source fared.
func sourceSubject(src source.Source, err error, n int, took time.Duration) snapshot.Subject {
	s := snapshot.Subject{Kind: snapshot.SourceKind, ID: src.Name, Outcome: snapshot.Measured}
	var kinds []string
	for _, k := range src.Kinds {
		kinds = append(kinds, k.Name)
	}
	s.Set(snapshot.SourceKinds, snapshot.List(kinds...))
	s.Set(snapshot.SourceSubjects, snapshot.Int(n))
	s.Set(snapshot.SourceTook, snapshot.Float(took.Seconds()))
	var skip *skipError
	switch {
	case errors.As(err, &skip):
		s.Outcome, s.Reason = snapshot.Skipped, skip.why
	case errors.Is(err, source.ErrSkipped):
		s.Outcome, s.Reason = snapshot.Skipped, err.Error()
	case err != nil:
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
	}
	return s
}

// skipError marks a source that was not tried.
type skipError struct{ why string }

func (e *skipError) Error() string { return e.why }

// dropRepeats makes a key that two sources or two devices claim unique: the
// first keeps it, and says that there was another.
func dropRepeats(subjects []snapshot.Subject) []snapshot.Subject {
	seen := map[snapshot.Key]int{}
	out := subjects[:0]
	for _, s := range subjects {
		if at, repeat := seen[s.Key()]; repeat {
			out[at].Fail("id", fmt.Errorf("another %s answers to the same identity (%s): only one of them is followed", s.Kind, s.Name()))
			continue
		}
		seen[s.Key()] = len(out)
		out = append(out, s)
	}
	return out
}
