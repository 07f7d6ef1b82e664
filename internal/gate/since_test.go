package gate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lastgood/internal/snapshot"
)

// TestHeldSince: a hold has the time at which it began, however often it is judged again;
// another boot's hold is another one, and what is released has none.
func TestHeldSince(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 5, 1, 3, minute, 0, 0, time.UTC) }
	p := Policy{OnRegression: Hold, MaxStrikes: 3}
	var s State
	for i, step := range []struct {
		event EventType
		boot  string
		v     snapshot.Verdict
		want  time.Time
	}{
		{Booted, "1", "", time.Time{}},
		{Checked, "1", snapshot.Incomplete, time.Time{}},
		{Checked, "1", snapshot.Regressed, at(2)},
		{Checked, "1", snapshot.Regressed, at(2)},
		{Assessed, "1", snapshot.Regressed, at(2)},
		{Checked, "2", snapshot.Regressed, at(5)},
		{Release, "2", "", time.Time{}},
		{Assessed, "2", snapshot.Regressed, time.Time{}},
		{Checked, "3", snapshot.Regressed, at(8)},
		{Assessed, "3", snapshot.Good, time.Time{}},
	} {
		s, _ = Decide(s, Event{Type: step.event, At: at(i), Boot: Boot{step.boot, newKernel}, Verdict: step.v, Summary: "SUM", World: world()}, p)
		if !s.HeldSince.Equal(step.want) || s.HeldSince.IsZero() != (s.Held == "") {
			t.Errorf("step %d: held %q since %v, want %v", i, s.Held, s.HeldSince, step.want)
		}
	}
	if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), "held_since") {
		t.Errorf("%s, %v", b, err)
	}
}
