package baseline

import (
	"errors"
	"io/fs"
	"strings"
)

// What is kept where nobody says otherwise.
const (
	DefaultKeep     = 30
	DefaultMaxBytes = 64 << 20
)

// Prune removes the oldest boots beyond keep, then as many more as boots/ is
// larger than maxBytes, and accepted copies that last-good points to no more; it
// returns the boot ids. The last good boot, the current one and the newest one
// always stay. Where last-good cannot be read nothing is removed, for any boot
// may be the one. What is in damaged/ is never removed.
func (s *Store) Prune(keep int, maxBytes int64) ([]string, error) {
	var removed []string
	err := s.write(func() error {
		rec, err := s.record()
		if err != nil && !errors.Is(err, ErrNone) && !isLost(err) {
			return err
		}
		if err == nil {
			if err := s.removeOldCopies(rec); err != nil {
				return err
			}
		}
		removed, err = s.removeOldBoots(keep, maxBytes)
		return err
	})
	return removed, err
}

// removeOldCopies removes accepted copies other than the record's.
func (s *Store) removeOldCopies(rec Record) error {
	infos, err := s.fl.ReadDir(s.path(bootsDir))
	if err != nil {
		return fileErr("read", s.path(bootsDir), err)
	}
	n := 0
	for _, i := range infos {
		boot, hash, ok := strings.Cut(strings.TrimSuffix(i.Name, jsonExt), ".accepted-")
		if !ok || !validBootID(boot) || len(hash) != hashInName || i.Name == rec.Snapshot {
			continue
		}
		if err := s.remove(i.Name); err != nil {
			return err
		}
		n++
	}
	return s.removedFrom(n)
}

func (s *Store) removeOldBoots(keep int, maxBytes int64) ([]string, error) {
	entries, err := s.list()
	if err != nil && entries == nil {
		return nil, err
	}
	size, err := s.bootsSize()
	if err != nil {
		return nil, err
	}
	var removed []string
	for n := len(entries) - 1; n > 0; n-- { // the newest, at 0, stays
		e := &entries[n]
		if len(entries)-len(removed) <= keep && size <= maxBytes {
			break
		}
		if e.LastGood || e.Current {
			continue
		}
		if err := errors.Join(s.remove(bootFile(e.BootID)), s.remove(earlyFile(e.BootID))); err != nil {
			return removed, errors.Join(err, s.removedFrom(len(removed)))
		}
		size -= e.Size
		removed = append(removed, e.BootID)
	}
	return removed, s.removedFrom(len(removed))
}

func (s *Store) bootsSize() (int64, error) {
	infos, err := s.fl.ReadDir(s.path(bootsDir))
	if err != nil {
		return 0, fileErr("read", s.path(bootsDir), err)
	}
	var size int64
	for _, i := range infos {
		size += i.Size
	}
	return size, nil
}

func (s *Store) remove(name string) error {
	err := s.fl.Remove(s.path(bootsDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fileErr("remove", s.path(bootsDir, name), err)
}

// removedFrom makes n removals from boots/ durable.
func (s *Store) removedFrom(n int) error {
	if n == 0 {
		return nil
	}
	return fileErr("write", s.path(bootsDir), s.fl.SyncDir(s.path(bootsDir)))
}
