package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
)

// heatView are temperatures over time against their limits.
type heatView struct {
	Charts   []chart
	Table    []heatRow
	More     int
	MoreText string
	Sampled  bool // `lastgood watch` sampled, so that there is more than one value a boot
	Basis    string
}

// heatRow is a sensor as numbers.
type heatRow struct {
	Name, Now, Limit, Critical, Then, Here string
}

// reading is one value at a time.
type reading struct {
	at    time.Time
	value float64
}

// hot is one sensor with all that is known of it.
type hot struct {
	id     string
	now    Sensor
	room   float64 // degrees to its limit; +Inf where it has none
	recent []reading
	boots  []reading // one a boot, oldest first
	then   [3]float64
	hasOld bool // then holds low, median and high under the last good kernel
	here   [3]float64
	hasNow bool
}

// heatOfHost draws the sensors that are nearest to their limits.
func heatOfHost(in *Input, most int) *heatView {
	all := sensors(in)
	if len(all) == 0 {
		return nil
	}
	v := &heatView{Sampled: len(in.Heat) > 0, More: max(0, len(all)-most), Basis: basis(in)}
	v.MoreText = plural(v.More, "more sensor", "more sensors")
	for i := range all[:min(len(all), most)] {
		h := &all[i]
		v.Charts = append(v.Charts, h.chart())
		v.Table = append(v.Table, h.row())
	}
	return v
}

// samplesOf are what `lastgood watch` read on the boot of the newest snapshot, oldest first.
func samplesOf(in *Input) []watch.Reading {
	for i := range in.Heat {
		if in.Snapshot != nil && in.Heat[i].BootID == in.Snapshot.Identity.BootID {
			return in.Heat[i].Readings
		}
	}
	return nil
}

// basis says where the values are from and how old they are: a page may be looked at long
// after a check.
func basis(in *Input) string {
	rows, checked := samplesOf(in), time.Time{}
	if in.Snapshot != nil {
		checked = in.Snapshot.Taken
	}
	if n := len(rows); n > 0 && rows[n-1].Time.After(checked) {
		return "sampled by lastgood watch, last on " + at(rows[n-1].Time).Text
	}
	text := "as the last check read them"
	if when := at(checked); when.Text != "" {
		text += " on " + when.Text
	}
	if len(rows) >= least {
		text += ", after the samples of lastgood watch"
	}
	return text
}

// newest takes the newest value of each sensor from the samples where these are newer than
// the check.
func newest(in *Input, all []hot) {
	rows := samplesOf(in)
	n := len(rows)
	if n == 0 || !rows[n-1].Time.After(in.Snapshot.Taken) {
		return
	}
	for i := range all {
		if v, ok := rows[n-1].Values[all[i].id]; ok {
			all[i].now.Value = v
		}
	}
}

// sensors are those of the newest snapshot, with the least room to their limits first.
func sensors(in *Input) []hot {
	if in.Snapshot == nil {
		return nil
	}
	var out []hot
	for i := range in.Snapshot.Subjects {
		s := &in.Snapshot.Subjects[i]
		if s.Kind != kindSensor || s.Outcome != snapshot.Measured {
			continue
		}
		now, ok := sensorOf(s)
		if !ok || !now.Known {
			continue
		}
		out = append(out, hot{id: s.ID, now: now, room: math.Inf(1)})
	}
	newest(in, out)
	for i := range out {
		if now := out[i].now; cmp.Or(now.Limit, now.Critical) > 0 {
			out[i].room = cmp.Or(now.Limit, now.Critical) - now.Value
		}
	}
	slices.SortStableFunc(out, func(a, b hot) int { return cmp.Or(cmp.Compare(a.room, b.room), cmp.Compare(b.now.Value, a.now.Value)) })
	out = out[:min(len(out), 200)]
	for i := range out {
		out[i].fill(in)
	}
	return out
}

// fill looks up what was sampled of a sensor and what earlier checks read.
func (h *hot) fill(in *Input) {
	for i := range slices.Backward(in.Boots) {
		b := &in.Boots[i]
		if b.Past == nil {
			continue
		}
		if s, ok := b.Past.Sensors[h.id]; ok && s.Known {
			h.boots = append(h.boots, reading{b.Taken, s.Value})
		}
	}
	good := ""
	if in.Base != nil {
		good = in.Base.Identity.Kernel.Release
	}
	var then []*watch.History
	for i := range in.Heat {
		ht := &in.Heat[i]
		if in.Snapshot != nil && ht.BootID == in.Snapshot.Identity.BootID {
			h.here, h.hasNow = rangeOf(ht.History, h.id)
			for _, r := range ht.Readings {
				if v, ok := r.Values[h.id]; ok {
					h.recent = append(h.recent, reading{r.Time, v})
				}
			}
			continue
		}
		if ht.Release == good {
			then = append(then, ht.History)
		}
	}
	if len(then) > 0 {
		h.then, h.hasOld = rangeOf(watch.Merge(then...), h.id)
	}
	if n := len(h.recent); n > 0 && in.Snapshot.Taken.After(h.recent[n-1].at) { // the check was the last to read it
		h.recent = append(h.recent, reading{in.Snapshot.Taken, h.now.Value})
	}
}

func rangeOf(w *watch.History, id string) ([3]float64, bool) {
	i := slices.IndexFunc(w.Series, func(s watch.Series) bool { return s.ID == id && s.Type == watch.Temperature })
	if i < 0 {
		return [3]float64{}, false
	}
	low, mid, high, ok := w.Series[i].Range()
	return [3]float64{low, mid, high}, ok
}

// least is how many samples make a line of this boot; fewer are shown boot by boot.
const least = 10

func (h *hot) chart() chart {
	c := chart{ID: anchor("sensor", h.id), Name: clean(cmp.Or(h.now.Label, h.id)), Note: degrees(h.now.Value)}
	rows := h.boots
	if len(h.recent) >= least {
		rows = h.recent
	}
	if len(rows) == 0 {
		rows = []reading{{value: h.now.Value}}
	}
	y := h.axis(rows)
	c.Ticks = []tick{{Y: px(y.at(y.from)), Text: short(y.from) + "°"}, {Y: px(y.at((y.from + y.to) / 2)), Text: short((y.from+y.to)/2) + "°"}, {Y: px(y.at(y.to)), Text: short(y.to) + "°"}}
	h.limits(&c, y)
	if h.hasOld {
		c.Band = line([]point{{plotL, y.at(h.then[2])}, {plotR, y.at(h.then[2])}, {plotR, y.at(h.then[0])}, {plotL, y.at(h.then[0])}}) + "Z"
	}
	if len(h.recent) >= least {
		h.overTime(&c, y)
	} else {
		h.overBoots(&c, rows, y)
	}
	c.Desc = h.said()
	return c
}

// axis spans all that is drawn: values, limits where they are near, the range of before.
func (h *hot) axis(rows []reading) scale {
	low, high := h.now.Value, h.now.Value
	take := func(v float64) { low, high = min(low, v), max(high, v) }
	for _, r := range rows {
		take(r.value)
	}
	if h.hasOld {
		take(h.then[0])
		take(h.then[2])
	}
	if h.now.Limit > 0 {
		take(min(h.now.Limit, high+60))
	}
	if h.now.Critical > 0 && (h.now.Limit == 0 || h.now.Value > h.now.Limit-5) {
		take(min(h.now.Critical, high+60))
	}
	low, high = math.Floor((low-4)/10)*10, math.Ceil((high+2)/10)*10
	if high-low < 20 {
		high = low + 20
	}
	return scale{low, high, plotB, plotT}
}

func (h *hot) limits(c *chart, y scale) {
	add := func(v float64, name, kind string) {
		if v > y.from && v <= y.to {
			c.Lines = append(c.Lines, mark{Y: px(y.at(v)), TextY: px(y.at(v) - 3), Text: name + " " + degrees(v), Kind: kind})
		}
	}
	add(h.now.Critical, "critical", "critical")
	add(h.now.Limit, "limit", "limit")
	switch {
	case h.now.Critical > 0 && h.now.Value > h.now.Critical:
		c.Level, c.Note = "bad", c.Note+", above critical"
	case h.now.Limit > 0 && h.now.Value > h.now.Limit:
		c.Level, c.Note = "warn", c.Note+", above its limit"
	case !math.IsInf(h.room, 1):
		c.Note += fmt.Sprintf(", %s below its limit", degrees(h.room))
	}
}

// overTime draws the newest hours of this boot.
func (h *hot) overTime(c *chart, y scale) {
	first, last := h.recent[0].at, h.recent[len(h.recent)-1].at
	x := scale{0, max(last.Sub(first).Seconds(), 1), plotL, plotR}
	var pts []point
	for _, r := range h.recent {
		pts = append(pts, point{x.at(r.at.Sub(first).Seconds()), y.at(r.value)})
	}
	c.Path = line(thin(pts, 120))
	end := pts[len(pts)-1]
	c.Dots = []dot{{X: px(end.X), Y: px(end.Y), Kind: "now", Title: last.Format("15:04 UTC") + ": " + degrees(h.recent[len(h.recent)-1].value)}}
	c.Under = []tick{{X: px(plotL), Text: first.Format("2 Jan 15:04"), Anchor: "start"}, {X: px(plotR), Text: last.Format("15:04 UTC"), Anchor: "end"}}
}

// overBoots draws one value a boot.
func (h *hot) overBoots(c *chart, rows []reading, y scale) {
	x := scale{0, float64(len(rows) - 1), plotL + 8, plotR - 8}
	var pts []point
	for i, r := range rows {
		p := point{x.at(float64(i)), y.at(r.value)}
		pts = append(pts, p)
		d := dot{X: px(p.X), Y: px(p.Y), Title: at(r.at).Text + ": " + degrees(r.value)}
		if i == len(rows)-1 {
			d.Kind = "now"
		}
		c.Dots = append(c.Dots, d)
	}
	c.Path = line(pts)
	if len(rows) > 1 {
		c.Under = []tick{{X: px(plotL), Text: day(rows[0].at), Anchor: "start"}, {X: px(plotR), Text: day(rows[len(rows)-1].at), Anchor: "end"}}
	} else {
		c.Under = []tick{{X: px((plotL + plotR) / 2), Text: "this check", Anchor: "middle"}}
	}
}

func day(t time.Time) string {
	if t.Unix() <= 0 {
		return ""
	}
	return t.UTC().Format("2 Jan 2006")
}

func degrees(v float64) string { return snapshot.Celsius.Format(snapshot.Float(math.Round(v*10) / 10)) }

func (h *hot) said() string {
	parts := []string{"now " + degrees(h.now.Value)}
	if h.now.Limit > 0 {
		parts = append(parts, "limit "+degrees(h.now.Limit))
	}
	if h.now.Critical > 0 {
		parts = append(parts, "critical "+degrees(h.now.Critical))
	}
	if h.hasNow {
		parts = append(parts, "this boot mostly "+span(h.here))
	}
	if h.hasOld {
		parts = append(parts, "under the last good kernel mostly "+span(h.then))
	}
	return strings.Join(parts, ", ")
}

func span(r [3]float64) string {
	return fmt.Sprintf("%s to %s, median %s", degrees(r[0]), degrees(r[2]), degrees(r[1]))
}

func (h *hot) row() heatRow {
	r := heatRow{Name: clean(cmp.Or(h.now.Label, h.id)), Now: degrees(h.now.Value), Limit: "–", Critical: "–", Then: "–", Here: "–"}
	if h.now.Limit > 0 {
		r.Limit = degrees(h.now.Limit)
	}
	if h.now.Critical > 0 {
		r.Critical = degrees(h.now.Critical)
	}
	if h.hasOld {
		r.Then = span(h.then)
	}
	if h.hasNow {
		r.Here = span(h.here)
	}
	return r
}
