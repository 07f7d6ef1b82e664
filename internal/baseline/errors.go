package baseline

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNone is returned where no boot was accepted yet.
var ErrNone = errors.New("no boot was accepted as the last good one yet")

// ErrTooLarge is wrapped where a snapshot is larger than Options.MaxSnapshot: it is whole,
// for all that is known, and who has more memory may read it.
var ErrTooLarge = errors.New("a snapshot larger than is read here")

// ErrNotLocked is returned by what writes to the store without holding its lock.
var ErrNotLocked = errors.New("the store is not locked")

// LostError is returned where a boot was accepted and it cannot be told any more
// what was accepted. It is not ErrNone: nothing may be learned in its place.
type LostError struct{ Why error }

func (e *LostError) Error() string { return fmt.Sprintf("the last good boot is lost: %v", e.Why) }
func (e *LostError) Unwrap() error { return e.Why }

// Hint says what a person can do about it.
func (e *LostError) Hint() string {
	return "choose a boot with `lastgood list` and trust it with `lastgood accept BOOT`"
}

// LockedError is returned where another process writes to the store. PID is 0
// where the lock does not tell it.
type LockedError struct {
	Path string
	PID  int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("lock %s: held by another process", e.Path)
	}
	return fmt.Sprintf("lock %s: held by process %d", e.Path, e.PID)
}

// Hint says what a person can do about it.
func (e *LockedError) Hint() string {
	if e.PID == 0 {
		return "another lastgood is at work: wait until it is done"
	}
	return fmt.Sprintf("another lastgood is at work: wait until it is done, or look at it with `ps -p %d`", e.PID)
}

// NotFoundError is returned where an ID names no snapshot.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string {
	if e.ID == Current {
		return "find snapshot: there is none of the current boot"
	}
	return fmt.Sprintf("find snapshot %q: no boot or kernel of that name", e.ID)
}

// Hint says what a person can do about it.
func (e *NotFoundError) Hint() string {
	if e.ID == Current {
		return "take one with `lastgood check`"
	}
	return "`lastgood list` shows what there is"
}

// AmbiguousError is returned where the beginning of a boot ID fits several boots.
type AmbiguousError struct {
	ID      string
	BootIDs []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("find snapshot %q: %d boots begin like that: %s", e.ID, len(e.BootIDs), strings.Join(e.BootIDs, ", "))
}

// Hint says what a person can do about it.
func (e *AmbiguousError) Hint() string { return "write more of the boot id" }
