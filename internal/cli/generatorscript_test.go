package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGeneratorScript: what systemd runs before it starts a unit ends, and well, whatever
// becomes of lastgood; it hands on what it is given.
func TestGeneratorScript(t *testing.T) {
	script, err := os.ReadFile("../../deploy/systemd/lastgood-generator")
	if err != nil {
		t.Fatal(err)
	}
	const program, limit = "/usr/bin/lastgood", "-s KILL 10"
	if n := strings.Count(string(script), limit); n != 1 {
		t.Fatalf("the script bounds the time %d times by %q", n, limit)
	}
	tests := map[string]struct{ fake, wrote string }{
		"works":      {"#!/bin/sh\necho \"$@\" > \"$2/made\"\n", "__generator OUT early late\n"},
		"fails":      {"#!/bin/sh\nexit 2\n", ""},
		"crashes":    {"#!/bin/sh\nkill -SEGV $$\n", ""},
		"hangs":      {"#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 1000 & wait; done\n", ""},
		"is none":    {"", ""},
		"no program": {"\x7fELF", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fake, out := filepath.Join(dir, "fake"), filepath.Join(dir, "generator")
			if tt.fake != "" {
				if err := os.WriteFile(fake, []byte(tt.fake), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			text := strings.ReplaceAll(strings.Replace(string(script), limit, "-s KILL 0.5", 1), program, fake)
			file := filepath.Join(dir, "script")
			if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "/bin/sh", file, out, "early", "late")
			cmd.Dir = dir
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			made, err := os.ReadFile(filepath.Join(out, "made"))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(string(made), out, "OUT"); got != tt.wrote {
				t.Errorf("it was given %q, want %q", got, tt.wrote)
			}
		})
	}
}
