package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hookHost is a host for the scripts of deploy: folders of its own, the few programs
// that the scripts use, and a lastgood that writes down how it was called.
type hookHost struct {
	dir string
	env []string
}

// fakeLastgood exits with what stands in the file status/RELEASE, or else status/any.
const fakeLastgood = `#!/bin/sh
printf '%s\n' "$*" >>"$FAKE/calls"
echo said
for last; do :; done
[ -f "$FAKE/status/$last" ] || last=any
read -r status <"$FAKE/status/$last"
exit "$status"
`

func newHookHost(t *testing.T, defaults string) *hookHost {
	t.Helper()
	h := &hookHost{dir: t.TempDir()}
	h.write(t, "lastgood", fakeLastgood)
	h.write(t, "bin/.keep", "")
	for _, p := range []string{"sh", "mkdir", "mv", "rm", "sort"} {
		path, err := exec.LookPath(p)
		if err == nil {
			err = os.Symlink(path, h.at("bin", p))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	h.write(t, "defaults", "STATE_DIR="+h.at("state")+"\n"+defaults)
	h.status(t, "any", 0)
	h.env = []string{"PATH=" + h.at("bin"), "LC_ALL=C", "FAKE=" + h.dir, "LASTGOOD=" + h.at("lastgood"),
		"LASTGOOD_DEFAULTS=" + h.at("defaults"), "LASTGOOD_BOOT=" + h.at("boot"), "LASTGOOD_MODULES=" + h.at("modules")}
	return h
}

func (h *hookHost) at(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

func (h *hookHost) write(t *testing.T, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(h.at(name)), 0o755)
	if err == nil {
		err = os.WriteFile(h.at(name), []byte(text), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (h *hookHost) status(t *testing.T, of string, status int) {
	h.write(t, "status/"+of, strconv.Itoa(status)+"\n")
}

// sh runs sh with the arguments, a script first, and returns what it did.
func (h *hookHost) sh(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.at("bin", "sh"), args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = h.env, h.dir, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("sh %q: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// calls are the arguments that lastgood was called with since the last time.
func (h *hookHost) calls(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(h.at("calls"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err = errors.Join(err, os.Remove(h.at("calls"))); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// judged are the calls that the hook makes for these releases.
func (h *hookHost) judged(releases ...string) []string {
	var out []string
	for _, r := range releases {
		out = append(out, "preflight --state-dir "+h.at("state")+" -q "+r)
	}
	return out
}

func deployed(t *testing.T, name string) string {
	p, err := filepath.Abs("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// withHook is a deployed file that calls hook where it would call the installed one.
func withHook(t *testing.T, text, hook string) string {
	t.Helper()
	const installed = "/usr/lib/lastgood/lastgood-preflight-hook"
	if !strings.Contains(text, installed) {
		t.Fatalf("%s is not called: %s", installed, text)
	}
	return strings.ReplaceAll(text, installed, hook)
}

func (h *hookHost) want(t *testing.T, status, want int, calls []string) {
	t.Helper()
	if status != want {
		t.Errorf("exit status %d, want %d", status, want)
	}
	if diff := cmp.Diff(calls, h.calls(t)); diff != "" {
		t.Errorf("calls of lastgood (-want +got):\n%s", diff)
	}
}

func TestHookJudgesWhatWasNotedOnce(t *testing.T) {
	h, hook := newHookHost(t, ""), deployed(t, "hooks/lastgood-preflight-hook")
	h.write(t, "boot/vmlinuz-6.1.0-57-amd64", "x")
	h.write(t, "modules/6.12.0-1.el10.x86_64+rt/vmlinuz", "x")
	h.write(t, "modules/6.1.0-99-amd64/modules.dep", "x") // its image is gone
	for _, r := range []string{"6.12.0-1.el10.x86_64+rt", "6.1.0-57-amd64", "6.1.0-98-amd64", "6.1.0-99-amd64", "6.1.0-57-amd64"} {
		status, _, _ := h.sh(t, hook, "note", r)
		h.want(t, status, 0, nil)
	}
	status, stdout, _ := h.sh(t, hook, "run")
	h.want(t, status, 0, h.judged("6.1.0-57-amd64", "6.12.0-1.el10.x86_64+rt"))
	if stdout != "" {
		t.Errorf("the package manager's output gets %q", stdout)
	}
	if left, err := filepath.Glob(h.at("state", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the state folder: %q, %v", left, err)
	}
	status, _, _ = h.sh(t, hook, "run")
	h.want(t, status, 0, nil)
}

// TestHookStatus: only a regression (1) and another kernel than was meant (4) may
// fail the package manager, and only where the administrator asked for it.
func TestHookStatus(t *testing.T) {
	for _, block := range []string{"", "PREFLIGHT_BLOCK=no\n", "PREFLIGHT_BLOCK=yes\n"} {
		for _, verdict := range []int{0, 1, 2, 3, 4, 64, 126} {
			t.Run(fmt.Sprintf("%q status %d", strings.TrimSpace(block), verdict), func(t *testing.T) {
				h, hook := newHookHost(t, block), deployed(t, "hooks/lastgood-preflight-hook")
				worse, untold := verdict == 1 || verdict == 4, verdict == 2 || verdict == 3
				want := 0
				if worse && strings.Contains(block, "yes") {
					want = 1
				}
				h.status(t, "6.1.1", verdict)
				h.write(t, "boot/vmlinuz-6.1.1", "x")
				h.write(t, "boot/vmlinuz-6.1.2", "x")
				h.write(t, "state/preflight-noted", "6.1.1\n6.1.2\n")
				status, _, stderr := h.sh(t, hook, "run")
				h.want(t, status, want, h.judged("6.1.1", "6.1.2"))
				if strings.Contains(stderr, "do not reboot into 6.1.1 ") != worse || strings.Contains(stderr, "could not be judged") != untold || strings.Contains(stderr, "6.1.2") {
					t.Errorf("it says %q", stderr)
				}
				status, _, _ = h.sh(t, hook, "now", "6.1.1")
				h.want(t, status, want, h.judged("6.1.1"))
			})
		}
	}
}

func TestHookRefusesBadNames(t *testing.T) {
	h, hook := newHookHost(t, ""), deployed(t, "hooks/lastgood-preflight-hook")
	for _, bad := range []string{"", "../6.1.1", "6.1.1/x", "6.1.1 x", "6.1.1\nx", "*", "$(id)", "6.1.1;id", "--last", "-v", ".6", "6.1é"} {
		status, _, stderr := h.sh(t, hook, "note", bad)
		h.want(t, status, 0, nil) // never fails the package manager
		if !strings.Contains(stderr, "is no kernel release") {
			t.Errorf("note %q says %q", bad, stderr)
		}
		if status, _, _ = h.sh(t, hook, "now", bad); status == 0 {
			t.Errorf("now %q: no error", bad)
		}
		h.want(t, 0, 0, nil)
	}
	if _, err := os.Lstat(h.at("state", "preflight-noted")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a bad name was noted: %v", err)
	}
	status, _, stderr := h.sh(t, hook, "judge")
	if h.want(t, status, 2, nil); !strings.Contains(stderr, "usage:") {
		t.Errorf("it says %q", stderr)
	}
}

func TestHookFlags(t *testing.T) {
	h := newHookHost(t, "PREFLIGHT_FLAGS='--budget 30s --object a.o'\n")
	status, _, _ := h.sh(t, deployed(t, "hooks/lastgood-preflight-hook"), "now", "6.1.1")
	h.want(t, status, 0, []string{"preflight --state-dir " + h.at("state") + " -q --budget 30s --object a.o 6.1.1"})
}

// TestHooksWithoutLastgood: what was left behind by a removed package is quiet.
func TestHooksWithoutLastgood(t *testing.T) {
	h := newHookHost(t, "PREFLIGHT_BLOCK=yes\n")
	h.env = append(h.env, "LASTGOOD="+h.at("gone"))
	hook := deployed(t, "hooks/lastgood-preflight-hook")
	for _, args := range [][]string{{hook, "note", "6.1.1"}, {hook, "run"}, {hook, "now", "6.1.1"}, {deployed(t, "motd/60-lastgood")}} {
		status, stdout, stderr := h.sh(t, args...)
		if status != 0 || stdout+stderr != "" {
			t.Errorf("%q: status %d, %q", args, status, stdout+stderr)
		}
	}
	if _, err := os.Lstat(h.at("state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state folder was made: %v", err)
	}
}

// TestDropIns runs what the package managers call, with a hook that writes down its
// arguments and fails.
func TestDropIns(t *testing.T) {
	for _, c := range []struct {
		file  string
		args  []string
		calls []string
		fails bool // where the hook does
	}{
		{"zz-lastgood-preflight", []string{"6.1.1", "/boot/vmlinuz-6.1.1"}, []string{"note 6.1.1"}, false},
		{"95-lastgood.install", []string{"add", "6.1.1", "/boot/id/6.1.1", "/usr/lib/modules/6.1.1/vmlinuz"}, []string{"now 6.1.1"}, true},
		{"95-lastgood.install", []string{"remove", "6.1.1", "/boot/id/6.1.1"}, nil, false},
		{"95-lastgood.install", []string{"inspect"}, nil, false},
		{"95-lastgood.install", nil, nil, false},
	} {
		h := newHookHost(t, "")
		text, err := os.ReadFile(deployed(t, "hooks/"+c.file))
		if err != nil {
			t.Fatal(err)
		}
		h.write(t, "with", withHook(t, string(text), h.at("lastgood")))
		h.write(t, "without", withHook(t, string(text), h.at("gone")))
		for hook := range 2 {
			h.status(t, "any", hook)
			want := 0
			if c.fails {
				want = hook
			}
			status, _, _ := h.sh(t, append([]string{h.at("with")}, c.args...)...)
			h.want(t, status, want, c.calls)
		}
		status, _, _ := h.sh(t, append([]string{h.at("without")}, c.args...)...)
		h.want(t, status, 0, nil)
	}
}

// TestAptSnippet has apt read its snippet, and runs the command that apt would run.
func TestAptSnippet(t *testing.T) {
	tool, err := exec.LookPath("apt-config")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip("apt-config is not installed: what apt makes of the snippet cannot be asked")
	}
	cmd := exec.CommandContext(t.Context(), tool, "-c", deployed(t, "hooks/80lastgood-preflight"), "dump", "DPkg::Post-Invoke")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("apt-config: %v: %s", err, out)
	}
	found := regexp.MustCompile(`(?m)^DPkg::Post-Invoke:: "(.*lastgood.*)";$`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("apt reads no such command: %s", out)
	}
	line := string(found[1])
	h := newHookHost(t, "")
	for status := range 2 {
		h.status(t, "any", status)
		got, _, _ := h.sh(t, "-c", withHook(t, line, h.at("lastgood")))
		h.want(t, got, status, []string{"run"})
	}
	got, _, _ := h.sh(t, "-c", withHook(t, line, h.at("gone")))
	h.want(t, got, 0, nil)
}

// TestKuredSentinel: 0 is reboot now, and anything else leaves the node as it is.
func TestKuredSentinel(t *testing.T) {
	for _, incomplete := range []string{"hold", "reboot"} {
		for _, verdict := range []int{0, 1, 2, 3, 4, 64, 126} {
			h := newHookHost(t, "SENTINEL_FILE=required\nSENTINEL_INCOMPLETE="+incomplete+"\n")
			h.status(t, "any", verdict)
			want := 1
			if verdict == 0 || incomplete == "reboot" && (verdict == 2 || verdict == 3) {
				want = 0
			}
			t.Run(fmt.Sprintf("%s %d", incomplete, verdict), func(t *testing.T) {
				h.sentinel(t, false, want)
				h.write(t, "required", "")
				h.sentinel(t, true, want)
				// Where the distribution has a program for it, the file says nothing.
				h.write(t, "bin/needs-restarting", "#!/bin/sh\n[ \"$1\" = -r ]\n")
				h.sentinel(t, false, want)
				h.write(t, "bin/needs-restarting", "#!/bin/sh\n[ \"$1\" != -r ]\n")
				h.sentinel(t, true, want)
				h.env = append(h.env, "LASTGOOD="+h.at("gone"))
				status, _, _ := h.sh(t, deployed(t, "hooks/kured-sentinel"))
				h.want(t, status, 1, nil)
			})
		}
	}
}

// sentinel runs kured's sentinel; where a reboot is required it asks lastgood and has
// the status wanted, and where not it is 1 without a question.
func (h *hookHost) sentinel(t *testing.T, required bool, want int) {
	t.Helper()
	calls := []string{"preflight --state-dir " + h.at("state") + " -q"}
	if !required {
		want, calls = 1, nil
	}
	status, _, _ := h.sh(t, deployed(t, "hooks/kured-sentinel"))
	h.want(t, status, want, calls)
}

// TestMotd: the message of the day looks where the hook keeps, and never fails.
func TestMotd(t *testing.T) {
	h := newHookHost(t, "")
	for verdict := range 5 {
		h.status(t, "any", verdict)
		status, stdout, _ := h.sh(t, deployed(t, "motd/60-lastgood"))
		h.want(t, status, 0, []string{"preflight --last --state-dir " + h.at("state") + " -q"})
		if stdout != "said\n" {
			t.Errorf("it shows %q", stdout)
		}
	}
}
