package page

import (
	"math"
	"strconv"
	"strings"
)

// What follows is the geometry of pictures: numbers in, numbers and path data out. Nothing
// here holds a text from outside; templates put those in.

// scale maps values to pixels; a range without width maps to its middle.
type scale struct {
	from, to float64 // values
	a, b     float64 // pixels
}

func (s scale) at(v float64) float64 {
	if s.to == s.from || math.IsNaN(v) || math.IsInf(v, 0) {
		return (s.a + s.b) / 2
	}
	share := (v - s.from) / (s.to - s.from)
	return s.a + min(max(share, 0), 1)*(s.b-s.a)
}

// px is a coordinate with one place, which is finer than any screen.
func px(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(f*10)/10+0, 'f', -1, 64) // +0 takes the sign off a zero
}

// point is a place in a picture.
type point struct{ X, Y float64 }

// line is the path data of straight lines through points; a gap begins anew.
func line(parts ...[]point) string {
	var b strings.Builder
	for _, pts := range parts {
		for i, p := range pts {
			b.WriteByte("ML"[min(i, 1)])
			b.WriteString(px(p.X) + " " + px(p.Y))
		}
	}
	return b.String()
}

// area is the path data of what lies between a line and the height y.
func area(pts []point, y float64) string {
	if len(pts) == 0 {
		return ""
	}
	return line(append(append([]point{{pts[0].X, y}}, pts...), point{pts[len(pts)-1].X, y})) + "Z"
}

// ceiling is a round number not below v, for the end of an axis: 1, 1.5, 2, 2.5, 3, 4, 5, 6 or 8
// times a power of ten.
func ceiling(v float64) float64 {
	if v <= 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10} {
		if m*unit >= v*(1-1e-12) {
			return m * unit
		}
	}
	return 10 * unit
}

// shares of a bar: how much of a limit is used, in per cent of the bar's width.
func share(v, limit float64) float64 {
	if limit <= 0 || v <= 0 || math.IsNaN(v) || math.IsNaN(limit) {
		return 0
	}
	return min(v/limit, 1) * 100
}

// thin keeps about most points of a long row: of each stretch the lowest and the highest,
// in their order, so that no peak is lost.
func thin(pts []point, most int) []point {
	if len(pts) <= most || most < 4 {
		return pts
	}
	var out []point
	stretch := (len(pts)*2 + most - 1) / most
	for i := 0; i < len(pts); i += stretch {
		part := pts[i:min(i+stretch, len(pts))]
		lo, hi := 0, 0
		for j, p := range part {
			if p.Y < part[lo].Y {
				lo = j
			}
			if p.Y > part[hi].Y {
				hi = j
			}
		}
		out = append(out, part[min(lo, hi)])
		if lo != hi {
			out = append(out, part[max(lo, hi)])
		}
	}
	return out
}

// short is a number for an axis: 950, 12.5k, 1.2M.
func short(v float64) string {
	for _, u := range []struct {
		from float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= u.from {
			digits := 1
			if math.Abs(v) >= 100*u.from {
				digits = 0
			}
			return strings.TrimSuffix(strconv.FormatFloat(v/u.from, 'f', digits, 64), ".0") + u.name
		}
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}
