package compare

import (
	"testing"

	"lastgood/internal/snapshot"
)

// TestSampledGrowth: a sampled value is judged against its own noise, and only where the
// kernel is another.
func TestSampledGrowth(t *testing.T) {
	kind := snapshot.Kind{Name: "clocked", Doc: "d",
		Attrs: []snapshot.Attr{
			{Name: "time", Unit: snapshot.Seconds, Noise: snapshot.Sampled, SpreadAttr: "spread", Doc: "d"},
			{Name: "spread", Unit: snapshot.Seconds, Noise: snapshot.Sampled, Doc: "d"},
			{Name: "other", Unit: snapshot.Seconds, Noise: snapshot.Sampled, Doc: "d"},
			{Name: "program", Doc: "d"},
		},
		Rules: []snapshot.Rule{
			{Code: "slower", On: snapshot.OnGrowth, Attr: "time", Ratio: 2, Floor: 0.5, Unless: []string{"program"}, Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "{new} {old} {ratio}"},
			{Code: "other", On: snapshot.OnGrowth, Attr: "other", Ratio: 2, Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "m"},
		}}
	kinds, err := snapshot.NewKinds(kind)
	if err != nil {
		t.Fatal(err)
	}
	timed := func(time, spread float64) snapshot.Subject {
		return subject("clocked", "c", "time", time, "spread", spread, "other", time, "program", "p")
	}
	for name, test := range map[string]struct {
		old, new *snapshot.Snapshot
		want     int
	}{
		"doubled":                 {world("a", timed(1, 0.1)), world("b", timed(2, 0.1)), 1},
		"not quite":               {world("a", timed(1, 0.1)), world("b", timed(1.9, 0.1)), 0},
		"within the noise of one": {world("a", timed(1, 0.1)), world("b", timed(2, 1)), 0},
		"within that of both":     {world("a", timed(1, 0.6)), world("b", timed(2, 0.6)), 0},
		"under the floor":         {world("a", timed(0.1, 0)), world("b", timed(0.4, 0)), 0},
		"the same build":          {world("a", timed(1, 0.1)), world("a", timed(9, 0.1)), 0},
		"noise not known":         {world("a", timed(1, 0.1)), world("b", subject("clocked", "c", "time", 9.0, "program", "p")), 0},
		"another program":         {world("a", timed(1, 0.1)), world("b", with(timed(9, 0.1), func(s *snapshot.Subject) { s.Set("program", snapshot.Text("q")) })), 0},
		"not timed":               {world("a", timed(1, 0.1)), world("b", with(timed(9, 0.1), unseen(snapshot.Inconclusive))), 0},
	} {
		if got := Judge(test.old, test.new, kinds, Policy{}).Findings; len(got) != test.want {
			t.Errorf("%s: %v, want %d findings", name, got, test.want)
		}
	}
	kind.Attrs[0].SpreadAttr = "none"
	if _, err := snapshot.NewKinds(kind); err == nil {
		t.Error("a spread that is not declared is taken")
	}
}
