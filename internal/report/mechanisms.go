package report

import (
	"fmt"
	"strings"

	"lastgood/internal/snapshot"
)

// Mechanism is what the built-in programs of one family tell together: one thing that
// the verifier does, and whether it does it worse or better now.
type Mechanism struct {
	Family string `json:"family"`
	// Title names the mechanism and Means says what it is for programs, in words.
	Title string `json:"title"`
	Means string `json:"means"`
	// Programs is how many the family has. Worse are those that got dearer or are
	// refused, Better the other way about, Refused the refused ones among Worse.
	Programs int      `json:"programs"`
	Worse    []string `json:"worse,omitempty"`
	Better   []string `json:"better,omitempty"`
	Refused  []string `json:"refused,omitempty"`
	// Factor is the largest growth of the insns that the verifier walks; 1 is none.
	Factor float64 `json:"factor"`
	// Alarming is set where one of the programs made a finding above info.
	Alarming bool `json:"alarming"`
}

// mechanisms explains what got worse, and names what got better.
func (p *page) mechanisms(all []Mechanism) {
	var quiet, better []string
	explained := false
	for i := range all {
		m := &all[i]
		switch {
		case len(m.Worse) == 0:
			better = append(better, flat(m.Family))
		case !m.Alarming && !p.o.Verbose:
			quiet = append(quiet, flat(m.Family))
		default:
			if !explained {
				p.head("What it means")
			}
			explained = true
			p.line("  - ", dim, flat(m.Title)+" ("+flat(m.Family)+": "+m.extent()+")")
			p.line("    ", dim, flat(m.Means))
		}
	}
	if !explained {
		return // the findings say it all
	}
	for _, rest := range []struct {
		lead  string
		names []string
	}{{"  also worse: ", quiet}, {"  better: ", better}} {
		if len(rest.names) > 0 {
			p.line(rest.lead, dim, strings.Join(rest.names, ", "))
		}
	}
}

// extent says how many of a family's programs are worse, and by how much.
func (m *Mechanism) extent() string {
	text := fmt.Sprintf("%d of %d programs worse", len(m.Worse), m.Programs)
	if m.Factor > 1 {
		text += ", up to " + snapshot.Times(m.Factor)
	}
	if len(m.Refused) > 0 {
		text += "; refused: " + flat(strings.Join(m.Refused, ", "))
	}
	if len(m.Better) > 0 {
		text += fmt.Sprintf("; %d better", len(m.Better))
	}
	return text
}
