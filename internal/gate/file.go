package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"lastgood/internal/baseline"
)

// LockFile is the lock of whoever changes the state.
const LockFile = "gate.lock"

// Keeper keeps the state in the state folder.
type Keeper struct{ Folder *baseline.Folder }

// lockPoll is how often a lock that is held is asked for again.
const lockPoll = 25 * time.Millisecond

// Load reads the state. What is damaged, or of another version, gives a state that has
// lost its memory and says so; an error is that it could not be read.
func (k Keeper) Load() (State, error) { return k.load(false) }

func (k Keeper) load(aside bool) (State, error) {
	var s State
	err := k.Folder.Get(baseline.GateFile, &s, aside)
	var damaged *baseline.DamagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{Step: Idle}, nil
	case errors.As(err, &damaged):
		return State{Step: Idle, Lost: damaged.Error()}, nil
	case err != nil:
		return State{Step: Idle, Lost: err.Error()}, err
	case s.Schema != Schema || !slices.Contains(Steps(), s.Step):
		return State{Step: Idle, Lost: fmt.Sprintf("it has schema %q and step %q: it was written by another version of lastgood", s.Schema, s.Step)}, nil
	}
	return s, nil
}

// Happen takes an event in: the state is changed and written before the actions are
// given. Where it cannot be written the error says so, and of the actions only those are
// left that the next boot need not remember.
func (k Keeper) Happen(ctx context.Context, e Event, p Policy) (State, []Action, error) {
	lock, err := k.lock(ctx)
	if err != nil {
		s, lerr := k.load(false)
		s, acts := Decide(s, e, p)
		return s, harmless(acts), errors.Join(err, lerr)
	}
	defer lock.Close()
	before, err := k.load(true)
	s, acts := Decide(before, e, p)
	if err != nil {
		return s, harmless(acts), err // what is there is not written over
	}
	if reflect.DeepEqual(before, s) {
		return s, acts, nil
	}
	if err := k.Folder.Put(baseline.GateFile, s); err != nil {
		return s, harmless(acts), err
	}
	return s, acts, nil
}

func (k Keeper) lock(ctx context.Context) (interface{ Close() error }, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		l, err := k.Folder.Lock(LockFile)
		var held *baseline.LockedError
		if err == nil {
			_ = k.Folder.Tidy(func(name string) bool { return name == baseline.GateFile }) // what is left is in nobody's way
			return l, nil
		}
		if !errors.As(err, &held) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// harmless are the actions that may be done though nothing remembers them.
func harmless(acts []Action) []Action {
	return slices.DeleteFunc(acts, func(a Action) bool {
		return a.Act == SetDefault || a.Act == SetOnce || a.Act == Reboot ||
			a.Act == Tell && (a.Notice == NoticeRollback || a.Notice == NoticeArmed || a.Notice == NoticeCommitted)
	})
}

// HoldFile is the gate: while it is there the units that are held do not start.
type HoldFile string

// HoldPath is where the units look for it.
const HoldPath = "/run/lastgood/hold"

// Set makes the file, whole, with the reason in it.
func (h HoldFile) Set(why string) error {
	if err := Mark(h).Set(why); err != nil {
		return fmt.Errorf("hold workloads: %w", err)
	}
	return nil
}

// Clear removes it; one that is not there is no error.
func (h HoldFile) Clear() error {
	if err := Mark(h).Clear(); err != nil {
		return fmt.Errorf("release workloads: %w", err)
	}
	return nil
}

// Mark is a file that units look at, gone with the boot.
type Mark string

// WorsePath is the mark of a boot that was assessed as worse: lastgood-verdict.service fails
// where it is there, and keeps boot-complete.target back.
const WorsePath = "/run/lastgood/worse"

// Set makes the file, whole, with a line in it.
func (m Mark) Set(text string) error {
	dir, name := filepath.Split(string(m))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp := filepath.Join(dir, fmt.Sprintf(".%s.%d", name, os.Getpid()))
	err := os.WriteFile(tmp, []byte(strings.TrimSpace(text)+"\n"), 0o644)
	if err == nil {
		err = os.Rename(tmp, string(m))
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// Clear removes it; one that is not there is no error.
func (m Mark) Clear() error {
	if err := os.Remove(string(m)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
