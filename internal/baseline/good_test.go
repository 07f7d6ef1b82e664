package baseline

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

func goodBoots(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := s.GoodSince()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.BootID)
	}
	return out
}

// Only what was held to the present last good boot and found good is learned from.
func TestGoodSince(t *testing.T) {
	s := memStore(t, lived(t))
	_, rec, err := s.LastGood()
	if err != nil {
		t.Fatal(err)
	}
	at := day.Add(96 * time.Hour)
	save := func(boot string, r *Result) {
		t.Helper()
		at = at.Add(-time.Minute) // every boot's clock is further back: the order is the time line's
		if _, err := s.Save(snap(boot, "6.12", "check", at), r); err != nil {
			t.Fatal(err)
		}
	}
	verdict := func(v snapshot.Verdict) *Result { return &Result{Verdict: v, Baseline: rec.SHA256} }
	if got := goodBoots(t, s); got != nil {
		t.Errorf("verdicts by an unknown baseline: %v", got)
	}
	s.o.Now = func() time.Time { return day.Add(200 * time.Hour) }
	save("g1", verdict(snapshot.Good))
	save("bad", verdict(snapshot.Regressed))
	save("half", verdict(snapshot.Incomplete))
	save("g2", verdict(snapshot.Good))
	save("byfile", &Result{Verdict: snapshot.Good})
	save("byother", &Result{Verdict: snapshot.Good, Baseline: "0123"})
	save("worse", verdict(snapshot.Good))
	save("worse", verdict(snapshot.Regressed))
	save("better", verdict(snapshot.Regressed))
	save("better", verdict(snapshot.Good))
	save("later", verdict(snapshot.Good))
	save("later", nil) // a snapshot that nobody judged took the place of the judged one
	save("cur", verdict(snapshot.Good))
	if d := cmp.Diff([]string{"better", "g2", "g1"}, goodBoots(t, s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// A power cut after the snapshot and before its line: what is there was not judged.
	at = day.Add(300 * time.Hour)
	save("g2", verdict(snapshot.Good))
	if d := cmp.Diff([]string{"better", "g1"}, goodBoots(t, s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// What is accepted anew was not what these were held to.
	if _, err := s.Accept("g1", "root"); err != nil {
		t.Fatal(err)
	}
	if got := goodBoots(t, s); got != nil {
		t.Errorf("after another boot was accepted: %v", got)
	}
	none, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.GoodSince(); !errors.Is(err, ErrNone) {
		t.Errorf("nothing accepted: %v", err)
	}
}

func TestEarly(t *testing.T) {
	c := lived(t)
	s := memStore(t, c)
	if _, err := s.Early("bbb"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none was taken: %v", err)
	}
	first := snap("bbb", "6.12", snapshot.PhaseEarly, day)
	if kept, err := s.SaveEarly(first); !kept || err != nil {
		t.Fatalf("%v, %v", kept, err)
	}
	if kept, err := s.SaveEarly(snap("bbb", "6.12", "later", day)); kept || err != nil {
		t.Errorf("a later one was kept: %v, %v", kept, err)
	}
	got, err := s.Early("bbb")
	if err != nil || got.Phase != snapshot.PhaseEarly {
		t.Errorf("%+v, %v", got, err)
	}
	// It is no boot, and no newest snapshot of one.
	if newest, err := s.Load("bbb"); err != nil || newest.Phase != "boot" {
		t.Errorf("the boot's newest is %+v, %v", newest, err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 3 {
		t.Errorf("%d boots, %v", len(entries), err)
	}
	for _, bad := range []string{"", "../x", "a/b"} {
		if _, err := s.SaveEarly(snap(bad, "6", "early", day)); err == nil {
			t.Errorf("boot id %q was taken", bad)
		}
		if _, err := s.Early(bad); err == nil {
			t.Errorf("boot id %q was read", bad)
		}
	}
	// A damaged one is set aside, and the next takes its place.
	c.seen[memDir+"/boots/bbb.early.json"].seen[40] ^= 1
	if _, err := s.Early("bbb"); err == nil || len(s.Damaged()) != 1 {
		t.Errorf("damage: %v, %v", err, s.Damaged())
	}
	if kept, err := s.SaveEarly(first); !kept || err != nil {
		t.Errorf("%v, %v", kept, err)
	}
	// It goes with its boot.
	if removed, err := s.Prune(1, DefaultMaxBytes); err != nil || len(removed) == 0 {
		t.Fatalf("%v, %v", removed, err)
	}
	if _, err := s.Early("abc"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its boot: %v", err)
	}
	if _, err := s.SaveEarly(snap("abc", "6", "early", day)); err != nil {
		t.Fatal(err)
	}
}
