package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/gate"
	"lastgood/internal/page"
	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
	"lastgood/probes"
)

func acceptCommand() command {
	return command{
		name: "accept", args: "[BOOT]", summary: "make a boot the last good one",
		long: `Makes a boot's newest snapshot the one that later boots are held to. BOOT is a boot id or
the beginning of one, a kernel release, or current (the default). The boot must have
been checked before.

Accepting the current boot measures the BPF objects of this node's agents as they are now
and keeps their bytes: after a reboot they are verified before their agents are up. Where
the insns of the largest programs go is kept too, so that ` + "`check`" + ` can say where a growth is.
Accept a boot when its agents run.`,
		status:  "The exit status is 0, 2 where it could not be done, 3 where the objects of this node's agents could not be measured.",
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
		return exitUsage, hinted(fmt.Errorf("accept wants one boot, got %d", len(args)), "for instance `lastgood accept current`; `lastgood list` shows the boots")
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
	notes, err := s.takeObjects(ctx, store, snap)
	if err != nil {
		return exitIncomplete, err
	}
	record, err := store.Accept(id, who())
	if err != nil {
		return exitUsage, err
	}
	if err := s.reportAccepted(store, snap, record); err != nil {
		notes = append(notes, "the last report still says what was so before, until the next check: "+err.Error())
	}
	for _, n := range append(notes, s.stillHeld(record.BootID)...) {
		fmt.Fprintln(s.env.Err, "lastgood:", n)
	}
	if !s.quiet {
		if err := s.tell("", "boot %s of kernel %s is the last good one now", record.BootID, record.Release); err != nil {
			return exitUsage, err
		}
	}
	return exitOK, s.warnDamaged(store)
}

// stillHeld says what the gate goes on doing in the boot that was accepted: it was told of the boot as it was judged, and who
// accepts a boot may think that this was all.
func (s *session) stillHeld(boot string) []string {
	st, err := gate.Keeper{Folder: baseline.OpenFolder(s.stateDir, s.env.clock)}.Load()
	switch {
	case err != nil || st.Boot.ID != boot || st.Confirmed:
		return nil // what the gate remembers is nothing that this boot hangs on
	case st.Held != "":
		return []string{"its workloads are still held: `lastgood bless` lets them go, and ends the alerts of this boot"}
	case st.Verdict == snapshot.Regressed || st.Told != "":
		return []string{"somebody was told that this boot is worse, or could not be judged: `lastgood bless` ends the alerts"}
	}
	return nil
}

// reportAccepted has the last report, where it is of the boot that was accepted, say what is
// so now: the page, the metrics and the alerts would speak of a regression until the next check.
func (s *session) reportAccepted(store *baseline.Store, snap *snapshot.Snapshot, record baseline.Record) error {
	rep, err := page.ReadReport(s.stateDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (rep.Current == nil || rep.Current.BootID != record.BootID) {
		return nil
	}
	if err != nil {
		return err
	}
	all, policy, err := s.rules("")
	if err != nil {
		return err
	}
	rep.Current, rep.Learned, rep.Since, rep.Mechanisms, rep.Changes, rep.Notes = &snap.Identity, nil, nil, nil, nil, nil
	judge(rep, snap, snap, all, policy)
	rep.Accepted, rep.AcceptedBy = record.Accepted, record.By
	rep.Summary = summary(rep)
	if rep.Verdict == snapshot.Good {
		rep.Summary = "this boot was accepted as the last good one by " + record.By + counted(rep, ", with ")
	}
	rep.Next = next(rep)
	return saveReport(store, rep)
}

// takeObjects puts the objects that this node's agents load now into the snapshot of the
// running boot, in the place of those that it was checked with, when some agents may not
// have been up. Where none is there, what it was checked with stays.
func (s *session) takeObjects(ctx context.Context, store *baseline.Store, snap *snapshot.Snapshot) (notes []string, err error) {
	running, err := s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil || !s.root.Live() || running != snap.Identity.BootID {
		return nil, nil // another boot: what is there now is not what it loaded
	}
	release, _ := s.root.Attr(ctx, releaseFile)
	set := s.nodeObjects(ctx, nil, store, release)
	if len(set.Files) == 0 {
		return nil, nil
	}
	if !s.budgetGiven {
		s.budget = objectsBudget
	}
	fresh, err := s.collect(ctx, "accept", nil, s.newObjectRun(ctx, set, true), s.guard, "")
	if err != nil {
		return nil, err
	}
	replaceObjects(snap, fresh)
	if err := snap.Sort(); err != nil {
		return nil, err
	}
	if _, err := store.Save(snap, nil); err != nil {
		return nil, err
	}
	notes = keepObjects(store, set, nil)
	return append(notes, s.keepExplanations(ctx, store, snap, set)...), nil
}

// replaceObjects takes what is said of objects from another snapshot of the same boot.
func replaceObjects(snap, fresh *snapshot.Snapshot) {
	leaning := map[string]bool{}
	for _, k := range probes.SurfaceKinds() {
		leaning[k.Name] = true
	}
	sources := []string{workload.SourceName, probes.ObjectsSource, probes.SurfaceSource, recalledSource}
	ofObjects := func(s snapshot.Subject) bool {
		return s.Kind == workload.ObjectKind || s.Kind == probes.ProgramKind().Name || leaning[s.Kind] ||
			s.Kind == snapshot.SourceKind && slices.Contains(sources, s.ID)
	}
	snap.Subjects = slices.DeleteFunc(snap.Subjects, ofObjects)
	for _, s := range fresh.Subjects {
		if ofObjects(s) {
			snap.Subjects = append(snap.Subjects, s)
		}
	}
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
