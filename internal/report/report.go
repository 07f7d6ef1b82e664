// Package report turns a judgement into what people and machines read. It only
// writes: whatever it says was decided before.
//
// A report is written in one of several formats, each in a file of its own and
// listed in formats.go; beside them stand the tables of programs, of hardware and
// of boots. Names come from devices and files, so no text reaches a terminal or a
// document before clean or its like has seen it.
package report

import (
	"time"

	"lastgood/internal/snapshot"
)

// Report is one comparison with its verdict.
type Report struct {
	Schema      string             `json:"schema"`
	Verdict     snapshot.Verdict   `json:"verdict"`
	Summary     string             `json:"summary"`        // the verdict in one sentence
	Taken       time.Time          `json:"taken,omitzero"` // when the snapshot of this boot was begun
	Baseline    *snapshot.Identity `json:"baseline,omitempty"`
	Current     *snapshot.Identity `json:"current,omitempty"`
	Accepted    time.Time          `json:"accepted,omitzero"`     // when the baseline was accepted
	AcceptedBy  string             `json:"accepted_by,omitempty"` // and by whom
	Learned     *Learned           `json:"learned,omitempty"`     // the good boots that were judged by besides
	Attribution []snapshot.Class   `json:"attribution"`           // classes that changed
	Changes     []Change           `json:"changes,omitempty"`     // the facts of the identity that changed
	Findings    []snapshot.Finding `json:"findings"`
	// Mechanisms fold what moved in the verifier into words for people.
	Mechanisms  []Mechanism    `json:"mechanisms,omitempty"`
	Incomplete  []snapshot.Gap `json:"incomplete"`
	Counts      []Count        `json:"counts,omitempty"`
	Notes       []string       `json:"notes,omitempty"` // faults of lastgood's own files
	Next        []string       `json:"next,omitempty"`  // what to do now
	TookSeconds float64        `json:"took_seconds"`
	// Candidates are installed kernels that do not run and were judged by preflight.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Boot says how this boot came about, Since what changed on the host since the last good one.
	Boot  *Boot  `json:"boot,omitempty"`
	Since *Since `json:"since_last_good,omitempty"`
	// Preflight is set where the report is of a kernel that does not run yet.
	Preflight *Preflight `json:"preflight,omitempty"`
	// Two is set where two snapshots are compared that need not be a boot and the last good one.
	Two bool `json:"-"`
}

// Change is one fact of the identity that differs.
type Change struct {
	Fact  string         `json:"fact"`
	Class snapshot.Class `json:"class"`
	Old   string         `json:"old"`
	New   string         `json:"new"`
}

// Learned says by how many good boots a boot was judged, and what is not reported for it.
type Learned struct {
	Boots     int `json:"boots"`      // with the accepted one
	SameBuild int `json:"same_build"` // of these, of the kernel build that runs
	// Quiet findings were not reported, for a good boot had the same; Softened ones are for
	// information only, for it comes and goes.
	Quiet    int `json:"quiet"`
	Softened int `json:"softened"`
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
	ASCII   bool // the terminal shows no other characters
	Width   int  // columns of the terminal; 0 where there is none: text is wrapped at 100, tables are as wide as they are
	Verbose bool // with evidence and with what does not matter to the verdict
	Quiet   bool // the verdict's sentence only
}
