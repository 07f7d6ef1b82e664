package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// DefaultDir is where the service keeps its state.
const DefaultDir = "/var/lib/lastgood"

// Names in the state folder.
const (
	bootsDir     = "boots"
	damagedDir   = "damaged"
	lastGoodFile = "last-good"
	eventsFile   = "events.jsonl"
	lockName     = "lock"
)

// Options are what a store leans on.
type Options struct {
	// BootID is this boot's, for the ID "current"; it may be empty.
	BootID string
	// Now is the clock; nil means the system's.
	Now func() time.Time
	// MaxSnapshot is the largest snapshot that is read, in bytes, for who has little memory:
	// one that is larger gives ErrTooLarge. 0 is as large as lastgood writes them.
	MaxSnapshot int64

	files     files
	maxEvents int // bytes of time line
}

// Store is a state folder. Reading needs no lock; what writes needs Lock. Its
// methods may be called by several goroutines.
type Store struct {
	dir  string
	o    Options
	fl   files
	work sync.Mutex // held by every operation: one that reads may move damage aside

	mu      sync.Mutex // guards what follows
	lock    io.Closer
	reports []string
}

// Open is the store in a folder. Nothing is written, not even the folder, before
// the first Lock: a folder that is absent is an empty store.
func Open(dir string, o Options) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open state folder %s: %w", dir, err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.files == nil {
		o.files = osFiles{}
	}
	if o.MaxSnapshot == 0 {
		o.MaxSnapshot = maxSnapshot
	}
	if o.maxEvents == 0 {
		o.maxEvents = maxEvents
	}
	s := &Store{dir: abs, o: o, fl: o.files}
	if _, err := s.fl.ReadDir(abs); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fileErr("open state folder", abs, err)
	}
	return s, nil
}

// Dir is the state folder's absolute path.
func (s *Store) Dir() string { return s.dir }

// lockPoll is how often a lock that is held is asked for again.
const lockPoll = 25 * time.Millisecond

// Lock takes the store's lock, waiting until ctx is done, and then returns a
// *LockedError. It makes the folders (0750) where they are absent and removes
// the temporary files of writers that were killed.
func (s *Store) Lock(ctx context.Context) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err := s.TryLock()
		var locked *LockedError
		if !errors.As(err, &locked) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// TryLock is Lock without waiting.
func (s *Store) TryLock() error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.locked() {
		return nil
	}
	if err := makeDir(s.fl, s.dir); err != nil {
		return err
	}
	l, err := s.fl.Lock(s.path(lockName))
	if err != nil {
		return fileErr("lock", s.path(lockName), err)
	}
	if err := s.tidy(); err != nil {
		l.Close()
		return err
	}
	s.mu.Lock()
	s.lock = l
	s.mu.Unlock()
	return nil
}

// tidy prepares the folders for writing, under the lock.
func (s *Store) tidy() error {
	if err := makeDir(s.fl, s.path(bootsDir)); err != nil {
		return err
	}
	for _, dir := range []string{"", bootsDir, damagedDir} {
		// The journal, the gate and the intent have locks of their own: their temporary files may be in use.
		err := removeTemps(s.fl, s.path(dir), func(base string) bool { return base != journalFile && base != GateFile && base != intentFile })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.report("remove temporary files: %v", err) // in nobody's way
		}
	}
	// A process that was killed may have made files and not come to sync the folder.
	return fileErr("write", s.dir, s.fl.SyncDir(s.dir))
}

// Close gives the lock up; a store that has none is left as it is.
func (s *Store) Close() error {
	s.work.Lock()
	defer s.work.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return fileErr("unlock", s.path(lockName), err)
}

func (s *Store) locked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lock != nil
}

// write runs f with the store's lock and alone in this process.
func (s *Store) write(f func() error) error {
	s.work.Lock()
	defer s.work.Unlock()
	if !s.locked() {
		return ErrNotLocked
	}
	return f()
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// Damaged lists what was found damaged since Open, a sentence each.
func (s *Store) Damaged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports)
}

func (s *Store) report(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.reports, text) {
		s.reports = append(s.reports, text)
	}
}
