package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// programForAll is this program where any user may run it, by the name that TestMain goes by.
func programForAll(t *testing.T) string {
	t.Helper()
	dir := openTo(t, t.TempDir())
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	name := filepath.Join(dir, "lastgood")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, self); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// openTo lets any user come to a folder of a test, and gives it.
func openTo(t *testing.T, dir string) string {
	t.Helper()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var servingAt = regexp.MustCompile(` at (\S+)$`)

// servedProcess is `lastgood serve` as another process.
type servedProcess struct {
	cmd  *exec.Cmd
	url  string
	said *bytes.Buffer
	done chan struct{} // closed when it has said all
}

// startServer runs a command that becomes `lastgood serve`, and waits until it listens.
func startServer(t *testing.T, cmd *exec.Cmd) *servedProcess {
	t.Helper()
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &servedProcess{cmd: cmd, said: &bytes.Buffer{}, done: make(chan struct{})}
	t.Cleanup(func() { s.stop(t) })
	lines := bufio.NewScanner(out)
	for s.url == "" && lines.Scan() {
		fmt.Fprintln(s.said, lines.Text())
		if m := servingAt.FindStringSubmatch(lines.Text()); m != nil {
			s.url = "http://" + m[1]
		}
	}
	go func() {
		defer close(s.done)
		for lines.Scan() {
			fmt.Fprintln(s.said, lines.Text())
		}
	}()
	if s.url == "" {
		<-s.done
		t.Fatalf("it does not listen: %s", s.said)
	}
	return s
}

// stop asks the server to end, once, and fails where it does not end in order.
func (s *servedProcess) stop(t *testing.T) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, s.said)
	}
}

func (s *servedProcess) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 2 * time.Minute}
	w, err := client.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(b)
}

// socketFile is a descriptor of a socket of some kind, which is not listened on.
func socketFile(t *testing.T, kind int) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { f.Close() })
	return f
}

// What systemd, or somebody who plays it, passes may be anything: the server takes it or says
// what is wrong and ends with the status of an error.
func TestServeOnWrongDescriptors(t *testing.T) {
	plain, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		fds, pid string
		file     *os.File
		says     string
	}{
		"no descriptor":          {"1", "$$", nil, "none of them is a stream"},
		"more than there are":    {"50", "$$", nil, "none of them is a stream"},
		"a file":                 {"1", "$$", plain, "none of them is a stream"},
		"datagrams":              {"1", "$$", socketFile(t, unix.SOCK_DGRAM), "none of them is a stream"},
		"not listened on":        {"1", "$$", socketFile(t, unix.SOCK_STREAM), "invalid argument"},
		"no number":              {"one", "$$", nil, "address already in use"},
		"below zero":             {"-1", "$$", nil, "address already in use"},
		"of another process":     {"1", "1", plain, "address already in use"},
		"a number out of range":  {"99999999999999999999", "$$", nil, "address already in use"},
		"no process that is one": {"1", "x", plain, "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(t.TempDir(), "lastgood")
			if err := os.Symlink(self, program); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", `export LISTEN_PID=`+c.pid+` LISTEN_FDS="$1"; exec "$0" serve --state-dir "$2" --web.listen-address "$3"`, program, c.fds, t.TempDir(), taken.Addr().String())
			if c.file != nil {
				cmd.ExtraFiles = []*os.File{c.file}
			}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(out), c.says) || strings.Contains(string(out), "goroutine") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// What a server is started with may be wrong in many ways; each is said in one line with what
// it is about, and the status is that of an error.
func TestServeThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("{{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"port in use":        {[]string{"--web.listen-address", taken.Addr().String()}, "name a free one with --web.listen-address"},
		"no address":         {[]string{"--web.listen-address", "nonsense"}, "nonsense"},
		"no port that is":    {[]string{"--web.listen-address", "127.0.0.1:99999"}, "99999"},
		"not of this host":   {[]string{"--web.listen-address", "192.0.2.1:1"}, "192.0.2.1:1"},
		"web config absent":  {[]string{"--web.config.file", filepath.Join(dir, "absent")}, filepath.Join(dir, "absent")},
		"web config garbage": {[]string{"--web.config.file", file}, file},
		"web config folder":  {[]string{"--web.config.file", dir}, dir},
		"an argument":        {[]string{"extra"}, `"extra"`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := lastgoodProcess(t, append([]string{"serve", "--state-dir", dir}, c.args...)...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(out), c.says) || strings.Contains(string(out), "goroutine") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// A server of few descriptors and few threads keeps within these under a crowd, and reads on.
func TestServeWithinItsLimits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	keep(t, dir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "lastgood")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 64; exec "$0" serve --state-dir "$1" --web.listen-address 127.0.0.1:0`, program, dir)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=64") // as on a large host
	s := startServer(t, cmd)
	for range 70 { // more than it may have
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	keep(t, dir) // a new result is read though all places are taken
	code, body := s.get(t, "/metrics")
	if code != 200 || !strings.Contains(body, "lastgood_serve_faults 0\n") || !strings.Contains(body, "lastgood_serve_reads_failed_total 0\n") {
		t.Errorf("status %d: %.2000s", code, body)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, found := strings.CutPrefix(line, "Threads:"); found {
			if n, err := strconv.Atoi(strings.TrimSpace(n)); err != nil || n > 32 {
				t.Errorf("%d threads, lastgood-serve.service allows 32 (%v)", n, err)
			}
		}
	}
}
