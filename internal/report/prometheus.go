package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
)

var (
	allVerdicts   = []snapshot.Verdict{snapshot.Good, snapshot.Incomplete, snapshot.Invalid, snapshot.Learned, snapshot.Regressed}
	allSeverities = []snapshot.Severity{snapshot.Critical, snapshot.Info, snapshot.Warning}
	allClasses    = []snapshot.Class{snapshot.ClassConfig, snapshot.ClassHardware, snapshot.ClassIdentity, snapshot.ClassKernel, snapshot.ClassObject, snapshot.ClassService, snapshot.ClassTool}
)

// Prometheus writes the verdict as metrics for node_exporter's textfile collector.
// Every series is there whatever the result, so that an alert sees it go back to 0.
func Prometheus(w io.Writer, r *Report, _ Options) error {
	var b strings.Builder
	family(&b, "lastgood_verdict", "The verdict of the last check: 1 for the one that holds.")
	for _, v := range allVerdicts {
		on := 0
		if v == r.Verdict {
			on = 1
		}
		fmt.Fprintf(&b, "lastgood_verdict{verdict=%s} %d\n", label(string(v)), on)
	}
	promFindings(&b, r)
	family(&b, "lastgood_incomplete", "What the last check could not measure.")
	fmt.Fprintf(&b, "lastgood_incomplete %d\n", len(r.Incomplete))
	family(&b, "lastgood_check_duration_seconds", "How long the last check took.")
	fmt.Fprintf(&b, "lastgood_check_duration_seconds %g\n", r.TookSeconds)
	if !r.Taken.IsZero() {
		family(&b, "lastgood_check_timestamp_seconds", "When the last check was begun, in seconds since 1970.")
		fmt.Fprintf(&b, "lastgood_check_timestamp_seconds %s\n", strconv.FormatFloat(float64(r.Taken.UnixMilli())/1000, 'f', -1, 64))
	}
	if r.Current != nil {
		k := &r.Current.Kernel
		family(&b, "lastgood_kernel_info", "The kernel that was checked.")
		fmt.Fprintf(&b, "lastgood_kernel_info{release=%s,build_id=%s,arch=%s} 1\n", label(k.Release), label(k.BuildID), label(k.Arch))
	}
	promCandidates(&b, r)
	_, err := io.WriteString(w, b.String())
	return err
}

// promCandidates writes what preflight said of the kernels that the host may boot next.
func promCandidates(b *strings.Builder, r *Report) {
	if len(r.Candidates) == 0 {
		return
	}
	family(b, "lastgood_preflight_verdict", "The verdict of the last preflight of an installed kernel that does not run: 1 for the one that holds.")
	seen := map[string]bool{}
	for _, c := range r.Candidates {
		kernel := label(c.Kernel)
		if seen[kernel] {
			continue // a series may stand once
		}
		seen[kernel] = true
		for _, v := range allVerdicts {
			on := 0
			if v == c.Verdict {
				on = 1
			}
			fmt.Fprintf(b, "lastgood_preflight_verdict{kernel=%s,verdict=%s} %d\n", kernel, label(string(v)), on)
		}
	}
}

// family writes the head of a metric, which the text format allows once.
func family(b *strings.Builder, name, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

func promFindings(b *strings.Builder, r *Report) {
	type series struct{ severity, class string }
	n := map[series]int{}
	for _, s := range allSeverities {
		for _, c := range allClasses {
			n[series{label(string(s)), label(string(c))}] = 0
		}
	}
	for _, f := range r.Findings {
		n[series{label(string(f.Severity)), label(string(f.Class))}]++
	}
	family(b, "lastgood_findings", "Findings of the last check by severity and by what they are attributed to.")
	order := slices.SortedFunc(maps.Keys(n), func(x, y series) int {
		return strings.Compare(x.severity+"\x00"+x.class, y.severity+"\x00"+y.class)
	})
	for _, s := range order {
		fmt.Fprintf(b, "lastgood_findings{severity=%s,class=%s} %d\n", s.severity, s.class, n[s])
	}
}

// label quotes a label's value. The text format knows three escapes and no other;
// flat leaves no line end for the third.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(flat(s)) + `"`
}
