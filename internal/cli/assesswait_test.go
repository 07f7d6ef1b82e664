package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// TestContainersAreWaitedFor: by the assessment, which says so once and not at every look; not by the gate, which comes before them.
func TestContainersAreWaitedFor(t *testing.T) {
	var errs bytes.Buffer
	g := &gateRun{s: &session{env: Env{Err: &errs}}, rep: &report.Report{Verdict: snapshot.Good, Summary: "fine so far"}}
	if g.mayCome(gate.Assessed) {
		t.Error("it waits for nothing")
	}
	g.late = []string{"kubernetes"}
	if !g.mayCome(gate.Assessed) || g.mayCome(gate.Checked) {
		t.Errorf("assessment waits: %v, gate: %v", g.mayCome(gate.Assessed), g.mayCome(gate.Checked))
	}
	for range 3 {
		g.sayWhy(t.Context(), true, 10*time.Second)
	}
	if want := "lastgood: no container of kubernetes runs yet; fine so far; looks again every 10s\n"; errs.String() != want {
		t.Errorf("%q", errs.String())
	}
	g.rep.Verdict = snapshot.Regressed
	if g.mayCome(gate.Assessed) {
		t.Error("a boot that is worse already waits for containers, which may be held")
	}
	g.rep.Summary = "worse"
	g.sayWhy(t.Context(), true, 10*time.Second)
	if !strings.HasSuffix(errs.String(), "worse; looks again every 10s\n") {
		t.Errorf("what changed is not said: %q", errs.String())
	}
}
