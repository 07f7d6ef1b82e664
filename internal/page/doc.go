// Package page makes what a person sees of a host in a browser: whether it is as good as
// at its last good boot, why not, and what to do.
//
// Gather reads the state folder into an Input of plain values. From there on all is pure:
// views are made of the Input, geometry of the views, and html/template writes both, so
// that no text of a device or a log reaches a page unescaped. There is no script, and
// style comes from one sheet. Site is all pages of one state of the folder as bytes,
// File the same as one file that needs nothing beside it.
//
// What a page holds is bounded: lists show the worst and go on at pages of their own.
package page

import (
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
)

// Input is what pages are made of. What is nil or empty is not known, and pages say so.
type Input struct {
	Kinds   snapshot.Kinds
	Version string    // lastgood's own
	Made    time.Time // when the pages are made

	Report   *report.Report
	Snapshot *snapshot.Snapshot // newest; sorted
	Base     *snapshot.Snapshot // the last good one; sorted
	Boots    []Boot             // newest first
	Heat     []Heat             // histories of temperatures, newest boot first
	// Explained is where the insns of programs went at the last good boot, as a text.
	Explained map[snapshot.Key]string
	// Gate says in a sentence what the gate does, "" where nothing is under way.
	Gate string
	Held bool // workloads are held
	// Bad are the kernel builds that were rolled back from, by gate.Kernel.Key.
	Bad map[string]bool
}

// Boot is one boot of the history.
type Boot struct {
	baseline.Entry
	Past *Past // nil where its snapshot was not read
}

// Past is what pages need of an older snapshot.
type Past struct {
	Identity   snapshot.Identity
	Class      string // how the boot came about, "" where it could not be told
	Intended   string
	Why        string
	Ended      string // how the boot before it ended
	Components map[string]string
	Log        string // the newest transaction of the package manager
	Programs   map[snapshot.Key]Program
	Sensors    map[string]Sensor
	Devices    int
}

// Program is what one kernel's verifier said of a program.
type Program struct {
	Verdict string
	Digest  string
	Insns   float64 // processed; below 0 where not measured
	Limit   float64
}

// Sensor is one reading of a temperature.
type Sensor struct {
	Label           string
	Value           float64
	Known           bool
	Limit, Critical float64 // 0 where there is none
}

// Heat is what was sampled on one boot.
type Heat struct {
	BootID, Release string
	History         *watch.History
	Readings        []watch.Reading // the newest hours, of this boot only
}
