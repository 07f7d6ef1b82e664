package page

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
)

// TestLevels: what was so at the last good boot is no alarm.
func TestLevels(t *testing.T) {
	fine, low, over := Program{Verdict: "accepted", Insns: 10, Limit: 100}, Program{Verdict: "accepted", Insns: 90, Limit: 100}, Program{Verdict: "rejected", Insns: 101, Limit: 100}
	for _, c := range []struct {
		name     string
		workload bool
		now      Program
		old      *Program
		want     string
	}{
		{"fine", true, fine, &fine, ""},
		{"a workload near its limit", true, low, &low, "low"},
		{"a built-in one that came near its limit", false, low, &fine, "low"},
		{"a built-in one that always was there", false, low, &low, ""},
		{"a built-in one on the first boot", false, low, nil, ""},
		{"rejected now", true, over, &fine, "rejected"},
		{"rejected before too", true, over, &over, "before"},
		{"a new workload that is rejected", true, over, nil, "rejected"},
		{"a built-in one beyond a limit, on the first boot", false, over, nil, "before"},
		{"rejected now, built in", false, over, &low, "rejected"},
		{"nothing counted", true, Program{Insns: -1}, nil, ""},
	} {
		if got := level(c.workload, c.now, c.old, 0.2); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestMeantToBeAtALimit: a program that tries a limit stands beside it on purpose and is no alarm, as long as it does; they come last.
func TestMeantToBeAtALimit(t *testing.T) {
	probe := func(id, shape, verdict string, insns int64) snapshot.Subject {
		return snapshot.Subject{Kind: kindProbe, ID: id, Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"shape": snapshot.Text(shape), "verdict": snapshot.Text(verdict),
			"program": snapshot.Text(id), "insns_processed": snapshot.Int(insns), "insns_limit": snapshot.Int(100)}}
	}
	base := &snapshot.Snapshot{Subjects: []snapshot.Subject{probe("a", "limit", "rejected", 101), probe("b", "limit", "accepted", 100), probe("c", "limit", "accepted", 100), probe("d", "limit", "accepted", 50), probe("e", "datapath", "accepted", 90), probe("f", "datapath", "rejected", 3)}}
	now := &snapshot.Snapshot{Subjects: []snapshot.Subject{probe("a", "limit", "rejected", 101), probe("b", "limit", "accepted", 100), probe("c", "limit", "rejected", 90), probe("d", "limit", "accepted", 95), probe("e", "datapath", "accepted", 90), probe("f", "datapath", "rejected", 3)}}
	var order []string
	levels := map[string]string{}
	for _, b := range bars(&Input{Snapshot: now}, base).all {
		order = append(order, b.Name)
		levels[b.Name] = b.Level
		if strings.Contains(b.Said, "made to stand beside a limit") != (b.Name == "a" || b.Name == "b") {
			t.Errorf("%s is told as %q", b.Name, b.Said)
		}
	}
	if d := cmp.Diff(map[string]string{"a": "before", "b": "meant", "c": "rejected", "d": "low", "e": "", "f": "before"}, levels); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"d", "c", "e", "f", "b", "a"}, order); d != "" {
		t.Error(d)
	}
}

// TestWorstIsTold: the sentence of a boot that is worse says what is worst and how much else there is.
func TestWorstIsTold(t *testing.T) {
	finding := func(sev snapshot.Severity, kind, message string) snapshot.Finding {
		return snapshot.Finding{Severity: sev, Subject: snapshot.SubjectRef{Kind: kind, ID: message}, Message: message}
	}
	crit, warn := snapshot.Critical, snapshot.Warning
	for _, c := range []struct {
		findings   []snapshot.Finding
		text, more string
	}{
		{[]snapshot.Finding{finding(crit, kindProbe, "canary"), finding(crit, "hw.disk", "disk sdb is gone"), finding(warn, "hw.disk", "x"), finding(snapshot.Info, "hw.disk", "y")}, "Disk sdb is gone", "1 more critical finding and 1 warning"},
		{[]snapshot.Finding{finding(warn, "hw.disk", "a"), finding(warn, "hw.disk", "b"), finding(warn, "hw.disk", "c")}, "A", "2 warnings"},
		{[]snapshot.Finding{finding(crit, kindProgram, "edge/proxy.o/sock_ops is refused")}, "edge/proxy.o/sock_ops is refused", ""},
		{[]snapshot.Finding{finding(snapshot.Info, kindProgram, "x")}, "", ""},
	} {
		v := verdictOf(&Input{Report: &report.Report{Verdict: snapshot.Regressed, Findings: c.findings}})
		if c.text == "" && v.Worst == nil {
			continue
		}
		if v.Worst == nil || v.Worst.Text != c.text || v.Worst.More != c.more {
			t.Errorf("%+v, want %q and %q", v.Worst, c.text, c.more)
		}
	}
	if v := verdictOf(&Input{Report: &report.Report{Verdict: snapshot.Good, Findings: []snapshot.Finding{finding(warn, "hw.disk", "a")}}}); v.Worst != nil {
		t.Errorf("a good boot has a worst: %+v", v.Worst)
	}
}

// Families that got dearer stand before those that got cheaper, however much that was.
func TestDearerLeads(t *testing.T) {
	past := func(n ...float64) *Past {
		p := &Past{Programs: map[snapshot.Key]Program{}}
		for i, name := range []string{"cheaper/a", "dearer/a", "same/a", "much_dearer/a"} {
			p.Programs[snapshot.Key{Kind: kindProbe, ID: name}] = Program{Insns: n[i]}
		}
		return p
	}
	kernels := []kernelRun{{Release: "1", LastGood: true, past: past(10000, 100, 5, 100)}, {Release: "2", Current: true, past: past(10, 150, 5, 300)}}
	var order, notes []string
	for _, s := range allSeries(kernels) {
		order, notes = append(order, s.Name), append(notes, seriesChart(&s, kernels).Note)
	}
	if d := cmp.Diff([]string{"much_dearer", "dearer", "cheaper", "same"}, order); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"300 insns, ×3", "150 insns, ×1.5", "10 insns, 99.9 % less", "5 insns"}, notes); d != "" {
		t.Error(d)
	}
}

// run is a kernel with one program.
func run(release string, p Program) kernelRun {
	return kernelRun{Release: release, Name: release, past: &Past{Programs: map[snapshot.Key]Program{{Kind: kindProgram, ID: "p"}: p}}}
}

// TestSeries: what was another program, or was not counted, is a gap and no number.
func TestSeries(t *testing.T) {
	kernels := []kernelRun{run("1", Program{Insns: 100, Digest: "a"}), run("2", Program{Insns: 900, Digest: "other"}), run("3", Program{Insns: -1, Digest: "a"}),
		run("4", Program{Insns: 200, Digest: "a"}), run("5", Program{Insns: 800, Digest: "a", Verdict: "rejected", Limit: 1000})}
	kernels[3].LastGood = true
	all := allSeries(kernels)
	if len(all) != 1 {
		t.Fatalf("%d series", len(all))
	}
	s := all[0]
	for i, gap := range []bool{false, true, true, false, false} {
		if math.IsNaN(s.values[i]) != gap {
			t.Errorf("kernel %d: %v", i+1, s.values[i])
		}
	}
	if diff := cmp.Diff([]int{0, 0, 0, 0, 1}, s.rejected); diff != "" {
		t.Error(diff)
	}
	c := seriesChart(&s, kernels)
	if n := strings.Count(c.Path, "M"); n != 2 {
		t.Errorf("the line has %d parts, want 2: %s", n, c.Path)
	}
	if c.Note != "rejected" || c.Level != "bad" || len(c.Dots) != 3 || c.Dots[2].Kind != "rejected" || c.Dots[1].Kind != "good" {
		t.Errorf("note %q, level %q, dots %+v", c.Note, c.Level, c.Dots)
	}
	if !strings.Contains(c.Desc, "2: not measured alike; 3: not measured alike") {
		t.Errorf("described as %q", c.Desc)
	}
}

func bootAt(id, release string, v snapshot.Verdict, class string) Boot {
	b := Boot{Entry: baseline.Entry{BootID: id, Release: release, Taken: time.Unix(1_700_000_000, 0)}, Past: &Past{Class: class}}
	b.Past.Identity.Kernel.Release = release
	b.Past.Identity.Kernel.BuildID = "build " + release
	if v != "" {
		b.Result = &baseline.Result{Verdict: v}
	}
	return b
}

// TestWays tells how boots came about.
func TestWays(t *testing.T) {
	in := &Input{Bad: map[string]bool{gate.Kernel{Release: "3", BuildID: "build 3"}.Key(): true}, Boots: []Boot{
		bootAt("g", "1", "", "as intended"),
		bootAt("f", "5", snapshot.Regressed, "as intended"),
		bootAt("e", "1", snapshot.Invalid, "fell back"),
		bootAt("d", "1", snapshot.Good, "as intended"),
		bootAt("c", "3", snapshot.Regressed, "as intended"),
		bootAt("b", "2", snapshot.Good, "not the default"),
		bootAt("a", "1", snapshot.Learned, ""),
	}}
	v := boots(in, 6)
	var got []string
	for _, b := range v.Boots {
		got = append(got, b.Way+" "+b.Verdict+" "+b.Level)
	}
	want := []string{wentBack + " not judged none", "as intended regressed bad", "fell back invalid bad", "rolled back good good", "as intended regressed bad", "not the default good good"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v.More != 1 || !v.Boots[3].Back || !v.Boots[2].WayBad || v.Boots[0].Before[0] != (change{"kernel", "5", "1"}) {
		t.Errorf("more %d, boots %+v", v.More, v.Boots)
	}
	if len(v.Lanes) != 4 || v.Lanes[0].Text != "5" || v.Boots[0].Y != v.Boots[2].Y || v.Boots[0].Y == v.Boots[1].Y {
		t.Errorf("lanes %+v", v.Lanes)
	}
	many := &Input{}
	for i := range 200 {
		many.Boots = append(many.Boots, bootAt("b", string(rune('a'+i%26)), snapshot.Good, ""))
	}
	if v := boots(many, allBoots); len(v.Lanes) != mostLanes || len(v.Boots) != allBoots {
		t.Errorf("%d lanes, %d boots", len(v.Lanes), len(v.Boots))
	}
}

func tree(names ...string) *report.Node {
	n := &report.Node{Name: "machine"}
	for _, name := range names {
		c := &report.Node{Key: snapshot.Key{Kind: "hw.disk", ID: name}, Name: name}
		if strings.HasPrefix(name, "bad") {
			c.Marks = []report.Mark{{Sign: "-", Text: "gone", Level: snapshot.Critical}}
		}
		n.Children = append(n.Children, c)
	}
	return n
}

// TestTrim leaves out what does not differ first, and says how much that is.
func TestTrim(t *testing.T) {
	in := &Input{Snapshot: &snapshot.Snapshot{}, Base: &snapshot.Snapshot{}}
	roots := []*report.Node{tree("a", "b", "bad1", "c", "bad2")}
	v := inventory(in, roots, 0)
	if len(v.Roots) != 1 || len(v.Roots[0].Children) != 2 || v.Roots[0].Hidden != 3 || v.Devices != 5 || v.Hidden != 3 {
		t.Errorf("only what differs: %+v", v)
	}
	if diff := cmp.Diff([]markView{{Kind: "gone", Word: "gone", Text: "2"}}, v.Counts); diff != "" {
		t.Error(diff)
	}
	if v = inventory(in, roots, 1); len(v.Roots[0].Children) != 3 || v.Roots[0].Hidden != 2 {
		t.Errorf("one more: %+v", v.Roots[0])
	}
	deep := tree("bad")
	for range 500 {
		deep = &report.Node{Name: "hub", Children: []*report.Node{deep}}
	}
	depth := 0
	for n := inventory(in, []*report.Node{deep}, 1000).Roots[0]; len(n.Children) > 0; n = n.Children[0] {
		depth++
	}
	if depth > mostDepth {
		t.Errorf("the tree is %d deep", depth)
	}
	if v := inventory(in, []*report.Node{tree("a", "b")}, 0); len(v.Roots) != 0 || v.Devices != 2 {
		t.Errorf("where nothing differs: %+v", v)
	}
}

// TestLanesLegend: the legend has the signs that the picture has; one boot makes no picture.
func TestLanesLegend(t *testing.T) {
	in := &Input{Boots: []Boot{bootAt("b3", "6.2", snapshot.Regressed, "fell back"), bootAt("b2", "6.1", snapshot.Good, "as intended"), bootAt("b1", "6.1", snapshot.Learned, "as intended")}}
	in.Boots[1].LastGood = true
	want := map[string]bool{"bad": true, "good": true, "last": true, "fell": true, "back": false}
	if d := cmp.Diff(want, boots(in, 10).Uses); d != "" {
		t.Error(d)
	}
	for _, n := range []int{3, 1} {
		in.Boots = in.Boots[:n]
		site, err := Make(*in)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/boots"} {
			p, ok := site.Page(path)
			if !ok || strings.Contains(string(p.With(Notice{})), "Boots in order of time") != (n > 1) {
				t.Errorf("%s of %d boots: the picture is there, or is not, %v", path, n, ok)
			}
		}
	}
}

// TestHeatLevels names what is above a limit, and draws limits only where they are near.
func TestHeatLevels(t *testing.T) {
	for _, c := range []struct {
		s           Sensor
		level, note string
		lines       int
	}{
		{Sensor{Value: 40, Limit: 85, Critical: 95}, "", "40 °C, 45 °C below its limit", 1},
		{Sensor{Value: 90, Limit: 85, Critical: 95}, "warn", "90 °C, above its limit", 2},
		{Sensor{Value: 96, Limit: 85, Critical: 95}, "bad", "96 °C, above critical", 2},
		{Sensor{Value: 30}, "", "30 °C", 0},
		{Sensor{Value: 30, Critical: 500}, "", "30 °C, 470 °C below its limit", 0},
	} {
		h := hot{id: "s", now: c.s, room: math.Inf(1)}
		if l := max(c.s.Limit, 0); l > 0 {
			h.room = l - c.s.Value
		} else if c.s.Critical > 0 {
			h.room = c.s.Critical - c.s.Value
		}
		got := h.chart()
		if got.Level != c.level || got.Note != c.note || len(got.Lines) != c.lines {
			t.Errorf("%+v: level %q, note %q, lines %+v", c.s, got.Level, got.Note, got.Lines)
		}
	}
}

// TestHeatIsTheNewest: what is written beside a picture is the value at its end, whoever read it last, and the page says when that was.
func TestHeatIsTheNewest(t *testing.T) {
	checked := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	snap := &snapshot.Snapshot{Taken: checked, Identity: snapshot.Identity{BootID: "b"}, Subjects: []snapshot.Subject{
		{Kind: kindSensor, ID: "hot", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"type": snapshot.Text("temperature"), "value_celsius": snapshot.Float(50), "limit_celsius": snapshot.Float(80)}},
		{Kind: kindSensor, ID: "unwatched", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"type": snapshot.Text("temperature"), "value_celsius": snapshot.Float(60), "limit_celsius": snapshot.Float(80)}}}}
	sampled := func(last time.Time) *Input {
		h := Heat{BootID: "b", History: &watch.History{}}
		for i := range 12 {
			h.Readings = append(h.Readings, watch.Reading{Time: last.Add(time.Duration(i-11) * time.Minute), Values: map[string]float64{"hot": 60 + float64(i)}})
		}
		return &Input{Snapshot: snap, Heat: []Heat{h}}
	}
	for _, c := range []struct {
		name               string
		in                 *Input
		basis, first, note string
		dot                string
	}{
		{"sampled after the check", sampled(checked.Add(time.Hour)), "sampled by lastgood watch, last on 4 Mar 2026, 13:00 UTC", "hot", "71 °C, 9 °C below its limit", "13:00 UTC: 71 °C"},
		{"checked after the samples", sampled(checked.Add(-time.Hour)), "as the last check read them on 4 Mar 2026, 12:00 UTC, after the samples of lastgood watch", "unwatched", "50 °C, 30 °C below its limit", "12:00 UTC: 50 °C"},
		{"never sampled", &Input{Snapshot: snap}, "as the last check read them on 4 Mar 2026, 12:00 UTC", "unwatched", "50 °C, 30 °C below its limit", ""},
	} {
		v := heatOfHost(c.in, 10)
		if v.Basis != c.basis || len(v.Charts) != 2 || v.Charts[0].Name != c.first {
			t.Fatalf("%s: %q, first %+v", c.name, v.Basis, v.Charts)
		}
		hot := v.Charts[slices.IndexFunc(v.Charts, func(h chart) bool { return h.Name == "hot" })]
		if hot.Note != c.note || c.dot != "" && hot.Dots[0].Title != c.dot {
			t.Errorf("%s: note %q, want %q; dots %+v, want %q", c.name, hot.Note, c.note, hot.Dots, c.dot)
		}
	}
}
