package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxOutput bounds what is kept of a command's output, in bytes; the rest is read and dropped.
const maxOutput = 64 << 10

// stopGrace is how long a command that was killed may hold on to its pipes.
const stopGrace = 500 * time.Millisecond

// ran is a command that ended by itself.
type ran struct {
	status int
	output string // standard output
	said   string // last line of the standard error
	cut    bool   // there was more output than is kept
}

// errNoCommand is wrapped where the program is not on this host.
var errNoCommand = errors.New("no such program on this host")

// errHangs is wrapped where the command was killed at its deadline.
var errHangs = errors.New("did not end in time and was killed")

// runCommand runs a command without a shell and with messages in English. It leads a process group of its own, all of which is
// killed when ctx is done.
func runCommand(ctx context.Context, command []string) (ran, error) {
	return runBounded(ctx, command, maxOutput)
}

// runBounded is runCommand for a program of which more output is needed.
func runBounded(ctx context.Context, command []string, most int) (ran, error) {
	name, err := exec.LookPath(command[0])
	if err == nil {
		name, err = filepath.Abs(name)
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return ran{}, fmt.Errorf("run %s: %w", command[0], errNoCommand)
	}
	if err != nil {
		return ran{}, fmt.Errorf("run %s: %w", command[0], err)
	}
	out, errs := &bounded{most: most}, &bounded{most: maxOutput}
	cmd := exec.CommandContext(ctx, name, command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, errs
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// Pdeathsig: no child of a lastgood that was killed goes on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopGrace
	err = cmd.Run()
	if cmd.Process != nil { // what it left in its group ends with it
		if kill := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); kill != nil && !errors.Is(kill, syscall.ESRCH) && !errors.Is(kill, syscall.EPERM) {
			return ran{}, fmt.Errorf("end what %s left: %w", command[0], kill)
		}
	}
	r := ran{output: out.b.String(), said: lastLine(errs.b.String()), cut: out.cut}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("run %s: %w", command[0], errHangs)
	case errors.As(err, &exit) && exit.Exited():
		r.status = exit.ExitCode()
		return r, nil
	case errors.Is(err, exec.ErrWaitDelay): // it ended, a child of its own kept the pipe
		r.status = cmd.ProcessState.ExitCode()
		return r, nil
	case err != nil:
		return r, fmt.Errorf("run %s: %w", command[0], err)
	}
	return r, nil
}

// bounded keeps the head of a stream and drops the rest, so that the program never blocks on a full pipe.
type bounded struct {
	b    bytes.Buffer
	most int
	cut  bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.most-w.b.Len())
	w.b.Write(p[:n])
	w.cut = w.cut || n < len(p)
	return len(p), nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return clip(strings.TrimSpace(lines[len(lines)-1]))
}

// isNotFolder reports whether an error is that of a path through something that is no folder.
func isNotFolder(err error) bool { return errors.Is(err, unix.ENOTDIR) }
