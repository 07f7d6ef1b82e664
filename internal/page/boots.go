package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/boot"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// bootView is one boot on the time line.
type bootView struct {
	ID        string
	Release   string
	When      moment
	Verdict   string // "not judged" where it was not
	Level     string // good, bad, warn or none
	Way       string // as intended, fell back, rolled back …
	WayBad    bool
	Why       string
	Summary   string
	Counts    string
	LastGood  bool
	Accepted  pair
	Current   bool
	Trouble   string
	Before    []change // what changed since the boot before it
	Unchanged bool     // it is known that nothing did
	More      int
	WayTag    string
	Back      bool // an earlier kernel runs again
	bootID    string
	diffFrom  string // boot id to compare with, "" where there is none
	DiffURL   string
	X, Y      string
}

// bootsView is the time line of boots.
type bootsView struct {
	Boots []bootView // newest first
	More  int
	W, H  string
	Lanes []tick
	Path  string
	Uses  map[string]bool // signs that the picture has: a level, last, fell, back
	Desc  string
}

// verdictLevels are how verdicts are drawn.
var verdictLevels = map[snapshot.Verdict]string{
	snapshot.Good: "good", snapshot.Learned: "good", snapshot.Regressed: "bad", snapshot.Invalid: "bad", snapshot.Incomplete: "warn",
}

// Ways that a boot came about beside those of boot.Classify.
const (
	rolledBack = "rolled back"
	wentBack   = "went back to an earlier kernel"
)

// boots is the time line, of at most most boots.
func boots(in *Input, most int) *bootsView {
	if len(in.Boots) == 0 {
		return nil
	}
	v := &bootsView{More: max(0, len(in.Boots)-most)}
	for i := range in.Boots[:min(len(in.Boots), most)] {
		var before *Boot
		if i+1 < len(in.Boots) {
			before = &in.Boots[i+1]
		}
		v.Boots = append(v.Boots, bootOf(in, &in.Boots[i], before, in.Boots[min(i+1, len(in.Boots)):]))
	}
	v.place()
	return v
}

func bootOf(in *Input, b, before *Boot, earlier []Boot) bootView {
	v := bootView{bootID: b.BootID, ID: start(b.BootID, 8), Release: orUnknown(b.Release), When: at(b.Taken), Verdict: "not judged", Level: "none", LastGood: b.LastGood, Current: b.Current}
	if r := b.Result; r != nil && r.Verdict != "" {
		v.Verdict, v.Level, v.Summary = clean(string(r.Verdict)), cmp.Or(verdictLevels[r.Verdict], "warn"), clean(r.Summary)
		v.Counts = numbers(r.Critical, r.Warning, r.Info)
	}
	if b.LastGood {
		v.Accepted = acceptedOf(b.Accepted, b.By)
	}
	if b.Err != nil {
		v.Trouble, v.Level, v.Verdict = clean(b.Err.Error()), "warn", "unusable"
		return v
	}
	if p := b.Past; p != nil {
		v.Way, v.Why = clean(p.Class), report.Flat(p.Why, longText)
		v.WayBad = p.Class != "" && p.Class != string(boot.AsIntended)
	}
	if v.way(in, b, before, earlier); v.WayBad {
		v.WayTag = "warning"
	} else if v.Back {
		v.WayTag = "accent"
	}
	if before != nil && before.Err == nil {
		v.diffFrom = before.BootID
		v.changes(b, before)
	}
	return v
}

// way tells a rollback from other boots: the build that ran before is one that was rolled
// back from, or an earlier kernel runs again after a boot that was worse.
func (v *bootView) way(in *Input, b, before *Boot, earlier []Boot) {
	if before == nil || before.Release == b.Release || v.WayBad {
		return
	}
	k := gate.Kernel{Release: before.Release}
	if before.Past != nil {
		k.BuildID = before.Past.Identity.Kernel.BuildID
	}
	ranBefore := slices.ContainsFunc(earlier, func(o Boot) bool { return o.Release == b.Release })
	bad := before.Result != nil && verdictLevels[before.Result.Verdict] == "bad"
	switch {
	case in.Bad[k.Key()] || in.Bad[gate.Kernel{Release: k.Release}.Key()]:
		v.Way, v.Back = rolledBack, true
	case ranBefore && bad:
		v.Way, v.Back = wentBack, true
	}
}

func numbers(critical, warning, info int) string {
	var parts []string
	for _, c := range []struct {
		n         int
		one, more string
	}{{critical, "critical", "critical"}, {warning, "warning", "warnings"}, {info, "info", "info"}} {
		if c.n > 0 {
			parts = append(parts, plural(c.n, c.one, c.more))
		}
	}
	return strings.Join(parts, ", ")
}

// mostChanges bounds what is told of one boot.
const mostChanges = 8

// changes are the facts of the identity, and the parts of the boot, that are others than at
// the boot before.
func (v *bootView) changes(b, before *Boot) {
	if b.Past == nil || before.Past == nil {
		if b.Release != before.Release {
			v.Before = []change{{"kernel", clean(before.Release), clean(b.Release)}}
		}
		return
	}
	add := func(name, old, new string) {
		if len(v.Before) == mostChanges {
			v.More++
			return
		}
		v.Before = append(v.Before, change{clean(name), clean(old), clean(new)})
	}
	for _, c := range before.Past.Identity.Changes(&b.Past.Identity) {
		switch c.Fact {
		case "version", "build_id", "config_hash", "btf_hash":
			if b.Release != before.Release {
				continue // another kernel: of course
			}
		case "packages":
			continue // told one by one among the parts, or by the package manager's log
		}
		add(strings.ReplaceAll(strings.Replace(c.Fact, "release", "kernel", 1), "_", " "), c.Old, c.New)
	}
	for _, id := range slices.Sorted(maps.Keys(b.Past.Components)) {
		if old, has := before.Past.Components[id]; has && old != b.Past.Components[id] {
			add(strings.ReplaceAll(id, "_", " "), start(old, 40), start(b.Past.Components[id], 40))
		}
	}
	if b.Past.Log != before.Past.Log && b.Past.Log != "" {
		add("packages", "", b.Past.Log)
	}
	v.Unchanged = len(v.Before) == 0
}

// Size of the time line's picture. The kernels' names stand at the right, beside the newest
// boots, where a narrow screen looks first.
const (
	laneStep, laneTop = 34.0, 26.0
	laneNames         = 136.0
	mostLanes         = 8
)

// stepOf is how far boots stand apart: not closer than their marks can be told apart, and
// not so far that a phone shows two of them only.
func stepOf(boots int) float64 { return min(max(520/float64(max(boots, 1)), 34), 54) }

// place lays the boots out: to the right in order of time, upward by kernel, so that a
// kernel that is taken back is a step down.
func (v *bootsView) place() {
	lanes := v.lanes()
	step := stepOf(len(v.Boots))
	end := step * float64(len(v.Boots))
	v.W, v.H = px(end+laneNames), px(laneTop+laneStep*float64(len(lanes))-14)
	for i, l := range lanes {
		v.Lanes = append(v.Lanes, tick{X: px(end), Y: px(laneTop + laneStep*float64(i)), Text: cut(l, 20)})
	}
	var pts []point
	var said []string
	for i := range slices.Backward(v.Boots) {
		b := &v.Boots[i]
		lane := slices.Index(lanes, b.Release)
		if lane < 0 {
			lane = len(lanes) - 1
		}
		p := point{step * (float64(len(v.Boots)-1-i) + 0.5), laneTop + laneStep*float64(lane)}
		if n := len(pts); n > 0 && pts[n-1].Y != p.Y {
			mid := (pts[n-1].X + p.X) / 2
			pts = append(pts, point{mid, pts[n-1].Y}, point{mid, p.Y})
		}
		pts = append(pts, p)
		b.X, b.Y = px(p.X), px(p.Y)
		v.uses(b)
		said = append(said, b.said())
	}
	v.Path = line(pts)
	v.Desc = strings.Join(said[max(0, len(said)-30):], "; ")
}

// uses notes the signs by which a boot is drawn, for the legend.
func (v *bootsView) uses(b *bootView) {
	if v.Uses == nil {
		v.Uses = map[string]bool{}
	}
	v.Uses[b.Level] = true
	for sign, has := range map[string]bool{"last": b.LastGood, "fell": b.WayBad, "back": b.Back} {
		v.Uses[sign] = v.Uses[sign] || has
	}
}

// lanes are the kernels, the one that came last on top. What is one too many shares the lowest.
func (v *bootsView) lanes() []string {
	var out []string
	for i := range slices.Backward(v.Boots) { // oldest first
		if r := v.Boots[i].Release; !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.Reverse(out)
	if len(out) > mostLanes {
		out = append(out[:mostLanes-1], "earlier kernels")
	}
	return out
}

func (b *bootView) said() string {
	text := fmt.Sprintf("%s, kernel %s: %s", cmp.Or(b.When.Text, "at a time not known"), b.Release, b.Verdict)
	if b.Way != "" {
		text += ", " + b.Way
	}
	if b.LastGood {
		text += ", last good"
	}
	return text
}
