package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// Clocks of a host that has none of its own, of one that is right, and of one that was set wrong.
var (
	unset  = time.Date(1970, 1, 1, 0, 0, 42, 0, time.UTC)
	right  = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	future = time.Date(2106, 2, 7, 6, 28, 15, 0, time.UTC)
)

// threeBoots is a host's story told by its commands: it learns, falls back silently, and comes up as it should, each boot by a clock
// of its own. What is told of it holds no time.
func threeBoots(t *testing.T, clocks [3]time.Time) string {
	t.Helper()
	h := newTwoKernels(t)
	var told strings.Builder
	for i, b := range []struct{ id, release string }{{firstBoot, bootedOld}, {secondBoot, bootedOld}, {thirdBoot, bootedNew}} {
		h.now = func() time.Time { return clocks[i] }
		h.boot(b.id, b.release)
		status, rep := h.check()
		if i == 0 {
			h.run("accept", "current", "--incomplete")
		}
		if i == 1 {
			h.write("/var/log/apt/history.log", "\nStart-Date: 2026-09-01  06:11:02\nCommandline: apt-get install -y nginx\nInstall: nginx:amd64 (1.22)\nEnd-Date: x\n"+
				"\nStart-Date: 1970-01-01  00:01:40\nCommandline: /usr/bin/unattended-upgrade\nInstall: linux-image-6.1.0-41-amd64:amd64 (6.1.158-1, automatic)\nEnd-Date: x\n")
		}
		gated, _ := h.run("gate", "--run-dir", filepath.Join(h.dir, "run"), "--exit-status", "--settle", "0s")
		fmt.Fprintf(&told, "%d %s %s, gate %d", status, rep.Verdict, found(rep), gated)
		if rep.Boot != nil {
			fmt.Fprintf(&told, ", %s by %s, %v between", rep.Boot.Class, rep.Boot.Basis, rep.Boot.Between)
		}
		if rep.Since != nil {
			for _, tr := range rep.Since.Transactions {
				fmt.Fprintf(&told, ", since: %s", tr.Command)
			}
		}
		st, err := os.ReadFile(filepath.Join(h.dir, "gate.json"))
		if err != nil {
			t.Fatal(err)
		}
		var state gate.State
		if err := json.Unmarshal(st, &state); err != nil || state.Boot.ID != b.id {
			t.Fatalf("%v: %s", err, st)
		}
		fmt.Fprintf(&told, ", %s, %d strikes\n", state.Step, state.Strikes)
		h.run("__intent")
	}
	_, out := h.run("list", "-o", "json")
	var listed []listedBoot
	if err := json.Unmarshal([]byte(out), &listed); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, b := range listed {
		fmt.Fprintf(&told, "%s %s %v %v\n", b.BootID, b.Verdict, b.LastGood, b.Current)
	}
	return told.String()
}

// TestWallClock: whatever the host's clock says in each boot, the verdicts, the order of the boots, what is told to have changed and
// what the gate remembers are the same.
func TestWallClock(t *testing.T) {
	want := threeBoots(t, [3]time.Time{right, right.Add(time.Hour), right.Add(2 * time.Hour)})
	for _, part := range []string{"fell back by intent", "as intended by intent", "since: /usr/bin/unattended-upgrade", thirdBoot + " incomplete false true\n" + secondBoot + " invalid false false\n" + firstBoot} {
		if !strings.Contains(want, part) {
			t.Fatalf("the story lacks %q:\n%s", part, want)
		}
	}
	for _, clocks := range [][3]time.Time{{unset, right, unset}, {future, unset, future}} {
		if d := cmp.Diff(want, threeBoots(t, clocks)); d != "" {
			t.Errorf("by the clocks %v (-right +these):\n%s", clocks, d)
		}
	}
}

// TestRollbackByAnyClock: a bad boot of 1970 is held, undone once and told first by the boot that follows, whose clock is right.
func TestRollbackByAnyClock(t *testing.T) {
	for _, clocks := range [][2]time.Time{{unset, right}, {future, unset}, {unset, unset}} {
		h := newGateHost(t)
		h.mute = true
		g := h.boot("bad", newRelease)
		g.s.env.Now = func() time.Time { return clocks[0] }
		g.spool.Now = g.s.env.Now
		g.judge(t, gate.Checked, snapshot.Regressed)
		if st := g.state(t); h.read("run/hold") == "" || !st.HeldSince.Equal(clocks[0]) {
			t.Fatalf("%v: %+v", clocks, st)
		}
		if _, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.Decided}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.spool.Flush(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		h.mute = false
		back := h.boot("back", oldRelease)
		back.s.env.Now = func() time.Time { return clocks[1] }
		back.spool.Now = func() time.Time { return clocks[1].Add(time.Minute) }
		back.judge(t, gate.Assessed, snapshot.Good)
		if _, err := back.spool.Flush(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		first := slices.IndexFunc(h.got, func(k string) bool { return strings.HasPrefix(k, "bad/gate-held/") })
		last := slices.IndexFunc(h.got, func(k string) bool { return strings.HasPrefix(k, "back/rolled-back-good/") })
		if first != 0 || last != 2 || back.state(t).Step != gate.Recovered || strings.Count(h.read("asked"), "reboot") != 1 {
			t.Errorf("%v: told %v, %+v, asked %q", clocks, h.got, back.state(t), h.read("asked"))
		}
	}
}

// TestLiveBy1970: a check and the gate on this very host, by a clock that was never set.
func TestLiveBy1970(t *testing.T) {
	if !canLoad() {
		t.Skip("programs are loaded by root alone")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "none.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	at := unset
	say := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		env := Env{Out: &out, Err: &errs, In: strings.NewReader(""), Getenv: func(string) string { return "" }, Now: func() time.Time { return at }}
		status, err := run(t.Context(), append(args, "--state-dir", dir, "--config", filepath.Join(dir, "none.yaml"), "-q"), env)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, errs.String())
		}
		return status, out.String() + errs.String()
	}
	if status, out := say("check"); status != 0 || !strings.Contains(out, "LEARNED") {
		t.Fatalf("first check: %d, %s", status, out)
	}
	at = right // a time server answered
	if status, out := say("gate", "--run-dir", filepath.Join(dir, "run"), "--exit-status"); status != 0 || !strings.Contains(out, "GOOD") {
		t.Errorf("gate: %d, %s", status, out)
	}
	at = unset.Add(time.Minute) // and was set back
	if status, out := say("check"); status != 0 || !strings.Contains(out, "GOOD") {
		t.Errorf("check: %d, %s", status, out)
	}
	if _, out := say("list"); !strings.Contains(out, "1970-01-01") {
		t.Errorf("the list does not say what the clock said:\n%s", out)
	}
}
