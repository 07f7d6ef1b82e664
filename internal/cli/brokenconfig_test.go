package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/baseline"
	"lastgood/internal/notify"
)

// TestBrokenConfiguration: with a mistake in the configuration nothing is judged, sent or held, each says the line and the column,
// and what a person needs at night goes on: to let the workloads go, to ask what is wrong, to have the shutdown remembered.
func TestBrokenConfiguration(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	runDir := filepath.Join(h.dir, "run")
	spool := &notify.Spool{Folder: baseline.OpenFolder(filepath.Join(h.dir, "spool"), nil), Config: &notify.Config{Webhooks: []notify.Webhook{{URL: "http://127.0.0.1:1/"}}}}
	m, err := notify.New("gate-held", "of an earlier boot")
	if err != nil {
		t.Fatal(err)
	}
	if err := spool.Add(&m); err != nil {
		t.Fatal(err)
	}
	h.config("gate:\n  on_regression: [\n")
	place := "read configuration " + h.configPath + ": [2:18]"
	for _, c := range []struct {
		line   string
		status int
		said   []string
	}{
		{"check", exitUsage, []string{place}},
		{"decide", exitUsage, []string{place}},
		{"gate", exitOK, []string{"lastgood itself failed: the workloads are not held for it: " + place}},
		{"gate --exit-status", exitUsage, []string{place}},
		{"__assess", exitOK, []string{place}},
		{"release", exitOK, []string{place, "Workloads were let go"}},
		{"__intent -v", exitOK, []string{"next boot: " + bootedNew}},
		{"version", exitOK, []string{tool()}},
		{"doctor", exitRegressed, []string{h.configPath + " can be read: " + place, "mend it"}},
		{"notify --flush", exitUsage, []string{place}},
		{"notify --failed lastgood-gate.service", exitUsage, []string{"lastgood itself failed: lastgood-gate.service failed", place}},
	} {
		hold := filepath.Join(runDir, "hold")
		if err := os.MkdirAll(runDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if c.line == "release" {
			if err := os.WriteFile(hold, []byte("held\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		env := Env{Out: &out, Err: &out, In: strings.NewReader(""), Getenv: func(string) string { return "" }, Width: 400}
		args := append(strings.Fields(c.line), "--state-dir", h.dir, "--root", h.tree, "--config", h.configPath)
		if first := strings.Fields(c.line)[0]; first != "check" && first != "version" && first != "__intent" {
			args = append(args, "--run-dir", runDir)
		}
		status, err := run(t.Context(), args, env)
		if err != nil {
			printError(&out, err)
		}
		if status != c.status {
			t.Errorf("%s: status %d, want %d\n%s", c.line, status, c.status, out.String())
		}
		for _, want := range c.said {
			if n := strings.Count(out.String(), want); n == 0 || n > 1 && c.status == exitOK {
				t.Errorf("%s says %q %d times:\n%s", c.line, want, n, out.String())
			}
		}
		if _, err := os.Stat(hold); err == nil {
			t.Errorf("%s: workloads are held", c.line)
		}
	}
	if left, err := spool.Waiting(); err != nil || len(left) != 1 {
		t.Errorf("what waited to be sent: %v, %v", left, err)
	}
}
