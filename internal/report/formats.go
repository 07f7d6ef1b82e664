package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"lastgood/internal/snapshot"
)

// Markdown writes the report in GitHub's manner, for a job summary or a ticket.
func Markdown(w io.Writer, r *Report, _ Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s\n", strings.ToUpper(string(r.Verdict)), cell(r.Summary))
	if r.Current != nil {
		fmt.Fprintf(&b, "\n- this boot: %s\n", cell(kernelLine(r.Current)))
	}
	if r.Baseline != nil {
		fmt.Fprintf(&b, "- last good: %s\n- changed: %s\n", cell(kernelLine(r.Baseline)), cell(changed(r)))
	}
	if len(r.Findings) > 0 {
		b.WriteString("\n| severity | finding | was | is | class | code |\n|---|---|---|---|---|---|\n")
	}
	for _, f := range r.Findings {
		text := f.Message
		if len(f.Behind) > 0 {
			text += ", and with it " + behind(f.Behind)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", f.Severity, cell(text), cell(value(f.Old)), cell(value(f.New)), f.Class, f.Code)
	}
	if len(r.Incomplete) > 0 {
		b.WriteString("\n| could not be measured | why |\n|---|---|\n")
	}
	for _, g := range r.Incomplete {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(g.Kind+"/"+g.ID), cell(g.Reason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func value(v *snapshot.Value) string {
	if v == nil {
		return ""
	}
	return v.String()
}

// cell makes a text fit for one cell of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "`", "'").Replace(clean(s))
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as a test suite: the verdict is one case, every
// finding another. What does not fail the verdict does not fail its case.
func JUnit(w io.Writer, r *Report, _ Options) error {
	s := junitSuite{Name: "lastgood", Time: fmt.Sprintf("%.3f", r.TookSeconds)}
	verdict := junitCase{Class: "lastgood", Name: "verdict", Out: clean(r.Summary)}
	switch r.Verdict {
	case snapshot.Regressed, snapshot.Invalid:
		verdict.Failure = &junitMessage{Message: string(r.Verdict), Text: clean(r.Summary)}
	case snapshot.Incomplete:
		verdict.Skipped = &junitMessage{Message: clean(r.Summary)}
	}
	s.Cases = append(s.Cases, verdict)
	for _, f := range r.Findings {
		c := junitCase{Class: f.Subject.Kind, Name: clean(f.Subject.ID + " " + f.Code)}
		if f.Severity == snapshot.Critical {
			c.Failure = &junitMessage{Message: clean(f.Message), Text: clean(f.Evidence)}
		} else {
			c.Out = clean(string(f.Severity) + ": " + f.Message)
		}
		s.Cases = append(s.Cases, c)
	}
	for _, g := range r.Incomplete {
		s.Cases = append(s.Cases, junitCase{Class: g.Kind, Name: clean(g.ID), Skipped: &junitMessage{Message: clean(g.Reason)}})
	}
	for _, c := range s.Cases {
		s.Tests++
		if c.Failure != nil {
			s.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
	}
	b, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}

// Nagios writes one line in the manner of monitoring plug-ins: status, sentence,
// performance data.
func Nagios(w io.Writer, r *Report, _ Options) error {
	words := map[snapshot.Verdict]string{snapshot.Good: "OK", snapshot.Learned: "OK", snapshot.Regressed: "CRITICAL", snapshot.Invalid: "CRITICAL", snapshot.Incomplete: "UNKNOWN"}
	n := bySeverity(r)
	line := strings.NewReplacer("|", "/", "\n", " ").Replace(clean(r.Summary))
	_, err := fmt.Fprintf(w, "LASTGOOD %s - %s | critical=%d warning=%d info=%d incomplete=%d time=%.3fs\n",
		words[r.Verdict], line, n[snapshot.Critical], n[snapshot.Warning], n[snapshot.Info], len(r.Incomplete), r.TookSeconds)
	return err
}

func bySeverity(r *Report) map[snapshot.Severity]int {
	n := map[snapshot.Severity]int{}
	for _, f := range r.Findings {
		n[f.Severity]++
	}
	return n
}

// Prometheus writes the verdict as metrics for a textfile collector.
func Prometheus(w io.Writer, r *Report, _ Options) error {
	var b strings.Builder
	b.WriteString("# HELP lastgood_verdict The verdict of the last check: 1 for the one that holds.\n# TYPE lastgood_verdict gauge\n")
	for _, v := range []snapshot.Verdict{snapshot.Good, snapshot.Incomplete, snapshot.Invalid, snapshot.Learned, snapshot.Regressed} {
		on := 0
		if v == r.Verdict {
			on = 1
		}
		fmt.Fprintf(&b, "lastgood_verdict{verdict=%q} %d\n", string(v), on)
	}
	n := bySeverity(r)
	b.WriteString("# HELP lastgood_findings Findings of the last check by severity.\n# TYPE lastgood_findings gauge\n")
	for _, s := range []snapshot.Severity{snapshot.Critical, snapshot.Info, snapshot.Warning} {
		fmt.Fprintf(&b, "lastgood_findings{severity=%q} %d\n", string(s), n[s])
	}
	fmt.Fprintf(&b, "# HELP lastgood_incomplete What the last check could not measure.\n# TYPE lastgood_incomplete gauge\nlastgood_incomplete %d\n", len(r.Incomplete))
	fmt.Fprintf(&b, "# HELP lastgood_check_duration_seconds How long the last check took.\n# TYPE lastgood_check_duration_seconds gauge\nlastgood_check_duration_seconds %g\n", r.TookSeconds)
	if r.Current != nil {
		fmt.Fprintf(&b, "# HELP lastgood_kernel_info The kernel that was checked.\n# TYPE lastgood_kernel_info gauge\nlastgood_kernel_info{release=%s,build_id=%s,arch=%s} 1\n",
			label(r.Current.Kernel.Release), label(r.Current.Kernel.BuildID), label(r.Current.Kernel.Arch))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// label quotes a label's value as the text format wants it: three escapes and no other.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "\uFFFD")) + `"`
}
