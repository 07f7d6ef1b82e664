package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func memGuard(t *testing.T, c files, boot, build string) *Guard {
	t.Helper()
	g, err := openGuard(c, memDir, boot, build, clock())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func blocked(g *Guard) []string {
	var out []string
	for group, why := range g.Blocked() {
		if why == "" {
			group += " without a reason"
		}
		out = append(out, group)
	}
	slices.Sort(out)
	return out
}

// run does steps such as "begin a", "end a", "clear a" and "close" on a guard.
func run(t *testing.T, g *Guard, steps ...string) {
	t.Helper()
	for _, step := range steps {
		op, group, _ := strings.Cut(step, " ")
		var err error
		switch op {
		case "begin":
			err = g.Begin(group)
		case "end":
			err = g.End(group)
		case "clear":
			_, err = g.Clear(group)
		case "close":
			err = g.Close()
		default:
			t.Fatalf("no step %q", step)
		}
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
}

// session is one process that uses the guard.
type session struct {
	boot, build string
	blocked     []string // when it opens
	steps       []string
}

func TestGuard(t *testing.T) {
	for name, sessions := range map[string][]session{
		"all went well": {
			{"b1", "k1", nil, []string{"begin a", "end a", "begin b", "end b", "close"}},
			{"b2", "k1", nil, nil}},
		"crash in the second group": {
			{"b1", "k1", nil, []string{"begin a", "end a", "begin b"}},
			{"b2", "k1", []string{"b"}, []string{"begin a", "end a", "close"}},
			{"b3", "k1", []string{"b"}, nil}},
		"crash with two groups at work": {
			{"b1", "k1", nil, []string{"begin a", "begin b"}},
			{"b2", "k1", []string{"a", "b"}, nil}},
		"killed, then the same boot": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b1", "k1", nil, []string{"begin b", "end b", "close"}},
			{"b2", "k1", nil, nil}},
		"killed, and only closed in the same boot": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b1", "k1", nil, []string{"close"}},
			{"b2", "k1", nil, nil}},
		"another kernel keeps it and does not block": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k2", nil, []string{"begin a", "end a", "close"}},
			{"b3", "k1", []string{"a"}, nil}},
		"build not known then": {
			{"b1", "", nil, []string{"begin a"}},
			{"b2", "k2", []string{"a"}, nil}},
		"build not known now": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "", []string{"a"}, nil}},
		"cleared": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k1", []string{"a"}, []string{"clear a"}},
			{"b3", "k1", nil, nil}},
		"cleared on another kernel: not for the first": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k2", nil, []string{"clear a", "close"}},
			{"b3", "k1", []string{"a"}, nil}},
		"cleared while it is at work": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k1", []string{"a"}, []string{"begin a", "clear a"}},
			{"b3", "k1", []string{"a"}, nil}},
		"run on request, and it ends": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k1", []string{"a"}, []string{"begin a", "end a", "close"}},
			{"b3", "k1", nil, nil}},
		"run on request, and killed": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k1", []string{"a"}, []string{"begin a"}},
			{"b2", "k1", []string{"a"}, nil}},
		"run on request, and it crashes again": {
			{"b1", "k1", nil, []string{"begin a"}},
			{"b2", "k1", []string{"a"}, []string{"begin a"}},
			{"b3", "k1", []string{"a"}, []string{"clear a"}},
			{"b4", "k1", nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrashFS()
			for n, s := range sessions {
				g := memGuard(t, c, s.boot, s.build)
				if d := cmp.Diff(s.blocked, blocked(g)); d != "" {
					t.Fatalf("session %d: blocked (-want +got):\n%s", n, d)
				}
				run(t, g, s.steps...)
				c = c.after(c.durable, syncedBytes) // what a crash leaves for certain
			}
		})
	}
}

func TestGuardRefuses(t *testing.T) {
	if _, err := openGuard(newCrashFS(), memDir, "", "k1", clock()); err == nil {
		t.Error("opened without a boot id")
	}
	g := memGuard(t, newCrashFS(), "b1", "k1")
	for _, group := range []string{"", AnyGroup} {
		if err := g.Begin(group); err == nil {
			t.Errorf("group %q was begun", group)
		}
	}
	if err := g.End("a"); err == nil {
		t.Error("a group that was not begun was ended")
	}
	if was, err := g.Clear("a"); was || err != nil {
		t.Errorf("a group that is not blocked was cleared: %v, %v", was, err)
	}
	run(t, g, "close", "close")
	if err := g.Begin("a"); err == nil {
		t.Error("a closed guard lets a group begin")
	}
}

func TestGuardSaysWho(t *testing.T) {
	c := newCrashFS()
	run(t, memGuard(t, c, "b1", "k1"), "begin a")
	g := memGuard(t, c, "b1", "k1")
	if d := cmp.Diff([]string{"a"}, g.Killed()); d != "" {
		t.Errorf("killed (-want +got):\n%s", d)
	}
	g = memGuard(t, c, "b2", "k2")
	notes := g.Notes()
	if len(notes) != 1 || notes[0].Blocks || notes[0].Boot != "b1" || notes[0].Build != "k1" || notes[0].Time.IsZero() {
		t.Errorf("notes on another kernel: %+v", notes)
	}
	g = memGuard(t, c, "b3", "k1")
	if why := g.Blocked()["a"]; !strings.Contains(why, "b1") {
		t.Errorf("the reason does not name the boot: %q", why)
	}
}

func TestJournalIsBounded(t *testing.T) {
	c := newCrashFS()
	for n := range 2 * maxNotes {
		g := memGuard(t, c, fmt.Sprintf("boot-%d", n), fmt.Sprintf("kernel-%d", n))
		run(t, g, "begin a", "end a", "begin crash")
	}
	g := memGuard(t, c, "b", fmt.Sprintf("kernel-%d", 2*maxNotes-1))
	if got := blocked(g); !slices.Equal(got, []string{"crash"}) {
		t.Errorf("blocked %v", got)
	}
	if n := len(g.Notes()); n > maxNotes+1 {
		t.Errorf("%d notes are kept", n)
	}
	if n := len(c.seen[memDir+"/journal"].seen); n > maxJournal/2 {
		t.Errorf("the journal grew to %d bytes", n)
	}
}

func TestGuardCostsOneSyncAGroup(t *testing.T) {
	c := newCrashFS()
	g := memGuard(t, c, "b1", "k1")
	run(t, g, "begin warm", "end warm")
	before := c.n
	run(t, g, "begin a", "end a", "begin b", "end b")
	if ops := c.n - before; ops != 2*3 { // open, write, sync
		t.Errorf("two groups took %d operations, want 3 each: create, write and sync", ops)
	}
}

func TestGuardLock(t *testing.T) {
	dir := t.TempDir()
	g, err := OpenGuard(dir, "b1", "k1", nil)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := OpenGuard(dir, "b1", "k1", nil); !errors.As(err, &locked) || locked.PID == 0 {
		t.Errorf("second guard: %v", err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.TryLock(); err != nil {
		t.Errorf("the store beside its guard: %v", err)
	}
	defer s.Close()
	if err := g.Begin("a"); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g, err = OpenGuard(dir, "b2", "k1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got := blocked(g); !slices.Equal(got, []string{"a"}) {
		t.Errorf("blocked %v", got)
	}
}

func FuzzJournal(f *testing.F) {
	whole := encodeJournal([]entry{
		{Op: opBegin, Group: "a", Boot: "b1", Build: "k1", Time: day}, {Op: opEnd, Group: "a", Boot: "b1", Build: "k1", Time: day},
		{Op: opBegin, Group: "b", Boot: "b1", Time: day}, {Op: opKilled, Group: "b", Boot: "b1"}, {Op: opClear, Group: AnyGroup, Boot: "b1"},
	})
	f.Add(whole)
	f.Add(whole[:len(whole)-7])
	f.Add(bytes.Repeat([]byte{0}, 512))
	f.Add([]byte("00000000 {}\nzz\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, cut, bad := parseJournal(b)
		if n := bytes.Count(b, []byte{'\n'}); len(lines)+bad != n || cut != (len(b) > 0 && b[len(b)-1] != '\n') {
			t.Fatalf("%d lines and %d bad ones of %d, cut off: %v", len(lines), bad, n, cut)
		}
		notes := replay(lines)
		again, cutAgain, badAgain := parseJournal(encodeJournal(notes))
		if cutAgain || badAgain > 0 || len(replay(again)) != len(notes) {
			t.Fatalf("%d notes came back as %d (cut %v, %d bad)", len(notes), len(replay(again)), cutAgain, badAgain)
		}
		c := newCrashFS()
		c.seen[memDir] = nil
		c.seen[memDir+"/"+journalFile] = &inode{b, b}
		g, err := openGuard(c, memDir, "b9", "k1", clock())
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		if (g.Damaged() != nil) != (bad > 0 || len(b) > maxJournal) {
			t.Fatalf("damage %v of a journal with %d bad lines", g.Damaged(), bad)
		}
	})
}
