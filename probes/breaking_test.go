package probes

import (
	"context"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// TestClimb finds every breaking point of rows that grow in every way, with few loads
// near the limit.
func TestClimb(t *testing.T) {
	const limit = 1_000_000
	rows := map[string]func(n int) int64{
		"by a sum":      func(n int) int64 { return 40 + int64(n)*1700 },
		"by a factor":   func(n int) int64 { return 300 << min(n, 30) },
		"not at all":    func(int) int64 { return 17 },
		"by its square": func(n int) int64 { return int64(n) * int64(n) },
		"late":          func(n int) int64 { return int64(n) + 1<<min(max(0, n-20), 30) },
	}
	for name, insns := range rows {
		for _, wall := range []int{0, 1, 2, 3, 4, 11, 12, 31, 589, 1000, 4095, 4096} {
			near := 0
			c := climber{from: 1, to: 4096, load: func(n int) rung {
				r := rung{n: n, insns: insns(n), limit: limit}
				r.accepted = n <= wall && r.insns <= limit
				if r.insns > limit/2 {
					near++
				}
				return r
			}}
			want := 0
			for n := 1; n <= wall && insns(n) <= limit; n++ {
				want = n
			}
			if err := c.climb(t.Context()); err != nil {
				t.Fatalf("%s, wall at %d: %v", name, wall, err)
			}
			if c.best.n != want || c.open() {
				t.Errorf("%s, wall at %d: found %d, want %d, after %d loads", name, wall, c.best.n, want, len(c.seen))
			}
			if name == "by a factor" && near > 3 {
				t.Errorf("%s, wall at %d: %d loads near the limit", name, wall, near)
			}
		}
	}
}

func TestClimbCannotTell(t *testing.T) {
	c := climber{from: 1, to: 64, load: func(n int) rung { return rung{n: n, unclear: "out of memory"} }}
	if err := c.climb(t.Context()); err == nil {
		t.Error("an unclear answer made a breaking point")
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c = climber{from: 1, to: 64, load: func(n int) rung { return rung{n: n, accepted: true} }}
	if err := c.climb(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	c = climber{from: 1, to: 64, load: func(n int) rung { return rung{n: n, lacking: "unknown opcode"} }}
	if err := c.climb(t.Context()); err != nil || len(c.seen) != 1 {
		t.Errorf("%v after %d loads", err, len(c.seen))
	}
	s := snapshot.Subject{Outcome: snapshot.Measured}
	c.report(&s)
	if s.Outcome != snapshot.Unsupported || s.Text("offered") != "no" {
		t.Errorf("%+v", s)
	}
}

// TestBreakingPoints: limits that are known lie where they are known to lie, and a
// second search finds the same.
func TestBreakingPoints(t *testing.T) {
	needCensus(t)
	want := map[string]int64{"limit_call_depth/within": 8, "limit_functions/within": 256, "limit_stack/within": 64, "limit_maps/within": 64, "limit_jump_sequence/within": 8192}
	for _, f := range Families() {
		for _, c := range f.Cases {
			id := f.Name + "/" + c.Name
			if c.Grow == nil || want[id] == 0 && f.Name != "packet_chain" {
				continue
			}
			first := breakingStep(f, c, btf.NewCache())(t.Context(), source.Host{})[0]
			second := breakingStep(f, c, btf.NewCache())(t.Context(), source.Host{})[0]
			largest, _ := first.Attrs["largest"].Int()
			if first.Outcome != snapshot.Measured || want[id] != 0 && largest != want[id] || first.Text("reason") == "" {
				t.Errorf("%s: %s %s, largest %d, want %d", id, first.Outcome, first.Reason, largest, want[id])
			}
			for name, v := range first.Attrs {
				if second.Attrs[name].String() != v.String() {
					t.Errorf("%s: %s was %s and is %s", id, name, v, second.Attrs[name])
				}
			}
		}
	}
}

// TestRowsBeginSmall: every row can be built at both ends.
func TestRowsBeginSmall(t *testing.T) {
	for _, f := range Families() {
		for _, c := range f.Cases {
			if c.Grow == nil {
				continue
			}
			for _, n := range []int{c.Grow.From, c.Grow.To} {
				if _, err := c.Grow.Build(n); err != nil {
					t.Errorf("%s/%s at %d: %v", f.Name, c.Name, n, err)
				}
			}
			if c.Grow.From >= c.Grow.To || c.Grow.Parameter == "" {
				t.Errorf("%s/%s: a row from %d to %d of %q", f.Name, c.Name, c.Grow.From, c.Grow.To, c.Grow.Parameter)
			}
		}
	}
}
