package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestGateTellsAFaultOnce: a state folder that cannot be made is one fault, however often it is met on the way, and holds nothing.
func TestGateTellsAFaultOnce(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	runDir := filepath.Join(h.dir, "run")
	for _, command := range []string{"gate"} {
		var out, errs bytes.Buffer
		env := Env{Out: &out, Err: &errs, In: strings.NewReader(""), Getenv: func(string) string { return "" }}
		args := []string{command, "--root", h.tree, "--state-dir", "/proc/none", "--config", h.configPath, "--run-dir", runDir, "-q"}
		if status, err := run(t.Context(), args, env); status != exitOK || err != nil {
			t.Fatalf("%s: %d, %v", command, status, err)
		}
		seen := map[string]int{}
		for line := range strings.Lines(errs.String()) {
			seen[line]++
			if seen[line] > 1 && !strings.HasPrefix(line, "hint:") {
				t.Errorf("%s: said twice: %s", command, line)
			}
		}
		if n := strings.Count(errs.String(), "remember what is decided"); n != 1 {
			t.Errorf("%s: told %d times\n%s", command, n, errs.String())
		}
		if _, err := os.Stat(filepath.Join(runDir, "hold")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: workloads are held: %v", command, err)
		}
	}
}

// TestGateOfAnOrdinaryUser: who may not write the state is told so in one line, and no message goes out.
func TestGateOfAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("LASTGOOD_REQUIRE") == "" {
		t.Skip("root alone can become somebody else")
	}
	tool, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "lastgood") // one that everybody can come to
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	mine := filepath.Join(dir, "lastgood")
	b, err := os.ReadFile(tool)
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(mine, b, 0o755), os.Mkdir(filepath.Join(dir, "state"), 0o700), os.WriteFile(filepath.Join(dir, "c.yaml"), nil, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"gate", "__assess", "decide", "release"} {
		cmd := exec.Command(mine, command, "--state-dir", filepath.Join(dir, "state"), "--config", filepath.Join(dir, "c.yaml"))
		cmd.Dir, cmd.Env = "/", os.Environ()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput() // the status is the gate's, and nothing fails for it
		want := fmt.Sprintf("lastgood: write state folder %s/state: permission denied\nhint: run it as root\n", dir)
		if string(out) != want {
			t.Errorf("%s says\n%swant\n%s", command, out, want)
		}
	}
}

// TestJoinedErrorsAreTold one by one, and an error that wraps a join as it is.
func TestJoinedErrorsAreTold(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	var errs bytes.Buffer
	g := &gateRun{s: &session{env: Env{Err: &errs}}}
	g.heard(a)
	g.say(errors.Join(a, errors.Join(b, b)))
	g.say(fmt.Errorf("c: %w", errors.Join(a, b)))
	g.say(nil)
	if want := "lastgood: b\nlastgood: c: a\nlastgood: b\n"; errs.String() != want {
		t.Errorf("%q", errs.String())
	}
}
