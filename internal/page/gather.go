package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
	"lastgood/loader"
)

// Bounds of what is read beside the newest snapshot and the last good one.
const (
	mostKernels  = 10       // older snapshots that are read, one of each kernel first
	mostOlder    = 16 << 20 // bytes of one older snapshot; decoded it is some five times that
	mostHeat     = 6        // boots whose temperatures are read
	mostReadings = 500      // samples of this boot: what the log holds before it is folded
	mostExplain  = 5        // explanations that are kept in view
)

// Given is what a caller has read of the folder already.
type Given struct {
	Kinds    snapshot.Kinds
	Version  string
	Now      time.Time
	Report   *report.Report
	Snapshot *snapshot.Snapshot
	Base     *snapshot.Snapshot
	Entries  []baseline.Entry // newest first
	Gate     gate.State
}

// Gather reads what pages need beside it. What cannot be read is a fault, a sentence
// each, and missing from the pages.
func Gather(store *baseline.Store, g Given) (Input, []string) {
	in := Input{Kinds: g.Kinds, Version: g.Version, Made: g.Now, Report: g.Report, Snapshot: g.Snapshot, Base: g.Base}
	in.gate(&g.Gate)
	var faults []string
	fault := func(err error) {
		if err != nil && len(faults) < 10 {
			faults = append(faults, err.Error())
		}
	}
	for _, e := range g.Entries {
		in.Boots = append(in.Boots, Boot{Entry: e})
	}
	in.older(store, fault)
	in.heat(store, fault)
	in.explained(store)
	return in, faults
}

func (in *Input) gate(s *gate.State) {
	in.Held, in.Bad = s.Held != "", map[string]bool{}
	for _, k := range s.Bad {
		in.Bad[k.Key()] = true
	}
	if s.Step != "" && s.Step != gate.Idle || s.Held != "" || s.Lost != "" {
		in.Gate = s.Describe()
	}
}

// older reads older snapshots, one at a time: the newest boot of each kernel, then other
// boots, as many as the bound allows.
func (in *Input) older(store *baseline.Store, fault func(error)) {
	seen := map[string]bool{}
	var first, rest []*Boot
	for i := range in.Boots {
		b := &in.Boots[i]
		switch {
		case b.Err != nil || b.Size > mostOlder:
		case in.Snapshot != nil && b.BootID == in.Snapshot.Identity.BootID:
			b.Past, seen[b.Release] = reduce(in.Snapshot), true
		case !seen[b.Release]:
			first, seen[b.Release] = append(first, b), true
		default:
			rest = append(rest, b)
		}
	}
	for i, b := range append(first, rest...) {
		if i == mostKernels {
			break
		}
		s, err := store.Load(b.BootID)
		if err != nil {
			fault(err)
			continue
		}
		b.Past = reduce(s)
	}
}

// heat reads the temperatures of this boot and of the newest others.
func (in *Input) heat(store *baseline.Store, fault func(error)) {
	have, err := store.Histories()
	fault(err)
	for i := range in.Boots {
		if len(in.Heat) == mostHeat {
			return
		}
		b := &in.Boots[i]
		if !slices.Contains(have, b.BootID) {
			continue
		}
		h, err := heatOf(store, b, i == 0)
		fault(err)
		if h != nil {
			in.Heat = append(in.Heat, *h)
		}
	}
}

func heatOf(store *baseline.Store, b *Boot, newest bool) (*Heat, error) {
	doc, lines, err := store.History(b.BootID)
	if err != nil {
		return nil, err
	}
	book, err := watch.Decode(doc, lines)
	if err != nil {
		return nil, err
	}
	h := &Heat{BootID: b.BootID, Release: b.Release, History: book.History()}
	if newest {
		h.Readings, err = watch.Readings(doc, lines)
		h.Readings = h.Readings[max(0, len(h.Readings)-mostReadings):]
	}
	return h, err
}

// explained reads where the insns of programs went at the last good boot, of those that
// findings speak of.
func (in *Input) explained(store *baseline.Store) {
	if in.Report == nil || in.Base == nil {
		return
	}
	in.Explained = map[snapshot.Key]string{}
	for _, f := range report.WorstFirst(in.Report.Findings) {
		k := snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID}
		sub := in.Base.Subject(k)
		if k.Kind != kindProgram || sub == nil || in.Explained[k] != "" || len(in.Explained) == mostExplain {
			continue
		}
		raw, err := store.Explanation(baseline.ExplanationKey{Program: sub.Text("program"), BuildID: in.Base.Identity.Kernel.BuildID})
		if err != nil {
			continue // most programs have none; what is damaged is told by the store
		}
		var e loader.Explanation
		var b bytes.Buffer
		if json.Unmarshal(raw, &e) == nil && report.Explanation(&b, e, report.Options{Width: 90}) == nil {
			in.Explained[k] = strings.TrimSpace(b.String())
		}
	}
}

// Read reads all that pages need from a state folder; bootID is of the boot that runs, ""
// where that is not known. The faults are what could not be read. The error is fs.ErrNotExist
// where there is no report.
func Read(dir, bootID string, g Given) (Input, []string, error) {
	store, err := baseline.Open(dir, baseline.Options{BootID: bootID})
	if err != nil {
		return Input{}, nil, err
	}
	if g.Report, err = ReadReport(dir); err != nil {
		return Input{}, nil, err
	}
	var faults []string
	fault := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, baseline.ErrNone) {
			faults = append(faults, err.Error())
		}
	}
	g.Entries, err = store.List()
	fault(err)
	if len(g.Entries) > 0 && g.Entries[0].Err == nil {
		g.Snapshot, err = store.Load(g.Entries[0].BootID)
		fault(err)
	}
	g.Base, _, err = store.LastGood()
	fault(err)
	g.Gate, err = gate.Keeper{Folder: baseline.OpenFolder(dir, nil)}.Load()
	fault(err)
	in, more := Gather(store, g)
	return in, append(append(faults, more...), store.Damaged()...), nil
}

// ReadReport is the report of the newest check in a state folder; the error wraps
// fs.ErrNotExist where there is none.
func ReadReport(dir string) (*report.Report, error) {
	var raw json.RawMessage
	if err := baseline.OpenFolder(dir, nil).Get(baseline.ReportFile, &raw, false); err != nil {
		return nil, err
	}
	return report.Decode(raw)
}
