package baseline

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// explanationsDir holds what was told of programs at the last good boot beyond their
// counters: where their insns went. The kernel that could tell it anew is gone by the
// time it is wanted.
const explanationsDir = "explanations"

const (
	explanationSchema = "lastgood.kept-explanation/v1"
	// maxExplanation bounds one file, maxExplanations all of them.
	maxExplanation  = 1 << 20
	maxExplanations = 32 << 20
)

// ExplanationKey names an explanation by what it is of: the program, its maps and its
// values by their digest, and the kernel's build.
type ExplanationKey struct {
	Program string // digest in hexadecimal, as the attribute "program" has it
	BuildID string // of the kernel, in hexadecimal
}

// keptExplanation is a file of the folder.
type keptExplanation struct {
	Schema      string          `json:"schema"`
	Program     string          `json:"program"`
	BuildID     string          `json:"build_id"`
	Explanation json.RawMessage `json:"explanation"`
}

func (k ExplanationKey) valid() bool { return validHex(k.Program, 32) && validHex(k.BuildID, 64) }

func (k ExplanationKey) file() string { return k.Program + "-" + k.BuildID + jsonExt }

func validHex(s string, most int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && s != "" && len(s) <= 2*most
}

// PutExplanation keeps the JSON of an explanation under its key, in the place of an
// older one. ErrNoRoom is returned where they would be more than are kept.
func (s *Store) PutExplanation(key ExplanationKey, explanation json.RawMessage) error {
	if !key.valid() {
		return fmt.Errorf("keep explanation: program %q on kernel build %q: no digests", key.Program, key.BuildID)
	}
	doc, err := encodeSealed(keptExplanation{Schema: explanationSchema, Program: key.Program, BuildID: key.BuildID, Explanation: explanation})
	if err != nil {
		return fmt.Errorf("keep explanation of %s: %w", key.Program, err)
	}
	if len(doc) > maxExplanation {
		return fmt.Errorf("keep explanation of %s: it has %d KiB, and none has more than %d", key.Program, len(doc)>>10, maxExplanation>>10)
	}
	return s.write(func() error {
		dir := s.path(explanationsDir)
		if err := makeDir(s.fl, dir); err != nil {
			return err
		}
		infos, err := s.fl.ReadDir(dir)
		if err != nil {
			return fileErr("read", dir, err)
		}
		var total int64
		for _, i := range infos {
			if i.Name != key.file() {
				total += i.Size
			}
		}
		if total+int64(len(doc)) > maxExplanations {
			return fmt.Errorf("keep explanation of %s: %w: they have %d MiB already", key.Program, ErrNoRoom, total>>20)
		}
		return replace(s.fl, s.path(explanationsDir, key.file()), doc)
	})
}

// Explanation reads what is kept under a key; the error wraps fs.ErrNotExist where
// nothing is. One that is not what was written is moved aside and reported.
func (s *Store) Explanation(key ExplanationKey) (json.RawMessage, error) {
	if !key.valid() {
		return nil, fmt.Errorf("read explanation of program %q on kernel build %q: %w", key.Program, key.BuildID, fs.ErrNotExist)
	}
	s.work.Lock()
	defer s.work.Unlock()
	name := s.path(explanationsDir, key.file())
	b, _, err := s.readSealed(name, maxExplanation)
	if err == nil {
		var kept keptExplanation
		switch jerr := json.Unmarshal(b, &kept); {
		case jerr != nil:
			err = &DamagedError{Path: name, Why: jerr}
		case kept.Schema != explanationSchema:
			return nil, fmt.Errorf("read explanation %s: it was written by another version of lastgood: %w", name, fs.ErrNotExist)
		case kept.Program != key.Program || kept.BuildID != key.BuildID:
			err = &DamagedError{Path: name, Why: errors.New("it is of another program or kernel than its name says")}
		default:
			return kept.Explanation, nil
		}
	}
	s.setAside(err)
	return nil, err
}

// PruneExplanations removes what is kept under no key of those given.
func (s *Store) PruneExplanations(keep []ExplanationKey) error {
	return s.write(func() error {
		dir := s.path(explanationsDir)
		infos, err := s.fl.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fileErr("read", dir, err)
		}
		if err := removeTemps(s.fl, dir, func(string) bool { return true }); err != nil {
			return fileErr("remove", dir, err)
		}
		removed := false
		for _, i := range infos {
			if filepath.Ext(i.Name) != jsonExt || slices.ContainsFunc(keep, func(k ExplanationKey) bool { return k.file() == i.Name }) {
				continue
			}
			if err := s.fl.Remove(filepath.Join(dir, i.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fileErr("remove", i.Name, err)
			}
			removed = true
		}
		if !removed {
			return nil
		}
		return fileErr("write", dir, s.fl.SyncDir(dir))
	})
}
