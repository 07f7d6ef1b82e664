package report

import (
	"fmt"
	"io"

	"lastgood/internal/snapshot"
)

// format is one way to write a report. exit is nil where the process's status is
// the verdict's own; a monitor that reads another meaning into it has its own.
type format struct {
	name  string
	write func(io.Writer, *Report, Options) error
	exit  func(*Report) int
}

var formats = []format{
	{name: "table", write: Table},
	{name: "json", write: JSON},
	{name: "markdown", write: Markdown},
	{name: "junit", write: JUnit},
	{name: "nagios", write: Nagios, exit: nagiosExit},
	{name: "npd", write: NPD, exit: npdExit},
}

// Formats are the names of the formats, the default one first. Prometheus' is none of them:
// all metrics are written by package metrics, which lies above this one.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}

// Write writes the report in the format of that name.
func Write(w io.Writer, name string, r *Report, o Options) error {
	for _, f := range formats {
		if f.name == name {
			return f.write(w, r, o)
		}
	}
	return fmt.Errorf("write report: no format %q", name)
}

// ExitStatus is the process status that goes with a report in the format of that
// name: the verdict's, but for the formats of monitors that run lastgood as a
// plug-in and go by the status alone.
func ExitStatus(name string, r *Report) int {
	for _, f := range formats {
		if f.name == name && f.exit != nil {
			return f.exit(r)
		}
	}
	return r.Verdict.ExitStatus()
}

// bySeverity counts a report's findings.
func bySeverity(r *Report) map[snapshot.Severity]int {
	n := map[snapshot.Severity]int{}
	for _, f := range r.Findings {
		n[f.Severity]++
	}
	return n
}
