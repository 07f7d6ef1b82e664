// Package browser looks at pages as a person's browser does: it drives Chromium through the
// DevTools protocol, and checks with axe-core whether everybody can use what is shown.
// Nothing but tests imports it.
//
// The browser is spoken to through two pipes, not through a socket: nobody else on the
// machine can reach it, and it ends by itself when the test is killed, for its pipe closes.
package browser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrAbsent is returned where the machine has no Chromium.
var ErrAbsent = errors.New("start chromium: it is not installed (Debian: chromium)")

// Browser is a running Chromium without a window.
type Browser struct {
	conn   *conn
	cmd    *exec.Cmd
	exited chan struct{}
	said   bytes.Buffer // of the process; read once it has exited
}

// flags keep the browser from asking for anything but what a page asks for. The names of
// hosts are resolved to nothing, so that what asks for one is seen and goes nowhere.
func flags(dir string) []string {
	f := []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + dir,
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-crash-reporter", "--disable-breakpad",
		"--no-first-run", "--no-default-browser-check", "--disable-default-apps", "--disable-extensions", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-domain-reliability", "--disable-client-side-phishing-detection",
		"--disable-features=Translate,OptimizationHints,MediaRouter,InterestFeedContentSuggestions",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--proxy-server=direct://",
		"--force-color-profile=srgb", "--disable-lcd-text", "--password-store=basic", "--log-level=3", // of its own log: what ends it
	}
	if os.Getuid() == 0 {
		f = append(f, "--no-sandbox") // Chromium refuses root otherwise
	}
	return append(f, "about:blank")
}

// Start starts a browser that keeps its files in dir. The caller closes it.
func Start(dir string) (*Browser, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, ErrAbsent
	}
	toRead, toWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start chromium: %w", err)
	}
	fromRead, fromWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start chromium: %w", err), toRead.Close(), toWrite.Close())
	}
	b := &Browser{cmd: exec.Command(path, flags(dir)...), exited: make(chan struct{})}
	b.cmd.ExtraFiles = []*os.File{toRead, fromWrite} // its descriptors 3 and 4, as --remote-debugging-pipe wants
	b.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "TMPDIR="+dir, "DBUS_SESSION_BUS_ADDRESS=unix:path=/dev/null")
	b.cmd.Stderr = &b.said
	b.cmd.WaitDelay = closePatience
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children can be ended with it
	// What the browser starts and leaves is this process's to wait for, see Close.
	err = errors.Join(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), b.cmd.Start())
	err = errors.Join(err, toRead.Close(), fromWrite.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start chromium: %w", err), toWrite.Close(), fromRead.Close())
	}
	b.conn = newConn(fromRead, toWrite)
	go func() {
		_ = b.cmd.Wait() // how it ended does not matter, only that it did
		close(b.exited)
	}()
	return b, nil
}

// closePatience is how long the browser may take to end in order.
const closePatience = 5 * time.Second

// Close ends the browser and everything that it started, and waits for that.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	_ = b.conn.call(ctx, "", "Browser.close", nil, nil) // where it does not answer it is killed
	var errs []error
	if err := b.conn.Close(); err != nil {
		errs = append(errs, err)
	}
	select {
	case <-b.exited:
	case <-ctx.Done():
	}
	if err := syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		errs = append(errs, fmt.Errorf("end chromium: %w", err))
	}
	<-b.exited
	errs = append(errs, reap(-b.cmd.Process.Pid))
	for _, pid := range crashHandlers() {
		errs = append(errs, syscall.Kill(pid, syscall.SIGKILL), reap(pid))
	}
	return errors.Join(append(errs, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))...)
}

// reap waits for a child, or for all of a process group where its negative is given.
func reap(pid int) error {
	for {
		_, err := syscall.Wait4(pid, nil, 0, nil)
		if errors.Is(err, syscall.ECHILD) {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("wait for chromium: %w", err)
		}
	}
}

// crashHandlers are the children of this process that wait for the browser to crash: they
// leave its process group, and come to this process as the nearest subreaper.
func crashHandlers() []int {
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is well formed
	var pids []int
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread is gone
		}
		for word := range strings.FieldsSeq(string(b)) {
			comm, err := os.ReadFile("/proc/" + word + "/comm")
			pid, bad := strconv.Atoi(word)
			if err == nil && bad == nil && strings.HasPrefix(string(comm), "chrome_crashpad") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Said is what the process wrote, for a failure's sake; it is empty while it runs.
func (b *Browser) Said() string {
	select {
	case <-b.exited:
		return strings.TrimSpace(b.said.String())
	default:
		return ""
	}
}

// Version is the browser's name and version, and shows that it answers.
func (b *Browser) Version(ctx context.Context) (string, error) {
	var v struct{ Product string }
	err := b.conn.call(ctx, "", "Browser.getVersion", nil, &v)
	return v.Product, err
}

var _ io.Closer = (*Browser)(nil)
