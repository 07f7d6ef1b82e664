// Package source says what a source of facts is: a value with a name, the kinds
// of subjects it vouches for, and a way to read them. A new probe or reader is
// one file that adds one value to its family's catalogue.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// Host is what a source may lean on: the file tree of the host that is looked
// at, the clock and the log. Nothing else of the outside is reached by a source
// that reads files.
type Host struct {
	Root *sysfs.Root
	Now  func() time.Time
	Log  *slog.Logger
	// Boot names this boot and Build this kernel's build, as the identity gives them.
	Boot, Build string
	// Bridges allows questions to disks behind USB bridges, on which some bridges hang.
	Bridges bool
}

// ErrSkipped is returned by a source that asks the machine itself, of a recorded one: that
// it gives nothing does not mean that there is nothing.
var ErrSkipped = errors.New("a recorded host: its hardware cannot be asked")

// Tier says where a source is worth its time.
type Tier int

const (
	Gate     Tier = iota // everywhere: exact, and cheap in an emulated machine too
	Boot                 // at every boot, and in a VM where time is not short: it takes seconds there
	Native               // at every boot, and never in a VM, whose answer would be the emulator's
	Thorough             // only where it is asked for
)

// UpTo leaves out the sources whose tier is not among those given.
func UpTo(all []Source, tiers ...Tier) []Source {
	return slices.DeleteFunc(slices.Clone(all), func(s Source) bool { return !slices.Contains(tiers, s.Tier) })
}

// Source reads subjects of its kinds. It sets exactly one of Read and Steps.
type Source struct {
	Name  string // snake_case, for ever
	Doc   string // the first line is a title
	Kinds []snapshot.Kind
	Tier  Tier
	// Read looks at files, system calls and netlink answers, in this process.
	// It returns what it could read together with why the rest could not be.
	Read func(context.Context, Host) ([]snapshot.Subject, error)
	// Steps lists programs to load into the kernel; they run in a child process,
	// one after the other, under a guard.
	Steps func(Host) []Step
}

// Step is one thing to do in the child process.
type Step struct {
	// Group is what the crash guard and the kernel log are kept by: a probe family.
	Group string
	// Name is the step's own name: a case. The subject that a step gives, or would
	// have given, is Kind/ID.
	Name     string
	Kind, ID string
	// Cost is about how long it takes on a slow machine: what is dropped first
	// when time is short.
	Cost time.Duration
	// Risky steps come near a limit of the kernel's: they are left out where a
	// warning of the kernel's would be a panic.
	Risky bool
	Run   func(context.Context, Host) []snapshot.Subject
}

// Catalogue gathers the sources of one family of sources.
type Catalogue struct{ sources []Source }

// Add adds a source at program start and gives it back; it panics on a name
// that is empty or taken, which is a fault of the program and not of its input.
func (c *Catalogue) Add(s Source) Source {
	if s.Name == "" || s.Doc == "" || (s.Read == nil) == (s.Steps == nil) {
		panic(fmt.Sprintf("source %q: name or doc is empty, or not exactly one of Read and Steps is set", s.Name))
	}
	if slices.ContainsFunc(c.sources, func(o Source) bool { return o.Name == s.Name }) {
		panic(fmt.Sprintf("source %q is declared twice", s.Name))
	}
	c.sources = append(c.sources, s)
	return s
}

// All is a sorted copy of the catalogue.
func (c *Catalogue) All() []Source {
	all := slices.Clone(c.sources)
	slices.SortFunc(all, func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Kinds gathers the declarations of all sources.
func Kinds(sources []Source) (snapshot.Kinds, error) {
	var kinds []snapshot.Kind
	for _, s := range sources {
		kinds = append(kinds, s.Kinds...)
	}
	return snapshot.NewKinds(kinds...)
}
