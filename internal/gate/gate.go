// Package gate decides what is done about a boot: hold the workloads, let them go, try a
// new kernel once, keep it, go back to the last good one, or stay as it is.
//
// [Decide] is a pure function of what is remembered, what happened and what the
// administrator allows; it reads no file and no clock. What it asks for is done by the
// caller, after the new state was written: a power cut between the two can lose an
// action, never repeat it.
//
// What always holds, whatever happens in whatever order:
//
//   - Workloads are held only in a boot that was judged worse, never for what could not be told.
//   - No boot is undone by itself but for a regression, and one build once at most.
//   - Nothing goes back to a kernel that is not installed or was never good here.
//   - Nobody is overruled: not while inhibited, not after somebody confirmed the boot.
//   - At the third bad boot in a row the host stays up with its workloads held, so that
//     somebody can log in.
package gate

import (
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// Schema is that of the state's document.
const Schema = "lastgood.gate/v1"

// Step is where a host stands between two kernels.
type Step string

const (
	Idle      Step = "idle"      // nothing is under way
	Armed     Step = "armed"     // the next boot tries a kernel once
	Trial     Step = "trial"     // this boot is such a try
	Returning Step = "returning" // the next boot is to be of the last good kernel
	Returned  Step = "returned"  // this boot is; it was not judged yet
	Recovered Step = "recovered" // rolled back, good
	Broken    Step = "broken"    // rolled back and still broken
	Standing  Step = "standing"  // too many bad boots in a row: stay up, hold workloads
)

// Steps lists them all.
func Steps() []Step {
	return []Step{Idle, Armed, Trial, Returning, Returned, Recovered, Broken, Standing}
}

// Kernel names a kernel build. BuildID is "" where it could not be read.
type Kernel struct {
	Release string `json:"release"`
	BuildID string `json:"build_id,omitempty"`
}

// Key is by what a build is remembered: its build-id, or its release where there is none.
func (k Kernel) Key() string {
	if k.BuildID != "" {
		return k.BuildID
	}
	return "release:" + k.Release
}

// is reports whether two kernels are the same as far as can be told.
func (k Kernel) is(o Kernel) bool {
	return k.Release != "" && k.Release == o.Release && (k.BuildID == "" || o.BuildID == "" || k.BuildID == o.BuildID)
}

// Boot is one boot and its kernel.
type Boot struct {
	ID     string `json:"id"`
	Kernel Kernel `json:"kernel"`
}

// Change is a way from one kernel to another: From is where a failure leads back to.
type Change struct {
	From Kernel `json:"from"`
	To   Kernel `json:"to"`
}

// State is what is remembered from boot to boot. Its zero value is a host that nothing
// happened to.
type State struct {
	Schema string `json:"schema"`
	Step   Step   `json:"step"`
	// Boot is the boot that the next fields are of.
	Boot    Boot             `json:"boot"`
	Verdict snapshot.Verdict `json:"verdict,omitempty"`
	// Told is the verdict without an answer that somebody was told of in this boot.
	Told snapshot.Verdict `json:"told,omitempty"`
	// Wants is what the regression of this boot calls for.
	Wants Reaction `json:"wants,omitempty"`
	// Held says why workloads are held, "" where they are not.
	Held string `json:"held,omitempty"`
	// HeldSince is when this hold began, zero where they are not held or that is not known.
	HeldSince time.Time `json:"held_since,omitzero"`
	// Released: somebody let the workloads go in this boot.
	Released bool `json:"released,omitempty"`
	// Confirmed: somebody said that this boot is fine.
	Confirmed bool `json:"confirmed,omitempty"`
	// Struck: this boot was counted as a bad one.
	Struck bool `json:"struck,omitempty"`
	// Strikes counts bad boots since the last good one.
	Strikes int `json:"strikes,omitempty"`
	// Try is the try that is under way, Back the newest rollback.
	Try  *Change `json:"try,omitempty"`
	Back *Change `json:"back,omitempty"`
	// Bad are the builds that were rolled back from, newest last.
	Bad []Kernel `json:"bad,omitempty"`
	// Lost says why what was remembered is gone; until a boot is good again nothing is
	// rolled back, for it may have been done before.
	Lost string `json:"lost,omitempty"`
}

// Reaction is what is done about a regression, from the least to the most.
type Reaction string

const (
	Notify   Reaction = "notify"
	Hold     Reaction = "hold"
	Rollback Reaction = "rollback"
)

// Rank orders reactions; an unknown one is the least.
func (r Reaction) Rank() int {
	return max(0, slices.Index([]Reaction{Notify, Hold, Rollback}, r))
}

// Valid reports whether r is one of the three.
func (r Reaction) Valid() bool { return slices.Contains([]Reaction{Notify, Hold, Rollback}, r) }

// Policy is what the administrator allows.
type Policy struct {
	// OnRegression is the most that is done by itself.
	OnRegression Reaction
	// MaxStrikes is the bad boot in a row at which nothing more is tried.
	MaxStrikes int
}

// maxBad bounds the list of builds that were rolled back from.
const maxBad = 64

func (s *State) isBad(k Kernel) bool {
	return slices.ContainsFunc(s.Bad, func(b Kernel) bool { return b.Key() == k.Key() })
}

func (s *State) addBad(k Kernel) {
	if !s.isBad(k) {
		s.Bad = append(slices.Clone(s.Bad), k)
	}
	if n := len(s.Bad) - maxBad; n > 0 {
		s.Bad = slices.Clone(s.Bad[n:])
	}
}

func (s *State) forgive(k Kernel) {
	s.Bad = slices.DeleteFunc(slices.Clone(s.Bad), func(b Kernel) bool { return b.Key() == k.Key() })
}

// Answer is yes, no or could not tell.
type Answer string

const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "could not tell"
)

// Target is a kernel that may be gone back to.
type Target struct {
	Kernel Kernel
	// Installed: its image, modules and boot entry are there.
	Installed Answer
	// Good: a boot of it was good here.
	Good bool
}

// World is what is so outside when something happens.
type World struct {
	// Inhibited says why nothing may be undone by itself now, or "".
	Inhibited string
	// Skip: lastgood.skip stands on the kernel's command line.
	Skip bool
	// KernelChanged: the kernel is another build than the last good boot's.
	KernelChanged bool
	// Next is the release of the kernel that the loader boots next and from then on, "" where it cannot be told, or is a
	// one-shot choice of somebody's: a host that went back by that would leave again at the next reboot.
	Next string
	// Writable says whether the loader can be set, with the reason where it is not yes.
	Writable Answer
	Why      string
	// Targets are the kernels that may be gone back to, the best first.
	Targets []Target
}

// EventType is what happened.
type EventType string

const (
	Booted   EventType = "booted"   // the gate saw this boot
	Checked  EventType = "checked"  // a check before the workloads came to a verdict
	Assessed EventType = "assessed" // so did the one after them
	Decided  EventType = "decided"  // it is time to undo a bad boot, if so it be
	Blessed  EventType = "blessed"  // the boot is complete and good
	Confirm  EventType = "confirm"  // somebody says that this boot is fine
	Release  EventType = "release"  // somebody lets the workloads go
	GoBack   EventType = "go-back"  // somebody wants an earlier kernel
	TryOnce  EventType = "try"      // somebody wants a kernel tried once
	Failed   EventType = "failed"   // an action could not be done
)

// EventTypes lists them all.
func EventTypes() []EventType {
	return []EventType{Booted, Checked, Assessed, Decided, Blessed, Confirm, Release, GoBack, TryOnce, Failed}
}

// Event is something that happened in a boot.
type Event struct {
	Type EventType
	Boot Boot
	// At is when it happened: it is remembered, and nothing is decided by it.
	At time.Time
	// Verdict of a check; "" is that lastgood itself failed.
	Verdict snapshot.Verdict
	// Summary is the verdict in a sentence, for people.
	Summary string
	// Most is the most that the findings call for; "" leaves it to the policy.
	Most Reaction
	// Soon: what could not be told is told by a check that follows in this boot.
	Soon bool
	// To is the kernel that somebody asks for; the zero value leaves the choice.
	To Kernel
	// Reboot: somebody wants the reboot done as well.
	Reboot bool
	// By is who asks.
	By string
	// Act is the action that failed, and Summary says why.
	Act   Act
	World World
}

// Act is what is to be done.
type Act string

const (
	SetHold    Act = "set-hold"    // make the hold file: Text says why
	ClearHold  Act = "clear-hold"  // remove it
	StartHeld  Act = "start-held"  // start the units that were held back
	SetDefault Act = "set-default" // make Kernel what boots from now on
	SetOnce    Act = "set-once"    // boot Kernel once, next
	Reboot     Act = "reboot"      // Text says why
	Tell       Act = "tell"        // tell somebody: Notice and Text
	Refuse     Act = "refuse"      // what was asked for is not done: Text says why
)

// Action is one thing to be done. They are done in order; where one of the loader's
// fails the rest is left, and Failed is the next event.
type Action struct {
	Act    Act
	Kernel Kernel
	Notice Notice
	Text   string
}

// Notice is what somebody is told; each has a MESSAGE_ID of its own in the journal.
type Notice string

const (
	NoticeRegressed    Notice = "regressed"
	NoticeHeld         Notice = "gate-held"
	NoticeReleased     Notice = "gate-released"
	NoticeIncomplete   Notice = "incomplete"
	NoticeInvalid      Notice = "invalid"
	NoticeFailed       Notice = "tool-failed"
	NoticeGood         Notice = "good"
	NoticeArmed        Notice = "try-armed"
	NoticeFellBack     Notice = "try-fell-back"
	NoticeCommitted    Notice = "try-committed"
	NoticeUnblessed    Notice = "try-abandoned"
	NoticeRollback     Notice = "rollback-armed"
	NoticeMissed       Notice = "rollback-missed"
	NoticeRefused      Notice = "rollback-refused"
	NoticeRolledBack   Notice = "rolled-back-good"
	NoticeStillBroken  Notice = "rolled-back-still-broken"
	NoticeThirdStrike  Notice = "third-strike"
	NoticeActionFailed Notice = "action-failed"
	NoticeConfirmed    Notice = "confirmed"
)

// Notices lists them all.
func Notices() []Notice {
	return []Notice{NoticeRegressed, NoticeHeld, NoticeReleased, NoticeIncomplete, NoticeInvalid, NoticeFailed, NoticeGood, NoticeArmed,
		NoticeFellBack, NoticeCommitted, NoticeUnblessed, NoticeRollback, NoticeMissed, NoticeRefused, NoticeRolledBack,
		NoticeStillBroken, NoticeThirdStrike, NoticeActionFailed, NoticeConfirmed}
}

// Describe is the state in one sentence, for people.
func (s *State) Describe() string {
	to := func(c *Change) string {
		if c == nil {
			return "a kernel"
		}
		return c.To.Release
	}
	text := map[Step]string{
		Armed:     "the next boot tries " + to(s.Try) + " once",
		Trial:     "this boot tries " + to(s.Try) + "; it is kept once it is good",
		Returning: "the next boot goes back to " + to(s.Back),
		Returned:  "this host went back to " + to(s.Back) + " and was not judged since",
		Recovered: "rolled back to " + to(s.Back) + ", good",
		Broken:    "rolled back to " + to(s.Back) + " and still broken",
		Standing:  "too many bad boots in a row: nothing more is tried by itself",
	}[s.Step]
	if text == "" {
		text = "nothing is under way"
	}
	parts := []string{text}
	if s.Held != "" {
		parts = append(parts, "workloads are held: "+s.Held)
	}
	if s.Lost != "" {
		parts = append(parts, "what was remembered is lost ("+s.Lost+"), so nothing is rolled back until a boot is good")
	}
	return strings.Join(parts, "; ")
}
