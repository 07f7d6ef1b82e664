package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"lastgood/internal/source"
)

// State is what a check came to.
type State string

const (
	Pass    State = "pass"
	Fail    State = "fail"
	Pending State = "pending" // it does not hold, and its time has not come yet
	Unknown State = "unknown" // it could not be told
)

// Result is one check after its last try.
type Result struct {
	Contract, ID, Types    string
	Severity, OnRegression string
	State                  State
	Why                    string   // why it is not met, or could not be told
	Observed               []string // what it found, by stable names, sorted
	SameAs                 bool
	Took                   time.Duration // of the last try
	Tries                  int
}

// Runner runs declared checks.
type Runner struct {
	Host source.Host
	// Baseline is what checks with same_as_baseline found at the last good boot, by id; nil where there is none to
	// hold them to, and the judge does so instead.
	Baseline map[string][]string
	// Self is lastgood's own path, for checks of BPF objects; "" makes those unknown.
	Self string
	// Workers is how many tries are under way at once; 0 means 8.
	Workers int

	slots chan struct{}
	live  bool // of tests: the machine may be asked although the tree is a recorded one
}

const defaultWorkers = 8

// answer is what one try of one kind of check came to: met where why is empty.
type answer struct {
	why      string
	observed []string
	final    bool // waiting is no use
}

func met(observed ...string) (answer, error) { return answer{observed: observed}, nil }

func unmet(format string, args ...any) (answer, error) {
	return answer{why: fmt.Sprintf(format, args...)}, nil
}

// asker is a kind of check. Its error says that the answer could not be told.
type asker interface {
	ask(context.Context, *Runner) (answer, error)
}

// Applying keeps the contracts that are for this host. One of which that cannot be told is kept, and said in the error.
func Applying(ctx context.Context, h source.Host, all []Contract) ([]Contract, error) {
	var errs []error
	return slices.DeleteFunc(slices.Clone(all), func(c Contract) bool {
		yes, err := c.Matches(ctx, h)
		errs = append(errs, err)
		return err == nil && !yes
	}), errors.Join(errs...)
}

// Once tries every check once, side by side, and gives all results in the contracts' order. A check that does not hold and whose time has
// not come is pending.
func (r *Runner) Once(ctx context.Context, all []Contract) []Result {
	return r.each(ctx, all, r.once, nil)
}

// Wait tries each check again until it has held for as long as it must, or its time is over. tell is called after each try, by one caller at
// a time; nil is no one.
func (r *Runner) Wait(ctx context.Context, all []Contract, tell func(Result)) []Result {
	return r.each(ctx, all, r.wait, tell)
}

func (r *Runner) each(ctx context.Context, all []Contract, do func(context.Context, *Check, func(Result)) Result, tell func(Result)) []Result {
	r.slots = make(chan struct{}, max(r.Workers, 0))
	if r.Workers <= 0 {
		r.slots = make(chan struct{}, defaultWorkers)
	}
	var mu sync.Mutex
	say := func(res Result) {
		mu.Lock()
		defer mu.Unlock()
		if tell != nil {
			tell(res)
		}
	}
	var out []Result
	for _, c := range all {
		out = append(out, make([]Result, len(c.Checks))...)
	}
	var wait sync.WaitGroup
	n := 0
	for _, c := range all {
		for i := range c.Checks {
			res, k := &out[n], &c.Checks[i]
			n++
			wait.Go(func() {
				*res = do(ctx, k, func(res Result) { res.Contract = c.Metadata.Name; say(res) })
				res.Contract = c.Metadata.Name
			})
		}
	}
	wait.Wait()
	return out
}

// once is one try, weighed by the time since the kernel began.
func (r *Runner) once(ctx context.Context, k *Check, tell func(Result)) Result {
	res, final := r.try(ctx, k)
	if res.State == Fail && !final && !k.FailFast {
		if more := r.more(ctx, k); more != "" {
			res.State = Pending
			res.Why += "; " + more
		}
	}
	tell(res)
	return res
}

// more says what time the check has left in which to come to hold: "" where it has none. One that names no time has until the host
// has come up.
func (r *Runner) more(ctx context.Context, k *Check) string {
	if *k.Within == 0 {
		if why := settled(ctx, r.Host); why != nil {
			return why.Error()
		}
		return ""
	}
	up, err := uptime(ctx, r.Host.Root)
	if left := time.Duration(*k.Within) - up; err == nil && left > 0 {
		return fmt.Sprintf("it has %v more", left.Round(time.Second))
	}
	return ""
}

// wait tries until the check has held for stable_for, or its time is over.
func (r *Runner) wait(ctx context.Context, k *Check, tell func(Result)) Result {
	var since time.Time // since when it has held
	tries := 0
	for {
		res, final := r.try(ctx, k)
		tries++
		res.Tries = tries
		now := time.Now()
		over := true
		more := ""
		switch {
		case res.State == Pass:
			if since.IsZero() {
				since = now
			}
			over = now.Sub(since) >= time.Duration(*k.StableFor)
		case res.State == Fail && (final || k.FailFast):
		default:
			since = time.Time{}
			more = r.more(ctx, k)
			if more == "" && ctx.Err() != nil { // who was stopped cannot ask for the time
				return interrupted(res)
			}
			over = final || more == ""
		}
		tell(shown(res, over, more, time.Duration(*k.StableFor)))
		if over {
			return res
		}
		select {
		case <-time.After(time.Duration(*k.Every)):
		case <-ctx.Done():
			return interrupted(res)
		}
	}
}

// shown is a result for those who look on: pending while it is not the last one.
func shown(res Result, over bool, more string, stable time.Duration) Result {
	switch {
	case over:
	case res.State == Pass:
		res.State, res.Why = Pending, fmt.Sprintf("it holds, and must for %v", stable)
	default:
		res.State, res.Why = Pending, res.Why+"; "+more
	}
	return res
}

// interrupted is a check that was not waited for to its end.
func interrupted(res Result) Result {
	if res.State == Pass {
		res.Why = "it held, and was not waited for to go on so: lastgood was stopped"
	} else {
		res.Why += "; lastgood was stopped before its time was over"
	}
	res.State = Unknown
	return res
}

// result is a check's before anything was found.
func (k *Check) result() Result {
	var types []string
	for _, p := range k.parts() {
		types = append(types, p.name)
	}
	return Result{ID: k.ID, Severity: k.Severity, OnRegression: k.OnRegression, SameAs: k.SameAs, State: Pass, Tries: 1, Types: strings.Join(types, ",")}
}

// try runs all kinds of one check, under its hard deadline.
func (r *Runner) try(ctx context.Context, k *Check) (res Result, final bool) {
	res = k.result()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		res.State, res.Why = Unknown, "it was not tried: no time was left"
		return res, false
	}
	start := time.Now()
	defer func() { res.Took = time.Since(start) }()
	var fails, doubts []string
	for _, p := range k.parts() {
		a, err := r.part(ctx, k, p)
		if err != nil {
			doubts = append(doubts, p.name+": "+err.Error())
		} else if a.why != "" {
			fails = append(fails, a.why)
		}
		final = final || a.final
		res.Observed = append(res.Observed, a.observed...)
	}
	slices.Sort(res.Observed)
	res.Observed = slices.Compact(res.Observed)
	if k.SameAs && len(doubts) == 0 {
		fails = append(fails, r.lost(k.ID, res.Observed)...)
	}
	switch {
	case len(fails) > 0:
		res.State, res.Why = Fail, strings.Join(append(fails, doubts...), "; ")
	case len(doubts) > 0:
		res.State, res.Why = Unknown, strings.Join(doubts, "; ")
	}
	return res, final
}

// lost says what the check found at the last good boot and does not now.
func (r *Runner) lost(id string, observed []string) []string {
	var gone []string
	for _, o := range r.Baseline[id] {
		if !slices.Contains(observed, o) {
			gone = append(gone, o)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s of the last good boot %s missing", listed(gone), isAre(len(gone)))}
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// listed is a list of names for a person, cut short.
func listed(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// part asks one kind, and gives up on it when its deadline is past even where it never comes back.
func (r *Runner) part(ctx context.Context, k *Check, p part) (a answer, err error) {
	limit := time.Duration(*k.Timeout)
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// What ends by its own deadline says more than what is given up on.
	return within(ctx, limit+2*stopGrace, func() (a answer, err error) {
		defer func() {
			if fault := recover(); fault != nil {
				err = fmt.Errorf("fault in lastgood: %v", fault)
			}
		}()
		return p.value.(asker).ask(inner, r)
	})
}
