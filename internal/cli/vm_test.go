package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lastgood/internal/kernels"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm/vmtest"
)

// vmSuites offer the kernels of these tests, besides the machine's own; bisectSuites those
// of one build of 6.1 only.
const (
	vmSuites     = "bullseye-security,bookworm,bookworm-security,trixie-backports"
	bisectSuites = "bookworm,bookworm-security"
)

// vmState is shared by the tests of this process, so that a kernel is fetched once.
var vmState = sync.OnceValues(func() (string, error) {
	dir, err := scratch.Folder("lastgood-vm-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
})

// finding is held while kernels are looked for: apt locks its folder, which tests share.
var finding sync.Mutex

func namedKernel(t *testing.T, p *preflighter, release string) kernels.Kernel {
	t.Helper()
	finding.Lock()
	defer finding.Unlock()
	named, err := p.find.named(t.Context(), release)
	if err != nil || len(named) != 1 {
		t.Fatalf("%d kernels %s, %v", len(named), release, err)
	}
	k, err := p.find.files(t.Context(), named[0])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// candidates runs the command as it is shipped, on real kernels.
func candidates(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	state, err := vmState()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	suites := vmSuites
	if args[0] == "bisect" {
		suites = bisectSuites
	}
	cmd := exec.CommandContext(ctx, staticBinary(t), append([]string{args[0], "--state-dir", state, "--suite", suites}, args[1:]...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func preflightReports(t *testing.T, stdout, stderr string) map[string]*report.Report {
	t.Helper()
	var doc preflightDocument
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	out := map[string]*report.Report{}
	for _, raw := range doc.Kernels {
		r, err := report.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		out[r.Preflight.Kernel] = r
	}
	return out
}

func hasFinding(r *report.Report, code string, least snapshot.Severity) bool {
	for _, f := range r.Findings {
		if f.Code == code && f.Severity.Rank() >= least.Rank() {
			return true
		}
	}
	return false
}

// TestVMPreflight judges three real candidates of three series against a real kernel.
func TestVMPreflight(t *testing.T) {
	vmtest.Need(t)
	const against, older, newer, next = "6.1.0-56-cloud-amd64", "5.10.0-46-cloud-amd64", "6.12.117+deb12-cloud-amd64", "6.18.15+deb13-cloud-amd64"
	status, stdout, stderr := candidates(t, "preflight", "--quick", "--jobs", "2", "-o", "json", "--against", against, older, newer, next)
	if status != 1 {
		t.Errorf("exit status %d, want 1\n%s", status, stderr)
	}
	all := preflightReports(t, stdout, stderr)
	for _, release := range []string{older, newer, next} {
		r := all[release]
		if r == nil || !r.Preflight.Tested || r.Preflight.Ran == nil || r.Baseline == nil {
			t.Fatalf("%s was not tested: %+v\n%s", release, r, stderr)
		}
		ran := r.Preflight.Ran
		if ran.Release != release || ran.Arch != "x86_64" || ran.BuildID == "" || r.Baseline.Kernel.Release != against {
			t.Errorf("%s: ran %+v, against %s", release, ran, r.Baseline.Kernel.Release)
		}
		t.Logf("%s on %s: boot %.1f s, whole %.1f s, %s", release, ran.Machine, ran.BootSeconds, ran.TookSeconds, r.Summary)
	}
	// An older kernel lacks what programs of today are made of.
	if all[older].Verdict != snapshot.Regressed || !hasFinding(all[older], "feature-lost", snapshot.Critical) {
		t.Errorf("%s: %s", older, all[older].Summary)
	}
	// A newer one has more, and 6.12 walks some paths apart that 6.1 merged.
	if !hasFinding(all[newer], "helper-gained", snapshot.Info) || !hasFinding(all[newer], "merge-lost", snapshot.Warning) || hasFinding(all[newer], "feature-lost", snapshot.Critical) {
		t.Errorf("%s: %s", newer, all[newer].Summary)
	}
	// Asked again it is known already.
	start := time.Now()
	_, stdout, stderr = candidates(t, "preflight", "--quick", "-o", "json", "--against", against, newer)
	if r := preflightReports(t, stdout, stderr)[newer]; r == nil || !r.Preflight.Ran.Cached {
		t.Errorf("%s was measured again, in %v\n%s", newer, time.Since(start), stderr)
	}
	nothingRuns(t)
}

// TestVMBisect finds the security update of 6.1 that lets programs read stack that was
// never written, among ten kernels, in four boots between the two ends.
func TestVMBisect(t *testing.T) {
	vmtest.Need(t)
	const probe = "accept_stack_read/never_written"
	status, stdout, stderr := candidates(t, "bisect", "--probe", probe, "--good", "6.1.0-47-cloud-amd64", "--bad", "6.1.0-56-cloud-amd64")
	if status != 0 {
		t.Fatalf("exit status %d\n%s\n%s", status, stdout, stderr)
	}
	t.Logf("%s", stdout)
	for _, want := range []string{"10 kernels from 6.1.0-47-cloud-amd64 to 6.1.0-56-cloud-amd64", "last good:  6.1.0-54-cloud-amd64", "first bad:  6.1.0-55-cloud-amd64", "bpf: Fix accesses to uninit stack slots"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q", want)
		}
	}
	list, _, _ := strings.Cut(stdout, "\nlast good:")
	if boots := strings.Count(list, "\n  6.1.0-"); boots > 2+4 {
		t.Errorf("%d kernels were booted", boots)
	}
	nothingRuns(t)
}

// TestVMThorough: on a real kernel with its modules, programs give the right results, do
// what they are for where they are attached, and break where the limits are known to lie.
func TestVMThorough(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	state, err := vmState()
	if err != nil {
		t.Fatal(err)
	}
	p := matrixPreflighter(t, state, strings.Split(vmSuites, ",")...)
	p.thorough, p.lab.Machine.Timeout = true, thoroughTimeout
	m, err := p.measure(t.Context(), namedKernel(t, p, "6.12.117+deb12-cloud-amd64"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Snapshot == nil {
		t.Fatalf("%s: %s\n%s", m.Outcome, m.Why, m.Console)
	}
	t.Logf("boot %v, whole %v", m.Boot, m.Took)
	right := map[string]int{}
	for i := range m.Snapshot.Subjects {
		s := &m.Snapshot.Subjects[i]
		switch s.Kind {
		case "bpf.behaviour", "bpf.attach", "bpf.breaking_point":
		default:
			continue
		}
		if s.Outcome == snapshot.Inconclusive || s.Outcome == snapshot.Skipped {
			t.Errorf("%s/%s: %s: %s", s.Kind, s.ID, s.Outcome, s.Reason)
		}
		if s.Text("result") == "wrong" || s.Text("works") == "wrong" || s.Text("attached") == "no" {
			t.Errorf("%s/%s: %s%s", s.Kind, s.ID, s.Text("wrong"), s.Text("cause"))
		}
		if s.Outcome == snapshot.Measured {
			right[s.Kind]++
		}
	}
	if right["bpf.behaviour"] < 65 || right["bpf.attach"] < 35 || right["bpf.breaking_point"] < 15 {
		t.Errorf("measured: %v", right)
	}
	limit := m.Snapshot.Subject(snapshot.Key{Kind: "bpf.breaking_point", ID: "limit_functions/within"})
	if n, _ := limit.Attrs["largest"].Int(); n != 256 {
		t.Errorf("functions: %d, want 256", n)
	}
}

// TestVMShortOfMemory: a guest that a large program would not fit into says so, and no
// program is called rejected for it.
func TestVMShortOfMemory(t *testing.T) {
	vmtest.Need(t)
	status, stdout, stderr := candidates(t, "preflight", "-o", "json", "--vm-memory", "200", "--against", "6.1.0-56-cloud-amd64", "6.1.0-56-cloud-amd64")
	r := preflightReports(t, stdout, stderr)["6.1.0-56-cloud-amd64"]
	if status != 3 || r == nil || r.Verdict != snapshot.Incomplete || !strings.Contains(r.Summary, "MiB of free memory") || hasFinding(r, "probe-rejected", snapshot.Info) {
		t.Errorf("exit status %d, %+v\n%s", status, r, stderr)
	}
}

// TestVMNoKernel: what is no kernel is said to be none, and nothing is left of it.
func TestVMNoKernel(t *testing.T) {
	vmtest.Need(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "vmlinuz")
	// A head that QEMU takes for a kernel, with nothing behind it.
	hollow := filepath.Join(dir, "vmlinuz-hollow")
	head := make([]byte, 64<<10)
	copy(head[0x1fe:], "\x55\xaa")
	copy(head[0x202:], "HdrS\x0f\x02")
	head[0x236] = 1
	deb := filepath.Join(dir, "linux-image-6.1.0-1-amd64_1_amd64.deb")
	for name, b := range map[string][]byte{text: []byte("no kernel"), hollow: head, deb: []byte("!<arch>\nbroken")} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{text}, "not a kernel"},
		{[]string{deb}, "corrupt"},
		{[]string{filepath.Join(dir, "gone")}, "no such file"},
		{[]string{dir + "/.."}, ""},
		{[]string{"9.9.9-none"}, "is installed or offered"},
		{[]string{"--accel", "magic", text}, "auto, kvm or tcg"},
		{[]string{"--object", "/nonexistent.o", text}, "nonexistent.o"},
		{[]string{"--against", text, hollow}, "hollow"},
	} {
		status, stdout, stderr := candidates(t, append([]string{"preflight"}, c.args...)...)
		if status != 2 && status != 3 || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%v: exit status %d, no %q in\n%s%s", c.args, status, c.want, stdout, stderr)
		}
	}
	nothingRuns(t)
}

// nothingRuns asserts that no VM has outlived the command that ran it: it would have been
// handed to init.
func nothingRuns(t *testing.T) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(b, []byte("qemu-system")) || !bytes.Contains(b, []byte("rdinit=/init")) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		if err == nil && bytes.Contains(status, []byte("\nPPid:\t1\n")) {
			t.Errorf("a VM is left: %s", bytes.ReplaceAll(b, []byte{0}, []byte(" ")))
		}
	}
}
