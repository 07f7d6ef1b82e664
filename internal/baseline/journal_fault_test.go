package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestGuardPowerCut cuts the power at every operation of a session: the group
// that had leave to run is always found, and no group that never had.
func TestGuardPowerCut(t *testing.T) {
	for k := 1; ; k++ {
		c := newCrashFS()
		c.failAt, c.fault, c.sticky = k, errPowerCut, true
		asked, running := "", ""
		g, err := openGuard(c, memDir, "b1", "k1", clock())
		for _, group := range []string{"a", "b", "c"} {
			if err != nil {
				break
			}
			asked = group
			if err = g.Begin(group); err == nil {
				running = group
				crashNow(t, c, group)
				err = g.End(group)
			}
		}
		if err == nil {
			err = g.Close()
		}
		if c.n < k {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		for how, after := range c.aftermaths() {
			g := memGuard(t, after, "b2", "k1")
			where := fmt.Sprintf("power cut at operation %d (%s), %q asked, %q had run", k, how, asked, running)
			for _, group := range blocked(g) {
				if group != asked && group != running {
					t.Fatalf("%s: blocked %v", where, blocked(g))
				}
			}
			if g.Damaged() != nil || len(after.temps()) > 0 {
				t.Fatalf("%s: damage %v, left %v", where, g.Damaged(), after.temps())
			}
			run(t, g, "begin d")
			next := memGuard(t, after.after(after.durable, syncedBytes), "b3", "k1")
			if next.Damaged() != nil || !slices.Contains(blocked(next), "d") {
				t.Fatalf("%s: and then a crash in d: blocked %v, damage %v", where, blocked(next), next.Damaged())
			}
			run(t, g, "end d", "close")
		}
	}
}

// crashNow fails where a group that has leave to run would not be found.
func crashNow(t *testing.T, c *crashFS, group string) {
	t.Helper()
	for how, after := range c.aftermaths() {
		if got := blocked(memGuard(t, after, "b2", "k1")); !slices.Equal(got, []string{group}) {
			t.Fatalf("crash while %s runs (%s): blocked %v", group, how, got)
		}
	}
}

func TestGuardSickDisk(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		for k := 1; ; k++ {
			c := newCrashFS()
			run(t, memGuard(t, c, "b1", "k1"), "begin a", "end a", "begin old") // "old" crashed
			c.n, c.failAt, c.fault = 0, k, errno
			g := memGuard(t, c, "b2", "k1")
			err := g.Begin("a")
			if c.n < k {
				break
			}
			var fe *FileError
			if !errors.As(err, &fe) || !errors.Is(err, errno) || fe.Hint() == "" || strings.HasSuffix(fe.Path, tempSuffix) {
				t.Fatalf("%v at operation %d: %v", errno, k, err)
			}
			if err := g.End("a"); err == nil {
				t.Fatalf("%v at operation %d: a group that had no leave was ended", errno, k)
			}
			run(t, g, "begin b") // the disk is well again
			if got := blocked(memGuard(t, c.after(c.durable, syncedBytes), "b3", "k1")); !slices.Equal(got, []string{"b", "old"}) {
				t.Fatalf("%v at operation %d: afterwards blocked %v, want b and old", errno, k, got)
			}
		}
	}
}

func TestGuardDamagedJournal(t *testing.T) {
	c := newCrashFS()
	run(t, memGuard(t, c, "b1", "k1"), "begin a", "end a", "begin crashed")
	run(t, memGuard(t, c, "b2", "k1"), "begin a", "end a", "close")
	i := c.seen[memDir+"/journal"]
	i.seen[len(i.seen)-5] ^= 1
	i.durable = i.seen
	was := bytes.Clone(i.seen)

	g := memGuard(t, c, "b3", "k1")
	if g.Damaged() == nil || g.Damaged().MovedTo == "" {
		t.Fatalf("damage: %v", g.Damaged())
	}
	kept(t, c, journalFile, was)
	if got := blocked(g); !slices.Contains(got, AnyGroup) || !slices.Contains(got, "crashed") {
		t.Errorf("blocked in this boot: %v, want any group, and what could still be read", got)
	}
	run(t, g, "close")
	g = memGuard(t, c, "b3", "k1")
	if got := blocked(g); !slices.Contains(got, AnyGroup) || g.Damaged() != nil {
		t.Errorf("later in the boot: blocked %v, damage %v", got, g.Damaged())
	}
	next := c.clone()
	if got := blocked(memGuard(t, next, "b4", "k1")); slices.Contains(got, AnyGroup) || !slices.Contains(got, "crashed") {
		t.Errorf("blocked in the next boot: %v", got)
	}
	if was, err := g.Clear(AnyGroup); !was || err != nil {
		t.Errorf("clear: %v, %v", was, err)
	}
	if got := blocked(memGuard(t, c, "b3", "k1")); slices.Contains(got, AnyGroup) {
		t.Errorf("after clearing: %v", got)
	}
}

func TestGuardUnreadableJournal(t *testing.T) {
	for name, break_ := range map[string]func(*crashFS){
		"bad sector": func(c *crashFS) { c.readFault[memDir+"/journal"] = syscall.EIO },
		"too large":  func(c *crashFS) { c.seen[memDir+"/journal"].seen = make([]byte, maxJournal+1) },
	} {
		c := newCrashFS()
		run(t, memGuard(t, c, "b1", "k1"), "begin a", "end a", "close")
		break_(c)
		g := memGuard(t, c, "b2", "k1")
		if got := blocked(g); !slices.Equal(got, []string{AnyGroup}) || g.Damaged() == nil {
			t.Errorf("%s: blocked %v", name, got)
		}
		run(t, g, "begin a", "end a", "close")
		clear(c.readFault)
		if got := blocked(memGuard(t, c, "b3", "k1")); len(got) > 0 {
			t.Errorf("%s: blocked in the next boot: %v", name, got)
		}
	}
	c := newCrashFS()
	run(t, memGuard(t, c, "b1", "k1"), "begin a")
	c.readFault[memDir+"/journal"] = syscall.EACCES
	var fe *FileError
	if _, err := openGuard(c, memDir, "b2", "k1", clock()); !errors.As(err, &fe) || fe.Hint() == "" {
		t.Errorf("no permission: %v", err)
	}
}
