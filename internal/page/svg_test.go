package page

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScale(t *testing.T) {
	for _, c := range []struct {
		name string
		s    scale
		v    float64
		want float64
	}{
		{"start", scale{0, 10, 100, 200}, 0, 100},
		{"middle", scale{0, 10, 100, 200}, 5, 150},
		{"downward, as pictures grow", scale{0, 10, 200, 100}, 10, 100},
		{"below", scale{0, 10, 100, 200}, -5, 100},
		{"above", scale{0, 10, 100, 200}, 50, 200},
		{"no width", scale{3, 3, 100, 200}, 3, 150},
		{"not a number", scale{0, 10, 100, 200}, math.NaN(), 150},
		{"infinite", scale{0, 10, 100, 200}, math.Inf(1), 150},
	} {
		if got := c.s.at(c.v); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestLines(t *testing.T) {
	pts := []point{{1, 2}, {3.04, 4.96}, {-0.04, 5}}
	if got, want := line(pts), "M1 2L3 5L0 5"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	if got, want := line(pts[:1], nil, pts[1:2]), "M1 2M3 5"; got != want {
		t.Errorf("line with a gap %q, want %q", got, want)
	}
	if got, want := area(pts[:2], 9), "M1 9L1 2L3 5L3 9Z"; got != want {
		t.Errorf("area %q, want %q", got, want)
	}
	if line(nil) != "" || area(nil, 1) != "" {
		t.Error("a picture of nothing")
	}
}

func TestCeiling(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, -3: 1, 1: 1, 1.2: 1.5, 9: 10, 10: 10, 101: 150, 999_999: 1_000_000, 1_000_001: 1_500_000, 0.03: 0.03, math.Inf(1): 1} {
		if got := ceiling(v); math.Abs(got-want) > 1e-9*want {
			t.Errorf("ceiling(%v) = %v, want %v", v, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	for _, c := range [][3]float64{{0, 100, 0}, {50, 100, 50}, {150, 100, 100}, {-1, 100, 0}, {1, 0, 0}, {math.NaN(), 100, 0}} {
		if got := share(c[0], c[1]); got != c[2] {
			t.Errorf("share(%v, %v) = %v, want %v", c[0], c[1], got, c[2])
		}
	}
}

// TestThin keeps a peak of one point in a thousand.
func TestThin(t *testing.T) {
	var pts []point
	for i := range 1000 {
		pts = append(pts, point{float64(i), 10})
	}
	pts[333].Y, pts[777].Y = 99, 1
	got := thin(pts, 120)
	if len(got) > 130 {
		t.Errorf("%d points are left", len(got))
	}
	seen := map[float64]bool{}
	for i, p := range got {
		seen[p.Y] = true
		if i > 0 && p.X <= got[i-1].X {
			t.Fatalf("point %d stands at %v, behind %v", i, p.X, got[i-1].X)
		}
	}
	if !seen[99] || !seen[1] {
		t.Error("a peak was lost")
	}
	if diff := cmp.Diff(pts[:3], thin(pts[:3], 120)); diff != "" {
		t.Errorf("a short row changed: %s", diff)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 950: "950", 1500: "1.5k", 12_500: "12.5k", 450_000: "450k", 1_000_000: "1M", 2.5e9: "2.5G", -1500: "-1.5k"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0 %", 0.01: "< 0.1 %", 4.4: "4.4 %", 61.2: "61 %", 99.64: "99.6 %", 99.99: "99.9 %", 100: "100 %", 130: "130 %"} {
		if got := percent(v); got != want {
			t.Errorf("percent(%v) = %q, want %q", v, got, want)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if px(v) != "0" {
			t.Errorf("px(%v) = %q", v, px(v))
		}
	}
}

func TestPieces(t *testing.T) {
	for in, want := range map[string][]piece{
		"":                         nil,
		"plain":                    {{Text: "plain"}},
		"run `lastgood check` now": {{Text: "run "}, {Text: "lastgood check", Code: true}, {Text: " now"}},
		"`a` and `b`":              {{Text: "a", Code: true}, {Text: " and "}, {Text: "b", Code: true}},
		"one ` alone":              {{Text: "one ` alone"}},
		"``":                       nil,
	} {
		if diff := cmp.Diff(want, pieces(in)); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func TestSlug(t *testing.T) {
	for in, want := range map[string]string{"program-rejected": "program-rejected", "A b": "a-b", `"><x>`: "x", "": "x", "9lives": "x9lives", strings.Repeat("a", 99): strings.Repeat("a", 40)} {
		if got := slug(in); got != want {
			t.Errorf("slug(%q) = %q, want %q", in, got, want)
		}
	}
	if anchor("a", "b", "c") == anchor("a", "b\x00c", "") {
		t.Error("two subjects have one anchor")
	}
}
