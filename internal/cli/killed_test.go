package cli

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lastgoodProcess is the command as a process of its own.
func lastgoodProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "lastgood" // what TestMain goes by
	return cmd
}

// traces is what a run could leave behind on a host, as other tools see it: a
// line for each thing.
func traces(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	keep := func(what, lines string) {
		for line := range strings.Lines(lines) {
			if !strings.HasPrefix(line, "\t") { // bpftool's details
				out[what+": "+strings.TrimSpace(line)] = true
			}
		}
	}
	for name, words := range map[string][]string{
		"program":   {"bpftool", "prog", "list"},
		"map":       {"bpftool", "map", "list"},
		"interface": {"ip", "-o", "link"},
		"namespace": {"ip", "netns"},
	} {
		path, err := exec.LookPath(words[0])
		if err != nil {
			if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
				t.Fatal(err)
			}
			t.Skipf("%s is not installed, and it is the witness here", words[0])
		}
		b, err := exec.Command(path, words[1:]...).Output()
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(words, " "), err)
		}
		keep(name, string(b))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	keep("mount", string(mounts))
	keep("process", strings.Join(measuring(t), "\n"))
	return out
}

// added lists what is in after and not in before.
func added(before, after map[string]bool) []string {
	var out []string
	for line := range after {
		if !before[line] {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// measuring lists the processes of this test's binary, itself left out.
func measuring(t *testing.T) []string {
	t.Helper()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || exe != self || dir == "/proc/"+pid() {
			continue // ended meanwhile, or somebody else's
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil {
			out = append(out, dir+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return out
}

// TestKilledAtAnyMoment kills twenty checks and finds nothing of them, and a
// store that can be read.
func TestKilledAtAnyMoment(t *testing.T) {
	if !canLoad() {
		t.Skip("loading BPF programs needs root")
	}
	if testing.Short() {
		t.Skip("kills twenty checks, which is no short test")
	}
	state := filepath.Join(t.TempDir(), "state")
	before := traces(t)
	if out, err := lastgoodProcess(t, "check", "--budget", "2m", "--state-dir", state).CombinedOutput(); err != nil {
		t.Fatalf("first check: %v\n%s", err, out)
	}
	for i := range 20 {
		cmd := lastgoodProcess(t, "check", "--state-dir", state)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i)*25*time.Millisecond + rand.N(25*time.Millisecond)) // the moment is the point of the test
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, or just done
		if out, err := lastgoodProcess(t, "list", "--state-dir", state).CombinedOutput(); err != nil || !strings.Contains(string(out), "last good") {
			t.Fatalf("store after kill %d: %v\n%s", i, err, out)
		}
	}
	// The kernel frees programs a moment later, and other tests may be loading
	// theirs: only what stays is left behind.
	var left []string
	for range 300 {
		if left = added(before, traces(t)); len(left) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	out, err := lastgoodProcess(t, "check", "--budget", "2m", "--state-dir", state).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "GOOD: ") {
		t.Errorf("check after the kills: %v\n%s", err, out)
	}
}

// TestTerminatedInOrder ends a check by SIGTERM: it says so, keeps its history,
// and does not pass for good.
func TestTerminatedInOrder(t *testing.T) {
	if !canLoad() {
		t.Skip("loading BPF programs needs root")
	}
	state := filepath.Join(t.TempDir(), "state")
	cmd := lastgoodProcess(t, "check", "--state-dir", state)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); len(measuring(t)) < 2; { // until the measuring child is there
		if time.Now().After(deadline) {
			t.Fatal("the check has not started to measure")
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitIncomplete || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("exit %d (%v):\n%s", status, err, &out)
	}
	for range 500 {
		if len(measuring(t)) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("still there: %v", measuring(t))
}

func pid() string {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return ""
	}
	return self
}
