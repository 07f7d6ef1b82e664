package contract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// Watch tries the declared checks of this host again and again, side by side, until each has held for its stable_for or its time is over.
type Watch struct {
	loaded, done chan struct{}

	mu      sync.Mutex
	results []Result
	err     error // of what could not be read
}

// StartWatch reads the contracts of the host and begins. The context bounds it: what is not decided when it ends could not be told.
// baseline is what checks with same_as_baseline found at the last good boot, by id.
func StartWatch(ctx context.Context, h source.Host, baseline map[string][]string) *Watch {
	w := &Watch{loaded: make(chan struct{}), done: make(chan struct{})}
	go func() {
		ours, err := declaredHere(ctx, h)
		w.begin(ours, err)
		if len(w.results) == 0 {
			close(w.done)
			close(w.loaded)
			return
		}
		defer close(w.done)
		close(w.loaded)
		r := Runner{Host: h, Baseline: baseline}
		if r.Self, err = os.Executable(); err != nil {
			r.Self = "" // said where a check needs it
		}
		final := r.Wait(ctx, ours, w.take)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.results = final
	}()
	return w
}

// declaredHere are the contracts that are for this host.
func declaredHere(ctx context.Context, h source.Host) ([]Contract, error) {
	all, errLoad := Load(ctx, h.Root, Folder)
	ours, errMatch := Applying(ctx, h, all)
	return ours, errors.Join(errLoad, errMatch)
}

// begin makes a result of each check, none of which was tried.
func (w *Watch) begin(ours []Contract, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	for i := range ours {
		for n := range ours[i].Checks {
			k := &ours[i].Checks[n]
			res := k.result()
			res.Contract, res.State, res.Why = ours[i].Metadata.Name, Pending, "it was not tried yet"
			w.results = append(w.results, res)
		}
	}
}

func (w *Watch) take(res Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.IndexFunc(w.results, func(o Result) bool { return o.ID == res.ID }); i >= 0 {
		w.results[i] = res
	}
}

// Done is closed when every check is decided.
func (w *Watch) Done() <-chan struct{} { return w.done }

// Results are the newest of each check, with why a contract could not be read.
func (w *Watch) Results(ctx context.Context) ([]Result, error) {
	select {
	case <-w.loaded:
	case <-ctx.Done():
		return nil, fmt.Errorf("read contracts: %w", ctx.Err())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.results), w.err
}

// Source is the source of declared checks that tells what the watch found, in the place of the one that tries each once.
func (w *Watch) Source() source.Source {
	s := declaredSource
	s.Read = func(ctx context.Context, _ source.Host) ([]snapshot.Subject, error) {
		results, err := w.Results(ctx)
		return declaredSubjects(results, err)
	}
	return s
}
