package watch

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

func compareText(a, b string) int { return cmp.Compare(a, b) }

// What it takes for two histories to be compared.
const (
	// Enough is how many samples a range of load needs on both sides.
	Enough = 20
	// leastRanges is in how many ranges a growth must show.
	leastRanges = 2
	// spreads is how many times the old spread (MAD) a growth must be.
	spreads = 3
)

// KindName is the kind of findings about histories.
const KindName = "hw.thermal_history"

// Codes of its rules.
const (
	CodeHotter     = "thermal-hotter"
	CodeMuchHotter = "thermal-much-hotter"
	CodeThrottled  = "thermal-throttled-more"
)

// Kind declares the rules; their numbers may be changed by their codes as any rule's.
func Kind() snapshot.Kind {
	return snapshot.Kind{
		Name: KindName,
		Doc: "How warm this boot runs beside the last good kernel's boots, by ranges of load, as `lastgood watch` sampled it. A growth counts where it shows in two " +
			"ranges with twenty samples on either side each, and is three times the old spread; what the inlet rose by is taken off.",
		Attrs: []snapshot.Attr{
			{Name: "growth_celsius", Unit: snapshot.Celsius, Better: snapshot.LowerBetter, Noise: snapshot.Ambient, Doc: "difference of the medians of a range of load"},
			{Name: "throttled_per_hour", Unit: snapshot.Count, Better: snapshot.LowerBetter, Noise: snapshot.Ambient, Doc: "how often an hour heat slowed the CPUs down"},
		},
		Rules: []snapshot.Rule{
			{Code: CodeMuchHotter, On: snapshot.OnGrowth, Attr: "growth_celsius", Ratio: 1, Floor: 15, Severity: snapshot.Critical, Class: snapshot.ClassKernel,
				Message: "{name} runs much hotter at equal load"},
			{Code: CodeHotter, On: snapshot.OnGrowth, Attr: "growth_celsius", Ratio: 1, Floor: 8, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
				Message: "{name} runs hotter at equal load"},
			{Code: CodeThrottled, On: snapshot.OnGrowth, Attr: "throttled_per_hour", Ratio: 10, Floor: 10, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
				Message: "heat slows the CPUs down more often at equal load"},
		},
	}
}

// Bin compares one range of load.
type Bin struct {
	From, To         int    // per cent
	OldN, NewN       uint64 // samples
	Old, New, Spread float64
	Enough           bool
}

// Label is the range for a person.
func (b *Bin) Label() string { return fmt.Sprintf("%d-%d %%", b.From, b.To) }

// Growth is the difference of the medians.
func (b *Bin) Growth() float64 { return b.New - b.Old }

// Row compares one series.
type Row struct {
	ID, Label, Type string
	Bins            []Bin
}

// Comparable counts the ranges that have enough samples on both sides.
func (r *Row) Comparable() int {
	n := 0
	for _, b := range r.Bins {
		if b.Enough {
			n++
		}
	}
	return n
}

// Comparison is two histories side by side.
type Comparison struct {
	Rows []Row
	// Inlet names the sensor of the air that comes in, "" where there is none; what it
	// rose by is in Rows and is taken off by Findings.
	Inlet string
	old   *History
	new   *History
}

// Compare puts two histories side by side, series that both have.
func Compare(old, new *History) *Comparison {
	c := &Comparison{old: old, new: new}
	were := map[string]*Series{}
	for i := range old.Series {
		were[old.Series[i].ID] = &old.Series[i]
	}
	for i := range new.Series {
		s := &new.Series[i]
		was := were[s.ID]
		if was == nil || was.Type != s.Type {
			continue
		}
		r := Row{ID: s.ID, Label: s.Label, Type: s.Type}
		for bin := range ranges {
			r.Bins = append(r.Bins, compareBin(bin, was, s))
		}
		c.Rows = append(c.Rows, r)
		if s.Type == Temperature && inlet(s.Label) && c.Inlet == "" {
			c.Inlet = s.ID
		}
	}
	slices.SortFunc(c.Rows, func(a, b Row) int { return cmp.Or(compareText(b.Type, a.Type), compareText(a.ID, b.ID)) })
	return c
}

// inlet reports whether a label is of the air that comes in.
func inlet(label string) bool {
	l := strings.ToLower(label)
	return strings.Contains(l, "inlet") || strings.Contains(l, "ambient")
}

func compareBin(bin int, old, new *Series) Bin {
	b := Bin{From: Edges[bin], To: Edges[bin+1], OldN: old.Bins[bin].count(), NewN: new.Bins[bin].count()}
	step := steps[old.Type]
	b.Old, b.New = old.Bins[bin].median()*step, new.Bins[bin].median()*step
	b.Spread = old.Bins[bin].spread() * step
	b.Enough = b.OldN >= Enough && b.NewN >= Enough
	return b
}

func (h Histogram) count() uint64 {
	var n uint64
	for _, c := range h {
		n += c
	}
	return n
}

// median is that of the samples, in steps; 0 of none.
func (h Histogram) median() float64 {
	half, n := h.count(), uint64(0)
	for _, at := range slices.Sorted(maps.Keys(h)) {
		if n += h[at]; 2*n >= half && half > 0 {
			return float64(at)
		}
	}
	return 0
}

// spread is the median distance from the median (MAD), in steps.
func (h Histogram) spread() float64 {
	m := int(h.median())
	away := Histogram{}
	for at, n := range h {
		away[max(at-m, m-at)] += n
	}
	return away.median()
}

// perHour is how often heat slowed the CPUs down, over the ranges that both histories
// have an hour or more of, weighted by the time of the new one.
func (c *Comparison) perHour() (old, new float64, ok bool) {
	const hour = 3600
	var hours float64
	for i := range ranges {
		if c.old.Seconds[i] < hour || c.new.Seconds[i] < hour {
			continue
		}
		h := c.new.Seconds[i] / hour
		hours += h
		old += float64(c.old.Throttled[i]) / (c.old.Seconds[i] / hour) * h
		new += float64(c.new.Throttled[i])
	}
	if hours == 0 {
		return 0, 0, false
	}
	return old / hours, new / hours, true
}

// Findings weighs a comparison by the rules, with floors and ratios as the caller has
// them from the configuration. class is what the findings are attributed to.
func (c *Comparison) Findings(rules []snapshot.Rule, class snapshot.Class) []snapshot.Finding {
	var out []snapshot.Finding
	for i := range c.Rows {
		r := &c.Rows[i]
		if r.Type != Temperature || r.ID == c.Inlet {
			continue
		}
		for _, rule := range rules { // worst first
			if rule.Attr != "growth_celsius" {
				continue
			}
			if hot := c.grown(r, rule.Floor); len(hot) >= leastRanges {
				out = append(out, c.finding(&rule, r, hot, class))
				break
			}
		}
	}
	for _, rule := range rules {
		old, new, ok := c.perHour()
		if rule.Attr != "throttled_per_hour" || !ok || new < old*rule.Ratio || new-old < rule.Floor {
			continue
		}
		f := blank(&rule, class, "cpus", "the CPUs")
		f.Message = fmt.Sprintf("heat slowed the CPUs down %.0f times an hour, %.0f under %s at the same load", new, old, c.old.Release)
		was, is := snapshot.Float(old), snapshot.Float(new)
		f.Old, f.New = &was, &is
		out = append(out, f)
	}
	return out
}

// grown lists the ranges in which a series grew by floor or more, and by more than its
// spread, when what the inlet rose by is taken off.
func (c *Comparison) grown(r *Row, floor float64) []Bin {
	var out []Bin
	for i, b := range r.Bins {
		room, known := c.room(i)
		b.New -= room
		if b.Enough && known && b.Growth() >= floor && b.Growth() >= spreads*b.Spread {
			out = append(out, b)
		}
	}
	return out
}

// room is what the inlet rose by in a range, 0 where nobody measures it. It is not known
// where there is a sensor and it has too few samples.
func (c *Comparison) room(bin int) (rose float64, known bool) {
	i := slices.IndexFunc(c.Rows, func(r Row) bool { return r.ID == c.Inlet })
	if i < 0 {
		return 0, true
	}
	b := &c.Rows[i].Bins[bin]
	return b.Growth(), b.Enough
}

func blank(r *snapshot.Rule, class snapshot.Class, id, label string) snapshot.Finding {
	return snapshot.Finding{Code: r.Code, Severity: r.Severity, Class: class, Subject: snapshot.SubjectRef{Kind: KindName, ID: id, Label: label}, Attr: r.Attr}
}

func (c *Comparison) finding(rule *snapshot.Rule, r *Row, hot []Bin, class snapshot.Class) snapshot.Finding {
	worst := slices.MaxFunc(hot, func(a, b Bin) int { return cmp.Compare(a.Growth(), b.Growth()) })
	f := blank(rule, class, r.ID, r.Label)
	was, is := snapshot.Float(worst.Old), snapshot.Float(worst.New)
	f.Old, f.New = &was, &is
	f.Message = fmt.Sprintf("at %s load %s runs %.0f °C hotter than under %s (n=%d, m=%d), and so in %d of %d comparable ranges of load",
		worst.Label(), r.Label, worst.Growth(), c.old.Release, worst.NewN, worst.OldN, len(hot), r.Comparable())
	if c.Inlet == "" {
		f.Hint = "no sensor of the inlet air is known: make sure that the room is not warmer"
	}
	f.Evidence = c.causes()
	return f
}

// causes tells how fans and power moved, which may explain the heat.
func (c *Comparison) causes() string {
	var lines []string
	for _, r := range c.Rows {
		if r.Type == Temperature {
			continue
		}
		for _, b := range r.Bins {
			if b.Enough && math.Abs(b.Growth()) >= 0.1*math.Abs(b.Old) && b.Growth() != 0 {
				lines = append(lines, fmt.Sprintf("%s at %s load: %g, was %g %s", r.Label, b.Label(), b.New, b.Old, Unit(r.Type)))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// Unit is what the values of a type of series are in.
func Unit(kind string) string {
	return map[string]string{Temperature: "°C", Fan: "rpm", Power: "W"}[kind]
}

// NotYet says why nothing can be said of the temperatures, "" where something can. One
// sensor that can be compared is enough.
func (c *Comparison) NotYet() string {
	best := 0
	any := false
	for i := range c.Rows {
		if r := &c.Rows[i]; r.Type == Temperature && r.ID != c.Inlet {
			any = true
			best = max(best, r.Comparable())
		}
	}
	switch {
	case !any:
		return "not comparable yet: no temperature was sampled on both kernels"
	case best < leastRanges:
		return fmt.Sprintf("not comparable yet: %d of %d ranges of load have %d samples on both kernels (%d samples under %s, %d now)",
			best, leastRanges, Enough, c.old.Samples, c.old.Release, c.new.Samples)
	}
	return ""
}
