package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

// testKinds is a small world with one kind of each manner.
func testKinds(t testing.TB) snapshot.Kinds {
	t.Helper()
	kinds, err := snapshot.NewKinds(
		snapshot.Kind{Name: "prog", Doc: "a program", Required: true,
			Attrs: []snapshot.Attr{
				{Name: "insns", Unit: snapshot.Insns, Better: snapshot.LowerBetter, LimitAttr: "limit", Doc: "d"},
				{Name: "limit", Unit: snapshot.Insns, Doc: "d"},
				{Name: "states", Unit: snapshot.States, Doc: "d"},
				{Name: "verdict", Order: []string{"accepted", "rejected"}, Doc: "d"},
				{Name: "object", Doc: "d"},
				{Name: "shape", Doc: "d"},
				{Name: "seconds", Unit: snapshot.Seconds, Noise: snapshot.Sampled, Doc: "d"},
				{Name: "log", Noise: snapshot.Evidence, Doc: "d"},
			},
			Rules: []snapshot.Rule{
				{Code: "rejected", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"accepted"}, To: []string{"rejected"}, Severity: snapshot.Critical, Class: snapshot.ClassKernel, Message: "{name} is refused"},
				{Code: "doubled", On: snapshot.OnGrowth, Attr: "insns", Ratio: 2, Floor: 20000, Severity: snapshot.Critical, Class: snapshot.ClassKernel, Topic: "cost", Unless: []string{"object"}, Message: "{name}: {old} to {new}, {ratio}"},
				{Code: "grew", On: snapshot.OnGrowth, Attr: "insns", Ratio: 1.25, Floor: 5000, Severity: snapshot.Warning, Class: snapshot.ClassKernel, Topic: "cost", Unless: []string{"object"}, Message: "{name}: {old} to {new}, {ratio}"},
				{Code: "fell", On: snapshot.OnBetter, Attr: "insns", Severity: snapshot.Info, Class: snapshot.ClassKernel, Topic: "cost", Message: "{name} fell"},
				{Code: "headroom", On: snapshot.OnHeadroom, Attr: "insns", Share: 0.2, Severity: snapshot.Critical, Class: snapshot.ClassKernel, Topic: "headroom", Message: "{name}: {left} left of {limit}"},
				{Code: "limit", On: snapshot.OnChanged, Attr: "limit", Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "limit"},
				{Code: "moved", On: snapshot.OnMoved, Severity: snapshot.Warning, Class: snapshot.ClassIdentity, Topic: "cost", Unless: []string{"object"}, Message: "{name} moved"},
			}},
		snapshot.Kind{Name: "disk", Doc: "a disk", Required: true,
			Attrs: []snapshot.Attr{{Name: "name", Doc: "d"}, {Name: "removable", Doc: "d"}},
			Rules: []snapshot.Rule{
				{Code: "disk-missing", On: snapshot.OnMissing, Where: map[string]string{"removable": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "{name} is gone"},
				{Code: "disk-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "{name} is new"},
				{Code: "disk-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "was {old}, is {new}"},
			}},
		snapshot.Kind{Name: "pci", Doc: "a controller",
			Attrs: []snapshot.Attr{{Name: "driver", Doc: "d"}},
			Rules: []snapshot.Rule{
				{Code: "pci-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "{name} is gone"},
				{Code: "pci-driver-lost", On: snapshot.OnBecomes, Attr: "driver", To: []string{"none"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "{name} lost {old}"},
			}},
		snapshot.Kind{Name: "sensor", Doc: "a sensor",
			Attrs: []snapshot.Attr{{Name: "temp", Unit: snapshot.Celsius, Noise: snapshot.Ambient, LimitAttr: "max", Doc: "d"}, {Name: "max", Unit: snapshot.Celsius, Noise: snapshot.Ambient, Doc: "d"}},
			Rules: []snapshot.Rule{{Code: "hot", On: snapshot.OnAbove, Attr: "temp", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "{name} hot"}}},
		snapshot.Kind{Name: "feature", Doc: "a set",
			Attrs: []snapshot.Attr{{Name: "helpers", Better: snapshot.HigherBetter, Doc: "d"}, {Name: "refused", Better: snapshot.LowerBetter, Doc: "d"}},
			Rules: []snapshot.Rule{
				{Code: "helper-gained", On: snapshot.OnBetter, Attr: "helpers", Severity: snapshot.Info, Class: snapshot.ClassKernel, Message: "gained {gained}"},
				{Code: "helper-lost", On: snapshot.OnWorse, Attr: "refused", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Message: "lost {gained}"},
			}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// world is a snapshot of kernel build whose sources vouch for everything.
func world(build string, subjects ...snapshot.Subject) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Tool: "lastgood 1", Subjects: subjects}
	s.Identity.Kernel = snapshot.KernelIdentity{BuildID: build, Arch: "x86_64"}
	s.Identity.MachineID = "m1"
	all := snapshot.Subject{Kind: snapshot.SourceKind, ID: "all", Outcome: snapshot.Measured,
		Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List("prog", "disk", "pci", "sensor", "feature", "unknown")}}
	s.Subjects = append(s.Subjects, all)
	if err := s.Sort(); err != nil {
		panic(err)
	}
	return s
}

func subject(kind, id string, attrs ...any) snapshot.Subject {
	s := snapshot.Subject{Kind: kind, ID: id, Outcome: snapshot.Measured}
	for i := 0; i < len(attrs); i += 2 {
		switch v := attrs[i+1].(type) {
		case int:
			s.Set(attrs[i].(string), snapshot.Int(v))
		case float64:
			s.Set(attrs[i].(string), snapshot.Float(v))
		case string:
			s.Set(attrs[i].(string), snapshot.Text(v))
		case bool:
			s.Set(attrs[i].(string), snapshot.Bool(v))
		case []string:
			s.Set(attrs[i].(string), snapshot.List(v...))
		}
	}
	return s
}

func with(s snapshot.Subject, f func(*snapshot.Subject)) snapshot.Subject {
	f(&s)
	return s
}

func unseen(o snapshot.Outcome) func(*snapshot.Subject) {
	return func(s *snapshot.Subject) { s.Outcome, s.Attrs, s.Reason = o, nil, "because" }
}

func prog(insns int) snapshot.Subject {
	return subject("prog", "p", "insns", insns, "limit", 1_000_000, "verdict", "accepted", "object", "o")
}

func TestJudge(t *testing.T) {
	failed := func(s *snapshot.Snapshot) *snapshot.Snapshot {
		src := s.Subject(snapshot.Key{Kind: snapshot.SourceKind, ID: "all"})
		src.Outcome, src.Reason = snapshot.Inconclusive, "no answer"
		return s
	}
	for _, test := range []struct {
		name     string
		old, new *snapshot.Snapshot
		verdict  snapshot.Verdict
		want     []string // severity code class subject
		gaps     []string // kind/id counts
	}{
		{name: "nothing changed", old: world("a", prog(100)), new: world("a", prog(100)), verdict: snapshot.Good},
		{name: "growth under every floor", old: world("a", prog(12)), new: world("b", prog(92)), verdict: snapshot.Good},
		{name: "growth", old: world("a", prog(20000)), new: world("b", prog(26000)), verdict: snapshot.Good, want: []string{"warning grew kernel prog/p"}},
		{name: "growth just under the ratio", old: world("a", prog(40000)), new: world("b", prog(49999)), verdict: snapshot.Good},
		{name: "doubled is said once", old: world("a", prog(20000)), new: world("b", prog(40000)), verdict: snapshot.Regressed, want: []string{"critical doubled kernel prog/p"}},
		{name: "doubled under the floor is growth", old: world("a", prog(6000)), new: world("b", prog(12000)), verdict: snapshot.Good, want: []string{"warning grew kernel prog/p"}},
		{name: "fewer", old: world("a", prog(20000)), new: world("b", prog(100)), verdict: snapshot.Good, want: []string{"info fell kernel prog/p"}},
		{name: "another object is not compared", old: world("a", prog(20000)), new: world("b", with(prog(90000), func(s *snapshot.Subject) { s.Set("object", snapshot.Text("o2")) })), verdict: snapshot.Good},
		{name: "headroom", old: world("a", prog(790_000)), new: world("b", prog(801_000)), verdict: snapshot.Regressed, want: []string{"critical headroom kernel prog/p"}},
		{name: "headroom was gone before", old: world("a", prog(801_000)), new: world("b", prog(802_000)), verdict: snapshot.Good},
		{name: "refused", old: world("a", prog(5)), new: world("b", subject("prog", "p", "verdict", "rejected", "object", "o")), verdict: snapshot.Regressed, want: []string{"critical rejected kernel prog/p"}},
		{name: "was refused before", old: world("a", subject("prog", "p", "verdict", "rejected")), new: world("b", subject("prog", "p", "verdict", "rejected")), verdict: snapshot.Good},
		{name: "limit changed", old: world("a", prog(5)), new: world("b", with(prog(5), func(s *snapshot.Subject) { s.Set("limit", snapshot.Int(131072)) })), verdict: snapshot.Good, want: []string{"warning limit kernel prog/p"}},
		{name: "moved on the same build", old: world("a", prog(100)), new: world("a", prog(99)), verdict: snapshot.Good, want: []string{"warning moved identity prog/p"}},
		{name: "doubled on the same build", old: world("a", prog(20000)), new: world("a", prog(60000)), verdict: snapshot.Regressed, want: []string{"critical doubled identity prog/p"}},
		{name: "sampled values are not compared", old: world("a", subject("prog", "p", "seconds", 1.0)), new: world("a", subject("prog", "p", "seconds", 9.0)), verdict: snapshot.Good},
		{name: "could not be measured", old: world("a", prog(5)), new: world("b", with(prog(5), unseen(snapshot.Inconclusive))), verdict: snapshot.Incomplete, gaps: []string{"prog/p true"}},
		{name: "was not measured before either", old: world("a", with(prog(5), unseen(snapshot.Skipped))), new: world("b", with(prog(5), unseen(snapshot.Skipped))), verdict: snapshot.Good, gaps: []string{"prog/p false"}},
		{name: "source failed: nothing is missing", old: world("a", subject("disk", "d", "removable", false)), new: failed(world("b")), verdict: snapshot.Incomplete, gaps: []string{"tool.source/all true"}},
		{name: "nobody looked", old: world("a", subject("disk", "d", "removable", false)), new: &snapshot.Snapshot{}, verdict: snapshot.Incomplete, gaps: []string{"disk/* true"}},
		{name: "missing and new", old: world("a", subject("disk", "d", "removable", false)), new: world("a", subject("disk", "e", "removable", false)), verdict: snapshot.Regressed, want: []string{"critical disk-missing hardware disk/d", "info disk-new hardware disk/e"}},
		{name: "removable is missing", old: world("a", subject("disk", "d", "removable", true)), new: world("a"), verdict: snapshot.Good},
		{name: "renamed", old: world("a", subject("disk", "d", "name", "sda")), new: world("a", subject("disk", "d", "name", "sdc")), verdict: snapshot.Good, want: []string{"info disk-renamed hardware disk/d"}},
		{name: "unsupported now", old: world("a", subject("disk", "d", "removable", false)), new: world("a", with(subject("disk", "d", "removable", false), func(s *snapshot.Subject) { s.Outcome = snapshot.Unsupported })), verdict: snapshot.Regressed, want: []string{"critical disk-missing hardware disk/d"}},
		{name: "got hot", old: world("a", subject("sensor", "s", "temp", 50.0, "max", 90.0)), new: world("a", subject("sensor", "s", "temp", 95.0, "max", 90.0)), verdict: snapshot.Good, want: []string{"warning hot hardware sensor/s"}},
		{name: "was hot", old: world("a", subject("sensor", "s", "temp", 91.0, "max", 90.0)), new: world("a", subject("sensor", "s", "temp", 95.0, "max", 90.0)), verdict: snapshot.Good},
		{name: "sets", old: world("a", subject("feature", "f", "helpers", []string{"a"}, "refused", []string{"x"})), new: world("b", subject("feature", "f", "helpers", []string{"a", "b"}, "refused", []string{"x", "y"})), verdict: snapshot.Regressed, want: []string{"critical helper-lost kernel feature/f", "info helper-gained kernel feature/f"}},
		{name: "a kind nobody declares", old: world("a", subject("unknown", "u", "x", 1)), new: world("a", subject("unknown", "u", "x", 2)), verdict: snapshot.Good},
		{name: "a lost attribute that a critical rule leans on", old: world("a", prog(5)), new: world("b", with(subject("prog", "p", "verdict", "accepted", "limit", 1_000_000, "object", "o"), func(s *snapshot.Subject) { s.Fail("insns", fmt.Errorf("cut")) })), verdict: snapshot.Incomplete, gaps: []string{"prog/p true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := Judge(test.old, test.new, testKinds(t), Policy{})
			var got, gaps []string
			for _, f := range j.Findings {
				got = append(got, fmt.Sprintf("%s %s %s %s/%s", f.Severity, f.Code, f.Class, f.Subject.Kind, f.Subject.ID))
			}
			for _, g := range j.Gaps {
				gaps = append(gaps, fmt.Sprintf("%s/%s %v", g.Kind, g.ID, g.Counts))
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if d := cmp.Diff(test.gaps, gaps); d != "" {
				t.Errorf("gaps (-want +got):\n%s", d)
			}
			if j.Verdict != test.verdict {
				t.Errorf("verdict %s, want %s", j.Verdict, test.verdict)
			}
		})
	}
}

func TestFoldBehindOneController(t *testing.T) {
	pci := subject("pci", "raid", "driver", "megaraid_sas")
	var old []snapshot.Subject
	for i := range 50 {
		old = append(old, with(subject("disk", fmt.Sprint("d", i), "removable", false), func(s *snapshot.Subject) { s.Parent = "pci/raid" }))
	}
	for name, new := range map[string]*snapshot.Snapshot{
		"controller gone": world("b"),
		"driver gone":     world("b", subject("pci", "raid", "driver", "none")),
	} {
		j := Judge(world("a", append(old, pci)...), new, testKinds(t), Policy{})
		if len(j.Findings) != 1 || len(j.Findings[0].Behind) != 50 || j.Findings[0].Severity != snapshot.Critical || j.Verdict != snapshot.Regressed {
			t.Errorf("%s: %d findings, verdict %s", name, len(j.Findings), j.Verdict)
		}
	}
}

func TestFoldSurvivesACycle(t *testing.T) {
	a := with(subject("pci", "a"), func(s *snapshot.Subject) { s.Parent = "pci/b" })
	b := with(subject("pci", "b"), func(s *snapshot.Subject) { s.Parent = "pci/a" })
	j := Judge(world("x", a, b), world("y"), testKinds(t), Policy{})
	n := len(j.Findings)
	for _, f := range j.Findings {
		n += len(f.Behind)
	}
	if n != 2 {
		t.Errorf("%d subjects named, want 2", n)
	}
}

func TestIncomparable(t *testing.T) {
	new := world("a", prog(5))
	new.Identity.Kernel.Arch = "aarch64"
	j := Judge(world("a", prog(5)), new, testKinds(t), Policy{})
	if j.Verdict != snapshot.Invalid || !strings.Contains(j.Refused, "architecture") {
		t.Errorf("verdict %s, %q", j.Verdict, j.Refused)
	}
}

func TestAttributionFollowsWhatChanged(t *testing.T) {
	old, new := world("a", prog(20000)), world("a", prog(60000))
	new.Identity.Kernel.Cmdline = "mitigations=off"
	j := Judge(old, new, testKinds(t), Policy{})
	if len(j.Findings) != 1 || j.Findings[0].Class != snapshot.ClassConfig {
		t.Errorf("only the configuration changed: %+v", j.Findings)
	}
	new.Identity.Kernel.BuildID = "b"
	j = Judge(old, new, testKinds(t), Policy{})
	if j.Findings[0].Class != snapshot.ClassKernel {
		t.Errorf("kernel and configuration changed: %+v", j.Findings[0])
	}
	if d := cmp.Diff([]snapshot.Class{snapshot.ClassKernel, snapshot.ClassConfig}, j.Attribution); d != "" {
		t.Error(d)
	}
}

func TestPolicy(t *testing.T) {
	off, crit, ratio := snapshot.Off, snapshot.Critical, 1.1
	old, new := world("a", prog(20000), subject("disk", "d", "removable", false)), world("b", prog(26000))
	for name, test := range map[string]struct {
		policy Policy
		want   snapshot.Verdict
	}{
		"default":          {Policy{}, snapshot.Regressed}, // the disk
		"ignored":          {Policy{Ignore: []string{"disk/*"}}, snapshot.Good},
		"off":              {Policy{Rules: map[string]Override{"disk-missing": {Severity: &off}}}, snapshot.Good},
		"fail on warning":  {Policy{Ignore: []string{"disk/*"}, FailOn: snapshot.Warning}, snapshot.Regressed},
		"grew is critical": {Policy{Ignore: []string{"disk/*"}, Rules: map[string]Override{"grew": {Severity: &crit, Ratio: &ratio}}}, snapshot.Regressed},
	} {
		if err := test.policy.Check(testKinds(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if j := Judge(old, new, testKinds(t), test.policy); j.Verdict != test.want {
			t.Errorf("%s: verdict %s, want %s", name, j.Verdict, test.want)
		}
	}
	bad := snapshot.Severity("grave")
	for _, p := range []Policy{{Rules: map[string]Override{"no-such": {}}}, {Rules: map[string]Override{"grew": {Severity: &bad}}}, {FailOn: bad}, {Ignore: []string{"["}}} {
		if p.Check(testKinds(t)) == nil {
			t.Errorf("accepted %+v", p)
		}
	}
}

func TestMessages(t *testing.T) {
	j := Judge(world("a", prog(20000)), world("b", prog(850_000)), testKinds(t), Policy{})
	var all []string
	for _, f := range j.Findings {
		all = append(all, f.Message)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"p: 20,000 insns to 850,000 insns, ×42.5", "15 % left of 1,000,000 insns"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func BenchmarkDiff5000(b *testing.B) {
	build := func(name string) *snapshot.Snapshot {
		var subjects []snapshot.Subject
		for i := range 5000 {
			subjects = append(subjects, with(subject("prog", fmt.Sprintf("p%05d", i), "insns", i*100, "limit", 1_000_000, "verdict", "accepted", "object", "o", "states", i, "shape", "s", "log", "line"), func(s *snapshot.Subject) {}))
		}
		return world(name, subjects...)
	}
	old, new := build("a"), build("b")
	for i := range new.Subjects {
		if i%10 == 0 {
			new.Subjects[i].Set("insns", snapshot.Int(i*300+50_000))
		}
	}
	kinds := testKinds(b)
	b.ReportAllocs()
	for b.Loop() {
		Judge(old, new, kinds, Policy{})
	}
}
