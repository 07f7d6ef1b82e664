package kernels

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// Client is the distribution's own package client.
type Client interface {
	// Update fetches and verifies what the archives offer.
	Update(ctx context.Context) error
	// Problems are the archives that the last Update could not use beside those it could.
	Problems() []error
	// Offered lists the kernels of the archives that Update could use, in order.
	Offered(ctx context.Context) ([]Kernel, error)
	// Fetch downloads one package of a kernel to the file dst, verified.
	Fetch(ctx context.Context, part Part, dst string) error
}

var (
	_ Client = (*Apt)(nil)
	_ Client = (*Dnf)(nil)
)

// NewClient is the client of the host's package format, which keeps its indexes in
// dir. suites are looked at beside the host's own: suites of apt's, repositories of dnf's.
func NewClient(ctx context.Context, root *sysfs.Root, dir string, suites []string) (Client, error) {
	family, err := Family(ctx, root)
	if err != nil {
		return nil, err
	}
	switch family {
	case FamilyDebian:
		return NewApt(dir, AptOptions{Root: root, Suites: suites})
	case FamilyRPM:
		return NewDnf(dir, suites)
	}
	return nil, &HintError{fmt.Errorf("open package client: this host has neither Debian's nor RPM packages: %w", ErrNoTool),
		"give the kernel as a file or a folder"}
}

// Choice narrows what Candidates calls testable. The zero value takes what the host
// would boot next by itself: the running kernel's flavour, and what is not older.
type Choice struct {
	Flavours []string // beside the running kernel's own; "*" is all
	Older    bool     // take kernels older than the running one too
}

// Candidates lists every kernel there is, in order: installed, and offered but not
// installed. Each is testable or says why not; none is left out. An offered package
// that is installed is listed once, as installed, with the suite that offers it.
func Candidates(installed, offered []Kernel, running Kernel, choice Choice) []Kernel {
	running = know(running, installed)
	all := slices.Clone(installed)
	for _, o := range offered {
		at := slices.IndexFunc(all[:len(installed)], func(k Kernel) bool { return samePackage(k, o) })
		switch {
		case at < 0:
			all = append(all, o)
		case all[at].Testable || !o.Testable:
			all[at].Suite = o.Suite
		default: // what is installed lacks a part; the archive's has it
			all = append(all, o)
		}
	}
	for i := range all {
		all[i].Notes = slices.Clone(all[i].Notes)
		judge(&all[i], running, choice)
	}
	Sort(all)
	return all
}

// know fills in what the host's packages say about the running kernel.
func know(running Kernel, installed []Kernel) Kernel {
	if running.Flavour == "" && running.Arch == "" {
		running.Flavour, running.Arch = FlavourOf(running.Release)
	}
	for _, k := range installed {
		if k.Release != running.Release {
			continue
		}
		if running.Version == "" {
			running.Package, running.Version = k.Package, k.Version
		}
		if running.Family == "" {
			running.Family = k.Family
		}
		if running.Arch == "" {
			running.Arch = k.Arch
		}
	}
	return running
}

func samePackage(a, b Kernel) bool {
	return a.Package != "" && a.Package == b.Package && a.Version == b.Version
}

// judge adds the reasons that lie in the choice; a reason that k has already stays.
func judge(k *Kernel, running Kernel, choice Choice) {
	switch {
	case k.Arch != "" && running.Arch != "" && k.Arch != running.Arch:
		k.refuse("its architecture is %s, this host's is %s", k.Arch, running.Arch)
	case k.Flavour != running.Flavour && !slices.Contains(choice.Flavours, k.Flavour) && !slices.Contains(choice.Flavours, "*"):
		k.refuse("its flavour is %s, the running kernel's is %s", spoken(k.Flavour), spoken(running.Flavour))
	case k.Release == running.Release && k.Version == running.Version:
		k.refuse("it is the running kernel")
	case k.Family != "" && running.Family != "" && k.Family != running.Family:
		k.refuse("its package format is %s, this host's is %s", k.Family, running.Family)
	case !choice.Older && k.Release != "" && compareSame(*k, running) < 0:
		k.refuse("it is older than the running kernel, %s", running.Release)
	}
}

func spoken(flavour string) string {
	if flavour = strings.TrimSpace(flavour); flavour == "" {
		return "none"
	}
	return flavour
}
