package gate

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/baseline"
	"lastgood/internal/snapshot"
)

func keeper(t *testing.T) Keeper {
	t.Helper()
	return Keeper{baseline.OpenFolder(filepath.Join(t.TempDir(), "state"), nil)}
}

func TestKeeper(t *testing.T) {
	k := keeper(t)
	p := Policy{OnRegression: Rollback, MaxStrikes: 3}
	ctx := context.Background()
	bad := Event{Type: Checked, Boot: Boot{"1", newKernel}, Verdict: snapshot.Regressed, Summary: "SUM", World: world()}
	if _, _, err := k.Happen(ctx, bad, p); err != nil {
		t.Fatal(err)
	}
	bad.Type = Decided
	if _, acts, err := k.Happen(ctx, bad, p); err != nil || acts[len(acts)-1].Act != Reboot {
		t.Fatalf("%v, %v", acts, err)
	}
	s, err := k.Load()
	if err != nil || s.Step != Returning || len(s.Bad) != 1 || s.Held == "" {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestKeeperForgetful: what was remembered is damaged, so nothing is undone by itself
// until a boot is good; workloads are held all the same.
func TestKeeperForgetful(t *testing.T) {
	k := keeper(t)
	p := Policy{OnRegression: Rollback, MaxStrikes: 3}
	if _, _, err := k.Happen(t.Context(), Event{Type: Booted, Boot: Boot{"1", oldKernel}}, p); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(k.Folder.Dir(), baseline.GateFile)
	if err := os.WriteFile(name, []byte("{"), 0o640); err != nil {
		t.Fatal(err)
	}
	e := Event{Type: Checked, Boot: Boot{"2", newKernel}, Verdict: snapshot.Regressed, Summary: "SUM", World: world()}
	s, acts, err := k.Happen(t.Context(), e, p)
	if err != nil || s.Held == "" || s.Lost == "" {
		t.Fatalf("%+v, %v, %v", s, acts, err)
	}
	e.Type = Decided
	if s, acts, err = k.Happen(t.Context(), e, p); err != nil || len(acts) != 1 || acts[0].Notice != NoticeRefused || s.Step != Idle {
		t.Fatalf("%+v, %v, %v", s, acts, err)
	}
	kept, err := filepath.Glob(filepath.Join(k.Folder.Dir(), "damaged", "*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("kept %v, %v", kept, err)
	}
	e.Type, e.Verdict = Assessed, snapshot.Good
	if s, _, err = k.Happen(t.Context(), e, p); err != nil || s.Lost != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestKeeperCannotWrite: a state that is not remembered holds, and does not touch the loader.
func TestKeeperCannotWrite(t *testing.T) {
	k := keeper(t)
	e := Event{Type: Checked, Boot: Boot{"1", newKernel}, Verdict: snapshot.Regressed, Summary: "SUM", World: world()}
	p := Policy{OnRegression: Rollback, MaxStrikes: 3}
	if _, _, err := k.Happen(t.Context(), e, p); err != nil {
		t.Fatal(err)
	}
	lock, err := k.Folder.Lock(LockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Type = Decided
	_, acts, err := k.Happen(ctx, e, p)
	if err == nil || len(acts) != 0 {
		t.Errorf("%v, %v", acts, err)
	}
	e.Type, e.Boot.ID = Checked, "2"
	if _, acts, err = k.Happen(ctx, e, p); err == nil || acts[1].Act != SetHold {
		t.Errorf("%v, %v", acts, err)
	}
}

func TestHoldFile(t *testing.T) {
	h := HoldFile(filepath.Join(t.TempDir(), "lastgood", "hold"))
	if err := h.Clear(); err != nil {
		t.Error(err)
	}
	for _, why := range []string{"one", "another"} {
		if err := h.Set(why); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(string(h)); err != nil || strings.TrimSpace(string(b)) != why {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := h.Clear(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(string(h))); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// FuzzState: whatever a state's document holds, events are taken in, and what is done
// keeps to the rules.
func FuzzState(f *testing.F) {
	for _, st := range Steps() {
		b, err := json.Marshal(stateIn(st))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		var s State
		if json.Unmarshal(b, &s) != nil {
			return
		}
		types := EventTypes()
		e := Event{Type: types[int(n)%len(types)], Boot: Boot{"b2", newKernel}, Verdict: snapshot.Regressed, World: world()}
		after, acts := Decide(s, e, Policy{OnRegression: Hold})
		if after.Describe() == "" || after.Schema != Schema {
			t.Errorf("%+v", after)
		}
		for _, a := range acts {
			if a.Act == Reboot {
				t.Errorf("rebooted though no more than a hold is allowed: %+v", s)
			}
		}
	})
}
