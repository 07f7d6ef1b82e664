package cli

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/pflag"

	"lastgood/hw"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func inventoryCommand() command {
	return command{
		name: "inventory", summary: "show the hardware as a tree",
		long: `Reads the hardware, of this host or with --root of a recorded one, and shows what hangs on
what. A device is known by what it is, not by what it is called today.

What differs from the last good boot is marked in place, where there is one; --against compares
with another snapshot, --against none with nothing.`,
		status:  "The exit status is 0, 2 where it could not be done, 3 where part of the hardware could not be read.",
		example: "lastgood inventory --against before.json",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			against := f.String("against", "", "`SNAPSHOT` to mark the differences from: a file, a boot, a kernel release, or none (default: the last good boot)")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return s.inventory(ctx, *against)
			}
		},
	}
}

func (s *session) inventory(ctx context.Context, against string) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	all, policy, err := s.rules("")
	if err != nil {
		return exitUsage, err
	}
	base, err := s.inventoryBase(ctx, against)
	if err != nil {
		return exitUsage, err
	}
	snap, err := s.collect(ctx, "inventory", hw.Sources(), nil, nil, "")
	if err != nil {
		return exitIncomplete, err
	}
	if format == "json" {
		return exitOK, s.printSnapshot("json", snap)
	}
	drift := driftFrom(base, snap, all, policy)
	hw.Name(ctx, snap)
	if err := report.InventoryDrift(s.env.Out, snap, drift, all, s.options()); err != nil {
		return exitUsage, err
	}
	return s.warnSources(snap), nil
}

// inventoryBase is the snapshot to compare with; nil where nobody asked for one and there
// is no last good boot, or it may not be read.
func (s *session) inventoryBase(ctx context.Context, against string) (*snapshot.Snapshot, error) {
	switch against {
	case "none":
		return nil, nil
	case "":
	default:
		return s.load(ctx, against)
	}
	if s.rootPath != "" && !s.stateGiven {
		return nil, nil // this host's last good boot is not the recorded host's
	}
	base, err := s.load(ctx, "last-good")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.host().Log.Info("there is nothing to compare with", "err", err)
	}
	if err != nil {
		return nil, nil
	}
	return base, nil
}

// driftFrom is what differs, of the hardware alone: the base may hold other things, too.
func driftFrom(base, snap *snapshot.Snapshot, all snapshot.Kinds, policy compare.Policy) *report.Drift {
	if base == nil {
		return nil
	}
	d := &report.Drift{Base: compare.Align(base, snap, all), Against: "another snapshot"}
	if r := base.Identity.Kernel.Release; r != "" {
		d.Against = "kernel " + r
	}
	if base.Taken.Unix() > 0 { // some recordings do not say when they were made
		d.Against += ", taken " + base.Taken.UTC().Format("2006-01-02 15:04 UTC")
	}
	j := compare.Judge(base, snap, all, policy)
	d.Findings = j.Findings
	if j.Refused != "" {
		d.Against += ": " + j.Refused
	}
	d.Deltas = compare.Diff(base, snap, all)
	return d
}
