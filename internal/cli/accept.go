package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
)

func acceptCommand() command {
	return command{
		name: "accept", args: "[BOOT]", summary: "make a boot the last good one",
		long: `Makes a boot's newest snapshot the one that later boots are held to. BOOT is a boot id or
the beginning of one, a kernel release, or current (the default). The boot must have
been checked before.`,
		example: "lastgood accept current",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			anyway := f.Bool("incomplete", false, "accept a snapshot in which something could not be measured")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				return s.accept(ctx, args, *anyway)
			}
		},
	}
}

func (s *session) accept(ctx context.Context, args []string, incomplete bool) (int, error) {
	id := baseline.Current
	switch len(args) {
	case 0:
	case 1:
		id = args[0]
	default:
		return exitUsage, fmt.Errorf("accept wants one boot, got %d", len(args))
	}
	store, err := s.openStore(ctx)
	if err != nil {
		return exitUsage, err
	}
	defer store.Close()
	snap, err := store.Load(id)
	if err != nil {
		return exitUsage, err
	}
	all, err := kinds()
	if err != nil {
		return exitUsage, err
	}
	for _, g := range compare.Gaps(snap, all) {
		if g.Counts && !incomplete {
			return exitUsage, hinted(fmt.Errorf("accept %s: %s could not be measured: %s", id, g.ID, g.Reason),
				"later boots would not be held to it: check again first, or accept it all the same with --incomplete")
		}
	}
	if err := lock(ctx, store); err != nil {
		return exitUsage, err
	}
	record, err := store.Accept(id, who())
	if err != nil {
		return exitUsage, err
	}
	if !s.quiet {
		fmt.Fprintf(s.env.Out, "boot %s of kernel %s is the last good one now\n", record.BootID, record.Release)
	}
	return exitOK, s.warnDamaged(store)
}

// warnDamaged says on the error output what was found damaged.
func (s *session) warnDamaged(store *baseline.Store) error {
	var errs []error
	for _, d := range store.Damaged() {
		if _, err := fmt.Fprintln(s.env.Err, "lastgood:", d); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
