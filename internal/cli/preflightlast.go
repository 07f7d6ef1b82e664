package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"lastgood/internal/preflight"
	"lastgood/internal/report"
)

// verdicts is where the newest report on each candidate is kept.
func (s *session) verdicts() preflight.Verdicts {
	return preflight.Verdicts{Dir: filepath.Join(s.stateDir, "preflight")}
}

// keepPreflight keeps a report on a kernel that was to be judged.
func (s *session) keepPreflight(r *report.Report) error {
	var b bytes.Buffer
	if err := report.JSON(&b, r, report.Options{}); err != nil {
		return err
	}
	return s.verdicts().Keep(r.Preflight.Kernel, b.Bytes())
}

// keptPreflights reads the reports that were kept; one that is damaged is left out
// and said to be.
func (s *session) keptPreflights() ([]*report.Report, error) {
	all, err := s.verdicts().All()
	if err != nil {
		return nil, err
	}
	var out []*report.Report
	for _, b := range all {
		r, err := report.Decode(b)
		if err == nil && r.Preflight == nil {
			err = errors.New("it is not of a kernel that does not run")
		}
		if err != nil {
			printError(s.env.Err, fmt.Errorf("read kept report: %w", err))
			continue
		}
		out = append(out, r)
	}
	return out, nil
}

func (s *session) lastPreflights(format string) (int, error) {
	all, err := s.keptPreflights()
	if err != nil {
		return exitUsage, err
	}
	return exitOK, s.printPreflight(format, all)
}

// preflightDocument is what preflight prints as JSON.
type preflightDocument struct {
	Schema  string            `json:"schema"`
	Kernels []json.RawMessage `json:"kernels"` // reports, see report.schema.json
}

// printPreflight writes the reports, and at the end a table where there are several.
func (s *session) printPreflight(format string, all []*report.Report) error {
	if format == "json" {
		return s.printPreflightJSON(all)
	}
	for i, r := range all {
		// Of many, those that were not tested have only a line in the table.
		if len(all) > 1 && !r.Preflight.Tested && len(r.Findings) == 0 {
			continue
		}
		if i > 0 && !s.quiet {
			fmt.Fprintln(s.env.Out)
		}
		if err := s.print(format, r); err != nil {
			return err
		}
	}
	if len(all) > 1 && !s.quiet {
		return report.PreflightTable(s.env.Out, all, s.options())
	}
	return nil
}

func (s *session) printPreflightJSON(all []*report.Report) error {
	doc := preflightDocument{Schema: "lastgood.preflight/v1", Kernels: []json.RawMessage{}}
	for _, r := range all {
		var b bytes.Buffer
		if err := report.JSON(&b, r, report.Options{}); err != nil {
			return err
		}
		doc.Kernels = append(doc.Kernels, b.Bytes())
	}
	enc := json.NewEncoder(s.env.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(doc)
}

// judgedCandidates are the kernels that were judged, are installed and do not run: the
// next reboot may be into them.
func (s *session) judgedCandidates(ctx context.Context, running string) []report.Candidate {
	all, err := s.keptPreflights()
	if err != nil {
		return nil // a check is of this boot
	}
	var out []report.Candidate
	for _, r := range all {
		if r.Preflight.Kernel != running && s.installed(ctx, r.Preflight.Kernel) {
			out = append(out, report.Candidate{Kernel: r.Preflight.Kernel, Verdict: r.Verdict, Summary: r.Summary, Taken: r.Taken})
		}
	}
	return out
}

// installed reports whether a kernel could be booted into. Where it cannot be told the
// kernel is taken to be there.
func (s *session) installed(ctx context.Context, release string) bool {
	for _, name := range []string{"/boot/vmlinuz-" + release, "/usr/lib/modules/" + release + "/vmlinuz", "/lib/modules/" + release + "/vmlinuz"} {
		if there, err := s.root.Exists(ctx, name); there || err != nil {
			return true
		}
	}
	return false
}
