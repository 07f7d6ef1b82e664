package serve

import (
	"strings"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// What the gate remembers is served: since when it holds, and what was rolled back.
func TestGateIsServed(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-1", 1, 1), snapshot.Regressed, true)
	keep := func(s gate.State) {
		t.Helper()
		s.Schema = gate.Schema
		if err := baseline.OpenFolder(dir, nil).Put(baseline.GateFile, s); err != nil {
			t.Fatal(err)
		}
	}
	keep(gate.State{Step: gate.Broken, Held: "WHY", HeldSince: time.Unix(1700000000, 0), Back: &gate.Change{From: gate.Kernel{Release: "6.13.2"}, To: gate.Kernel{Release: "6.12.1"}}})
	s := testServer(t, dir)
	text := get(s, "/metrics").Body.String()
	for _, line := range []string{"lastgood_gate_held 1", "lastgood_gate_held_since_timestamp_seconds 1.7e+09", `lastgood_gate_rollback_info{from="6.13.2",to="6.12.1"} 1`, `lastgood_gate_step_info{step="broken"} 1`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not there", line)
		}
	}
	keep(gate.State{Step: gate.Idle})
	s.Refresh()
	if text := get(s, "/metrics").Body.String(); !strings.Contains(text, "lastgood_gate_held 0\n") || strings.Contains(text, "held_since") || strings.Contains(text, "rollback_info") {
		t.Error("a hold that is over is served")
	}
}
