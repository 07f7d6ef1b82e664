package gate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const shown = `Id=kubelet.service
LoadState=loaded
ActiveState=inactive
ConditionResult=no
ConditionTimestampMonotonic=12000000

Id=k3s.service
LoadState=not-found
ActiveState=inactive
ConditionResult=no
ConditionTimestampMonotonic=0

Id=rke2-agent.service
LoadState=loaded
ActiveState=inactive
ConditionResult=no
ConditionTimestampMonotonic=0

Id=k0sworker.service
LoadState=loaded
ActiveState=active
ConditionResult=yes
ConditionTimestampMonotonic=9000000
`

// TestStartHeld: only what was asked for and skipped is started.
func TestStartHeld(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	program := filepath.Join(dir, "systemctl")
	script := "#!/bin/sh\necho \"$@\" >> " + log + "\n[ \"$1\" = show ] && cat <<'E'\n" + shown + "E\nexit 0\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s := Systemctl{Paths: []string{filepath.Join(dir, "none"), program}}
	held, err := s.StartHeld(t.Context(), []string{"kubelet.service", "k3s.service", "rke2-agent.service", "k0sworker.service"})
	if d := cmp.Diff([]string{"kubelet.service"}, held); err != nil || d != "" {
		t.Fatal(err, d)
	}
	if err := s.Reboot(t.Context(), "kernel 6.1 regressed"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if err != nil || len(lines) != 3 || lines[1] != "start --no-block -- kubelet.service" || lines[2] != "reboot --no-block --message=lastgood: kernel 6.1 regressed" {
		t.Errorf("%q, %v", lines, err)
	}
	if err := (Systemctl{Paths: []string{filepath.Join(dir, "none")}}).Start(t.Context(), "a.service"); err == nil {
		t.Error("a systemctl that is not there")
	}
}

func TestSkipped(t *testing.T) {
	for line, want := range map[string]bool{
		"ro quiet": false, "ro lastgood.skip": true, "lastgood.skip=1 ro": true, "lastgood.skip=0": false,
		"xlastgood.skip": false, "ro -- lastgood.skip": false, "": false,
	} {
		if have := Skipped(line); have != want {
			t.Errorf("%q: %v", line, have)
		}
	}
}

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	if err := Generate(dir, []string{"kubelet.service", "k3s.service"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "k3s.service.d", DropIn))
	if err != nil || !strings.Contains(string(b), "ConditionPathExists=!/run/lastgood/hold\n") {
		t.Errorf("%s, %v", b, err)
	}
	for _, never := range []string{"Requires", "Wants", "BindsTo", "PartOf", "Conflicts"} {
		if strings.Contains(string(b), never+"=") {
			t.Errorf("the drop-in has %s=", never)
		}
	}
	if err := Generate(filepath.Join(dir, "k3s.service.d", DropIn), []string{"a.service"}); err == nil {
		t.Error("a folder that is a file")
	}
}

// TestCycles: a journal that has nothing is no journal without cycles.
func TestCycles(t *testing.T) {
	const cycle = "Job lastgood-bless.service/start deleted to break ordering cycle starting with x"
	for said, want := range map[string]struct{ n, errs int }{
		"": {0, 1}, "Started a.": {0, 0}, "Started a.\n" + cycle: {1, 0},
	} {
		program := filepath.Join(t.TempDir(), "journalctl")
		if err := os.WriteFile(program, []byte("#!/bin/sh\ncat <<'E'\n"+said+"\nE\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if said == "" {
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		have, err := Cycles(t.Context(), []string{program}, 0)
		if len(have) != want.n || (err != nil) != (want.errs > 0) {
			t.Errorf("%q: %v, %v", said, have, err)
		}
	}
	if _, err := Cycles(t.Context(), []string{"/nonexistent/journalctl"}, 0); err == nil {
		t.Error("a journalctl that is not there")
	}
}

// TestCyclesOfTheBootBefore: the boot is the one that was asked for, and one that the journal does not hold could not be told.
func TestCyclesOfTheBootBefore(t *testing.T) {
	program := filepath.Join(t.TempDir(), "journalctl")
	script := "#!/bin/sh\n[ \"$1 $2\" = '-b -1' ] && echo 'a.service: Job b.service/start deleted to break ordering cycle' && exit 0\n" +
		"echo 'Data from the specified boot is not available' >&2; exit 1\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if have, err := Cycles(t.Context(), []string{program}, -1); err != nil || len(have) != 1 {
		t.Errorf("%v, %v", have, err)
	}
	if _, err := Cycles(t.Context(), []string{program}, -2); err == nil || !strings.Contains(err.Error(), "not available") {
		t.Errorf("error %v", err)
	}
}

// TestCyclesOfALongJournal: a host that is up for months has a log without an end; what the boot said stands at its beginning.
func TestCyclesOfALongJournal(t *testing.T) {
	program := filepath.Join(t.TempDir(), "journalctl")
	script := "#!/bin/sh\necho 'a.service: Job b.service/start deleted to break ordering cycle'\nexec yes 'Started Session 1 of User root.'\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if have, err := Cycles(t.Context(), []string{program}, 0); err != nil || len(have) != 1 || time.Since(start) > systemctlPatience/2 {
		t.Errorf("%v, %v after %v", have, err, time.Since(start))
	}
}
