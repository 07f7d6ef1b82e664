package netlab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// HelperCommand is the hidden command that Serve serves: this binary, started again.
const HelperCommand = "__lab"

// Helper is a process of ours in the private cgroup and the lab's namespace. What is
// attached to the cgroup sees it and nothing else of this machine.
type Helper struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said *json.Decoder
	out  io.Closer
}

// hello is the helper's first line.
type hello struct {
	Errno unix.Errno `json:",omitempty"` // of entering the cgroup
	Error string     `json:",omitempty"`
}

// StartHelper starts the helper. It enters the cgroup by itself, before it does
// anything else: clone3(CLONE_INTO_CGROUP) does the same, from 5.7 on and not where a
// seccomp filter hides clone3. It is to be called in Do, for a process is born into
// the namespace of the thread that made it.
func StartHelper(c *Cgroup) (*Helper, error) {
	cmd := exec.Command("/proc/self/exe", HelperCommand, c.Path)
	cmd.Args[0] = "lastgood"
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start helper: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("start helper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start helper: %w", err)
	}
	h := &Helper{cmd: cmd, in: in, said: json.NewDecoder(bufio.NewReader(out)), out: out}
	var first hello
	err = h.hear(&first, 2*time.Second)
	switch {
	case err == nil && first.Errno != 0:
		err = fmt.Errorf("%s: %w", first.Error, first.Errno)
	case err == nil && first.Error != "":
		err = errors.New(first.Error)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start helper: %w", err), h.Close())
	}
	return h, nil
}

// hear waits for one answer.
func (h *Helper) hear(into any, within time.Duration) error {
	if d, ok := h.out.(*os.File); ok {
		if err := d.SetReadDeadline(time.Now().Add(within)); err != nil {
			return fmt.Errorf("hear helper: %w", err)
		}
	}
	if err := h.said.Decode(into); err != nil {
		return fmt.Errorf("hear helper: %w", err)
	}
	return nil
}

// Do has the helper do something and says how that ended. The error is the helper's
// own: nothing is known of the act then.
func (h *Helper) Do(a Act) (Done, error) {
	if err := json.NewEncoder(h.in).Encode(a); err != nil {
		return Done{}, fmt.Errorf("ask helper: %w", err)
	}
	var d Done
	if err := h.hear(&d, 2*patience); err != nil {
		return Done{}, err
	}
	if d.Fault != "" {
		return Done{}, fmt.Errorf("helper: %s: %s", a.Deed, d.Fault)
	}
	return d, nil
}

// endPatience is how long the helper may take to end. It ends at once, but for the race
// detector, which has a program wait for a second when it ends, and a machine that is busy.
const endPatience = 5 * time.Second

// Close ends the helper and waits for it; it takes its cgroup's folder along.
func (h *Helper) Close() error {
	h.in.Close()
	kill := time.AfterFunc(endPatience, func() { h.cmd.Process.Kill() })
	defer kill.Stop()
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("end helper: %w", err)
	}
	return nil
}

// Serve is the helper: it enters the cgroup whose folder it is given, does what in
// tells it, and where in ends, also because its parent was killed, goes back to the
// cgroup that it was born in, removes the folder and ends.
func Serve(folder string, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1) // it lives for some milliseconds
	// Neither a terminal's signals nor a parent that is gone keep it from clearing up.
	signal.Ignore(unix.SIGPIPE, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	tell := json.NewEncoder(out)
	if base := filepath.Base(folder); len(base) <= len(cgroupPrefix) || base[:len(cgroupPrefix)] != cgroupPrefix {
		return fmt.Errorf("serve lab: %q is no folder of a lab", folder)
	}
	if err := enter(folder); err != nil {
		h := hello{Error: err.Error()}
		errors.As(err, &h.Errno)
		return tell.Encode(h)
	}
	defer leave(folder)
	if err := tell.Encode(hello{}); err != nil {
		return fmt.Errorf("serve lab: %w", err)
	}
	for asked := json.NewDecoder(bufio.NewReader(in)); ; {
		var a Act
		if err := asked.Decode(&a); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("serve lab: %w", err)
		}
		if err := tell.Encode(do(a)); err != nil {
			return fmt.Errorf("serve lab: %w", err)
		}
	}
}

func enter(folder string) error {
	err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
	if err != nil {
		return fmt.Errorf("enter cgroup: %w", err)
	}
	return nil
}

// leave goes back and removes the folder. Where it fails the next run does it.
func leave(folder string) {
	if enter(filepath.Dir(folder)) == nil {
		_ = unix.Rmdir(folder)
	}
}
