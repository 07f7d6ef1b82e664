package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// CheckResult is one check of a contract as a person reads it.
type CheckResult struct {
	Name     string // CONTRACT/ID
	Required bool   // else it is wanted, and weighs nothing
	State    CheckState
	Why      string // why it is not met, or could not be told
}

// CheckState is what a check of a contract came to.
type CheckState string

// The states of a check, as a table words them, worst first.
const (
	NotMet  CheckState = "not met"
	NotTold CheckState = "not told"
	NotDue  CheckState = "not due"
	Met     CheckState = "met"
)

var checkStates = []CheckState{NotMet, NotTold, NotDue, Met}

// Checks writes what a contract's checks came to: all in one line, then one by one, the worst first.
func Checks(w io.Writer, all []CheckResult, o Options) error {
	p := newPage(w, o)
	lead, st := checksVerdict(all)
	p.line(lead+": ", st, checksCount(all))
	if o.Quiet || len(all) == 0 {
		return p.err
	}
	p.write("\n")
	rank := func(c CheckResult) int {
		n := 2 * slices.Index(checkStates, c.State)
		if !c.Required {
			n++
		}
		return n
	}
	for _, c := range slices.SortedStableFunc(slices.Values(all), func(a, b CheckResult) int { return cmp.Compare(rank(a), rank(b)) }) {
		severity := "wanted"
		if c.Required {
			severity = "required"
		}
		p.line(fmt.Sprintf("  %-8s  %-8s  ", c.State, severity), c.style(), joined(": ", flat(c.Name), cut(flat(c.Why), longText)))
	}
	return p.err
}

func (c *CheckResult) style() style {
	switch {
	case c.State == Met:
		return green
	case c.State == NotMet && c.Required:
		return red
	}
	return yellow
}

// checksVerdict goes by the required checks, as the exit status does.
func checksVerdict(all []CheckResult) (string, style) {
	if len(all) == 0 {
		return "NOTHING CHECKED", yellow
	}
	worst := len(checkStates) - 1
	for _, c := range all {
		if c.Required {
			worst = min(worst, slices.Index(checkStates, c.State))
		}
	}
	switch checkStates[worst] {
	case NotMet:
		return "NOT MET", red
	case Met:
		return "MET", green
	}
	return "INCOMPLETE", yellow
}

func checksCount(all []CheckResult) string {
	if len(all) == 0 {
		return "there is no check for this host"
	}
	var parts []string
	for _, s := range checkStates {
		n, wanted := 0, 0
		for _, c := range all {
			if c.State == s {
				n++
				if !c.Required {
					wanted++
				}
			}
		}
		switch {
		case n == 0:
		case s != Met && wanted > 0:
			parts = append(parts, fmt.Sprintf("%d %s (%d of them only wanted)", n, s, wanted))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	noun := "checks"
	if len(all) == 1 {
		noun = "check"
	}
	return fmt.Sprintf("%d %s, %s", len(all), noun, strings.Join(parts, ", "))
}
