package gate

import (
	"fmt"
	"slices"
	"time"

	"lastgood/internal/snapshot"
)

// step is one decision under way.
type step struct {
	s    State
	e    Event
	p    Policy
	acts []Action
}

// Decide says what becomes of the state, and what is to be done, when something happens.
func Decide(s State, e Event, p Policy) (State, []Action) {
	after, acts := decide(s, e, p)
	switch {
	case after.Held == "":
		after.HeldSince = time.Time{}
	case s.Held == "" || s.Boot.ID != after.Boot.ID:
		after.HeldSince = e.At
	}
	return after, acts
}

func decide(s State, e Event, p Policy) (State, []Action) {
	if s.Step == "" {
		s.Step = Idle
	}
	s.Schema = Schema
	d := &step{s: s, e: e, p: p}
	byHand := slices.Contains([]EventType{Confirm, Release, GoBack, TryOnce, Failed}, e.Type)
	if e.World.Skip && !byHand {
		d.do(ClearHold, "") // turned off: whatever an earlier start of this boot left
		d.s.Held = ""
		return d.s, d.acts
	}
	d.newBoot()
	switch e.Type {
	case Checked:
		d.judged(false)
	case Assessed:
		d.judged(true)
	case Decided:
		d.undo()
	case Blessed:
		d.bless()
	case Confirm:
		d.confirm()
	case Release:
		d.release()
	case GoBack:
		d.goBack()
	case TryOnce:
		d.try()
	case Failed:
		d.failed()
	}
	return d.s, d.acts
}

func (d *step) do(a Act, text string, of ...Kernel) {
	act := Action{Act: a, Text: text}
	if len(of) > 0 {
		act.Kernel = of[0]
	}
	d.acts = append(d.acts, act)
}

func (d *step) tell(n Notice, format string, args ...any) {
	d.acts = append(d.acts, Action{Act: Tell, Notice: n, Text: fmt.Sprintf(format, args...)})
}

func (d *step) refuse(format string, args ...any) {
	d.acts = append(d.acts, Action{Act: Refuse, Text: fmt.Sprintf(format, args...)})
}

// newBoot takes the state into another boot; in the same one it does nothing.
func (d *step) newBoot() {
	if d.e.Boot.ID == d.s.Boot.ID {
		return
	}
	before := d.s
	d.s.Boot, d.s.Verdict, d.s.Told, d.s.Wants, d.s.Held = d.e.Boot, "", "", "", ""
	d.s.Released, d.s.Confirmed, d.s.Struck = false, false, false
	d.do(ClearHold, "") // /run outlives a soft reboot
	switch before.Step {
	case Armed:
		d.afterArmed()
	case Trial:
		d.afterTrial()
	case Returning:
		d.afterReturning()
	case Returned:
		if !d.s.Boot.Kernel.is(before.Back.to()) {
			d.s.Step = Idle
		}
	case Recovered:
		d.s.Step = Idle
	}
}

// to is where a change leads, from the zero value nowhere.
func (c *Change) to() Kernel {
	if c == nil {
		return Kernel{}
	}
	return c.To
}

func (d *step) afterArmed() {
	if d.s.Boot.Kernel.is(d.s.Try.to()) {
		d.s.Step = Trial
		return
	}
	d.tell(NoticeFellBack, "kernel %s was to be tried and %s runs: it did not come up far enough to be judged, or the boot loader did not take it", d.s.Try.to().Release, d.s.Boot.Kernel.Release)
	d.s.Step, d.s.Try = Idle, nil
}

func (d *step) afterTrial() {
	if d.s.Boot.Kernel.is(d.s.Try.to()) {
		return // booted into it once more: still to be judged
	}
	d.tell(NoticeUnblessed, "kernel %s was tried and not found good before the host was booted into %s", d.s.Try.to().Release, d.s.Boot.Kernel.Release)
	d.s.Step, d.s.Try = Idle, nil
}

func (d *step) afterReturning() {
	switch {
	case d.s.Boot.Kernel.is(d.s.Back.to()):
		d.s.Step = Returned
	default:
		d.tell(NoticeMissed, "the host was to go back to %s and %s runs: the boot loader did not do as it was set", d.s.Back.to().Release, d.s.Boot.Kernel.Release)
		d.s.Step = Idle
	}
}

// judged takes a verdict in; whole is whether it is of all that is looked at, and not
// only of what can be looked at before the workloads.
func (d *step) judged(whole bool) {
	switch d.e.Verdict {
	case snapshot.Good, snapshot.Learned:
		d.s.Told = ""
		d.good(whole)
	case snapshot.Regressed:
		d.s.Told = ""
		d.regressed()
	default:
		d.untold()
	}
}

// good is of a verdict that nothing came back worse.
func (d *step) good(whole bool) {
	if !whole && d.s.Step == Standing {
		return // more than what the gate can see led there
	}
	if !whole && d.s.Verdict == snapshot.Regressed && d.s.Held == "" {
		return // the workloads are up, and what was found since stands
	}
	d.s.Verdict, d.s.Wants = d.e.Verdict, ""
	d.letGo()
	if !whole || d.e.Verdict != snapshot.Good {
		return // with nothing to compare with, nothing is proved
	}
	d.s.Strikes, d.s.Lost = 0, ""
	switch d.s.Step {
	case Returned:
		d.s.Step = Recovered
		d.tell(NoticeRolledBack, "rolled back to %s, and this host is as it was: %s", d.s.Boot.Kernel.Release, d.e.Summary)
	case Broken, Standing:
		d.s.Step = Idle
		d.tell(NoticeGood, "%s", d.e.Summary)
	default:
		d.tell(NoticeGood, "%s", d.e.Summary)
	}
}

// letGo ends a hold.
func (d *step) letGo() {
	if d.s.Held == "" {
		return
	}
	d.s.Held = ""
	d.do(ClearHold, "")
	d.do(StartHeld, "")
}

// untold is of a check that came to no answer: what was found before stands, and nothing
// is held for it.
func (d *step) untold() {
	if d.s.Verdict != snapshot.Regressed {
		d.s.Verdict = d.e.Verdict
	}
	if d.e.Verdict == snapshot.Incomplete && d.e.Soon {
		return
	}
	if d.e.Verdict != "" && d.e.Verdict == d.s.Told {
		return // the gate said so, and the assessment found no more
	}
	d.s.Told = d.e.Verdict
	switch d.e.Verdict {
	case snapshot.Incomplete:
		d.tell(NoticeIncomplete, "the workloads are not held for it: %s", d.e.Summary)
	case snapshot.Invalid:
		d.tell(NoticeInvalid, "the workloads are not held for it: %s", d.e.Summary)
	default:
		d.tell(NoticeFailed, "the workloads are not held for it: %s", d.e.Summary)
	}
}

// reaction is the most that this regression may lead to.
func (d *step) reaction() Reaction {
	r := d.p.OnRegression
	if d.e.Most.Valid() && d.e.Most.Rank() < r.Rank() {
		r = d.e.Most
	}
	if r == Rollback && !d.e.World.KernelChanged {
		r = Hold // another kernel would not help: it is the one that was good
	}
	if !r.Valid() {
		r = Notify
	}
	return r
}

func (d *step) regressed() {
	first := d.s.Verdict != snapshot.Regressed
	d.s.Verdict, d.s.Wants = snapshot.Regressed, d.reaction()
	// What is only to be told leads to no reboot that had to be counted, and may be so for months.
	if !d.s.Struck && !d.s.Confirmed && d.s.Wants.Rank() >= Hold.Rank() {
		d.s.Struck = true
		d.s.Strikes++
	}
	if d.s.Wants.Rank() < Hold.Rank() && d.s.Step != Standing {
		d.letGo() // what it was held for is gone
	}
	switch {
	case d.s.Confirmed:
		if first {
			d.tell(NoticeRegressed, "worse than the last good boot, and confirmed by hand: %s", d.e.Summary)
		}
		return
	case d.s.Step == Returned:
		d.s.Step = Broken
		d.tell(NoticeStillBroken, "rolled back to %s and still broken, so it was not the kernel alone: %s", d.s.Boot.Kernel.Release, d.e.Summary)
	case d.s.Strikes >= d.maxStrikes() && d.s.Step != Standing && d.s.Wants.Rank() >= Hold.Rank():
		d.s.Step = Standing
		d.tell(NoticeThirdStrike, "bad boot number %d in a row: nothing more is tried by itself, the host stays up: %s", d.s.Strikes, d.e.Summary)
	}
	d.hold(first)
}

func (d *step) maxStrikes() int {
	if d.p.MaxStrikes < 1 {
		return 3
	}
	return d.p.MaxStrikes
}

// hold keeps the workloads back, where that is allowed. After the workloads were let go by
// the gate there is nothing to hold back but their restart, which would only do harm: then
// it is told, and held from the third strike on, when nothing is to be started any more.
func (d *step) hold(first bool) {
	again := d.s.Held != ""
	late := d.e.Type == Assessed && !again && d.s.Step != Standing
	if d.s.Wants.Rank() < Hold.Rank() || d.s.Released || late {
		if told := len(d.acts) > 0 && d.acts[len(d.acts)-1].Act == Tell; first && !told {
			d.tell(NoticeRegressed, "worse than the last good boot: %s", d.e.Summary)
		}
		return
	}
	d.s.Held = d.e.Summary
	if d.s.Held == "" {
		d.s.Held = "this boot is worse than the last good one"
	}
	d.do(SetHold, d.s.Held)
	if !again {
		d.tell(NoticeHeld, "workloads are held: %s", d.s.Held)
	}
}
