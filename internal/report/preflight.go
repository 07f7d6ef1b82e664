package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// Preflight says which candidate kernel a report is of, and proves what ran.
type Preflight struct {
	Kernel  string `json:"kernel"`            // release, or what it was asked for by
	Flavour string `json:"flavour,omitempty"` // cloud-amd64, say
	Package string `json:"package,omitempty"` // name and version
	Source  string `json:"source,omitempty"`  // installed, file, folder, package
	Tested  bool   `json:"tested"`            // whether it was run in a VM
	Reason  string `json:"reason,omitempty"`  // why not
	// Ran are facts that were read inside the VM.
	Ran *Ran `json:"ran,omitempty"`
}

// Candidate is what preflight said of a kernel, as a check shows it.
type Candidate struct {
	Kernel  string           `json:"kernel"`
	Verdict snapshot.Verdict `json:"verdict"`
	Summary string           `json:"summary"`
	Taken   time.Time        `json:"taken"`
}

// Ran is what a VM said of itself.
type Ran struct {
	Release     string   `json:"release"`
	Version     string   `json:"version"`
	BuildID     string   `json:"build_id"`
	Arch        string   `json:"arch"`
	Machine     string   `json:"machine"` // accelerator and CPU model
	Cached      bool     `json:"cached,omitempty"`
	BootSeconds float64  `json:"boot_seconds,omitempty"`
	TookSeconds float64  `json:"took_seconds,omitempty"`
	Notes       []string `json:"notes,omitempty"`
}

// currentName and baselineName are what the two sides of a report are called.
func currentName(r *Report) string {
	switch {
	case r.Preflight != nil:
		return "candidate"
	case r.Two:
		return "B"
	}
	return "this boot"
}

func baselineName(r *Report) string {
	switch {
	case r.Preflight != nil:
		return "against"
	case r.Two:
		return "A"
	}
	return "last good"
}

// candidates names the kernels that were judged before a reboot into them; the good
// ones only where asked.
func (p *page) candidates(r *Report) {
	for _, c := range r.Candidates {
		if c.Verdict.ExitStatus() == 0 && !p.o.Verbose {
			continue
		}
		p.line("  preflight: ", verdictStyles[c.Verdict], fmt.Sprintf("%s on %s: %s", strings.ToUpper(flat(string(c.Verdict))), c.Taken.UTC().Format("2006-01-02"), cut(flat(c.Summary), longText)))
	}
}

// PreflightTable ends a report of several candidates: every kernel that there is
// and what is known of it, those that were not tested among them.
func PreflightTable(w io.Writer, all []*Report, o Options) error {
	p := newPage(w, o)
	p.head("Kernels")
	width := 0
	for _, r := range all {
		width = max(width, Width(flat(r.Preflight.Kernel)))
	}
	for _, r := range all {
		verdict := verdictWord(r)
		style := verdictStyles[r.Verdict]
		if !r.Preflight.Tested && r.Verdict == snapshot.Incomplete {
			verdict, style = "NOT TESTED", yellow
		}
		name := flat(r.Preflight.Kernel)
		p.line(fmt.Sprintf("  %s%s  %-11s ", name, strings.Repeat(" ", width-Width(name)), verdict), style, preflightWords(r))
	}
	return p.err
}

func preflightWords(r *Report) string {
	if !r.Preflight.Tested {
		return cut(flat(r.Preflight.Reason), longText)
	}
	return sentence(r)
}
