// Package report turns a judgement into what people and machines read. It only
// writes: whatever it says was decided before.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"lastgood/internal/snapshot"
)

// Schema is the name and version of the report's JSON form.
const Schema = "lastgood.report/v1"

// Report is one comparison with its verdict.
type Report struct {
	Schema      string             `json:"schema"`
	Verdict     snapshot.Verdict   `json:"verdict"`
	Summary     string             `json:"summary"` // the verdict in one sentence
	Baseline    *snapshot.Identity `json:"baseline,omitempty"`
	Current     *snapshot.Identity `json:"current,omitempty"`
	Accepted    time.Time          `json:"accepted,omitzero"`     // when the baseline was accepted
	AcceptedBy  string             `json:"accepted_by,omitempty"` // and by whom
	Attribution []snapshot.Class   `json:"attribution"`           // classes that changed
	Changes     []Change           `json:"changes,omitempty"`     // the facts of the identity that changed
	Findings    []snapshot.Finding `json:"findings"`
	Incomplete  []snapshot.Gap     `json:"incomplete"`
	Counts      []Count            `json:"counts,omitempty"`
	Notes       []string           `json:"notes,omitempty"` // faults of lastgood's own files
	Next        []string           `json:"next,omitempty"`  // what to do now
	TookSeconds float64            `json:"took_seconds"`
}

// Change is one fact of the identity that differs.
type Change struct {
	Fact  string         `json:"fact"`
	Class snapshot.Class `json:"class"`
	Old   string         `json:"old"`
	New   string         `json:"new"`
}

// Count says how many subjects of a kind were measured.
type Count struct {
	Kind     string `json:"kind"`
	Measured int    `json:"measured"`
	Other    int    `json:"other,omitempty"` // unsupported, inconclusive or skipped
}

// Counted counts a snapshot's subjects by kind.
func Counted(s *snapshot.Snapshot) []Count {
	var out []Count
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if sub.Kind == snapshot.SourceKind {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Kind != sub.Kind {
			out = append(out, Count{Kind: sub.Kind})
		}
		if sub.Outcome == snapshot.Measured {
			out[len(out)-1].Measured++
		} else {
			out[len(out)-1].Other++
		}
	}
	return out
}

// Options say how a report is written.
type Options struct {
	Color   bool
	Width   int  // columns; 0 means 100
	Verbose bool // with evidence and with what does not matter to the verdict
	Quiet   bool // the verdict's sentence only
}

// Formats are the names of the formats, the default one first.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}

var formats = []struct {
	name  string
	write func(io.Writer, *Report, Options) error
}{
	{"table", Table}, {"json", JSON}, {"markdown", Markdown}, {"junit", JUnit}, {"nagios", Nagios}, {"prometheus", Prometheus},
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

// JSON writes the promised document lastgood.report/v1.
func JSON(w io.Writer, r *Report, _ Options) error {
	out := *r
	out.Schema = Schema
	// Machines index these: an empty list is a list.
	out.Attribution = append([]snapshot.Class{}, r.Attribution...)
	out.Findings = append([]snapshot.Finding{}, r.Findings...)
	out.Incomplete = append([]snapshot.Gap{}, r.Incomplete...)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(&out); err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// Decode reads what JSON wrote.
func Decode(b []byte) (*Report, error) {
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("decode report: schema is %q, not %q", r.Schema, Schema)
	}
	return r, nil
}
