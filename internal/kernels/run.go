package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxOutput bounds what is kept of an external program's output, in bytes.
const maxOutput = 4 << 20

// stopGrace is how long a program that was killed may hold on to its pipes.
const stopGrace = 2 * time.Second

// command is one run of an external program.
type command struct {
	name    string // looked up in PATH, or an absolute path
	args    []string
	dir     string        // working folder; "" for the current one
	timeout time.Duration // 0 for what ctx allows
	stdout  io.Writer     // nil keeps the output for the caller
	hint    string        // how to get the program
}

// commandError is a program that ended with an error, with what it said.
type commandError struct {
	name string
	said string // its standard error, bounded
	err  error
}

func (e *commandError) Error() string {
	if line := lastLine(e.said); line != "" {
		return fmt.Sprintf("run %s: %s: %v", e.name, line, e.err)
	}
	return fmt.Sprintf("run %s: %v", e.name, e.err)
}

func (e *commandError) Unwrap() error { return e.err }

// run runs one external program without a shell, with English messages, an
// environment of its own and bounded output, and kills it with all its children
// when ctx is done. A program that is not there is ErrNoTool.
func run(ctx context.Context, c command) (stdout, stderr string, err error) {
	name, err := lookProgram(c.name, c.hint)
	if err != nil {
		return "", "", err
	}
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	out, errs := &bounded{left: maxOutput}, &bounded{left: maxOutput}
	cmd := exec.CommandContext(ctx, name, c.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, environment(), out, errs
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	// apt and dnf start processes of their own for each method of transport.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopGrace
	err = cmd.Run()
	stdout, stderr = out.text(), errs.text()
	switch {
	case ctx.Err() != nil:
		return stdout, stderr, &commandError{c.name, stderr, ctx.Err()}
	case err != nil:
		return stdout, stderr, &commandError{c.name, stderr, err}
	case out.cut:
		return stdout, stderr, fmt.Errorf("run %s: more than %d bytes of output", c.name, maxOutput)
	}
	return stdout, stderr, nil
}

func lookProgram(name, hint string) (string, error) {
	p, err := exec.LookPath(name)
	if err == nil && !filepath.IsAbs(p) {
		err = fmt.Errorf("%s is not an absolute path", p)
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return "", &HintError{fmt.Errorf("run %s: %w", name, ErrNoTool), hint}
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", name, err)
	}
	return p, nil
}

// environment keeps what decides how the network and the client's own
// configuration are reached, and nothing else.
func environment() []string {
	env := []string{"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	for _, k := range []string{
		"PATH", "HOME", "TMPDIR", "APT_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// bounded keeps the head of a stream and drops the rest, so that the program
// never blocks on a full pipe.
type bounded struct {
	b    bytes.Buffer
	left int
	cut  bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.b.Write(p[:n])
	w.left -= n
	w.cut = w.cut || n < len(p)
	return len(p), nil
}

func (w *bounded) text() string { return w.b.String() }

// lastLine is the last line of a text that says something.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	return line[:min(len(line), 300)]
}
