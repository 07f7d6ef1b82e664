package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Histories are what was sampled on a boot, two files each:
//
//	thermal/BOOT.json    what was folded, with its checksum, replaced whole
//	thermal/BOOT.log     lines that were not folded yet, each with its CRC-32C
//
// A line that a power cut left half-written is no line. Lines may be there twice after a
// power cut between the writing of what was folded and the emptying of the log; they bear
// a number, so whoever reads them passes over those that were folded.
const (
	thermalDir   = "thermal"
	logExt       = ".log"
	watchLock    = "watch.lock"
	maxHistory   = 4 << 20
	maxLog       = 1 << 20
	maxHistories = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// LockWatch takes the lock of the one process that samples; it is not that of the
// store, which a check must be able to take meanwhile. The error is a *LockedError
// where another process samples.
func (s *Store) LockWatch() (io.Closer, error) {
	if err := makeDir(s.fl, s.dir); err != nil {
		return nil, err
	}
	l, err := s.fl.Lock(s.path(watchLock))
	return l, fileErr("lock", s.path(watchLock), err)
}

// History is what was kept of a boot: the folded document, nil where there is none, and
// the lines of the log. What is damaged is set aside, reported by Damaged and left out.
func (s *Store) History(boot string) (doc []byte, lines [][]byte, err error) {
	s.work.Lock()
	defer s.work.Unlock()
	if !validBootID(boot) {
		return nil, nil, fmt.Errorf("read history: boot id %q: not fit for a file name", boot)
	}
	doc, _, err = s.readSealed(s.path(thermalDir, bootFile(boot)), maxHistory)
	if err = s.passDamage(err); err != nil {
		return nil, nil, err
	}
	name := s.path(thermalDir, boot+logExt)
	b, err := s.fl.ReadFile(name, maxLog)
	if errors.Is(err, errTooLarge) {
		err = &DamagedError{Path: name, Why: err}
	} else if err != nil {
		err = fileErr("read", name, err)
	}
	if err = s.passDamage(err); err != nil {
		return nil, nil, err
	}
	lines, bad := parseLog(b)
	if bad > 0 {
		s.report("read %s: %d damaged lines were passed over", name, bad)
	}
	return doc, lines, nil
}

// passDamage sets a damaged file aside; what is absent or damaged is no error.
func (s *Store) passDamage(err error) error {
	var d *DamagedError
	if errors.As(err, &d) {
		s.setAside(err)
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// parseLog gives the lines that bear their own CRC-32C, and counts those that do not;
// the last one is not counted where it was cut off.
func parseLog(b []byte) (lines [][]byte, bad int) {
	for line := range bytes.Lines(b) {
		whole := line[len(line)-1] == '\n'
		sum, text, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
		want, err := strconv.ParseUint(string(sum), 16, 32)
		switch {
		case whole && ok && err == nil && crc32.Checksum(text, castagnoli) == uint32(want):
			lines = append(lines, text)
		case whole && len(line) > 1:
			bad++
		}
	}
	return lines, bad
}

// AppendHistory adds a line to a boot's log, synced.
func (s *Store) AppendHistory(boot string, line []byte) error {
	if !validBootID(boot) || bytes.ContainsRune(line, '\n') {
		return fmt.Errorf("write history: boot id %q or its line: not fit", boot)
	}
	return s.write(func() error {
		if err := makeDir(s.fl, s.path(thermalDir)); err != nil {
			return err
		}
		name := s.path(thermalDir, boot+logExt)
		b, err := s.fl.ReadFile(name, maxLog)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fileErr("read", name, err)
		}
		text := fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(line, castagnoli), line)
		if len(b) > 0 && b[len(b)-1] != '\n' { // the line before was cut off
			text = append([]byte{'\n'}, text...)
		}
		return appendTo(s.fl, name, text, len(b) == 0)
	})
}

// FoldHistory replaces a boot's folded document and empties its log. Of more histories than
// the bound it removes some, first of boots that have no snapshot any more, but for
// those that keep names.
func (s *Store) FoldHistory(boot string, doc any, keep ...string) error {
	if !validBootID(boot) {
		return fmt.Errorf("write history: boot id %q: not fit for a file name", boot)
	}
	b, err := encodeHistory(doc)
	if err != nil {
		return fmt.Errorf("write history of boot %s: %w", boot, err)
	}
	return s.write(func() error {
		folder := s.path(thermalDir)
		if err := makeDir(s.fl, folder); err != nil {
			return err
		}
		if err := removeTemps(s.fl, folder, func(string) bool { return true }); err != nil {
			s.report("remove temporary files: %v", err) // in nobody's way
		}
		if err := replace(s.fl, filepath.Join(folder, bootFile(boot)), b); err != nil {
			return err
		}
		if err := replace(s.fl, filepath.Join(folder, boot+logExt), nil); err != nil {
			return err
		}
		return s.pruneHistories(append(keep, boot))
	})
}

// encodeHistory is a document in one line but for its braces and its seal: the numbers
// of histograms would each take a line otherwise.
func encodeHistory(doc any) ([]byte, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	inner := bytes.TrimSuffix(bytes.TrimPrefix(b, []byte{'{'}), []byte{'}'})
	b, _, err = seal(fmt.Appendf(nil, "{\n %s\n}\n", inner))
	if err == nil && len(b) > maxHistory {
		err = errTooLarge
	}
	return b, err
}

// HistoryFiles are the names of a boot's history below the state folder, for who looks whether
// it grew without reading it; none where the id is not fit for a file name.
func HistoryFiles(boot string) []string {
	if !validBootID(boot) {
		return nil
	}
	return []string{filepath.Join(thermalDir, bootFile(boot)), filepath.Join(thermalDir, boot+logExt)}
}

// Histories lists the boots that have a history, sorted by id.
func (s *Store) Histories() ([]string, error) {
	s.work.Lock()
	defer s.work.Unlock()
	return s.histories()
}

func (s *Store) histories() ([]string, error) {
	infos, err := s.fl.ReadDir(s.path(thermalDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fileErr("read", s.path(thermalDir), err)
	}
	var out []string
	for _, i := range infos {
		boot := strings.TrimSuffix(strings.TrimSuffix(i.Name, jsonExt), logExt)
		if boot != i.Name && validBootID(boot) {
			out = append(out, boot)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// pruneHistories removes histories of boots that the store has no snapshot of, then
// whatever is beyond the bound.
func (s *Store) pruneHistories(keep []string) error {
	boots, err := s.histories()
	if err != nil || len(boots) <= maxHistories {
		return err
	}
	known, err := s.bootFiles()
	if err != nil {
		return err
	}
	isKnown := func(boot string) bool {
		return slices.ContainsFunc(known, func(i fileInfo) bool { return i.Name == bootFile(boot) })
	}
	slices.SortStableFunc(boots, func(a, b string) int { // those without a snapshot first
		switch ka, kb := isKnown(a), isKnown(b); {
		case ka == kb:
			return 0
		case kb:
			return -1
		}
		return 1
	})
	excess := len(boots) - maxHistories
	for _, boot := range boots {
		if excess == 0 || slices.Contains(keep, boot) {
			continue
		}
		for _, ext := range []string{jsonExt, logExt} {
			name := s.path(thermalDir, boot+ext)
			if err := s.fl.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fileErr("remove", name, err)
			}
		}
		excess--
	}
	return fileErr("write", s.path(thermalDir), s.fl.SyncDir(s.path(thermalDir)))
}
