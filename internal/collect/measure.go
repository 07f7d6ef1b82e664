package collect

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"lastgood/internal/footprint"
	"lastgood/internal/source"
)

// MeasureCommand is the hidden command that Measure serves.
const MeasureCommand = "__measure"

// Measure is the child process: it reads a request, runs the steps that it
// names and writes frames. It is started by Run and by nobody else.
//
// sources makes the sources from the input that Run was given.
func Measure(ctx context.Context, host source.Host, sources func(json.RawMessage) ([]source.Source, error), in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	var req request
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := json.Unmarshal(line, &req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := confine(&req); err != nil {
		return err
	}
	buf := bufio.NewWriter(out)
	m := measurer{host: host, in: lines, buf: buf, out: json.NewEncoder(buf)}
	if why := refused(ctx, host.Root); why != "" {
		return m.send(frame{Type: frameRefused, Text: why})
	}
	all, err := sources(req.Input)
	if err != nil {
		return err
	}
	steps := map[string]task{}
	for _, src := range all {
		if src.Steps == nil {
			continue
		}
		for _, s := range src.Steps(host) {
			t := task{source: src.Name, Step: s}
			steps[t.id()] = t
		}
	}
	return m.run(ctx, req.Steps, steps)
}

type measurer struct {
	host source.Host
	in   *bufio.Reader
	buf  *bufio.Writer
	out  *json.Encoder
}

// send writes a frame. A subject waits for the frame behind it, which is there
// before anything else is loaded: the parent is woken once a step and not twice.
func (m *measurer) send(f frame) error {
	err := m.out.Encode(f)
	if err == nil && f.Type != frameSubject {
		err = m.buf.Flush()
	}
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

func (m *measurer) run(ctx context.Context, ids []string, steps map[string]task) error {
	group, from, leave := "", "", false
	for _, id := range ids {
		t, ok := steps[id]
		if !ok {
			return fmt.Errorf("run step %s: no such step", id)
		}
		if t.source != from {
			// What one source needed, types of the kernel and objects, the next one does not:
			// the two are not to be held at once.
			from = t.source
			footprint.Trim()
		}
		if t.Group != group {
			group = t.Group
			if err := m.send(frame{Type: frameGroup, Text: group}); err != nil {
				return err
			}
			word, err := m.in.ReadString('\n')
			if err != nil {
				return nil // the parent is gone
			}
			leave = word == answerSkip
		}
		if leave {
			continue
		}
		if err := m.send(frame{Type: frameStep, Text: id}); err != nil {
			return err
		}
		for _, s := range t.Run(ctx, m.host) {
			if err := m.send(frame{Type: frameSubject, Subject: &s}); err != nil {
				return err
			}
		}
	}
	return m.send(frame{Type: frameDone})
}

// niceness is how far the child stands back. At 19 it starves: beside one busy
// process on each CPU it gets a seventieth of the time, and the half second that it
// needs became more than twenty. At 10 it gets a tenth. In a boot that waits for it, it
// stands back for nobody: the units that start side by side would be let in before it,
// and the workloads behind it.
const niceness = 10

// confine makes this process the one to suffer where the machine is short of
// anything: late in line for the CPU, first for the OOM killer, bounded in memory,
// without core dumps. That it takes one CPU at a time is GOMAXPROCS's doing; which
// one is left to the scheduler, who knows which is idle.
func confine(req *request) error {
	if !req.Hurry {
		if err := eachThread("lower priority", func(tid int) error {
			return unix.Setpriority(unix.PRIO_PROCESS, tid, niceness)
		}); err != nil {
			return err
		}
	}
	if req.MemoryBytes > 0 {
		// RLIMIT_DATA counts private writable memory (since 4.7), which is what Go's
		// heap is; RLIMIT_AS would count address space that is only set aside.
		lim := unix.Rlimit{Cur: req.MemoryBytes, Max: req.MemoryBytes}
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &lim); err != nil {
			return fmt.Errorf("bound memory: %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	// Before 5.11 maps and programs are charged to RLIMIT_MEMLOCK, of which there is
	// next to none; a kernel that refuses to raise it says so again at the first map.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	// Failing to volunteer for the OOM killer is no reason not to measure.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}

// eachThread does something to every thread of the process: the priority is a
// thread's own, and threads made later inherit it.
func eachThread(what string, f func(tid int) error) error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := f(tid); err != nil && err != unix.ESRCH {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}
