package baseline

import (
	"errors"

	"lastgood/internal/snapshot"
)

// GoodSince lists the boots that may be learned from, newest first: those whose newest
// snapshot was held to the snapshot that is trusted now, and was found good. The
// accepted boot itself and the current one are not among them. It takes the time
// line's order and no clock; a verdict whose line was cut off is not known, so its
// boot is left out.
func (s *Store) GoodSince() ([]Entry, error) {
	s.work.Lock()
	defer s.work.Unlock()
	rec, err := s.record()
	if err != nil {
		return nil, err
	}
	events, err := s.events()
	if err != nil {
		return nil, err
	}
	newest := map[string]Event{} // boot → its newest snapshot's line
	for _, e := range events {
		if e.taken() {
			newest[e.BootID] = e
		}
	}
	entries, err := s.list()
	var out []Entry
	for _, e := range entries {
		last := newest[e.BootID]
		switch {
		case e.Err != nil || e.LastGood || e.Current:
		case last.Type != EventCheck || last.Result == nil || last.Result.Verdict != snapshot.Good:
		case last.Result.Baseline == "" || last.Result.Baseline != rec.SHA256:
		case e.Taken.After(last.Time): // the line of the snapshot that is there was lost in a power cut
		default:
			out = append(out, e)
		}
	}
	return out, err
}

// earlyFile is a boot's early snapshot. It is no boot of the list, for its name has a dot.
func earlyFile(boot string) string { return boot + ".early" + jsonExt }

// SaveEarly keeps what was there before the host had settled. The first of a boot
// stays: one that is taken later is less early. It says whether this one was kept.
func (s *Store) SaveEarly(snap *snapshot.Snapshot) (kept bool, err error) {
	id := snap.Identity.BootID
	if !validBootID(id) {
		return false, errors.New("save early snapshot: the boot id is not fit for a file name")
	}
	doc, err := snap.Encode()
	if err == nil {
		doc, _, err = seal(doc)
	}
	if err != nil {
		return false, fileErr("save early snapshot of boot", id, err)
	}
	err = s.write(func() error {
		if _, _, _, err := s.readBoot(earlyFile(id), id); err == nil {
			return nil
		}
		kept = true
		return replace(s.fl, s.path(bootsDir, earlyFile(id)), doc)
	})
	return kept && err == nil, err
}

// Early is what was there at a boot before the host had settled. The error is
// fs.ErrNotExist where nobody looked.
func (s *Store) Early(boot string) (*snapshot.Snapshot, error) {
	s.work.Lock()
	defer s.work.Unlock()
	if !validBootID(boot) {
		return nil, &NotFoundError{boot}
	}
	snap, _, _, err := s.readBoot(earlyFile(boot), boot)
	return snap, err
}
