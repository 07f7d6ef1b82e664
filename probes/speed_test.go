package probes

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

func clockAll(t *testing.T) (map[string]snapshot.Subject, time.Duration) {
	t.Helper()
	out := map[string]snapshot.Subject{}
	start := time.Now()
	for _, step := range speedSteps(source.Host{}) {
		subjects := step.Run(context.Background(), source.Host{})
		if len(subjects) != 1 || subjects[0].Kind != step.Kind || subjects[0].ID != step.ID {
			t.Fatalf("step %s gave %+v, want the one subject that it names", step.ID, subjects)
		}
		out[step.ID] = subjects[0]
	}
	return out, time.Since(start)
}

// TestSpeedOnThisKernel times everything: it is measured in full, what is declared exact
// is equal from time to time, and nothing is left open.
func TestSpeedOnThisKernel(t *testing.T) {
	needCensus(t)
	first, _ := clockAll(t)
	before := openFiles(t)
	all, took := clockAll(t)
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
	for id, s := range all {
		for name, v := range s.Attrs {
			if decl, ok := speedKind.Attr(name); !ok || decl.Noise == snapshot.Exact && !v.Equal(first[id].Attrs[name]) {
				t.Errorf("%s: attribute %s is not declared, or varies", id, name)
			}
		}
		best, ok := s.Attrs["run_seconds"].Number()
		median, _ := s.Attrs["median_seconds"].Number()
		spread, has := s.Attrs["spread_seconds"].Number()
		if s.Outcome != snapshot.Measured || !ok || !has || best <= 0 || median < best || spread < median-best {
			t.Errorf("%s: %s %s: %v", id, s.Outcome, s.Reason, s.Attrs)
		}
		t.Logf("%-24s %s ± %s", id, snapshot.Seconds.Format(s.Attrs["run_seconds"]), snapshot.Seconds.Format(s.Attrs["spread_seconds"]))
	}
	t.Logf("%d cases took %v", len(all), took)
}

// busy keeps as many threads busy as it is told until the test ends.
func busy(t *testing.T, threads int) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for range threads {
		go func() {
			for n := 0; ; n++ {
				if n%1000 == 0 {
					select {
					case <-stop:
						return
					default:
					}
				}
			}
		}()
	}
}

// TestSpeedIsSilent: ten times the same kernel beside two busy threads; none of them looks
// slower than another, though each claims to be of another build.
func TestSpeedIsSilent(t *testing.T) {
	needCensus(t)
	busy(t, 2)
	var runs []map[string]snapshot.Subject
	for range 10 {
		all, _ := clockAll(t)
		runs = append(runs, all)
	}
	pairs := 0
	for _, old := range runs {
		for _, new := range runs {
			for id, a := range old {
				b := new[id]
				pairs++
				for _, f := range judged(t, speedKind, &a, &b) {
					t.Errorf("%s %s: %s", f.Severity, f.Code, f.Message)
				}
			}
		}
	}
	t.Logf("%d pairs", pairs)
}

// TestSpeedRules: what is twice as slow and beyond its noise is a warning, and no more.
func TestSpeedRules(t *testing.T) {
	timed := func(program string, run, spread float64) *snapshot.Subject {
		s := &snapshot.Subject{Kind: speedKind.Name, ID: "map/array", Outcome: snapshot.Measured}
		s.Set("program", snapshot.Text(program))
		s.Set("run_seconds", snapshot.Float(run))
		if spread >= 0 {
			s.Set("spread_seconds", snapshot.Float(spread))
		}
		return s
	}
	for _, test := range []struct {
		name     string
		old, new *snapshot.Subject
		want     []string
	}{
		{"as before", timed("p", 20e-9, 1e-9), timed("p", 20e-9, 1e-9), nil},
		{"a little slower", timed("p", 20e-9, 1e-9), timed("p", 39e-9, 1e-9), nil},
		{"half as fast", timed("p", 20e-9, 1e-9), timed("p", 40e-9, 1e-9), []string{"warning speed-halved 20 ns 40 ns"}},
		{"a hundredth as fast", timed("p", 20e-9, 1e-9), timed("p", 2e-6, 1e-9), []string{"warning speed-halved 20 ns 2 µs"}},
		{"half as fast, within the noise", timed("p", 20e-9, 15e-9), timed("p", 45e-9, 15e-9), nil},
		{"noise not known", timed("p", 20e-9, -1), timed("p", 45e-9, 1e-9), nil},
		{"so short that it tells nothing", timed("p", 1e-9, 0), timed("p", 4e-9, 0), nil},
		{"faster", timed("p", 40e-9, 1e-9), timed("p", 10e-9, 1e-9), nil},
		{"another program", timed("p", 20e-9, 1e-9), timed("q", 90e-9, 1e-9), nil},
		{"not timed before", nil, timed("p", 90e-9, 1e-9), nil},
	} {
		var got []string
		for _, f := range judged(t, speedKind, test.old, test.new) {
			got = append(got, strings.Join([]string{string(f.Severity), f.Code, snapshot.Seconds.Format(*f.Old), snapshot.Seconds.Format(*f.New)}, " "))
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

// TestSpeedSeesSlowness: a case that is taken to be four times as slow is told of. A
// machine that is busy hides it in noise, so there are several tries.
func TestSpeedSeesSlowness(t *testing.T) {
	needCensus(t)
	i := slices.IndexFunc(Speeds(), func(g Speed) bool { return g.Name == "call" })
	g := Speeds()[i]
	c := g.Cases[slices.IndexFunc(g.Cases, func(c SpeedCase) bool { return c.Name == "helper" })]
	slower := c
	slower.Each /= 4 // as if each call were four
	for range 10 {
		fast := speedStep(g, c)(context.Background(), source.Host{})[0]
		slow := speedStep(g, slower)(context.Background(), source.Host{})[0]
		if found := judged(t, speedKind, &fast, &slow); len(found) == 1 && found[0].Severity == snapshot.Warning {
			return
		}
	}
	t.Error("four times the time is never told of")
}
