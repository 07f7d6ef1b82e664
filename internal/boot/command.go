package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lastgood/internal/sysfs"
)

// Runner runs a program of the host's and gives at most max bytes of what it wrote; the rest
// is cut off, and the error is then ErrCut. A program that is not there is ErrNoProgram.
type Runner func(ctx context.Context, max int, name string, args ...string) ([]byte, error)

// Errors of a Runner that callers tell apart.
var (
	ErrNoProgram = errors.New("program is not installed")
	ErrCut       = errors.New("more output than is read")
)

const (
	// programPatience bounds one run: a journal of gigabytes on a slow disk takes seconds.
	programPatience = 5 * time.Second
	// stopGrace is how long a killed program may hold on to its pipes.
	stopGrace = time.Second
)

// programDirs are where programs are looked for: never in PATH, which is anybody's.
var programDirs = []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"}

// HostRunner runs programs of this very host; a recorded host has none.
func HostRunner(root *sysfs.Root) Runner {
	if !root.Live() {
		return func(_ context.Context, _ int, name string, _ ...string) ([]byte, error) {
			return nil, fmt.Errorf("run %s: a recorded host: %w", name, ErrNoProgram)
		}
	}
	return runProgram
}

func runProgram(ctx context.Context, max int, name string, args ...string) ([]byte, error) {
	program, err := findProgram(name)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, programPatience)
	defer cancel()
	whole, stop := context.WithCancel(ctx)
	defer stop()
	out := &cutter{left: max, full: stop}
	var said cutter
	said.left = maxText
	cmd := exec.CommandContext(whole, program, args...)
	// Times in UTC, messages in English, no pager; nothing of the caller's surroundings.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "LANG=C", "TZ=UTC", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "NO_COLOR=1", "COLUMNS=400", "HOME=/root"}
	cmd.Stdout, cmd.Stderr = out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopGrace
	err = cmd.Run()
	switch {
	case out.cut:
		return out.b.Bytes(), fmt.Errorf("run %s: %w", name, ErrCut)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s: no answer: %w", name, ctx.Err())
	case err != nil:
		line, _, _ := strings.Cut(strings.TrimSpace(said.b.String()), "\n")
		return nil, fmt.Errorf("run %s: %.200s: %w", name, line, err)
	}
	return out.b.Bytes(), nil
}

func findProgram(name string) (string, error) {
	for _, dir := range programDirs {
		p := filepath.Join(dir, name)
		st, err := os.Stat(p)
		switch {
		case err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0:
			return p, nil
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return "", err
		}
	}
	return "", ErrNoProgram
}

// cutter keeps so many bytes and calls full when there are more.
type cutter struct {
	b    bytes.Buffer
	left int
	cut  bool
	full func()
}

func (c *cutter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.b.Write(p[:n])
	c.left -= n
	if n < len(p) && !c.cut {
		c.cut = true
		if c.full != nil {
			c.full()
		}
	}
	return len(p), nil
}
