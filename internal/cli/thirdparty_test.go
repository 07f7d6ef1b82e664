package cli

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lastgood/internal/snapshot"
	"lastgood/internal/thirdparty"
)

// needObjects skips where nothing can be loaded or fetched, or fails where that is required.
func needObjects(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 && !strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
		t.Skip("loading BPF programs needs root")
	}
	if testing.Short() {
		t.Skip("fetches other projects' objects, which is no short test")
	}
	dir, err := vmState()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "objects")
	if _, err := thirdparty.Fetch(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOthersObjects measures what other projects ship, most of it more than one program to
// the object, and holds the counters against the kernel's own word on the loaded programs.
func TestOthersObjects(t *testing.T) {
	dir := needObjects(t)
	cmd := exec.CommandContext(t.Context(), staticBinary(t), "probe", "--state-dir", t.TempDir(), "-o", "json", dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	snap, err := snapshot.Decode(out)
	if err != nil {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	objects, accepted := map[string]bool{}, map[string]*snapshot.Subject{}
	for i := range snap.Subjects {
		s := &snap.Subjects[i]
		if s.Kind != "bpf.program" {
			continue
		}
		objects[s.Text("object")] = true
		insns, walked := s.Attrs["insns_processed"].Int()
		switch {
		case s.Outcome == snapshot.Measured && s.Text("verdict") == "accepted":
			accepted[s.ID] = s
			if info, ok := s.Attrs["verified_insns"].Int(); ok && (!walked || info != insns) {
				t.Errorf("%s: %d insns by the log, %d by the kernel's info", s.ID, insns, info)
			}
		case s.Text("phase") == "map_create" || s.Text("phase") == "relocate" || s.Text("phase") == "open":
			if walked {
				t.Errorf("%s: %d insns of a program that failed in phase %s", s.ID, insns, s.Text("phase"))
			}
		case s.Outcome != snapshot.Measured && s.Reason == "":
			t.Errorf("%s: %s, and no reason", s.ID, s.Outcome)
		}
	}
	t.Logf("%d objects, %d programs accepted", len(objects), len(accepted))
	if len(objects) < 100 || len(accepted) < 300 {
		t.Errorf("%d objects and %d accepted programs are too few to say anything", len(objects), len(accepted))
	}
	againstVeristat(t, dir, accepted)
}

// againstVeristat compares with veristat, program by program, where it is at hand.
func againstVeristat(t *testing.T, dir string, ours map[string]*snapshot.Subject) {
	t.Helper()
	tool := os.Getenv("LASTGOOD_VERISTAT")
	if tool == "" {
		t.Log("LASTGOOD_VERISTAT names no veristat: not compared with it")
		return
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, append([]string{"-o", "csv", "-e", "file,prog,verdict,insns,states,peak_states"}, paths...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%d lines, %v", len(rows), err)
	}
	same := 0
	for _, row := range rows[1:] {
		s := ours[row[0]+"/"+row[1]]
		if s == nil || row[2] != "success" {
			continue
		}
		for i, attr := range []string{"insns_processed", "total_states", "peak_states"} {
			theirs, err := strconv.ParseInt(row[3+i], 10, 64)
			if n, _ := s.Attrs[attr].Int(); err != nil || n != theirs {
				t.Errorf("%s: %s is %d, veristat says %s", s.ID, attr, n, row[3+i])
			}
		}
		same++
	}
	t.Logf("%d programs that both accept", same)
	if same < 200 {
		t.Error("too few")
	}
}
