package baseline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// ByLearned is who accepted the first snapshot of a host, when there was nothing
// to compare it with.
const ByLearned = "learned"

const (
	recordSchema = "lastgood.last-good/v1"
	maxRecord    = 64 << 10
	hashInName   = 16 // digits of the checksum in an accepted copy's name
)

// Record says which snapshot is trusted.
type Record struct {
	Schema   string    `json:"schema"`
	BootID   string    `json:"boot_id,omitempty"`
	Release  string    `json:"release,omitempty"`
	Snapshot string    `json:"snapshot,omitempty"` // file in boots/
	SHA256   string    `json:"sha256,omitempty"`   // its checksum
	Accepted time.Time `json:"accepted"`
	By       string    `json:"by,omitempty"` // a user, or "learned"
	// Lost says why it cannot be told any more what was accepted; then Accepted is
	// when that was found.
	Lost string `json:"lost,omitempty"`
}

// RecordSchemaError is returned for a last-good of a version that cannot be read.
type RecordSchemaError struct{ Have string }

func (e *RecordSchemaError) Error() string {
	return fmt.Sprintf("last-good has schema %q, this lastgood reads %q", e.Have, recordSchema)
}

// Hint says what a person can do about it.
func (e *RecordSchemaError) Hint() string {
	return "it was written by another version of lastgood: use that version, or accept a boot anew with `lastgood accept`"
}

// LastGood is the trusted snapshot, as it was when it was accepted. The error is
// ErrNone where none was accepted yet, a *LostError where one was and cannot be
// told, or says why it could not be read.
func (s *Store) LastGood() (*snapshot.Snapshot, Record, error) {
	s.work.Lock()
	defer s.work.Unlock()
	return s.lastGood()
}

func (s *Store) lastGood() (*snapshot.Snapshot, Record, error) {
	for {
		rec, err := s.record()
		if err != nil {
			return nil, rec, err
		}
		snap, err := s.accepted(rec)
		if errors.Is(err, fs.ErrNotExist) {
			// Without the lock another may have been accepted, and this one pruned, since.
			if now, _ := s.record(); now.SHA256 != rec.SHA256 {
				continue
			}
			err = &LostError{Why: err}
		}
		return snap, rec, err
	}
}

// record reads last-good.
func (s *Store) record() (Record, error) {
	path := s.path(lastGoodFile)
	b, _, err := s.readSealed(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, ErrNone
	}
	var d *DamagedError
	if err != nil && !errors.As(err, &d) {
		return Record{}, err
	}
	var rec Record
	if err == nil {
		if rec, err = parseRecord(b); err != nil {
			var other *RecordSchemaError
			if errors.As(err, &other) {
				return Record{}, fmt.Errorf("read %s: %w", path, err)
			}
			d = &DamagedError{Path: path, Why: err}
		}
	}
	if d != nil {
		s.loseRecord(d)
		return Record{}, &LostError{Why: d}
	}
	if rec.Lost != "" {
		return Record{}, &LostError{Why: errors.New(rec.Lost)}
	}
	return rec, nil
}

// parseRecord reads the text of last-good.
func parseRecord(b []byte) (Record, error) {
	var rec Record
	if err := json.Unmarshal(b, &rec); err != nil {
		return Record{}, fmt.Errorf("decode last-good: %w", err)
	}
	if rec.Schema != recordSchema {
		if strings.HasPrefix(rec.Schema, "lastgood.last-good/v") {
			return Record{}, &RecordSchemaError{rec.Schema}
		}
		return Record{}, fmt.Errorf("decode last-good: schema %q: not a last-good", rec.Schema)
	}
	if rec.Lost != "" {
		return rec, nil
	}
	if !validBootID(rec.BootID) || len(rec.SHA256) != sealDigits || rec.Snapshot != acceptedFile(rec.BootID, rec.SHA256) {
		return Record{}, fmt.Errorf("decode last-good: boot id %q, snapshot %q: not what lastgood writes", rec.BootID, rec.Snapshot)
	}
	return rec, nil
}

func acceptedFile(boot, sum string) string {
	return boot + ".accepted-" + sum[:hashInName] + jsonExt
}

// loseRecord keeps a damaged last-good in damaged/ and puts a record of the loss
// in its place: an absent one would say that none was ever accepted. Who does not hold
// the lock only reports: another may have accepted a boot since this was read.
func (s *Store) loseRecord(d *DamagedError) {
	if !s.locked() {
		s.report("%v", d)
		return
	}
	if !s.locked() {
		s.report("%v", d)
		return
	}
	if err := s.tombstone(d); err != nil {
		s.report("%v; it could not be moved aside: %v", d, err)
		return
	}
	s.report("%v", d)
}

func (s *Store) tombstone(d *DamagedError) error {
	now := s.o.Now()
	doc, err := encodeSealed(Record{Schema: recordSchema, Accepted: now.UTC(), Lost: d.Error()})
	if err != nil {
		return fmt.Errorf("encode last-good: %w", err)
	}
	var to string
	if b, rerr := s.fl.ReadFile(d.Path, maxSnapshot); rerr == nil {
		to, err = copyAside(s.fl, s.dir, d.Path, b, now)
	} else {
		to, err = moveAside(s.fl, s.dir, d.Path, now) // too large to copy
	}
	if err != nil {
		return err
	}
	d.MovedTo = to
	return replace(s.fl, s.path(lastGoodFile), doc)
}

// accepted reads a record's snapshot. Where the accepted copy cannot be used and
// the boot's newest snapshot is the very same bytes, it takes those.
func (s *Store) accepted(rec Record) (*snapshot.Snapshot, error) {
	snap, _, sum, err := s.readBoot(rec.Snapshot, rec.BootID)
	if err == nil && sum == rec.SHA256 {
		return snap, nil
	}
	if err == nil {
		err = &DamagedError{Path: s.path(bootsDir, rec.Snapshot), Why: errors.New("it is not the snapshot that was accepted")}
		s.setAside(err)
	}
	if errors.Is(err, fs.ErrNotExist) && s.supplanted(rec) {
		return nil, err // nothing is damaged: a writer was at work between the two reads
	}
	if twin, _, sum, terr := s.readBoot(bootFile(rec.BootID), rec.BootID); terr == nil && sum == rec.SHA256 {
		s.report("%v; %s is the same snapshot and was taken in its place", err, bootFile(rec.BootID))
		return twin, nil
	}
	var d *DamagedError
	if errors.As(err, &d) {
		return nil, &LostError{Why: err}
	}
	return nil, err
}

// supplanted reports whether another snapshot was accepted since the record was read.
func (s *Store) supplanted(rec Record) bool {
	now, err := s.record()
	return err == nil && now.SHA256 != rec.SHA256
}

// Accept makes a boot's newest snapshot the trusted one; by is the user who
// wants it, or ByLearned. The record is returned where that was done, even where
// the time line could then not be written, which is the error.
func (s *Store) Accept(id, by string) (Record, error) {
	var rec Record
	err := s.write(func() error {
		snap, doc, sum, err := s.newest(id)
		if err != nil {
			return err
		}
		boot := snap.Identity.BootID
		next := Record{Schema: recordSchema, BootID: boot, Release: snap.Identity.Kernel.Release,
			Snapshot: acceptedFile(boot, sum), SHA256: sum, Accepted: s.o.Now().UTC(), By: by}
		rdoc, err := encodeSealed(next)
		if err != nil {
			return fmt.Errorf("encode last-good: %w", err)
		}
		if err := replace(s.fl, s.path(bootsDir, next.Snapshot), doc); err != nil {
			return err
		}
		if err := replace(s.fl, s.path(lastGoodFile), rdoc); err != nil {
			return err
		}
		rec = next
		return s.appendEvent(Event{Time: rec.Accepted, Type: EventAccept, BootID: boot, Release: rec.Release, By: by})
	})
	return rec, err
}

// newest reads the newest snapshot of the boot that id names.
func (s *Store) newest(id string) (*snapshot.Snapshot, []byte, string, error) {
	if id == LastGood {
		rec, err := s.record()
		if err != nil {
			return nil, nil, "", err
		}
		return s.readBoot(rec.Snapshot, rec.BootID)
	}
	boot, err := s.find(id)
	if err != nil {
		return nil, nil, "", err
	}
	return s.readBoot(bootFile(boot), boot)
}
