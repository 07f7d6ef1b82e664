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
	"syscall"
	"time"

	"lastgood/internal/snapshot"
)

// child is one measuring process and what it has told so far.
type child struct {
	run     *stepRun
	worker  int
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
	req := request{MemoryBytes: childMemory, Hurry: c.run.o.Hurry, Input: c.run.o.Input}
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
			word := answerGo
			if c.run.claim(f.Text, c.worker) {
				if err := c.beginGroup(f.Text); err != nil {
					return err
				}
			} else {
				word = answerSkip
				c.endGroup()
				for next < len(c.tasks) && c.tasks[next].Group == f.Text {
					next++
				}
			}
			if _, err := io.WriteString(in, word); err != nil {
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
