package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/baseline"
	"lastgood/internal/footprint"
	"lastgood/internal/gate"
	"lastgood/internal/metrics"
	"lastgood/internal/notify"
	"lastgood/internal/page"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// state is one read of the folder, as bytes that are sent; it is not changed.
type state struct {
	read   time.Time // when the result in it was read
	faults []string  // what of the folder could not be read, a sentence each
	broken bool      // one of these is the result itself

	bootID string    // of the boot that was checked
	taken  time.Time // when that was begun; zero where there is no result
	text   exposition
	open   exposition
	report *document // nil where there is none
	list   document
	site   *page.Site // nil where none could be made
}

// maxFaults bounds what is said of a folder.
const maxFaults = 20

// any reports whether there is something to answer with.
func (st *state) any() bool { return !st.taken.IsZero() }

// watched are the names whose change means that there is something new. Files are
// replaced by a rename, so that a folder's own time tells of what is in it.
func watched() []string {
	return []string{"", "boots", "last-good", "events.jsonl", baseline.ReportFile, baseline.GateFile, "spool"}
}

// signature tells one state of the folder from another without reading it. The time of a
// change counts and not that of the content: it tells that a file may be read again, too.
func (s *Server) signature() string { return s.signatureOf(watched()) }

func (s *Server) signatureOf(names []string) string {
	var b strings.Builder
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(s.o.Dir, name), &st); err != nil {
			fmt.Fprintf(&b, "%s: %v;", name, err)
			continue
		}
		// Two files of one name may be written in one tick of the clock: their inodes differ.
		fmt.Fprintf(&b, "%s: %d.%d %d %d:%d;", name, st.Ctim.Sec, st.Ctim.Nsec, st.Size, st.Dev, st.Ino)
	}
	return b.String()
}

// againAfter is when a folder that could not be read in full is read again though nothing
// in it changed by its times: what is deeper in it is not looked at, a boot's own file say.
const againAfter = time.Minute

// samplesAfter is when samples of `lastgood watch` are a reason to read the folder again. Its timer samples
// every five minutes; who samples more often does not have all pages made each time.
const samplesAfter = 4 * time.Minute

// due reports whether the folder has to be read.
func (s *Server) due(at time.Time, now, heat string) bool {
	since := at.Sub(s.readAt).Abs()
	return now != s.seen || heat != s.heat && since >= samplesAfter || len(s.state.Load().faults) > 0 && since >= againAfter
}

// Refresh reads the folder where it changed since it was read, or could not be read in full.
func (s *Server) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.o.Now()
	s.looked.Store(&at)
	now, heat := s.signature(), s.signatureOf(baseline.HistoryFiles(s.state.Load().bootID))
	if !s.due(at, now, heat) {
		return
	}
	s.readAt = at
	s.heavy <- struct{}{}
	defer func() { <-s.heavy }()
	s.reads.Add(1)
	old, next := s.state.Load(), s.load()
	if len(next.faults) > 0 {
		s.failures.Add(1)
	}
	if next.broken && old.any() {
		kept := *old // the last good read, whole: halves of two would not fit together
		kept.faults, kept.broken = next.faults, true
		next = &kept
	}
	if next.bootID != old.bootID {
		heat = s.signatureOf(baseline.HistoryFiles(next.bootID))
	}
	s.state.Store(next)
	s.seen, s.heat = now, heat
	// What was decoded is many times what is held; it would stay resident until the next change.
	footprint.Trim()
}

// load reads the folder and makes the answers.
func (s *Server) load() *state {
	st := &state{read: s.o.Now()}
	in, entries := s.input(st)
	if in.Report != nil {
		st.bootID, st.taken = bootOf(in.Report), in.Report.Taken
		var b bytes.Buffer
		if err := report.JSON(&b, in.Report, report.Options{}); err != nil {
			st.fault("the report: %v", err)
		}
		if d, err := documentOf(b.Bytes()); err != nil {
			st.fault("the report: %v", err)
		} else {
			st.report = &d
		}
	} else if in.Snapshot != nil {
		st.bootID, st.taken = in.Snapshot.Identity.BootID, in.Snapshot.Taken
	}
	var err error
	if st.list, err = documentOf(listJSON(entries)); err != nil {
		st.fault("the list of snapshots: %v", err)
	}
	if s.gone(in, entries) {
		st.broke("the state folder %s is gone or empty", s.o.Dir)
	}
	families := metrics.Families(in)
	if st.text, err = expose(families, textFormat); err != nil {
		st.fault("metrics: %v", err)
	}
	if st.open, err = expose(families, openFormat); err != nil {
		st.fault("metrics: %v", err)
	}
	s.makePages(in, entries, st)
	return st
}

// gone reports whether there is nothing where there was something.
func (s *Server) gone(in metrics.Input, entries []baseline.Entry) bool {
	return s.state.Load().any() && in.Report == nil && in.Snapshot == nil && len(entries) == 0
}

func bootOf(r *report.Report) string {
	if r.Current == nil {
		return ""
	}
	return r.Current.BootID
}

func (st *state) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, f := range st.faults {
		if strings.Contains(f, text) {
			return
		}
	}
	if len(st.faults) < maxFaults {
		st.faults = append(st.faults, text)
	}
}

// broke is fault of the result itself.
func (st *state) broke(format string, args ...any) {
	st.broken = true
	st.fault(format, args...)
}

// input reads what metrics are made of. What cannot be read is a fault; what is not
// there is none.
func (s *Server) input(st *state) (metrics.Input, []baseline.Entry) {
	in := metrics.Input{Kinds: s.o.Kinds, Waiting: -1}
	folder := baseline.OpenFolder(s.o.Dir, nil)
	in.Report = readReport(folder, st)
	entries := s.snapshotsOf(&in, st)
	g, err := gate.Keeper{Folder: folder}.Load()
	if err == nil && g.Lost == "" {
		in.Gate = &metrics.Gate{Held: g.Held != "", Since: g.HeldSince, Step: string(g.Step), Strikes: g.Strikes}
		if g.Back != nil {
			in.Gate.From, in.Gate.To = g.Back.From.Release, g.Back.To.Release
		}
	} else {
		st.fault("the gate's state: %s", g.Lost)
	}
	spool := notify.Spool{Folder: baseline.OpenFolder(filepath.Join(s.o.Dir, "spool"), nil)}
	if waiting, err := spool.Waiting(); err != nil {
		st.fault("the spool: %v", err)
	} else {
		in.Waiting = len(waiting)
	}
	return in, entries
}

func readReport(folder *baseline.Folder, st *state) *report.Report {
	var raw json.RawMessage
	err := folder.Get(baseline.ReportFile, &raw, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var r *report.Report
	if err == nil {
		r, err = report.Decode(raw)
	}
	if err != nil {
		st.broke("the report: %v", err)
		return nil
	}
	return r
}

// snapshotsOf reads the newest snapshot and the last good one, and gives the history.
func (s *Server) snapshotsOf(in *metrics.Input, st *state) []baseline.Entry {
	store, err := s.store()
	if err != nil {
		st.broke("%v", err)
		return nil
	}
	entries, err := store.List()
	switch {
	case err != nil && len(entries) == 0: // not even what boots there are
		st.broke("%v", err)
	case err != nil:
		st.fault("%v", err)
	}
	in.Boots = []metrics.Boot{}
	for _, e := range entries {
		b := metrics.Boot{}
		if e.Result != nil {
			b.Verdict = e.Result.Verdict
		}
		in.Boots = append(in.Boots, b)
	}
	if len(entries) > 0 && entries[0].Err == nil {
		if in.Snapshot, err = store.Load(entries[0].BootID); err != nil {
			st.broke("%v", err)
		}
	}
	if in.Base, _, err = store.LastGood(); err != nil && !errors.Is(err, baseline.ErrNone) {
		st.fault("%v", err)
	}
	for _, d := range store.Damaged() {
		st.fault("%s", d)
	}
	if len(entries) > 0 && errors.Is(entries[0].Err, baseline.ErrTooLarge) {
		st.fault("%v", entries[0].Err) // the report of it stands
	} else if len(entries) > 0 && entries[0].Err != nil {
		st.broke("%v", entries[0].Err)
	}
	return entries
}

// thisBoot reports whether the result is of the boot that runs, and whether that is known.
func (s *Server) thisBoot(st *state) (is, known bool) {
	switch {
	case !st.any():
		return false, true
	case s.o.BootID != "" && st.bootID != "":
		return s.o.BootID == st.bootID, true
	case !s.o.Booted.IsZero():
		return !st.taken.Before(s.o.Booted), true
	}
	return false, false
}

// snapshotOf reads a snapshot by a word for it.
func (s *Server) snapshotOf(id string) (*snapshot.Snapshot, error) {
	store, err := s.store()
	if err != nil {
		return nil, err
	}
	return store.Load(id)
}

// maxSnapshot bounds a snapshot that is read here, in bytes: twice one of 25,000 devices.
// Decoded it takes five times that; two are held while they are compared, and
// lastgood-serve.service leaves room for these.
const maxSnapshot = 24 << 20

func (s *Server) store() (*baseline.Store, error) {
	return baseline.Open(s.o.Dir, baseline.Options{BootID: s.o.BootID, MaxSnapshot: maxSnapshot})
}
