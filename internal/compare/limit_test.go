package compare_test

import (
	"testing"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
)

// A value with a limit to warn at and a critical one, of its own or the rule's, and a
// number that must change by a share.
func TestRuleLimits(t *testing.T) {
	kinds, err := snapshot.NewKinds(snapshot.Kind{
		Name: "k", Doc: "d",
		Attrs: []snapshot.Attr{{Name: "v", Noise: snapshot.Ambient, LimitAttr: "max", Doc: "d"}, {Name: "max", Doc: "d"}, {Name: "crit", Doc: "d"},
			{Name: "size", Better: snapshot.HigherBetter, Doc: "d"}},
		Rules: []snapshot.Rule{
			{Code: "crit", On: snapshot.OnAbove, Attr: "v", LimitAttr: "crit", Floor: 90, Topic: "heat", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "{new} of {limit}"},
			{Code: "warm", On: snapshot.OnAbove, Attr: "v", Floor: 75, Topic: "heat", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "{new} of {limit}"},
			{Code: "shrank", On: snapshot.OnWorse, Attr: "size", Share: 0.01, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "m"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	of := func(attrs snapshot.Attrs) *snapshot.Snapshot {
		return &snapshot.Snapshot{Subjects: []snapshot.Subject{{Kind: "k", ID: "i", Outcome: snapshot.Measured, Attrs: attrs}}}
	}
	num := snapshot.Int[int]
	eighty := 80.0
	cases := []struct {
		name     string
		old, new snapshot.Attrs
		policy   compare.Policy
		want     string // code and message
	}{
		{"no limit of its own", snapshot.Attrs{"v": num(40)}, snapshot.Attrs{"v": num(77)}, compare.Policy{}, "warm 77 of 75"},
		{"nor a critical one", snapshot.Attrs{"v": num(40)}, snapshot.Attrs{"v": num(91)}, compare.Policy{}, "crit 91 of 90"},
		{"the administrator's", snapshot.Attrs{"v": num(40)}, snapshot.Attrs{"v": num(77)}, compare.Policy{Rules: map[string]compare.Override{"warm": {Floor: &eighty}}}, ""},
		{"its own", snapshot.Attrs{"v": num(40), "max": num(85), "crit": num(99)}, snapshot.Attrs{"v": num(92), "max": num(85), "crit": num(99)}, compare.Policy{}, "warm 92 of 85"},
		{"its own critical one", snapshot.Attrs{"v": num(40), "crit": num(60)}, snapshot.Attrs{"v": num(61), "crit": num(60)}, compare.Policy{}, "crit 61 of 60"},
		{"warm before, critical now", snapshot.Attrs{"v": num(80)}, snapshot.Attrs{"v": num(95)}, compare.Policy{}, "crit 95 of 90"},
		{"so before", snapshot.Attrs{"v": num(80)}, snapshot.Attrs{"v": num(89)}, compare.Policy{}, ""},
		{"not known before", snapshot.Attrs{}, snapshot.Attrs{"v": num(95)}, compare.Policy{}, ""},
		{"a little less", snapshot.Attrs{"size": num(1000)}, snapshot.Attrs{"size": num(991)}, compare.Policy{}, ""},
		{"less", snapshot.Attrs{"size": num(1000)}, snapshot.Attrs{"size": num(990)}, compare.Policy{}, "shrank m"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			for _, f := range compare.Judge(of(c.old), of(c.new), kinds, c.policy).Findings {
				got += f.Code + " " + f.Message
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
