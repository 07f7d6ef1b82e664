package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeQEMU puts a shell script in QEMU's place. It finds what QEMU would find: its
// files by number, and in $answer the bytes of a whole answer.
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	// QEMU runs as nobody, who must be able to reach it.
	for d := dir; d != "/"; d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err == nil && st.Mode()&0o001 == 0 {
			err = os.Chmod(d, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	facts, err := json.Marshal(Facts{Release: "6.1.0", Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "answer"), stream(t, Frame{FrameHello, facts}, Frame{FrameProgress, []byte("1/2\x1b[31m merge")}, Frame{FrameResult, []byte("result")}, Frame{FrameEnd, nil}))
	write(t, filepath.Join(dir, qemuNames["x86_64"]), []byte("#!/bin/sh\nanswer="+dir+"/answer\nconsole() { echo \"$@\" >> /proc/self/fd/5; }\n"+script))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func fakeJob(t *testing.T) Job {
	t.Helper()
	dir := t.TempDir()
	return Job{Arch: "x86_64", Kernel: write(t, filepath.Join(dir, "vmlinuz"), []byte("kernel")), Image: Image{Init: write(t, filepath.Join(dir, "init"), elfHeader())}, InitArgs: []string{"__guest"}}
}

func quick() *Machine {
	m := New()
	m.Accel, m.Timeout, m.BootTimeout, m.KVMPatience = TCG, 8*time.Second, 2*time.Second, 300*time.Millisecond
	return m
}

// TestRun has a guest end in every way that there is.
func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   Outcome
		why    string
	}{
		"done":             {"console Linux version 6.1.0; cat $answer > /proc/self/fd/6; sleep 60", Done, ""},
		"done, and exits":  {"cat $answer > /proc/self/fd/6", Done, ""},
		"panic":            {"console Linux version; console 'Kernel panic - not syncing: VFS'; exit 0", Panicked, "VFS"},
		"oops":             {"console 'BUG: unable to handle page fault'; head -c 120 $answer > /proc/self/fd/6; exit 0", Oopsed, "page fault"},
		"early reboot":     {"console Linux version 6.1.0; exit 0", Rebooted, "Linux version 6.1.0"},
		"truncated":        {"console working; head -c 70 $answer > /proc/self/fd/6; exit 0", Truncated, "working"},
		"garbage":          {"echo 'login: ' > /proc/self/fd/6; sleep 60", Garbled, "no frame begins"},
		"silence":          {"sleep 60", Hung, "nothing was ever heard"},
		"hang in boot":     {"console Linux version 6.1.0; sleep 60", Hung, "Linux version"},
		"a gigabyte":       {"head -c 1G /dev/zero > /proc/self/fd/5", Overflowed, "more than"},
		"a gigabyte of it": {"yes > /proc/self/fd/6", Garbled, "no frame begins"},
		"QEMU refuses":     {"echo 'qemu: -cpu max: no such CPU' >&2; exit 1", DidNotStart, "no such CPU"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeQEMU(t, c.script)
			var heard []string
			job := fakeJob(t)
			job.Progress = func(l string) { heard = append(heard, l) }
			r, err := quick().Run(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome != c.want || !strings.Contains(r.Why, c.why) {
				t.Fatalf("%s: %q, want %s with %q; console %q", r.Outcome, r.Why, c.want, c.why, r.Console)
			}
			if len(r.Console) > keepConsole {
				t.Errorf("a console of %d bytes was kept", len(r.Console))
			}
			if c.want == Done && (r.Facts.Release != "6.1.0" || len(r.Results) != 1 || string(r.Results[0]) != "result" || len(heard) != 1 || strings.Contains(heard[0], "\x1b")) {
				t.Errorf("facts %+v, results %q, heard %q", r.Facts, r.Results, heard)
			}
			nothingLeft(t)
		})
	}
}

// TestEmulatorsBreakpoint: a guest that died of the emulator's race is run again with
// one CPU, and one that dies of a breakpoint by itself is not saved by that.
func TestEmulatorsBreakpoint(t *testing.T) {
	const dies = "console 'Oops: int3: 0000 [#1] SMP NOPTI'; console 'Kernel panic - not syncing: Fatal exception in interrupt'; exit 0"
	fakeQEMU(t, `case "$*" in *"-smp 2"*) `+dies+`;; *) cat $answer > /proc/self/fd/6;; esac`)
	r, err := quick().Run(t.Context(), fakeJob(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != Done || len(r.Results) != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "one CPU") {
		t.Errorf("%s: %q, %d results, notes %q", r.Outcome, r.Why, len(r.Results), r.Notes)
	}
	fakeQEMU(t, dies)
	r, err = quick().Run(t.Context(), fakeJob(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != Panicked {
		t.Errorf("%s: %q", r.Outcome, r.Why)
	}
	nothingLeft(t)
}

// nothingLeft asserts that no process of ours is alive.
func nothingLeft(t *testing.T) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Gettid()))
	if err == nil && strings.TrimSpace(string(children)) != "" {
		t.Errorf("children are left: %s", children)
	}
}

// TestRunUnprivileged: QEMU never runs as root, within bounds that it cannot raise.
func TestRunUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has privilege to give up")
	}
	fakeQEMU(t, `console "uid $(id -u) groups $(id -G) $(grep -E '^(Max file size|Max core)' /proc/self/limits | tr -s ' ' | tr '\n' ' ') args $@"; exit 0`)
	r, err := quick().Run(t.Context(), fakeJob(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"uid 65534 groups 65534", "Max file size " + strconv.Itoa(maxOutput), "Max core file size 0 0", "-sandbox on,", "-nodefaults", "-nic none", "-cpu max,cx16=off", "rdinit=/init", "-- __guest"} {
		if !strings.Contains(r.Console, want) {
			t.Errorf("no %q in %s", want, r.Console)
		}
	}
}

// TestRunStopped: a job that is told to stop takes its guest with it.
func TestRunStopped(t *testing.T) {
	fakeQEMU(t, "console Linux version; sleep 60")
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	start := time.Now()
	r, err := quick().Run(ctx, fakeJob(t))
	if err != nil || r.Outcome != Interrupted || time.Since(start) > 1900*time.Millisecond {
		t.Errorf("%+v after %v, %v", r, time.Since(start), err)
	}
	nothingLeft(t)
}

// TestKVMWatchdog: KVM that opens and then hangs, as on some nested hosts, costs its
// patience and no more, and emulation does the job.
func TestKVMWatchdog(t *testing.T) {
	if err := kvmUsable(); err != nil {
		t.Skipf("KVM is not there to be given up: %v", err)
	}
	fakeQEMU(t, `case "$*" in *"accel kvm"*) console 'Probing EDD (edd=off to disable)... ok'; sleep 60;; *) cat $answer > /proc/self/fd/6;; esac`)
	m := quick()
	m.Accel = Auto
	start := time.Now()
	r, err := m.Run(t.Context(), fakeJob(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != Done || r.Accel != TCG || !strings.Contains(r.KVMGivenUp, "Probing EDD") || time.Since(start) > 1500*time.Millisecond {
		t.Errorf("%s with %s after %v: %q", r.Outcome, r.Accel, time.Since(start), r.KVMGivenUp)
	}
}

func TestRunErrors(t *testing.T) {
	job := fakeJob(t)
	t.Run("no QEMU", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		var none *NoQEMUError
		if _, err := quick().Run(t.Context(), job); !errors.As(err, &none) || none.Hint() == "" {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("another arch", func(t *testing.T) {
		other := job
		other.Arch = "s390x"
		if _, err := quick().Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "s390x") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("no kernel", func(t *testing.T) {
		fakeQEMU(t, "exit 0")
		gone := job
		gone.Kernel = "/nonexistent/vmlinuz"
		if _, err := quick().Run(t.Context(), gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error is %v", err)
		}
	})
}

// TestKilledLeavesNothing kills a process that runs a VM, and looks for its guest.
func TestKilledLeavesNothing(t *testing.T) {
	const child = "LASTGOOD_TEST_VM_CHILD"
	if os.Getenv(child) != "" {
		fakeQEMU(t, "console started; exec sleep 61")
		_, err := quick().Run(context.Background(), fakeJob(t))
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledLeavesNothing$")
	cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guest := ""
	for deadline := time.Now().Add(10 * time.Second); guest == "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		guest = childOf(cmd.Process.Pid, "sleep")
	}
	if guest == "" {
		t.Fatal("the guest was never seen")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		state, err := os.ReadFile("/proc/" + guest + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest %s outlived lastgood: %s", guest, state)
		}
	}
}

// childOf finds a descendant's pid by its command name.
func childOf(pid int, comm string) string {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for c := range strings.FieldsSeq(string(b)) {
			if name, _ := os.ReadFile("/proc/" + c + "/comm"); strings.TrimSpace(string(name)) == comm {
				return c
			}
		}
	}
	return ""
}
