package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func snapshotCommand() command {
	return command{
		name: "snapshot", summary: "take a snapshot and print it",
		long: `Takes a snapshot as ` + "`check`" + ` does and prints it, JSON unless asked otherwise. Nothing is
compared. With --keep it is also kept in the state folder as this boot's newest.`,
		status:  "The exit status is 0, 2 where it could not be kept or printed, 3 where nothing could be measured.",
		example: "lastgood snapshot > before.json",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			keep := f.Bool("keep", false, "keep it in the state folder")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return s.snapshot(ctx, *keep)
			}
		},
	}
}

func (s *session) snapshot(ctx context.Context, keep bool) (int, error) {
	format, err := s.format("json", "table")
	if err != nil {
		return exitUsage, err
	}
	if keep {
		return s.keepSnapshot(ctx, format)
	}
	guard := openGuard(s.guard)
	if s.rootPath != "" {
		guard = nil // nothing is loaded for a recorded host
	}
	snap, err := s.collect(ctx, "snapshot", usual(), s.presentObjects(ctx), guard, "a person runs it")
	if err != nil {
		return exitIncomplete, err
	}
	return exitOK, s.printSnapshot(format, snap)
}

func (s *session) keepSnapshot(ctx context.Context, format string) (int, error) {
	store, err := s.openStore(ctx)
	if err != nil {
		return exitUsage, err
	}
	defer store.Close()
	if err := lock(ctx, store); err != nil {
		return exitIncomplete, err
	}
	snap, err := s.collect(ctx, "snapshot", usual(), s.presentObjects(ctx), s.guard, "")
	if err != nil {
		return exitIncomplete, err
	}
	if _, err := store.Save(snap, nil); err != nil {
		return exitUsage, err
	}
	return exitOK, s.printSnapshot(format, snap)
}

func (s *session) printSnapshot(format string, snap *snapshot.Snapshot) error {
	if format == "json" {
		b, err := snap.Encode()
		if err != nil {
			return err
		}
		if _, err := s.env.Out.Write(b); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		return nil
	}
	all, err := kinds()
	if err != nil {
		return err
	}
	return report.Snapshot(s.env.Out, snap, all, s.options())
}
