package collect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
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
	r := &stepRun{o: o, got: map[string]int{}, took: map[string]time.Duration{}}
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
	for _, part := range share(r.tasks, o.Jobs) {
		wg.Go(func() { r.drive(ctx, part) })
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
	steps    int // begun so far
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
func (r *stepRun) drive(ctx context.Context, tasks []*task) {
	for range maxChildren {
		if len(tasks) == 0 || ctx.Err() != nil {
			return
		}
		c := &child{run: r, tasks: tasks}
		err := c.measure(ctx)
		if err == nil || c.refused {
			return
		}
		r.o.Host.Log.Warn("measuring process died", "during", c.now, "err", err)
		at := c.died(ctx, err)
		tasks = tasks[at:]
	}
}

// child is one measuring process and what it has told so far.
type child struct {
	run     *stepRun
	tasks   []*task
	at      int       // place of the step at work
	begun   bool      // a step was begun
	now     string    // its id
	since   time.Time // when it was begun
	group   string    // the group that the guard has open
	refused bool
	done    bool
}

// died gives the step at work its outcome and returns the place of the next one.
func (c *child) died(ctx context.Context, err error) int {
	c.endGroup()
	if !c.begun {
		return 0
	}
	reason := fmt.Sprintf("the measuring process died during this step: %v", err)
	if ctx.Err() != nil {
		reason = "stopped at the end of the budget"
	}
	t := c.tasks[c.at]
	c.run.keep(t.source, t.subject(snapshot.Inconclusive, reason))
	return c.at + 1
}

func (r *stepRun) keep(source string, s snapshot.Subject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subjects = append(r.subjects, s)
	r.got[source]++
}

// measure starts the process and follows it to its end.
func (c *child) measure(ctx context.Context) error {
	// PDEATHSIG is sent when the thread that forked ends, so this thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := c.command(ctx)
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start measuring process: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start measuring process: %w", err)
	}
	var said firstWords
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start measuring process: %w", err)
	}
	err = c.talk(in, out)
	if err != nil {
		cmd.Cancel()
	}
	in.Close()
	io.Copy(io.Discard, out)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	c.endGroup()
	if err == nil && !c.done && !c.refused {
		err = errors.New("it ended early")
	}
	if line := said.line(); err != nil && line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	return err
}

func (c *child) command(ctx context.Context) (*exec.Cmd, error) {
	start := c.run.o.Child
	if start == nil {
		start = thisBinary
	}
	name, args, err := start()
	if err != nil {
		return nil, fmt.Errorf("start measuring process: %w", err)
	}
	cmd := exec.CommandContext(ctx, name, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOMEMLIMIT=96MiB", "GOGC=50")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// thisBinary starts the running program again, even where its file was replaced
// by an upgrade meanwhile.
func thisBinary() (string, []string, error) {
	return "/proc/self/exe", []string{"lastgood", MeasureCommand}, nil
}

// talk sends the request and follows the frames.
func (c *child) talk(in io.Writer, out io.Reader) error {
	req := request{MemoryBytes: childMemory}
	for _, t := range c.tasks {
		req.Steps = append(req.Steps, t.id())
	}
	w := bufio.NewWriter(in)
	if err := json.NewEncoder(w).Encode(req); err != nil {
		return fmt.Errorf("ask measuring process: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("ask measuring process: %w", err)
	}
	next := 0
	return readFrames(out, func(f frame) error {
		switch f.Type {
		case frameRefused:
			c.refused = true
			c.run.mu.Lock()
			c.run.refused = f.Text
			c.run.mu.Unlock()
		case frameGroup:
			c.endStep()
			if err := c.beginGroup(f.Text); err != nil {
				return err
			}
			if _, err := io.WriteString(in, "go\n"); err != nil {
				return fmt.Errorf("answer measuring process: %w", err)
			}
		case frameStep:
			if next >= len(c.tasks) || c.tasks[next].id() != f.Text {
				return fmt.Errorf("read measuring process: step %q out of turn", f.Text)
			}
			c.endStep()
			c.at, c.begun, c.now, c.since = next, true, f.Text, time.Now()
			next++
			c.run.progress(c.tasks[c.at].Group)
		case frameSubject:
			if !c.begun {
				return errors.New("read measuring process: a subject before any step")
			}
			c.run.keep(c.tasks[c.at].source, *f.Subject)
		case frameDone:
			c.endStep()
			c.done = true
		default:
			return fmt.Errorf("read measuring process: frame %q is not known", f.Type)
		}
		return nil
	})
}

// endStep adds the time of the step at work to its source's.
func (c *child) endStep() {
	if !c.begun || c.since.IsZero() {
		return
	}
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	c.run.took[c.tasks[c.at].source] += time.Since(c.since)
	c.since = time.Time{}
}

// beginGroup closes the group before and notes the next, synced, before it runs.
func (c *child) beginGroup(group string) error {
	c.endGroup()
	if g := c.run.guard; g != nil {
		c.run.mu.Lock()
		err := g.Begin(group)
		c.run.mu.Unlock()
		if err != nil {
			return fmt.Errorf("note group %s in the crash guard: %w", group, err)
		}
	}
	c.group = group
	return nil
}

// endGroup closes the open group and looks at what the kernel said meanwhile.
func (c *child) endGroup() {
	if c.group == "" {
		return
	}
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if g := c.run.guard; g != nil {
		if err := g.End(c.group); err != nil {
			c.run.o.Host.Log.Warn("crash guard", "group", c.group, "err", err)
		}
	}
	c.run.watch.look(c.group)
	c.group = ""
}

func (r *stepRun) progress(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	if r.o.Progress != nil {
		r.o.Progress(Progress{Done: r.steps - 1, Total: len(r.tasks), Now: group})
	}
}

// firstWords keeps the beginning of what a process wrote to its standard error:
// a Go program that dies says why first, and then shows every goroutine.
type firstWords struct{ b []byte }

const maxFirstWords = 1 << 10

func (w *firstWords) Write(p []byte) (int, error) {
	w.b = append(w.b, p[:min(len(p), maxFirstWords-len(w.b))]...)
	return len(p), nil
}

// line is the first line that says anything.
func (w *firstWords) line() string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(w.b)), "\n")
	return first
}
