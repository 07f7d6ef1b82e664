package kernels

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program puts a shell script first in the search path.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "tool", `echo "$LC_ALL $SECRET $1"; echo why >&2; exit $2`)
	t.Setenv("SECRET", "x")
	out, errs, err := run(t.Context(), command{name: "tool", args: []string{"a; b", "0"}})
	if out != "C  a; b\n" || errs != "why\n" || err != nil {
		t.Errorf("%q %q %v", out, errs, err)
	}
	if _, _, err := run(t.Context(), command{name: "tool", args: []string{"a", "3"}}); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("exit status: %v", err)
	}
	_, _, err = run(t.Context(), command{name: "no-such-tool", hint: "get it"})
	var hint *HintError
	if !errors.Is(err, ErrNoTool) || !errors.As(err, &hint) || hint.Hint() != "get it" {
		t.Errorf("missing: %v", err)
	}
	t.Setenv("PATH", ".")
	if _, _, err := run(t.Context(), command{name: "run_test.go"}); err == nil {
		t.Error("a program of the working folder was run")
	}
}

func TestRunStopsAndBounds(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "hang", "sleep 60 & sleep 60")
	began := time.Now()
	if _, _, err := run(t.Context(), command{name: "hang", timeout: 100 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("stopped after %v", d)
	}
	program(t, dir, "chatter", "head -c 5000000 /dev/zero")
	if out, _, err := run(t.Context(), command{name: "chatter"}); err == nil || len(out) != maxOutput {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
