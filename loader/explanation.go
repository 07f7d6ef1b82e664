package loader

import "strings"

// Method is how an explanation came to its counts.
type Method string

const (
	MethodStream     Method = "stream"     // the whole log was read while the kernel wrote it
	MethodHead       Method = "head"       // only the first part of the log was kept
	MethodStatistics Method = "statistics" // the kernel's own lines on functions; no listing was made
)

// Explanation is where the insns of one program went. It is encoded as JSON and
// small: all functions, but only the most visited lines and loop heads.
//
// A visit is one instruction looked at by the verifier, what the kernel counts as
// processed. Function and line are those of the object: code of an inlined
// function counts for the function it was inlined into, at the line it came from.
type Explanation struct {
	Program string  `json:"program"`
	Verdict Verdict `json:"verdict,omitempty"` // "" where there is none, see Partial
	Reason  Reason  `json:"reason,omitempty"`
	Cause   string  `json:"cause,omitempty"`
	// Partial says in a sentence why the counts are not of the whole verification;
	// a rejected program is whole when its log is.
	Partial string `json:"partial,omitempty"`

	// Processed is the kernel's own count, nil where it said none. Attributed is the
	// sum of all visits found in the log. Unattributed is the difference: 0 proves
	// the counts; 1 is an instruction that was refused before it was listed, as one
	// beyond the limit; more is a log cut short; less than 0 is a log misread.
	Processed    *uint64 `json:"insns_processed,omitempty"`
	Attributed   uint64  `json:"insns_attributed"`
	Unattributed int64   `json:"insns_unattributed"`

	Functions []FunctionInsns `json:"functions"`       // in the order of the program
	Lines     []LineInsns     `json:"lines,omitempty"` // most visited first
	// LinesLeftOut and InsnsLeftOut are of the lines that were visited and are not
	// in Lines; each of them was visited no more often than the last one there.
	LinesLeftOut int        `json:"lines_left_out,omitempty"`
	InsnsLeftOut uint64     `json:"insns_left_out,omitempty"`
	Loops        []LoopHead `json:"loops,omitempty"` // most visited first

	Method   Method  `json:"method"`
	LogBytes uint64  `json:"log_bytes,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"` // wall time of the load that was listened to
}

// FunctionInsns is the share of one function.
type FunctionInsns struct {
	Name    string `json:"name"`
	Linkage string `json:"linkage,omitempty"` // main, static or global, where the kernel says it
	First   int    `json:"first"`             // slot of its first instruction, -1 if not known
	// Self are visits of the function, Total also of what it calls; a global
	// function is verified on its own and counts for no caller.
	Self   uint64 `json:"insns_self"`
	Total  uint64 `json:"insns_total"`
	Paths  uint64 `json:"paths,omitempty"`  // times a path that had been set aside was gone on with here
	Pruned uint64 `json:"pruned,omitempty"` // times a path ended here in a state known to be safe
}

// LineInsns is the share of one source line within one function.
type LineInsns struct {
	Function string `json:"function"`
	File     string `json:"file,omitempty"` // as the compiler was given it; "" without line information
	Line     uint32 `json:"line,omitempty"`
	Text     string `json:"text,omitempty"`
	Insns    uint64 `json:"insns"`
	Paths    uint64 `json:"paths,omitempty"`
	Pruned   uint64 `json:"pruned,omitempty"`
}

// LoopHead is the target of a jump backward.
type LoopHead struct {
	Function string `json:"function"`
	File     string `json:"file,omitempty"`
	Line     uint32 `json:"line,omitempty"`
	Slot     int    `json:"slot"`
	Visits   uint64 `json:"visits"` // how often the verifier came by
	Pruned   uint64 `json:"pruned,omitempty"`
}

// ExplainStatistics makes an explanation of functions alone out of the lines of the
// newest kernels on each one, which any measurement has; ok is false where they are
// not there. It costs no load.
func ExplainStatistics(program string, m Measurement) (e Explanation, ok bool) {
	if len(m.Stats.PerSubprog) == 0 {
		return Explanation{}, false
	}
	e = Explanation{Program: program, Method: MethodStatistics, Seconds: m.LoadSeconds}
	e.Functions = kernelFunctions(m.Stats.PerSubprog)
	for _, f := range e.Functions {
		e.Attributed += f.Self
	}
	e.judge(m, false)
	return e, true
}

func kernelFunctions(stats []SubprogStats) []FunctionInsns {
	out := make([]FunctionInsns, len(stats))
	for i, s := range stats {
		out[i] = FunctionInsns{Name: shorten(s.Name, maxName), Linkage: shorten(s.Linkage, maxName), First: -1, Self: s.InsnsSelf, Total: s.InsnsTotal}
	}
	return out
}

const (
	maxName = 128
	maxText = 160
	maxPath = 256
)

// shorten cuts a text of an object to at most n bytes.
func shorten(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// shortenPath cuts a path at its start: the end tells files apart.
func shortenPath(s string) string {
	if len(s) > maxPath {
		s = "…" + s[len(s)-maxPath:]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
