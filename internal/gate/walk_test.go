package gate

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"lastgood/internal/snapshot"
)

// host is a machine that does what the actions say, for the random walks.
type host struct {
	r        *rand.Rand
	state    State
	policy   Policy
	boot     int
	running  Kernel
	next     string // the default's release
	once     string
	held     bool
	rollback map[string]int // automatic rollbacks by build
	kernels  []Target
	// of this boot
	regressed, confirmed, rebooting, up bool
}

func newHost(seed uint64) *host {
	r := rand.New(rand.NewPCG(seed, 7))
	h := &host{r: r, rollback: map[string]int{}, up: true, policy: Policy{
		OnRegression: []Reaction{Notify, Hold, Rollback, Rollback, Rollback}[r.IntN(5)], MaxStrikes: 1 + r.IntN(4)}}
	for i := range 4 {
		id := fmt.Sprintf("build%d", i)
		if r.IntN(8) == 0 {
			id = ""
		}
		h.kernels = append(h.kernels, Target{Kernel{fmt.Sprintf("6.%d", i), id}, []Answer{Yes, Yes, Yes, No, Unknown}[r.IntN(5)], r.IntN(3) > 0})
	}
	h.running, h.next = h.kernels[0].Kernel, h.kernels[r.IntN(4)].Kernel.Release
	return h
}

func (h *host) event() Event {
	types := []EventType{Booted, Checked, Checked, Assessed, Assessed, Decided, Decided, Decided, Blessed, Confirm, Release, GoBack, TryOnce}
	e := Event{Type: types[h.r.IntN(len(types))], Boot: Boot{fmt.Sprint(h.boot), h.running}, Summary: "SUM", By: "ann", Reboot: h.r.IntN(2) == 0}
	if (e.Type == Confirm || e.Type == Release || e.Type == GoBack) && h.r.IntN(3) > 0 {
		e.Type = Decided // people are rarer
	}
	e.Verdict = []snapshot.Verdict{snapshot.Good, snapshot.Learned, snapshot.Regressed, snapshot.Regressed, snapshot.Regressed, snapshot.Incomplete, snapshot.Invalid, ""}[h.r.IntN(8)]
	e.Most = []Reaction{"", "", Notify, Hold, Rollback}[h.r.IntN(5)]
	if h.r.IntN(2) == 0 {
		e.To = h.kernels[h.r.IntN(4)].Kernel
	}
	e.World = World{KernelChanged: h.r.IntN(4) > 0, Next: h.next, Writable: []Answer{Yes, Yes, Yes, No, Unknown}[h.r.IntN(5)], Targets: h.kernels, Skip: h.r.IntN(20) == 0}
	if h.r.IntN(5) == 0 {
		e.World.Inhibited = "INHIBITED"
	}
	return e
}

// check holds the actions of one event against what must always be so.
func (h *host) check(before State, e Event, acts []Action) error {
	auto := e.Type != Confirm && e.Type != Release && e.Type != GoBack && e.Type != TryOnce
	for _, a := range acts {
		switch a.Act {
		case SetHold:
			if !h.regressed || e.World.Skip {
				return fmt.Errorf("held in a boot that was not judged worse")
			}
		case SetDefault, SetOnce:
			if e.World.Writable != Yes {
				return fmt.Errorf("%s on a loader that cannot be set", a.Act)
			}
		}
		if a.Act == Tell && a.Notice == NoticeRollback {
			if err := h.checkRollback(before, e, auto); err != nil {
				return err
			}
		}
		if a.Act == Reboot && auto && (!h.regressed || h.policy.OnRegression != Rollback) {
			return fmt.Errorf("rebooted without a regression, or a leave to")
		}
	}
	return nil
}

func (h *host) checkRollback(before State, e Event, auto bool) error {
	to := h.state.Back.To
	if e.World.Inhibited != "" {
		return fmt.Errorf("rolled back while inhibited")
	}
	for _, t := range h.kernels {
		if t.Kernel == to && (t.Installed != Yes || !t.Good) {
			return fmt.Errorf("rolled back to %+v", t)
		}
	}
	if to.Release == h.running.Release {
		return fmt.Errorf("rolled back to the kernel that runs")
	}
	if !auto {
		return nil
	}
	key := h.running.Key()
	h.rollback[key]++
	switch {
	case h.rollback[key] > 1:
		return fmt.Errorf("build %s was rolled back from twice", key)
	case !h.regressed || e.World.Skip || h.confirmed || before.Confirmed:
		return fmt.Errorf("rolled back: regressed %v, skip %v, confirmed %v", h.regressed, e.World.Skip, h.confirmed)
	case before.Strikes >= h.policy.MaxStrikes:
		return fmt.Errorf("rolled back at strike %d of %d", before.Strikes, h.policy.MaxStrikes)
	}
	return nil
}

// apply does the actions; now and then one of them fails.
func (h *host) apply(e Event, acts []Action) {
	for _, a := range acts {
		if (a.Act == SetDefault || a.Act == SetOnce || a.Act == Reboot) && h.r.IntN(10) == 0 {
			var more []Action
			h.state, more = Decide(h.state, Event{Type: Failed, Boot: e.Boot, Act: a.Act, Summary: "EIO", World: e.World}, h.policy)
			h.apply(e, more)
			return
		}
		switch a.Act {
		case SetHold:
			h.held = true
		case ClearHold:
			h.held = false
		case SetDefault:
			h.next = a.Kernel.Release
		case SetOnce:
			h.once = a.Kernel.Release
		case Reboot:
			h.rebooting = true
		}
	}
}

// reboot goes where the loader is set to, mostly.
func (h *host) reboot() {
	to := h.next
	if h.once != "" {
		to, h.once = h.once, ""
	}
	h.boot++
	h.regressed, h.confirmed, h.rebooting, h.held = false, false, false, false
	for _, t := range h.kernels {
		if t.Kernel.Release == to || h.r.IntN(10) == 0 {
			h.running = t.Kernel
		}
	}
}

func TestRandomWalks(t *testing.T) {
	rolled, stood := 0, 0
	for seed := range uint64(3000) {
		h := newHost(seed)
		reboots := 0 // by itself, since a boot was last good or confirmed
		for n := range 80 {
			e := h.event()
			judged := e.Type == Checked || e.Type == Assessed
			if judged && e.Verdict == snapshot.Regressed && !e.World.Skip {
				h.regressed = true
			}
			before := h.state
			var acts []Action
			h.state, acts = Decide(h.state, e, h.policy)
			if err := h.check(before, e, acts); err != nil {
				t.Fatalf("seed %d, event %d %+v\nbefore %+v\n after %+v\n acts %+v\n%v", seed, n, e, before, h.state, acts, err)
			}
			switch {
			case e.Type == Confirm:
				h.confirmed, reboots = true, 0
				delete(h.rollback, h.running.Key()) // forgiven by hand
			case e.Type == GoBack && h.state.Step == Returning:
				h.confirmed = false
			case e.Type == Assessed && e.Verdict == snapshot.Good && !e.World.Skip:
				reboots = 0
			}
			h.apply(e, acts)
			if h.held != (h.state.Held != "") && !(h.held && e.World.Skip) {
				t.Fatalf("seed %d, event %d: held %v, the state says %q", seed, n, h.held, h.state.Held)
			}
			if h.rebooting && e.Type == Decided {
				rolled++
				if reboots++; reboots > h.policy.MaxStrikes {
					t.Fatalf("seed %d: %d reboots in a row by itself", seed, reboots)
				}
			}
			if h.state.Step == Standing {
				stood++
			}
			if h.rebooting || h.r.IntN(6) == 0 {
				h.reboot()
			}
		}
	}
	if rolled < 100 || stood < 100 {
		t.Errorf("the walks rolled back %d times and stood %d times: they show nothing", rolled, stood)
	}
}

// TestDescribeEveryStep: no two steps are told alike.
func TestDescribeEveryStep(t *testing.T) {
	seen := map[string]Step{}
	for _, st := range Steps() {
		s := stateIn(st)
		text := s.Describe()
		if other, twice := seen[text]; twice || text == "" {
			t.Errorf("%s and %s are both told as %q", st, other, text)
		}
		seen[text] = st
	}
}
