package gate

import (
	"fmt"

	"lastgood/internal/snapshot"
)

// undo goes back to the last good kernel by itself, where all that is asked for is so.
func (d *step) undo() {
	if d.s.Verdict != snapshot.Regressed || d.s.Wants != Rollback || d.p.OnRegression != Rollback {
		return
	}
	bad := d.s.Boot.Kernel
	if why := d.forbidden(bad); why != "" {
		if d.s.Step == Idle || d.s.Step == Trial {
			d.tell(NoticeRefused, "this boot is not undone: %s", why)
		}
		return
	}
	target, why := d.target()
	if why != "" {
		d.tell(NoticeRefused, "this boot is not undone: %s", why)
		return
	}
	set := d.e.World.Next != target.Release
	if set && d.e.World.Writable != Yes {
		d.tell(NoticeRefused, "this boot is not undone: the boot loader cannot be set (%s); boot %s by hand", d.e.World.Why, target.Release)
		return
	}
	d.s.addBad(bad)
	d.leaveFor(target, set)
	d.do(Reboot, fmt.Sprintf("kernel %s regressed, going back to %s", bad.Release, target.Release))
}

// forbidden says what keeps this boot from being undone by itself, or "".
func (d *step) forbidden(bad Kernel) string {
	switch {
	case d.s.Confirmed:
		return "somebody confirmed it"
	case d.e.World.Inhibited != "":
		return d.e.World.Inhibited
	case d.s.Lost != "":
		return "what was remembered is lost (" + d.s.Lost + "), and it may have been undone before"
	case d.s.Strikes >= d.maxStrikes():
		return fmt.Sprintf("it is bad boot number %d in a row", d.s.Strikes)
	case d.s.isBad(bad):
		return "kernel " + bad.Release + " was rolled back from before"
	case d.s.Step != Idle && d.s.Step != Trial:
		return "a rollback was made or is under way"
	case bad.Release == "":
		return "it could not be told which kernel runs"
	case !d.e.World.KernelChanged:
		return "the kernel is the one that was good"
	}
	return ""
}

// target is the best kernel to go back to, or why there is none.
func (d *step) target() (Kernel, string) {
	why := "no other kernel was ever good here"
	for _, t := range d.e.World.Targets {
		switch {
		case t.Kernel.Release == d.s.Boot.Kernel.Release || !t.Good || d.s.isBad(t.Kernel):
		case t.Installed != Yes:
			why = fmt.Sprintf("kernel %s was good and is not installed any more", t.Kernel.Release)
			if t.Installed == Unknown {
				why = fmt.Sprintf("it could not be told whether kernel %s, which was good, is still installed", t.Kernel.Release)
			}
		default:
			return t.Kernel, ""
		}
	}
	return Kernel{}, why
}

// leaveFor sets the next boot to be one of the last good kernel.
func (d *step) leaveFor(target Kernel, set bool) {
	bad := d.s.Boot.Kernel
	d.s.Step, d.s.Back, d.s.Try = Returning, &Change{From: bad, To: target}, nil
	if set {
		d.do(SetDefault, "", target)
	}
	d.tell(NoticeRollback, "kernel %s is worse than %s: the host goes back", bad.Release, target.Release)
}

// goBack is a rollback that somebody asks for.
func (d *step) goBack() {
	w := d.e.World
	if w.Inhibited != "" {
		d.refuse("nothing is undone now: %s", w.Inhibited)
		return
	}
	target, why := d.asked()
	if why != "" {
		d.refuse("%s", why)
		return
	}
	set := w.Next != target.Release
	if set && w.Writable != Yes {
		d.refuse("the boot loader cannot be set: %s", w.Why)
		return
	}
	d.s.Confirmed = false
	d.leaveFor(target, set)
	if d.e.Reboot {
		d.do(Reboot, fmt.Sprintf("%s asked to go back to kernel %s", d.e.By, target.Release))
	}
}

// asked is the kernel that somebody wants to go back to; naming none leaves the choice.
func (d *step) asked() (Kernel, string) {
	if d.e.To.Release == "" {
		return d.target()
	}
	for _, t := range d.e.World.Targets {
		if t.Kernel.Release != d.e.To.Release {
			continue
		}
		switch {
		case t.Kernel.Release == d.s.Boot.Kernel.Release:
			return Kernel{}, fmt.Sprintf("kernel %s is the one that runs", t.Kernel.Release)
		case t.Installed != Yes:
			return Kernel{}, fmt.Sprintf("kernel %s is installed: %s", t.Kernel.Release, t.Installed)
		case !t.Good:
			return Kernel{}, fmt.Sprintf("kernel %s was never good here; `lastgood try %[1]s` boots it once", t.Kernel.Release)
		}
		return t.Kernel, ""
	}
	return Kernel{}, fmt.Sprintf("kernel %s is not known here", d.e.To.Release)
}

// bless keeps a kernel that was tried and found good. It does nothing where the boot was
// not judged good: to be complete is not to be good.
func (d *step) bless() {
	if d.s.Verdict != snapshot.Good || d.s.Step != Trial {
		return
	}
	d.commit()
}

// commit makes the kernel that runs the default. Where the loader cannot be set the try
// stays under way.
func (d *step) commit() {
	k, w := d.s.Boot.Kernel, d.e.World
	if w.Next != k.Release {
		if w.Writable != Yes {
			d.tell(NoticeActionFailed, "kernel %s was tried and is good, but the boot loader cannot be set to it: %s", k.Release, w.Why)
			return
		}
		d.do(SetDefault, "", k)
	}
	d.s.Step, d.s.Try = Idle, nil
	d.tell(NoticeCommitted, "kernel %s was tried, is good, and boots from now on", k.Release)
}

// confirm is somebody's word that this boot is fine.
func (d *step) confirm() {
	k, w := d.s.Boot.Kernel, d.e.World
	moved := d.s.Step == Returning && w.Next != k.Release
	if moved && w.Writable != Yes {
		d.refuse("the next boot is set to kernel %s, and the boot loader cannot be set: %s", d.s.Back.to().Release, w.Why)
		return
	}
	d.s.Confirmed, d.s.Strikes, d.s.Lost = true, 0, ""
	d.s.forgive(k)
	d.letGo()
	switch d.s.Step {
	case Trial:
		d.commit()
	case Armed: // what is to be tried next stays
	default:
		if moved {
			d.do(SetDefault, "", k)
		}
		d.s.Step = Idle
		d.tell(NoticeConfirmed, "%s says that this boot of %s is fine", d.e.By, k.Release)
	}
}

// release lets the workloads go for the rest of this boot.
func (d *step) release() {
	d.s.Released, d.s.Held = true, ""
	d.do(ClearHold, "")
	d.do(StartHeld, "")
	d.tell(NoticeReleased, "%s let the workloads go", d.e.By)
}

// try has a kernel booted once, with the one that runs as what boots after it.
func (d *step) try() {
	to, w := d.e.To, d.e.World
	running := d.s.Boot.Kernel
	i := -1
	for n, t := range w.Targets {
		if t.Kernel.Release == to.Release {
			i = n
		}
	}
	good := false
	for _, t := range w.Targets {
		good = good || t.Good && t.Kernel.is(running)
	}
	switch {
	case d.s.Step != Idle && d.s.Step != Recovered && d.s.Step != Armed:
		d.refuse("first things first: %s", d.s.Describe())
	case to.Release == "" || to.Release == running.Release:
		d.refuse("kernel %s is the one that runs: name another one", running.Release)
	case i < 0 || w.Targets[i].Installed != Yes:
		d.refuse("kernel %s is not installed here, or it cannot be told", to.Release)
	case !good:
		d.refuse("kernel %s, which runs, was not found good: there is nothing to come back to", running.Release)
	case w.Writable != Yes:
		d.refuse("the boot loader cannot boot a kernel once: %s", w.Why)
	case d.s.isBad(w.Targets[i].Kernel):
		d.refuse("kernel %s was rolled back from", to.Release)
	default:
		d.s.Step, d.s.Try = Armed, &Change{From: running, To: w.Targets[i].Kernel}
		d.do(SetDefault, "", running)
		d.do(SetOnce, "", w.Targets[i].Kernel)
		d.tell(NoticeArmed, "the next boot tries kernel %s once; %s stays the default until it is good", to.Release, running.Release)
	}
}

// failed is told that something could not be done. Where it was the loader, what hung on
// it is off, and it is not tried again by itself; where it was the reboot, the next one
// still goes where it was to go.
func (d *step) failed() {
	underWay := d.s.Step == Armed || d.s.Step == Returning
	if underWay && (d.e.Act == SetDefault || d.e.Act == SetOnce) {
		d.s.Step, d.s.Try = Idle, nil
	}
	d.tell(NoticeActionFailed, "%s could not be done: %s", d.e.Act, d.e.Summary)
}
