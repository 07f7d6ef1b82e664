package gate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

var update = flag.Bool("update", false, "rewrite the golden table")

var (
	oldKernel = Kernel{"6.1.0-30", "aaaa"}
	newKernel = Kernel{"6.1.0-31", "bbbb"}
	third     = Kernel{"6.1.0-29", "cccc"}
)

// world is a host whose loader can be set and that was good on the old kernel.
func world() World {
	return World{KernelChanged: true, Next: newKernel.Release, Writable: Yes,
		Targets: []Target{{oldKernel, Yes, true}, {newKernel, Yes, false}, {third, No, true}}}
}

// stateIn is a state in a step, as it is met in the boot b2 of the new kernel (or of the
// old one, where a rollback was made).
func stateIn(st Step) State {
	s := State{Step: st, Boot: Boot{"b2", newKernel}}
	switch st {
	case Armed:
		s.Boot, s.Try = Boot{"b1", oldKernel}, &Change{oldKernel, newKernel}
	case Trial:
		s.Try = &Change{oldKernel, newKernel}
	case Returning:
		s.Back, s.Bad, s.Verdict, s.Wants, s.Strikes, s.Struck = &Change{newKernel, oldKernel}, []Kernel{newKernel}, snapshot.Regressed, Rollback, 1, true
	case Returned, Recovered, Broken:
		s.Boot, s.Back, s.Bad, s.Strikes = Boot{"b3", oldKernel}, &Change{newKernel, oldKernel}, []Kernel{newKernel}, 1
	case Standing:
		s.Strikes = 3
	}
	return s
}

// variants are the events of the table, by name.
func variants(s State) []struct {
	name string
	e    Event
} {
	here := s.Boot
	at := func(t EventType, change func(*Event)) Event {
		e := Event{Type: t, Boot: here, By: "ann", Summary: "SUM", World: world()}
		if change != nil {
			change(&e)
		}
		return e
	}
	verdict := func(v snapshot.Verdict) func(*Event) { return func(e *Event) { e.Verdict = v } }
	boot := func(k Kernel) func(*Event) { return func(e *Event) { e.Boot = Boot{"b9", k} } }
	return []struct {
		name string
		e    Event
	}{
		{"booted, same boot", at(Booted, nil)},
		{"booted, old kernel", at(Booted, boot(oldKernel))},
		{"booted, new kernel", at(Booted, boot(newKernel))},
		{"booted, third kernel", at(Booted, boot(third))},
		{"booted, skipped", at(Booted, func(e *Event) { e.World.Skip = true; e.Boot = Boot{"b9", newKernel} })},
		{"checked good", at(Checked, verdict(snapshot.Good))},
		{"checked learned", at(Checked, verdict(snapshot.Learned))},
		{"checked regressed", at(Checked, verdict(snapshot.Regressed))},
		{"checked incomplete", at(Checked, verdict(snapshot.Incomplete))},
		{"checked incomplete, and will be assessed", at(Checked, func(e *Event) { e.Verdict, e.Soon = snapshot.Incomplete, true })},
		{"checked invalid", at(Checked, verdict(snapshot.Invalid))},
		{"checked failed", at(Checked, verdict(""))},
		{"assessed good", at(Assessed, verdict(snapshot.Good))},
		{"assessed learned", at(Assessed, verdict(snapshot.Learned))},
		{"assessed regressed", at(Assessed, verdict(snapshot.Regressed))},
		{"assessed regressed, only hold", at(Assessed, func(e *Event) { e.Verdict, e.Most = snapshot.Regressed, Hold })},
		{"assessed regressed, only to be told", at(Assessed, func(e *Event) { e.Verdict, e.Most = snapshot.Regressed, Notify })},
		{"assessed regressed, same kernel as good", at(Assessed, func(e *Event) { e.Verdict, e.World.KernelChanged = snapshot.Regressed, false })},
		{"assessed incomplete", at(Assessed, verdict(snapshot.Incomplete))},
		{"decided", at(Decided, nil)},
		{"blessed", at(Blessed, nil)},
		{"confirm", at(Confirm, nil)},
		{"release", at(Release, nil)},
		{"go back", at(GoBack, nil)},
		{"go back, inhibited", at(GoBack, func(e *Event) { e.World.Inhibited = "INHIBITED" })},
		{"go back to one not installed", at(GoBack, func(e *Event) { e.To = third })},
		{"try new", at(TryOnce, func(e *Event) { e.To = newKernel })},
		{"try old", at(TryOnce, func(e *Event) { e.To = oldKernel })},
		{"failed to set default", at(Failed, func(e *Event) { e.Act = SetDefault })},
		{"failed to reboot", at(Failed, func(e *Event) { e.Act = Reboot })},
	}
}

// TestTable is every step with every event; the golden file is for reading.
func TestTable(t *testing.T) {
	p := Policy{OnRegression: Rollback, MaxStrikes: 3}
	var b strings.Builder
	for _, st := range Steps() {
		for _, regressed := range []bool{false, true} {
			s := stateIn(st)
			name := string(st)
			if regressed {
				if st == Armed || s.Verdict != "" {
					continue
				}
				s.Verdict, s.Wants, s.Held, s.Struck = snapshot.Regressed, Rollback, "WHY", true
				s.Strikes = max(s.Strikes, 1)
				name += ", regressed and held"
			}
			fmt.Fprintf(&b, "== %s\n", name)
			for _, v := range variants(s) {
				after, acts := Decide(s, v.e, p)
				fmt.Fprintf(&b, "%-42s -> %s\n", v.name, line(after, acts))
			}
		}
	}
	path := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("the table changed (-want +have); if that is meant, run with -update and read it:\n%s", d)
	}
}

func line(s State, acts []Action) string {
	parts := []string{fmt.Sprintf("%-9s", s.Step)}
	if s.Held != "" {
		parts = append(parts, "HELD")
	}
	for _, a := range acts {
		text := string(a.Act)
		switch a.Act {
		case Tell:
			text = "tell " + string(a.Notice)
		case SetDefault, SetOnce:
			text += " " + a.Kernel.Release
		case Refuse:
			text += " (" + a.Text + ")"
		}
		parts = append(parts, text)
	}
	return strings.TrimSpace(strings.Join(parts, "; "))
}

// story is a host's life: events, and what is to come of each.
type story struct {
	name   string
	policy Policy
	events []Event
	want   []string // step, then acts
}

func TestStories(t *testing.T) {
	roll := Policy{OnRegression: Rollback, MaxStrikes: 3}
	ev := func(typ EventType, boot string, k Kernel, v snapshot.Verdict) Event {
		w := world()
		w.KernelChanged = k != oldKernel
		return Event{Type: typ, Boot: Boot{boot, k}, Verdict: v, Summary: "SUM", By: "ann", World: w}
	}
	for _, s := range []story{
		{"a good boot", roll, []Event{ev(Checked, "1", oldKernel, snapshot.Good), ev(Assessed, "1", oldKernel, snapshot.Good), ev(Decided, "1", oldKernel, ""), ev(Blessed, "1", oldKernel, "")},
			[]string{"idle; clear-hold", "idle; tell good", "idle", "idle"}},
		{"a regression is held until somebody lets go", Policy{OnRegression: Hold}, []Event{ev(Checked, "1", newKernel, snapshot.Regressed), ev(Decided, "1", newKernel, ""), ev(Release, "1", newKernel, ""), ev(Checked, "1", newKernel, snapshot.Regressed)},
			[]string{"idle; HELD; clear-hold; set-hold; tell gate-held", "idle; HELD", "idle; clear-hold; start-held; tell gate-released", "idle"}},
		{"rolled back, good", roll, []Event{ev(Checked, "1", newKernel, snapshot.Regressed), ev(Decided, "1", newKernel, ""), ev(Checked, "2", oldKernel, snapshot.Good), ev(Assessed, "2", oldKernel, snapshot.Good), ev(Checked, "3", oldKernel, snapshot.Good)},
			[]string{"idle; HELD; clear-hold; set-hold; tell gate-held", "returning; HELD; set-default 6.1.0-30; tell rollback-armed; reboot", "returned; clear-hold", "recovered; tell rolled-back-good", "idle; clear-hold"}},
		{"rolled back and still broken", roll, []Event{ev(Assessed, "1", newKernel, snapshot.Regressed), ev(Decided, "1", newKernel, ""), ev(Assessed, "2", oldKernel, snapshot.Regressed), ev(Decided, "2", oldKernel, ""), ev(Assessed, "3", newKernel, snapshot.Regressed), ev(Decided, "3", newKernel, "")},
			[]string{"idle; clear-hold; tell regressed", "returning; set-default 6.1.0-30; tell rollback-armed; reboot", "broken; clear-hold; tell rolled-back-still-broken", "broken", "standing; HELD; clear-hold; tell third-strike; set-hold; tell gate-held", "standing; HELD"}},
		{"one that was rolled back from is not again", roll, []Event{ev(Checked, "1", newKernel, snapshot.Regressed), ev(Decided, "1", newKernel, ""), ev(Assessed, "2", oldKernel, snapshot.Good), ev(Checked, "3", newKernel, snapshot.Regressed), ev(Decided, "3", newKernel, "")},
			[]string{"idle; HELD; clear-hold; set-hold; tell gate-held", "returning; HELD; set-default 6.1.0-30; tell rollback-armed; reboot", "recovered; clear-hold; tell rolled-back-good", "idle; HELD; clear-hold; set-hold; tell gate-held", "idle; HELD; tell rollback-refused"}},
		{"what could not be told holds nothing", roll, []Event{ev(Checked, "1", newKernel, snapshot.Incomplete), ev(Checked, "1", newKernel, ""), ev(Decided, "1", newKernel, "")},
			[]string{"idle; clear-hold; tell incomplete", "idle; tell tool-failed", "idle"}},
		{"a fallback is told once a boot", roll, []Event{ev(Checked, "1", oldKernel, snapshot.Invalid), ev(Assessed, "1", oldKernel, snapshot.Invalid), ev(Assessed, "1", oldKernel, snapshot.Incomplete), ev(Checked, "2", oldKernel, snapshot.Invalid)},
			[]string{"idle; clear-hold; tell invalid", "idle", "idle; tell incomplete", "idle; clear-hold; tell invalid"}},
		{"the loader did not do as set", roll, []Event{ev(Checked, "1", newKernel, snapshot.Regressed), ev(Decided, "1", newKernel, ""), ev(Checked, "2", newKernel, snapshot.Regressed), ev(Decided, "2", newKernel, "")},
			[]string{"idle; HELD; clear-hold; set-hold; tell gate-held", "returning; HELD; set-default 6.1.0-30; tell rollback-armed; reboot", "idle; HELD; clear-hold; tell rollback-missed; set-hold; tell gate-held", "idle; HELD; tell rollback-refused"}},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(t) })
	}
}

func (s story) run(t *testing.T) {
	var st State
	for i, e := range s.events {
		var acts []Action
		st, acts = Decide(st, e, s.policy)
		have := strings.Join(strings.Fields(line(st, acts)), " ")
		have = strings.Replace(have, " ;", ";", 1)
		if have != s.want[i] {
			t.Fatalf("event %d, %s %s:\nhave %s\nwant %s", i, e.Type, e.Verdict, have, s.want[i])
		}
	}
}

// TestTryBoot follows a kernel that is tried: kept when good, and left when it never came up.
func TestTryBoot(t *testing.T) {
	p := Policy{OnRegression: Rollback, MaxStrikes: 3}
	w := world()
	w.Next, w.KernelChanged = oldKernel.Release, false
	armed, acts := Decide(State{}, Event{Type: TryOnce, Boot: Boot{"1", oldKernel}, To: newKernel, World: w}, p)
	if got := line(armed, acts); !strings.HasSuffix(got, "clear-hold; set-default 6.1.0-30; set-once 6.1.0-31; tell try-armed") || armed.Step != Armed {
		t.Fatal(got)
	}
	w.KernelChanged = true
	trial, _ := Decide(armed, Event{Type: Booted, Boot: Boot{"2", newKernel}, World: w}, p)
	if trial.Step != Trial {
		t.Fatal(trial.Step)
	}
	if kept, acts := Decide(trial, Event{Type: Blessed, Boot: trial.Boot, World: w}, p); kept.Step != Trial || len(acts) != 0 {
		t.Fatalf("blessed without a verdict: %s", line(kept, acts))
	}
	good, _ := Decide(trial, Event{Type: Assessed, Boot: trial.Boot, Verdict: snapshot.Good, World: w}, p)
	kept, acts := Decide(good, Event{Type: Blessed, Boot: trial.Boot, World: w}, p)
	if kept.Step != Idle || len(acts) != 2 || acts[0].Act != SetDefault || acts[0].Kernel != newKernel {
		t.Fatal(line(kept, acts))
	}
	// A bad trial leaves by a plain reboot: the default was never touched, whatever the loader lets be written.
	w.Writable = No
	bad, _ := Decide(trial, Event{Type: Assessed, Boot: trial.Boot, Verdict: snapshot.Regressed, World: w}, p)
	left, acts := Decide(bad, Event{Type: Decided, Boot: trial.Boot, World: w}, p)
	if left.Step != Returning || acts[len(acts)-1].Act != Reboot || acts[0].Act == SetDefault {
		t.Fatal(line(left, acts))
	}
	fell, acts := Decide(armed, Event{Type: Booted, Boot: Boot{"2", oldKernel}, World: w}, p)
	if fell.Step != Idle || acts[1].Notice != NoticeFellBack {
		t.Fatal(line(fell, acts))
	}
	if _, acts := Decide(State{}, Event{Type: TryOnce, Boot: Boot{"1", oldKernel}, To: newKernel, World: w}, p); acts[1].Act != Refuse {
		t.Fatal("a one-shot boot on a loader that cannot clear it")
	}
}
