package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// kernelRun is the newest boot of a kernel that was read.
type kernelRun struct {
	Release  string
	Name     string // the release, fit to be shown
	LastGood bool
	Current  bool
	past     *Past
}

// kernelRuns are the kernels that this host has run, oldest first.
func kernelRuns(in *Input) []kernelRun {
	var out []kernelRun
	good := ""
	if in.Base != nil {
		good = in.Base.Identity.Kernel.Release
	}
	for i := range in.Boots {
		b := &in.Boots[i]
		if b.Past == nil || slices.ContainsFunc(out, func(k kernelRun) bool { return k.Release == b.Release }) {
			continue
		}
		out = append(out, kernelRun{Release: b.Release, Name: orUnknown(b.Release), LastGood: b.Release == good, Current: in.Snapshot != nil && b.BootID == in.Snapshot.Identity.BootID, past: b.Past})
	}
	slices.Reverse(out)
	return out
}

// series is one row of numbers over the kernels.
type series struct {
	Name     string
	Workload bool
	Programs int
	limit    float64
	values   []float64 // NaN where not all of it was measured
	rejected []int     // how many programs were refused
	moved    float64   // how much it moved from the last good kernel to this one, as log of the ratio
}

// allSeries follows each program of this node, and each family of built-in programs, over
// the kernels. A family's number is the sum over the programs that the newest snapshot has:
// where one of them was not measured, or was another program, there is no number.
func allSeries(kernels []kernelRun) []series {
	if len(kernels) == 0 {
		return nil
	}
	newest := kernels[len(kernels)-1].past.Programs
	groups := map[string][]snapshot.Key{}
	for k := range newest {
		name := k.ID
		if k.Kind == kindProbe {
			name, _, _ = strings.Cut(k.ID, "/")
		}
		groups[k.Kind+"\x00"+name] = append(groups[k.Kind+"\x00"+name], k)
	}
	var out []series
	for name, keys := range groups {
		kind, name, _ := strings.Cut(name, "\x00")
		s := series{Name: clean(name), Workload: kind != kindProbe, Programs: len(keys)}
		for _, kr := range kernels {
			v, refused := sum(kr.past, newest, keys)
			s.values, s.rejected = append(s.values, v), append(s.rejected, refused)
		}
		if len(keys) == 1 {
			s.limit = newest[keys[0]].Limit
		}
		s.moved = moved(&s, kernels)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b series) int {
		return cmp.Or(-compareBool(a.Workload, b.Workload), -compareBool(a.moved > 0, b.moved > 0), cmp.Compare(math.Abs(b.moved), math.Abs(a.moved)), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func sum(p *Past, newest map[snapshot.Key]Program, keys []snapshot.Key) (total float64, refused int) {
	for _, k := range keys {
		prog, ok := p.Programs[k]
		if !ok || prog.Insns < 0 || prog.Digest != newest[k].Digest {
			return math.NaN(), 0
		}
		total += prog.Insns
		if prog.Verdict == "rejected" {
			refused++
		}
	}
	return total, refused
}

// moved is by how much a series moved since the last good kernel: what got dearer leads, then what
// got cheaper; a program that is refused now and was not then comes before all.
func moved(s *series, kernels []kernelRun) float64 {
	last := len(s.values) - 1
	good := slices.IndexFunc(kernels, func(k kernelRun) bool { return k.LastGood })
	if good < 0 {
		good = 0
	}
	a, b := s.values[good], s.values[last]
	switch {
	case s.rejected[last] > s.rejected[good]:
		return 1000
	case a > 0 && b > 0:
		return math.Log(b / a)
	}
	return 0
}

// Size of a small picture, in the pixels that it is drawn with.
const (
	chartW, chartH         = 300.0, 132.0
	plotL, plotR           = 38.0, 290.0
	plotT, plotB   float64 = 12, 106
)

// chart is a small line picture.
type chart struct {
	ID         string
	Name, Desc string
	Note       string // beneath the name
	Path, Area string
	Band       string
	Dots       []dot
	Lines      []mark // across: limits
	Ticks      []tick // of the axis on the left
	Under      []tick // of the one beneath
	Level      string
	Link       string
}

type dot struct {
	X, Y  string
	Kind  string // "", good (the last good kernel), now, rejected
	Title string
}

type mark struct {
	Y, TextY string
	Text     string
	Kind     string
}

type tick struct {
	X, Y, Text, Anchor string
}

// seriesChart draws one series over the kernels.
func seriesChart(s *series, kernels []kernelRun) chart {
	c := chart{ID: anchor("series", fmt.Sprint(s.Workload), s.Name), Name: s.Name}
	top := 0.0
	for _, v := range s.values {
		if !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	nearLimit := s.limit > 0 && top > s.limit*0.3
	y := scale{0, ceiling(top * 1.02), plotB, plotT}
	if nearLimit {
		y.to = max(top, s.limit) * 1.15 // with room for the limit's name
	}
	if top = y.to; nearLimit {
		top = s.limit
	}
	c.Ticks = []tick{{Y: px(y.at(0)), Text: "0"}, {Y: px(y.at(top / 2)), Text: short(top / 2)}, {Y: px(y.at(top)), Text: short(top)}}
	if nearLimit {
		c.Lines = append(c.Lines, mark{Y: px(y.at(s.limit)), TextY: px(y.at(s.limit) - 3), Text: "limit " + short(s.limit), Kind: "limit"})
	}
	x := scale{0, float64(max(len(kernels)-1, 1)), plotL + 8, plotR - 8}
	if len(kernels) == 1 {
		x = scale{0, 0, plotL, plotR}
	}
	c.trace(s, kernels, x, y)
	c.note(s, kernels)
	c.Under = ends(kernels, x)
	return c
}

// trace draws the line with its dots; where a value is missing the line has a gap.
func (c *chart) trace(s *series, kernels []kernelRun, x, y scale) {
	var parts [][]point
	var run []point
	var said []string
	for i, v := range s.values {
		k := kernels[i]
		if math.IsNaN(v) {
			parts, run = append(parts, run), nil
			said = append(said, clean(k.Release)+": not measured alike")
			continue
		}
		p := point{x.at(float64(i)), y.at(v)}
		run = append(run, p)
		d := dot{X: px(p.X), Y: px(p.Y), Title: clean(k.Release) + ": " + count(v) + " insns"}
		switch {
		case s.rejected[i] > 0:
			d.Kind = "rejected"
			d.Title += ", " + plural(s.rejected[i], "program rejected", "programs rejected")
		case k.LastGood:
			d.Kind = "good"
		case k.Current:
			d.Kind = "now"
		}
		if k.LastGood {
			d.Title += " (last good)"
		}
		c.Dots = append(c.Dots, d)
		said = append(said, d.Title)
	}
	c.Path = line(append(parts, run)...)
	c.Area = area(run, plotB)
	c.Desc = strings.Join(said, "; ")
}

// note says how the newest kernel stands to the last good one.
func (c *chart) note(s *series, kernels []kernelRun) {
	last := len(s.values) - 1
	good := slices.IndexFunc(kernels, func(k kernelRun) bool { return k.LastGood })
	now := s.values[last]
	if s.rejected[last] > 0 {
		c.Note, c.Level = plural(s.rejected[last], "program rejected", "programs rejected"), "bad"
		if s.Programs == 1 {
			c.Note = "rejected"
		}
		if good >= 0 && s.rejected[good] >= s.rejected[last] {
			c.Note, c.Level = c.Note+", as at the last good boot", ""
		}
		return
	}
	if math.IsNaN(now) {
		return
	}
	c.Note = count(now) + " insns"
	if good >= 0 && good != last && s.values[good] > 0 && s.values[good] != now {
		ratio := now / s.values[good]
		c.Note += ", " + times(ratio)
		if ratio >= 1.25 {
			c.Level = "warn"
		}
	}
}

// times is a ratio for people: how many times as much, or how much less.
func times(ratio float64) string {
	if ratio < 1 {
		return percent((1-ratio)*100) + " less"
	}
	return snapshot.Times(ratio)
}

// ends are the labels under the first and the last kernel.
func ends(kernels []kernelRun, x scale) []tick {
	first, last := kernels[0], kernels[len(kernels)-1]
	if len(kernels) == 1 {
		return []tick{{X: px(x.at(0)), Text: cut(first.Release, 24), Anchor: "middle"}}
	}
	return []tick{{X: px(plotL), Text: cut(first.Release, 20), Anchor: "start"}, {X: px(plotR), Text: cut(last.Release, 20), Anchor: "end"}}
}

// kernelsView is the picture of all series.
type kernelsView struct {
	Kernels   []kernelRun
	Lead      string
	Workloads []chart
	Families  []chart
	Table     []seriesRow
	More      int
}

// seriesRow is a series as numbers.
type seriesRow struct {
	Name   string
	Values []string
}

// seriesOf draws so many series of either sort; the table has the same ones.
func seriesOf(in *Input, workloads, families int) *kernelsView {
	kernels := kernelRuns(in)
	if len(kernels) < 2 {
		return nil // one kernel makes no line
	}
	v := &kernelsView{Kernels: kernels, Lead: plural(len(kernels), "kernel", "kernels")}
	for _, s := range allSeries(kernels) {
		switch {
		case s.Workload && len(v.Workloads) < workloads:
			v.Workloads = append(v.Workloads, seriesChart(&s, kernels))
		case !s.Workload && len(v.Families) < families:
			v.Families = append(v.Families, seriesChart(&s, kernels))
		default:
			v.More++
			continue
		}
		row := seriesRow{Name: s.Name}
		for i, x := range s.values {
			text := "–"
			if !math.IsNaN(x) {
				text = count(x)
			}
			if s.rejected[i] > 0 {
				text += " (rejected)"
			}
			row.Values = append(row.Values, text)
		}
		v.Table = append(v.Table, row)
	}
	if len(v.Table) == 0 {
		return nil
	}
	return v
}
