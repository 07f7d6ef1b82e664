package baseline

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lastgood/internal/snapshot"
)

// memDir is the state folder of stores in memory, whose time line is small.
const (
	memDir     = "/state"
	testEvents = 8 << 10
)

// clock moves on by a second with every look at it.
func clock() func() time.Time {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

func snap(boot, release, phase string, taken time.Time) *snapshot.Snapshot {
	return &snapshot.Snapshot{
		Tool: "lastgood test", Taken: taken, Phase: phase,
		Identity: snapshot.Identity{BootID: boot, Kernel: snapshot.KernelIdentity{Release: release, Arch: "x86_64"}},
		Subjects: []snapshot.Subject{{Kind: "bpf.probe", ID: "loop", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"insns_processed": snapshot.Int(7)}}},
	}
}

var day = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func good() *Result { return &Result{Verdict: snapshot.Good, Took: 1.5, Summary: "nothing changed"} }

// memStore is a store over c, locked.
func memStore(t *testing.T, c files) *Store {
	t.Helper()
	s, err := Open(memDir, Options{Now: clock(), BootID: "cur", files: c, maxEvents: testEvents})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.TryLock(); err != nil {
		t.Fatal(err)
	}
	return s
}

// lived is a host with three boots; the first is the last good one and was
// checked again after it was accepted.
func lived(t *testing.T) *crashFS {
	t.Helper()
	c := newCrashFS()
	s := memStore(t, c)
	for n, step := range []func() error{
		func() error { _, err := s.Save(snap("aaa", "6.1", "boot", day), nil); return err },
		func() error { _, err := s.Accept("aaa", ByLearned); return err },
		func() error { _, err := s.Save(snap("aaa", "6.1", "later", day.Add(time.Hour)), good()); return err },
		func() error { _, err := s.Save(snap("abc", "6.12", "boot", day.Add(48*time.Hour)), good()); return err },
		func() error { _, err := s.Save(snap("bbb", "6.12", "boot", day.Add(72*time.Hour)), good()); return err },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
	}
	return c.clone()
}

// state is what a person can see of a store.
type state struct {
	lastGood string
	boots    map[string]string // boot → phase of its newest snapshot
	events   int
}

func stateOf(t *testing.T, s *Store) state {
	t.Helper()
	st := state{boots: map[string]string{}}
	switch lg, _, err := s.LastGood(); {
	case err == nil:
		st.lastGood = lg.Identity.BootID + " " + lg.Phase
	case errors.Is(err, ErrNone):
		st.lastGood = "none"
	case isLost(err):
		st.lastGood = "lost"
	default:
		t.Fatalf("last good: %v", err)
	}
	entries, err := s.List()
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for _, e := range entries {
		if d := (*DamagedError)(nil); errors.As(e.Err, &d) {
			continue // as good as absent
		}
		if e.Err != nil {
			t.Fatalf("list: boot %s: %v", e.BootID, e.Err)
		}
		got, err := s.Load(e.BootID)
		if err != nil {
			t.Fatalf("load %s: %v", e.BootID, err)
		}
		st.boots[e.BootID] = got.Phase
	}
	events, err := s.Events()
	if err != nil {
		t.Fatalf("events: %v", err)
	}
	st.events = len(events)
	return st
}

// between says what of got is neither as before nor as after, or "".
func (got state) between(old, new state) string {
	if got.lastGood != old.lastGood && got.lastGood != new.lastGood {
		return fmt.Sprintf("last good is %q, was %q, was to be %q", got.lastGood, old.lastGood, new.lastGood)
	}
	for _, boots := range []map[string]string{got.boots, old.boots, new.boots} {
		for b := range boots {
			if got.boots[b] != old.boots[b] && got.boots[b] != new.boots[b] {
				return fmt.Sprintf("boot %s is %q, was %q, was to be %q", b, got.boots[b], old.boots[b], new.boots[b])
			}
		}
	}
	if got.events != old.events && got.events != new.events {
		return fmt.Sprintf("%d events, were %d, were to be %d", got.events, old.events, new.events)
	}
	return ""
}

// action is something that writes to a store. Where quiet is set, it does not
// return the error of what it could not write.
type action struct {
	name  string
	start func(*testing.T) *crashFS
	do    func(*Store) error
	quiet bool
}

// damagedFile is a lived-in store with a flipped bit in one file.
func damagedFile(name string) func(*testing.T) *crashFS {
	return func(t *testing.T) *crashFS {
		c := lived(t)
		i := c.seen[filepath.Join(memDir, name)]
		if i == nil {
			t.Fatalf("no file %s", name)
		}
		i.seen[len(i.seen)/2] ^= 0x10
		return c.clone()
	}
}

func fullTimeline(t *testing.T) *crashFS {
	c := lived(t)
	i := c.seen[filepath.Join(memDir, eventsFile)]
	for len(i.seen) < testEvents-20 {
		i.seen = append(i.seen, `{"time":"2026-11-20T00:00:00Z","type":"check","boot_id":"aaa","text":"`+strings.Repeat("x", 50)+`"}`+"\n"...)
	}
	return c.clone()
}

func actions() []action {
	save := func(boot, phase string) func(*Store) error {
		return func(s *Store) error {
			_, err := s.Save(snap(boot, "6.16", phase, day.Add(96*time.Hour)), good())
			return err
		}
	}
	accept := func(id string) func(*Store) error {
		return func(s *Store) error { _, err := s.Accept(id, "root"); return err }
	}
	fresh := func(*testing.T) *crashFS { return newCrashFS() }
	return []action{
		{"first save", fresh, save("aaa", "boot"), false},
		{"save a new boot", lived, save("ccc", "boot"), false},
		{"save a boot again", lived, save("bbb", "later"), false},
		{"save the last good boot again", lived, save("aaa", "manual"), false},
		{"accept another boot", lived, accept("bbb"), false},
		{"accept the last good boot anew", lived, accept("aaa"), false},
		{"prune", lived, func(s *Store) error { _, err := s.Prune(1, 1); return err }, false},
		{"save with a full time line", fullTimeline, save("ccc", "boot"), false},
		{"read a damaged last-good", damagedFile(lastGoodFile), func(s *Store) error { s.LastGood(); return nil }, true},
		{"read a damaged boot", damagedFile("boots/abc.json"), func(s *Store) error { s.List(); return nil }, true},
	}
}

// eachFault runs an action with each of its operations failing in turn.
func eachFault(t *testing.T, a action, fault error, sticky bool, check func(k int, c *crashFS, err error)) {
	t.Helper()
	start := a.start(t)
	for k := 1; ; k++ {
		c := start.clone()
		c.failAt, c.fault, c.sticky = k, fault, sticky
		s, err := Open(memDir, Options{Now: clock(), BootID: "cur", files: c, maxEvents: testEvents})
		if err != nil {
			t.Fatal(err)
		}
		if err = s.TryLock(); err == nil {
			err = a.do(s)
		}
		if c.n < k {
			return
		}
		check(k, c, err)
	}
}

func TestPowerCutLeavesOldOrNew(t *testing.T) {
	for _, a := range actions() {
		t.Run(a.name, func(t *testing.T) {
			old, new := bothStates(t, a)
			cuts := 0
			eachFault(t, a, errPowerCut, true, func(k int, c *crashFS, _ error) {
				for how, after := range c.aftermaths() {
					cuts++
					s := memStore(t, after)
					if why := stateOf(t, s).between(old, new); why != "" {
						t.Fatalf("power cut at operation %d (%s): %s", k, how, why)
					}
					if left := after.temps(); len(left) > 0 {
						t.Fatalf("power cut at operation %d (%s): left %v", k, how, left)
					}
					goesOn(t, s, a, how)
				}
			})
			if cuts == 0 {
				t.Fatal("the action writes nothing")
			}
		})
	}
}

// goesOn fails where a store cannot be used as if nothing had happened, or
// reports damage that a power cut cannot do.
func goesOn(t *testing.T, s *Store, a action, how string) {
	t.Helper()
	for _, d := range s.Damaged() {
		if !strings.Contains(d, eventsFile) && !a.quiet {
			t.Fatalf("%s: damage: %s", how, d)
		}
	}
	if _, err := s.Save(snap("later", "7.0", "boot", day.Add(200*time.Hour)), good()); err != nil {
		t.Fatalf("%s: the next save: %v", how, err)
	}
	if _, err := s.Accept("later", "root"); err != nil {
		t.Fatalf("%s: the next accept: %v", how, err)
	}
	events, _ := s.Events()
	if n := len(events); n < 2 || events[n-2].BootID != "later" || events[n-1].Type != EventAccept {
		t.Fatalf("%s: the next events are not in the time line", how)
	}
	if lg, rec, err := s.LastGood(); err != nil || lg.Identity.BootID != "later" || rec.By != "root" {
		t.Fatalf("%s: last good after the next accept: %v, %v", how, rec, err)
	}
}

// bothStates are the states before and after an action.
func bothStates(t *testing.T, a action) (old, new state) {
	t.Helper()
	c := a.start(t)
	old = stateOf(t, memStore(t, c.clone()))
	s := memStore(t, c.clone())
	if err := a.do(s); err != nil {
		t.Fatal(err)
	}
	return old, stateOf(t, s)
}

func TestSickDisk(t *testing.T) {
	for _, a := range actions() {
		t.Run(a.name, func(t *testing.T) {
			old, new := bothStates(t, a)
			for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
				for _, sticky := range []bool{false, true} {
					eachFault(t, a, errno, sticky, func(k int, c *crashFS, err error) {
						where := fmt.Sprintf("%v at operation %d, sticky %v", errno, k, sticky)
						var fe *FileError
						switch {
						case a.quiet && err == nil:
						case !errors.As(err, &fe) || !errors.Is(err, errno):
							t.Fatalf("%s: got error %v", where, err)
						case fe.Hint() == "" || !strings.HasPrefix(fe.Path, memDir) || strings.HasSuffix(fe.Path, tempSuffix):
							t.Fatalf("%s: the error names %q and hints %q", where, fe.Path, fe.Hint())
						}
						if left := c.temps(); !sticky && len(left) > 0 {
							t.Fatalf("%s: left %v at once", where, left)
						}
						c.failAt = 0
						s := memStore(t, c)
						if why := stateOf(t, s).between(old, new); why != "" {
							t.Fatalf("%s: %s", where, why)
						}
						goesOn(t, s, a, where)
						if left := c.temps(); len(left) > 0 {
							t.Fatalf("%s: left %v", where, left)
						}
					})
				}
			}
		})
	}
}
