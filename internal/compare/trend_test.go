package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

// trendBoots makes boots out of "release insns digest" each; "-" is a boot without the
// program, "?" one where it could not be measured.
func trendBoots(t *testing.T, kind string, boots ...string) []KernelBoot {
	t.Helper()
	var out []KernelBoot
	for _, b := range boots {
		f := strings.Fields(b)
		snap := &snapshot.Snapshot{}
		sub := snapshot.Subject{Kind: kind, ID: "p", Label: "cil_from_container", Outcome: snapshot.Measured}
		sub.Set(trendLimit, snapshot.Int(1_000_000))
		switch f[1] {
		case "-":
		case "?":
			sub.Outcome = snapshot.Inconclusive
			snap.Subjects = append(snap.Subjects, sub)
		case "nolimit":
			delete(sub.Attrs, trendLimit)
			sub.Set(trendAttr, snapshot.Int(400_000))
			snap.Subjects = append(snap.Subjects, sub)
		default:
			var n int
			if _, err := fmt.Sscan(f[1], &n); err != nil {
				t.Fatal(err)
			}
			sub.Set(trendAttr, snapshot.Int(n))
			if len(f) > 2 {
				sub.Set(trendProgram, snapshot.Text(f[2]))
			}
			snap.Subjects = append(snap.Subjects, sub)
		}
		out = append(out, KernelBoot{f[0], snap})
	}
	return out
}

func TestTrend(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  string
		boots []string
		want  string // what follows the program's name, "" for no finding
	}{
		{"nothing", "bpf.loaded", nil, ""},
		{"two kernels", "bpf.loaded", []string{"6.1 400000", "6.6 800000"}, ""},
		{"three kernels", "bpf.loaded", []string{"6.1 400000", "6.6 720000", "6.12 870000"}, "last 2 kernels: 6.1 60 %, 6.6 28 %, 6.12 13 %"},
		{"exactly half each time", "bpf.loaded", []string{"6.1 0", "6.6 500000", "6.12 750000"}, "last 2 kernels: 6.1 100 %, 6.6 50 %, 6.12 25 %"},
		{"a little less than half", "bpf.loaded", []string{"6.1 0", "6.6 500000", "6.12 749999"}, ""},
		{"four kernels, the first alike", "bpf.loaded", []string{"5.15 390000", "6.1 400000", "6.6 720000", "6.12 870000"}, "last 2 kernels: 6.1 60 %, 6.6 28 %, 6.12 13 %"},
		{"four kernels, all falling", "bpf.program", []string{"5.15 0", "6.1 500000", "6.6 750000", "6.12 900000"}, "last 3 kernels: 5.15 100 %, 6.1 50 %, 6.6 25 %, 6.12 10 %"},
		{"it stopped falling", "bpf.loaded", []string{"5.15 0", "6.1 500000", "6.6 750000", "6.12 750000"}, ""},
		{"one kernel many times", "bpf.loaded", []string{"6.1 0", "6.1 500000", "6.1 750000", "6.1 900000"}, ""},
		{"the newest boot of each counts", "bpf.loaded", []string{"6.1 900000", "6.1 400000", "6.6 720000", "6.12 870000"}, "last 2 kernels: 6.1 60 %, 6.6 28 %, 6.12 13 %"},
		{"back on the old kernel", "bpf.loaded", []string{"6.1 400000", "6.6 720000", "6.12 870000", "6.1 400000"}, ""},
		{"another program meanwhile", "bpf.program", []string{"6.1 400000 a", "6.6 720000 b", "6.12 870000 b"}, ""},
		{"the same program", "bpf.program", []string{"6.1 400000 a", "6.6 720000 a", "6.12 870000 a"}, "last 2 kernels: 6.1 60 %, 6.6 28 %, 6.12 13 %"},
		{"a kernel without it", "bpf.loaded", []string{"6.1 400000", "6.6 720000", "6.9 -", "6.12 870000"}, "last 2 kernels: 6.1 60 %, 6.6 28 %, 6.12 13 %"},
		{"a kernel where it was not measured", "bpf.loaded", []string{"6.1 400000", "6.9 ?", "6.12 870000"}, ""},
		{"a kernel that does not count", "bpf.loaded", []string{"5.15 nolimit", "6.6 720000", "6.12 870000"}, ""},
		{"not there now", "bpf.loaded", []string{"6.1 400000", "6.6 720000", "6.12 870000", "6.13 -"}, ""},
		{"not measured now", "bpf.loaded", []string{"6.1 400000", "6.6 720000", "6.12 870000", "6.13 ?"}, ""},
		{"nothing left at all", "bpf.loaded", []string{"6.1 500000", "6.6 1000000", "6.12 1000000"}, ""},
		{"another kind", "bpf.probe", []string{"6.1 400000", "6.6 720000", "6.12 870000"}, ""},
	} {
		got := ""
		boots := trendBoots(t, test.kind, test.boots...)
		for _, f := range Trend(boots) {
			if f.Code != TrendCode || f.Severity != snapshot.Warning || f.Subject.ID != "p" || f.Hint == "" {
				t.Errorf("%s: %+v", test.name, f)
			}
			_, got, _ = strings.Cut(f.Message, "at each of the ")
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
		if test.want != "" && !MayTrend(boots[len(boots)-1].Snapshot) {
			t.Errorf("%s: there is a trend that MayTrend rules out", test.name)
		}
	}
}
