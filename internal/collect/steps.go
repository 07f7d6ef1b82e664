package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lastgood/internal/boot"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// childMemory bounds a measuring process. It needs some tens of MiB; a request
// that goes far beyond is a fault, and must not be the host's.
const childMemory = 1 << 30

// maxChildren is how often a measuring process that died is replaced.
const maxChildren = 4

// runSteps runs the steps of all loading sources in child processes and returns
// their subjects, one source subject each, and what the kernel log said.
func runSteps(ctx context.Context, o *Options, sources []source.Source) []snapshot.Subject {
	r := &stepRun{o: o, got: map[string]int{}, took: map[string]time.Duration{}, taken: map[string]int{}}
	if !o.Host.Root.Live() {
		return r.finish(sources, &skipError{"a recorded host: nothing is measured on this kernel"})
	}
	if err := r.openGuard(); err != nil {
		return r.finish(sources, err)
	}
	left := o.Budget
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	r.tasks = plan(o, r.guard, sources, panicOnWarn(ctx, o.Host), left)
	r.watch = newWatch(ctx, o.Host)
	defer r.watch.close()
	var wg sync.WaitGroup
	order := inOrder(r.tasks, o.Jobs)
	for worker := range max(1, o.Jobs) {
		wg.Go(func() { r.drive(ctx, worker, order) })
	}
	wg.Wait()
	r.closeGuard()
	return r.finish(sources, nil)
}

// panicOnWarn says why risky steps stay out, or "". Where it cannot be told they stay out too.
func panicOnWarn(ctx context.Context, host source.Host) string {
	on, err := boot.PanicOnWarn(ctx, host.Root)
	switch {
	case err != nil:
		return fmt.Sprintf("only the safe set runs: could not tell whether this kernel panics on a warning: %v", err)
	case on:
		return "only the safe set runs: this kernel panics on a warning (kernel.panic_on_warn=1)"
	}
	return ""
}

// stepRun is the parent's side of measuring.
type stepRun struct {
	o     *Options
	tasks []task
	watch *watch
	guard Guard

	mu       sync.Mutex
	subjects []snapshot.Subject
	got      map[string]int           // source → subjects
	took     map[string]time.Duration // source → time in its steps
	refused  string
	steps    int            // begun so far
	taken    map[string]int // group → the worker that has it
}

// openGuard opens the crash guard, or says why nothing may be loaded without it.
func (r *stepRun) openGuard() error {
	if r.o.Guard == nil {
		if r.o.Unguarded == "" {
			return errors.New("nothing was loaded: there is no crash guard")
		}
		return nil
	}
	g, err := r.o.Guard(r.o.Host.Boot, r.o.Host.Build)
	if err == nil {
		r.guard = g
		return nil
	}
	if r.o.Unguarded == "" {
		return fmt.Errorf("nothing was loaded, for the crash guard cannot be written: %w", err)
	}
	r.o.Host.Log.Warn("no crash guard", "err", err, "because", r.o.Unguarded)
	return nil
}

func (r *stepRun) closeGuard() {
	if r.guard == nil {
		return
	}
	if err := r.guard.Close(); err != nil {
		r.o.Host.Log.Warn("close crash guard", "err", err)
	}
}

// finish gives every task that gave no subject one that says why, and every
// source its own.
func (r *stepRun) finish(sources []source.Source, err error) []snapshot.Subject {
	seen := map[snapshot.Key]bool{}
	for i := range r.subjects {
		seen[r.subjects[i].Key()] = true
	}
	reason := "not reached within the budget"
	for i := range r.tasks {
		t := &r.tasks[i]
		if seen[snapshot.Key{Kind: t.Kind, ID: t.ID}] || t.ID == "" {
			continue
		}
		switch {
		case r.refused != "":
		case t.skip != "":
			r.subjects = append(r.subjects, t.subject(snapshot.Skipped, t.skip))
		default:
			r.subjects = append(r.subjects, t.subject(snapshot.Inconclusive, reason))
		}
	}
	if err == nil && r.refused != "" {
		err = errors.New(r.refused)
	}
	for _, src := range sources {
		r.subjects = append(r.subjects, sourceSubject(src, err, r.got[src.Name], r.took[src.Name]))
	}
	if r.watch != nil {
		r.subjects = append(r.subjects, r.watch.subjects()...)
	}
	return r.subjects
}

// drive runs tasks in one child, and in another where that one died.
//
// All workers have all tasks before them; each takes the groups that no other took.
func (r *stepRun) drive(ctx context.Context, worker int, tasks []*task) {
	for range maxChildren {
		if len(tasks) == 0 || ctx.Err() != nil || !r.anyLeft(worker, tasks) {
			return
		}
		c := &child{run: r, worker: worker, tasks: tasks}
		err := c.measure(ctx)
		if err == nil || c.refused {
			return
		}
		r.o.Host.Log.Warn("measuring process died", "during", c.now, "err", err)
		at := c.died(ctx, err)
		tasks = tasks[at:]
	}
}

// claim gives a group to the worker who asks first. A worker whose process died in the
// middle of a group goes on with it in the next.
func (r *stepRun) claim(group string, worker int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if owner, taken := r.taken[group]; taken {
		return owner == worker
	}
	r.taken[group] = worker
	return true
}

// anyLeft spares a process that would find nothing to do.
func (r *stepRun) anyLeft(worker int, tasks []*task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(tasks, func(t *task) bool {
		owner, taken := r.taken[t.Group]
		return !taken || owner == worker
	})
}

func (r *stepRun) keep(source string, s snapshot.Subject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subjects = append(r.subjects, s)
	r.got[source]++
}

func (r *stepRun) progress(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	if r.o.Progress != nil {
		r.o.Progress(Progress{Done: r.steps - 1, Total: len(r.tasks), Now: group})
	}
}
