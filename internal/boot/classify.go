package boot

import (
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/bootloader"
)

// Class says how this boot came about.
type Class string

const (
	AsIntended  Class = "as intended"
	FellBack    Class = "fell back"
	NotDefault  Class = "not the default"
	WrongLoader Class = "wrong loader configuration"
	CouldNotSay Class = "could not tell"
)

// Condition is something that is so beside the class.
type Condition string

const (
	RebootPending Condition = "reboot pending"
	ModulesGone   Condition = "modules of the running kernel gone"
	NextBootFails Condition = "next boot will fail"
)

// Answer is yes, no, or "" where it could not be told.
type Answer string

const (
	Yes Answer = "yes"
	No  Answer = "no"
)

// Situation is all that a boot is classified by.
type Situation struct {
	Boot, Running string
	Intent        *Intent // of an earlier boot for this one; nil where there is none
	Loader        bootloader.State
	// LoaderErrs say what of the loader could not be read.
	LoaderErrs []string
	// Image is the release that the loader says it started: BOOT_IMAGE on the command line; "" where
	// it says none.
	Image string
	// Installed lists the releases that have an image on the host; nil where it could not be told.
	Installed []string
	// Modules: is there a module tree of the running kernel? Required: was a reboot asked for since
	// this boot began?
	Modules, Required Answer
	// NextFaults say why the next boot would fail.
	NextFaults []string
	History    History
}

// Outcome is what a boot is classified as.
type Outcome struct {
	Class Class
	Also  []Condition
	// Intended is the kernel that was to run, IntendedEntry its boot entry; "" where not known.
	Intended, IntendedEntry string
	Running                 string
	// Between are the boots after the one that had the intent and before this one.
	Between []Past
	// Basis is what the class rests on: intent, loader, or "" where nothing is known.
	Basis string
	Why   string
}

// shortLived is how long a boot may have run to be taken for an attempt that failed, in seconds.
const shortLived = 600

// Classify says how this boot came about. It is a pure function.
func Classify(s Situation) Outcome {
	o := s.byIntent()
	if o.Class == "" {
		o = s.byLoader()
	}
	o.Running = s.Running
	if why := s.otherLoader(); why != "" && o.Class != AsIntended && o.Class != FellBack {
		o.Class, o.Why = WrongLoader, why
	} else if why != "" {
		o.Why += "; " + why
	}
	o.Also = s.conditions(&o)
	return o
}

// byIntent compares with what the boot before meant to come. The zero Outcome is where that does
// not settle it.
func (s *Situation) byIntent() Outcome {
	in := s.Intent
	if in == nil || in.Release == "" || s.Running == "" {
		return Outcome{}
	}
	o := Outcome{Intended: in.Release, IntendedEntry: in.Entry, Basis: "intent"}
	between, known := s.between()
	o.Between = between
	if in.Release == s.Running {
		o.Class, o.Why = AsIntended, fmt.Sprintf("the boot before left the loader set to %s: %s", in.Release, in.Why)
		if in.Kexec {
			o.Why += " (a kernel was loaded for kexec as well)"
		}
		return o
	}
	switch {
	case in.Kexec:
		o.Class, o.Why = CouldNotSay, "a kernel was loaded for kexec at the last shutdown, and which one it was is not written down"
	case !s.stillSet() && slices.ContainsFunc(between, func(p Past) bool { return p.Seconds >= shortLived || p.Ended != EndNone }):
		// A boot that ran for long, or was ended in order, may have changed what boots next (an
		// update that is installed in a boot of its own does), and left no intent.
		return Outcome{}
	case !known && !s.stillSet():
		o.Class = CouldNotSay
		o.Why = fmt.Sprintf("the loader was set to boot %s at a shutdown, and whether that was the last one is not known: %s", in.Release, firstOr(s.History.Gaps, "the boot is not in the journal"))
	default:
		o.Class = FellBack
		o.Why = fmt.Sprintf("the loader was set to boot %s (%s), and %s runs%s", in.Release, in.Why, s.Running, attempts(between))
	}
	return o
}

// between lists the boots after the one that had the intent; known is false where that one is not
// in the journal and wtmp does not tell either.
func (s *Situation) between() ([]Past, bool) {
	if after, ok := s.History.After(s.Intent.BootID); ok {
		return after, true
	}
	n := s.History.Records - s.Intent.Records - 1
	if s.Intent.Records < 0 || s.History.Records < 0 || n < 0 || n > len(s.History.Boots) {
		return nil, false
	}
	return s.History.Boots[len(s.History.Boots)-n:], true
}

// stillSet reports whether the loader's lasting setting is what was intended.
func (s *Situation) stillSet() bool {
	e := s.Loader.NextEntry()
	return e != nil && !s.Intent.Once && e.Release == s.Intent.Release
}

// attempts tells of the boots in between.
func attempts(between []Past) string {
	if len(between) == 0 {
		return "; no boot in between left a trace: either the loader fell back by itself or another entry was chosen at the console"
	}
	var parts []string
	for _, p := range between {
		part := firstOr([]string{p.Release}, "a kernel not known")
		if p.Seconds > 0 {
			part += fmt.Sprintf(" for %.0f s", p.Seconds)
		}
		if p.Ended == EndNone {
			part += ", no shutdown record"
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("; in between ran %s", strings.Join(parts, "; then "))
}

// byLoader compares with what the loader would boot now, where no intent was left.
func (s *Situation) byLoader() Outcome {
	o := Outcome{Basis: "loader"}
	e := s.Loader.NextEntry()
	switch {
	case s.Running == "":
		return Outcome{Class: CouldNotSay, Why: "the running kernel's release could not be read"}
	case e == nil:
		return Outcome{Class: CouldNotSay, Why: firstOr([]string{s.Loader.Why}, firstOr(s.LoaderErrs, "what the loader boots is not known"))}
	case e.Release == "":
		return Outcome{Class: CouldNotSay, Why: fmt.Sprintf("the entry %q that the loader boots does not say which kernel it starts", e.ID)}
	}
	o.Intended, o.IntendedEntry = e.Release, e.ID
	switch {
	case e.Release == s.Running:
		o.Class, o.Why = AsIntended, "it is what the loader boots: "+s.Loader.Why
	case s.Loader.Once(), s.Required == Yes:
		// What boots next was chosen after this boot began, and says nothing of it.
		o.Intended, o.IntendedEntry = "", ""
		o.Class, o.Basis, o.Why = CouldNotSay, "", "no intent was left at the last shutdown, and what the loader boots was changed since"
	default:
		o.Class = NotDefault
		o.Why = fmt.Sprintf("the loader would boot %s (%s), and %s runs: installed since, chosen at the console, or fallen back to; no intent was left at the last shutdown", e.Release, s.Loader.Why, s.Running)
	}
	return o
}

// otherLoader says why the configuration that was read cannot be the one that this boot came by.
func (s *Situation) otherLoader() string {
	if s.Running == "" {
		return ""
	}
	if s.Image != "" && s.Image != s.Running {
		return fmt.Sprintf("the loader says that it started %s, and %s runs", s.Image, s.Running)
	}
	for _, e := range s.Loader.Entries {
		if e.ID == s.Loader.Selected && e.Release != "" && e.Release != s.Running {
			return fmt.Sprintf("the loader says that it started the entry %s, which is of %s, and %s runs: is there another EFI system partition?", e.ID, e.Release, s.Running)
		}
	}
	if len(s.LoaderErrs) > 0 || len(s.Loader.Entries) == 0 || s.Loader.Next < 0 || !slices.Contains(s.Installed, s.Running) {
		return ""
	}
	for _, e := range s.Loader.Entries {
		if e.Release == s.Running || e.Linux != "" && e.Release == "" {
			return ""
		}
	}
	return fmt.Sprintf("the loader's configuration in %s has no entry for %s, which runs: the machine may boot by another copy of it", s.Loader.Dir, s.Running)
}

// conditions lists what is so beside the class.
func (s *Situation) conditions(o *Outcome) []Condition {
	var out []Condition
	e := s.Loader.NextEntry()
	// Where this boot is the one that was meant, another default was set since it began.
	since := e != nil && e.Release != "" && e.Release != s.Running && o.Class == AsIntended && o.Basis == "intent" && !s.Intent.Once
	if s.Required == Yes || since {
		out = append(out, RebootPending)
	}
	if s.Modules == No {
		out = append(out, ModulesGone)
	}
	if len(s.NextFaults) > 0 {
		out = append(out, NextBootFails)
	}
	return out
}

func firstOr(list []string, or string) string {
	if len(list) > 0 && list[0] != "" {
		return list[0]
	}
	return or
}
